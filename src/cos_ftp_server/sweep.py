"""Ends the multipart uploads that a gateway has begun and, killed, could not end itself.

Owns which uploads are its own, and the words on what became of each. It must not know how they are
written down, nor who is told.

Only what is written down (`vfs.records`) is looked at. A record that somebody holds belongs to an
upload that is under way. Of the others, most have an UploadId, which no other upload has: that one
is aborted. A process that dies between the request that begins an upload and the answer to it
leaves a record without one. Its upload has never had a part, since none is sent before the UploadId
is written down, and costs nothing. So there is time to tell it from one that somebody else has
begun: taken is only what COS lists for exactly that key, begun while that request can have been
under way, named by no record, and still without a part two minutes later.
"""

import asyncio
import enum
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cos_ftp_server.buckets import bucket_address, open_bucket, uses_role
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.credentials import METADATA_URL, RoleCredentials
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.diagnosis import AT_A_TERMINAL, ONCE, explain
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.settings import AccountSettings, Settings
from cos_ftp_server.vfs.multipart import abort_until_gone
from cos_ftp_server.vfs.record_file import BegunUpload
from cos_ftp_server.vfs.records import FiledRecord, RecordFiles

__all__ = ["REST", "Outcome", "Sweep", "SweptRecord", "record_files", "sweep_accounts"]

_AT_ONCE = 8
"""Uploads that are aborted at the same time."""

_LATEST_BEGIN = timedelta(seconds=150)
"""From a record to the last moment at which its upload can begin: `RetryPolicy.budget_s` and one
more request, `Timeouts.total_s`."""

_CLOCKS_APART = timedelta(seconds=60)
"""Twice what `StoreClock` does not correct."""

REST = timedelta(minutes=2)
"""Within which any other program has sent a part of what it has begun, and any gateway has written
down its UploadId. Programs begin an upload when they have a part to send."""


_ACTION = "abort multipart uploads (ListMultipartUploads, ListParts, AbortMultipartUpload)"


class Outcome(enum.Enum):
    """What became of the upload that a record tells of."""

    ABORTED = "aborted"
    WOULD_ABORT = "would be aborted"
    NOTHING = "nothing to abort"
    UNDER_WAY = "under way"
    STAYS = "left for now"
    FAILED = "could not be aborted"


@dataclass(frozen=True, slots=True)
class SweptRecord:
    """The outcome for one record, and why; `upload` is None if it is not known."""

    name: str
    upload: BegunUpload | None
    outcome: Outcome
    reason: str = ""

    def __str__(self) -> str:
        told = f"{self.outcome.value}: {_told(self.upload) if self.upload else self.name}"
        return f"{told}: {self.reason}" if self.reason else told


def _told(upload: BegunUpload) -> str:
    begun = f"{upload.begun:%Y-%m-%d %H:%M:%S} UTC"
    name = f", UploadId={upload.upload_id}" if upload.upload_id else ""
    return f"{upload.key!r} in {upload.origin}, begun {begun}{name}"


def _spoken(duration: timedelta) -> str:
    """Return whole seconds in the largest unit that is whole as well."""
    amount, name = int(duration.total_seconds()), "second"
    for size, larger in ((60, "minute"), (60, "hour"), (24, "day")):
        if not amount or amount % size:
            break
        amount, name = amount // size, larger
    return f"{amount} {name}" if amount == 1 else f"{amount} {name}s"


def record_files(settings: Settings) -> RecordFiles:
    """Return the records of a gateway with these settings."""
    return RecordFiles(settings.optional.log_dir / "uploads")


async def sweep_accounts(
    files: RecordFiles,
    accounts: Collection[AccountSettings],
    report: Callable[[SweptRecord], None],
    older_than: timedelta,
    *,
    dry_run: bool = False,
    metadata_url: str = METADATA_URL,
) -> None:
    """Sweep once, without a gateway; see Sweep. Raises OSError when records cannot be listed."""
    async with create_transport(AT_A_TERMINAL) as transport:
        role = RoleCredentials(transport, metadata_url)
        if any(map(uses_role, accounts)):
            with suppress(StorageError):  # which each request says again
                await role.renew()

        def open_client(account: AccountSettings) -> CosClient:
            return open_bucket(transport, account, role, ONCE)

        sweep = Sweep(files, accounts, open_client, report, older_than=older_than, dry_run=dry_run)
        await sweep.run()


class Sweep:
    """One walk through all records, for `run` to be called once.

    `open_client` gives the client of an account. `report` hears of each record. What is younger
    than `older_than` stays; with `dry_run`, everything does.
    """

    def __init__(
        self,
        files: RecordFiles,
        accounts: Iterable[AccountSettings],
        open_client: Callable[[AccountSettings], CosClient],
        report: Callable[[SweptRecord], None],
        *,
        older_than: timedelta = timedelta(0),
        dry_run: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._files = files
        self._report = report
        self._older_than = older_than
        self._dry_run = dry_run
        self._now = now
        self._clients: defaultdict[str, list[tuple[AccountSettings, CosClient]]]
        self._clients = defaultdict(list)
        for account in accounts:
            if "W" in account.authority:
                found = (account, open_client(account))
                self._clients[bucket_address(account).url].append(found)
        self._obstacles: dict[str, str] = {}  # by origin: why the store does nothing at all

    async def run(self) -> None:
        """Look at every record. Raises OSError when they cannot be listed."""
        names = iter(await self._files.names())

        async def look_at_some() -> None:
            for name in names:
                self._report(await self._look_at(name))

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(look_at_some())

    async def _look_at(self, name: str) -> SweptRecord:
        try:
            try:
                record = await self._files.take(name)
            except ValueError as error:
                reason = f"it is no record: {error}"
                if not self._dry_run:
                    reason += f"; it is called {await self._files.set_aside(name)} now"
                return SweptRecord(name, None, Outcome.FAILED, reason)
            if record is None:
                return SweptRecord(name, None, Outcome.UNDER_WAY)
            return await self._settle(name, record)
        except OSError as error:
            return SweptRecord(name, None, Outcome.FAILED, f"cannot be read: {error.strerror}")

    async def _settle(self, name: str, record: FiledRecord) -> SweptRecord:
        """End an upload that nobody looks after, and erase the record if it has ended."""
        has_ended = False
        try:
            if record.upload is None:
                outcome, reason = Outcome.NOTHING, "no upload was begun"
            elif why := self._why_not_yet(record.upload):
                outcome, reason = Outcome.STAYS, why
            else:
                outcome, reason = await self._end(record.upload)
            has_ended = outcome in (Outcome.ABORTED, Outcome.NOTHING) and not self._dry_run
        finally:
            if not has_ended:
                record.leave()
        if has_ended:
            await record.erase()
        return SweptRecord(name, record.upload, outcome, reason)

    def _why_not_yet(self, upload: BegunUpload) -> str:
        age = self._now() - upload.begun
        if age < self._older_than:
            return f"it is younger than {_spoken(self._older_than)}"
        if not upload.upload_id and age < REST:
            return "without an UploadId it is told from those of others after 2 minutes"
        return ""

    async def _end(self, upload: BegunUpload) -> tuple[Outcome, str]:
        """End an upload with the keys of an account that can have begun it."""
        if obstacle := self._obstacles.get(upload.origin):
            return Outcome.FAILED, obstacle
        reason = "no account in the configuration may write there"
        for account, client in self._clients.get(upload.origin, ()):
            if not upload.key.startswith(account.cos_prefix):
                continue
            try:
                return await self._end_with(client, upload)
            except StorageError as error:
                reason = explain(error, account, _ACTION)
                if error.kind is ErrorKind.UNAVAILABLE:
                    self._obstacles[upload.origin] = reason
                if error.kind is not ErrorKind.DENIED:
                    break
        return Outcome.FAILED, reason

    async def _end_with(self, client: CosClient, upload: BegunUpload) -> tuple[Outcome, str]:
        if upload.upload_id:
            is_there = await _count_parts(client, upload.key, upload.upload_id) is not None
            found = [upload.upload_id] if is_there else []
        else:
            found = await self._find(client, upload)
        if not found:
            return Outcome.NOTHING, "the store has no such upload"
        names = "" if upload.upload_id else f"UploadId={', '.join(found)}"
        if self._dry_run:
            return Outcome.WOULD_ABORT, names
        for upload_id in found:
            await abort_until_gone(client, upload.key, upload_id)
        return Outcome.ABORTED, names

    async def _find(self, client: CosClient, upload: BegunUpload) -> list[str]:
        """Return the UploadIds that can only be those of an upload without one in its record."""
        candidates = await _list_begun(client, upload)
        named = await self._files.upload_ids() if candidates else set()
        return [
            upload_id
            for upload_id in candidates
            if upload_id not in named and await _count_parts(client, upload.key, upload_id) == 0
        ]


async def _count_parts(client: CosClient, key: str, upload_id: str) -> int | None:
    """Return how many parts there are, of the first thousand; None if there is no such upload."""
    try:
        return len((await client.list_parts(key, upload_id)).parts)
    except StorageError as error:
        if error.kind is not ErrorKind.NO_UPLOAD:
            raise
        return None


async def _list_begun(client: CosClient, upload: BegunUpload) -> list[str]:
    """Return the UploadIds of what was begun with the same key when `upload` can have been."""
    found = []
    key_marker = upload_id_marker = ""
    while True:
        page = await client.list_uploads(
            prefix=upload.key, key_marker=key_marker, upload_id_marker=upload_id_marker
        )
        store_ahead = timedelta(seconds=client.clock_offset_s)
        for other in page.uploads:
            delay = other.initiated - store_ahead - upload.begun
            if other.key == upload.key and -_CLOCKS_APART <= delay <= _LATEST_BEGIN + _CLOCKS_APART:
                found.append(other.upload_id)
        key_marker, upload_id_marker = page.next_key_marker, page.next_upload_id_marker
        # Keys come in order, and this one is the first that begins so.
        if key_marker != upload.key:
            return found
