"""What all accounts of a gateway share of the store, and what each one gets of it.

It must not know users, passwords or permissions.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable

from cos_ftp_server.buckets import bucket_address, creation_rules, open_bucket, uses_role
from cos_ftp_server.cos.credentials import RoleCredentials
from cos_ftp_server.cos.dialect import COS
from cos_ftp_server.cos.transport import Transport
from cos_ftp_server.diagnosis import ONCE, find_obstacle
from cos_ftp_server.settings import AccountSettings, Settings
from cos_ftp_server.settings.memory import largest_file, largest_part
from cos_ftp_server.vfs.base import FileSystem
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.recent import RecentChanges
from cos_ftp_server.vfs.upload import UploadEngine

__all__ = ["Storage"]

_LOOKS_AT_ONCE = 8

_log = logging.getLogger(__name__)


class Storage:
    """Makes file systems; `aclose` it when nobody uses them any more.

    `transport` and `cleanups` stay the caller's. `metadata_url` is where keys of a role come from.
    """

    def __init__(
        self, settings: Settings, transport: Transport, cleanups: Cleanups, metadata_url: str
    ) -> None:
        optional = settings.optional
        self._transport = transport
        self._cleanups = cleanups
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
        self._recent: defaultdict[str, RecentChanges] = defaultdict(RecentChanges)
        self._looks: set[asyncio.Task[None]] = set()
        self._look_slots = asyncio.Semaphore(_LOOKS_AT_ONCE)

    def file_system(self, account: AccountSettings) -> FileSystem:
        """Return the account's files; nothing is asked of the store yet."""
        if uses_role(account):
            self._role.start()
        engine = UploadEngine(
            client=open_bucket(self._transport, account, self._role),
            pool=self._pool,
            ladder=self._ladder,
            slots=self._slots,
        )
        return CosFileSystem(
            engine,
            self._cleanups,
            prefix=account.cos_prefix,
            rules=creation_rules(account),
            recent=self._recent[bucket_address(account).origin],
        )

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

    async def aclose(self) -> None:
        """Stop looking, and stop renewing keys."""
        for task in self._looks:
            task.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)
        await self._role.aclose()
