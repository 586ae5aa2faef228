"""What all accounts of a gateway share of the store, and what each one gets of it.

It must not know users, passwords or permissions.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from itertools import chain, repeat

from cos_ftp_server.buckets import bucket_address, creation_rules, open_bucket, uses_role
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.credentials import RoleCredentials
from cos_ftp_server.cos.dialect import COS
from cos_ftp_server.cos.transport import Transport
from cos_ftp_server.diagnosis import ONCE, find_obstacle
from cos_ftp_server.settings import AccountSettings, Settings
from cos_ftp_server.settings.memory import largest_file, largest_part
from cos_ftp_server.sweep import REST, Outcome, Sweep, SweptRecord
from cos_ftp_server.vfs.base import FileSystem
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.interruptions import Interruptions
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.records import RecordFiles
from cos_ftp_server.vfs.upload import UploadEngine

__all__ = ["Storage"]

_LOOKS_AT_ONCE = 8

_SWEEP_PAUSES_S = (REST.total_seconds() + 1, 1800.0)
"""Seconds to the next look for what was left behind, which costs nothing when nothing was: first to
when all of it can be told from what others have begun."""

_LONGEST_UPLOAD_S = 24 * 3600.0
"""Seconds. A record that is older may have been left behind long ago."""

_FAILURES_TOLD = 10
"""Lines in the log for what one look could not abort; `cos-ftp-server sweep` tells all."""

_log = logging.getLogger(__name__)


class Storage:
    """Makes file systems; `aclose` it when nobody uses them any more.

    `transport`, `cleanups` and `records` stay the caller's. `metadata_url` is where keys of a role
    come from.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        cleanups: Cleanups,
        records: RecordFiles,
        metadata_url: str,
    ) -> None:
        optional = settings.optional
        self._transport = transport
        self._cleanups = cleanups
        self._records = records
        self._role = RoleCredentials(transport, metadata_url)
        self._pool = BufferPool(optional.buffer_memory, smallest_part=COS.min_part_bytes)
        self._slots = asyncio.Semaphore(optional.upload_thread_num)
        most = largest_part(optional.buffer_memory)
        self._ladder = PartLadder(
            first=min(optional.min_part_size, most),
            max_file=min(
                settings.file_option.single_file_max_size, largest_file(optional.buffer_memory)
            ),
            max_parts=COS.max_parts,
            max_part=most,
        )
        self._states: dict[str, BucketState] = {}
        self._interruptions = Interruptions(records)
        self._was_killed = False  # the process before this one
        self._looks: set[asyncio.Task[None]] = set()
        self._look_slots = asyncio.Semaphore(_LOOKS_AT_ONCE)
        self._sweeping: asyncio.Task[None] | None = None

    def file_system(self, account: AccountSettings) -> FileSystem:
        """Return the account's files; nothing is asked of the store yet."""
        if uses_role(account):
            self._role.start()
        address = bucket_address(account)
        state = self._state_of(address.host + address.path_prefix)
        client = open_bucket(
            self._transport, account, self._role, on_unanswered=state.turns.make_last
        )
        engine = UploadEngine(
            client=client,
            pool=self._pool,
            ladder=self._ladder,
            slots=self._slots,
            records=self._records.of_bucket(address.url),
        )
        return CosFileSystem(
            engine,
            self._cleanups,
            prefix=account.cos_prefix,
            rules=creation_rules(account),
            state=state,
        )

    def _state_of(self, bucket: str) -> BucketState:
        """Return what all accounts of a bucket share. It is called the same with any scheme."""
        if (state := self._states.get(bucket)) is None:
            state = BucketState(journal=self._interruptions.of_bucket(bucket))
            self._states[bucket] = state
            if self._was_killed:
                state.attempts.suspect_all()
        return state

    async def recall(self) -> None:
        """Learn which uploads broke off in earlier processes, and with them.

        One that was killed had no time to say so. Then there is the record of a multipart upload;
        any other may have broken off.
        """
        try:
            self._was_killed, known = await self._interruptions.read()
            left_behind = await self._records.left_behind()
        except OSError as error:
            _log.warning("uploads that broke off earlier are not known: %s", error.strerror)
            return
        now = time.time()
        latest: dict[tuple[str, str], float] = {}
        for one in known:
            latest[one.bucket, one.key] = one.moment
            self._state_of(one.bucket).attempts.recall(
                one.key, is_whole=one.is_whole, seconds_ago=now - one.moment
            )
        for upload in left_behind:
            bucket, begun = upload.origin.partition("://")[2], upload.begun.timestamp()
            if now - begun < _LONGEST_UPLOAD_S and begun > latest.get((bucket, upload.key), 0.0):
                self._state_of(bucket).attempts.recall(upload.key, is_whole=True)
                self._interruptions.of_bucket(bucket).note_change(upload.key, is_whole=True)

    def look_at(self, accounts: Iterable[AccountSettings]) -> None:
        """Find out in the background whether buckets can be used; log a warning for each that
        cannot.
        """
        for account in accounts:
            task = asyncio.create_task(self._look_at(account))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def _look_at(self, account: AccountSettings) -> None:
        if uses_role(account):
            await self._role.attempted.wait()
        async with self._look_slots:
            client = open_bucket(self._transport, account, self._role, ONCE)
            if obstacle := await find_obstacle(client, account):
                user = account.ftp_login_user_name
                _log.warning("[%s] user=%r: %s", account.section, user, obstacle)

    def keep_swept(self, accounts: Callable[[], Iterable[AccountSettings]]) -> None:
        """From now on, end in the background what processes that were killed have left behind.

        `accounts` tells those that there are at the moment.
        """
        self._sweeping = asyncio.create_task(self._keep_swept(accounts))

    async def _keep_swept(self, accounts: Callable[[], Iterable[AccountSettings]]) -> None:
        for pause_s in chain(_SWEEP_PAUSES_S, repeat(_SWEEP_PAUSES_S[-1])):
            try:
                await self._sweep(tuple(accounts()))
            except OSError as error:
                _log.warning("%s cannot be read: %s", self._records.directory, error.strerror)
            except Exception:  # nobody waits for this task, and the next look may be spared it
                _log.exception("looking for what was left behind earlier has failed")
            await asyncio.sleep(pause_s)

    async def _sweep(self, accounts: Iterable[AccountSettings]) -> None:
        failed: list[SweptRecord] = []

        def report(swept: SweptRecord) -> None:
            if swept.outcome is Outcome.FAILED:
                failed.append(swept)
            elif swept.outcome in (Outcome.ABORTED, Outcome.NOTHING):
                _log.info("multipart upload left behind earlier, %s", swept)

        def open_client(account: AccountSettings) -> CosClient:
            return open_bucket(self._transport, account, self._role, ONCE)

        if any(map(uses_role, accounts)):
            await self._role.attempted.wait()
        await Sweep(self._records, accounts, open_client, report).run()
        for swept in failed[:_FAILURES_TOLD]:
            _log.warning("multipart upload left behind earlier, %s", swept)
        if len(failed) > _FAILURES_TOLD:
            untold = len(failed) - _FAILURES_TOLD
            _log.warning("%d more multipart uploads left behind earlier stay", untold)

    async def aclose(self) -> None:
        """Stop looking and sweeping, and stop renewing keys."""
        tasks = [*self._looks, *((self._sweeping,) if self._sweeping else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._role.aclose()
        await self._interruptions.end()
