"""Uploads: what arrives goes into part buffers, from there to COS, and becomes visible at the end.

A file shorter than the first part is a single PUT; a longer one is a multipart upload whose parts
leave while the rest arrives. The CRC is computed on arrival, once per byte, and compared with
what COS answers. Whatever ends other than by `commit` leaves nothing behind.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectOptions, Stored
from cos_ftp_server.crc64 import combine, crc64
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import Confirmation, Receipt
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.buffers import BufferPool, PartBuffer
from cos_ftp_server.vfs.concurrency import dismiss
from cos_ftp_server.vfs.delivery import Delivery, MissingCrc
from cos_ftp_server.vfs.multipart import (
    MultipartUpload,
    Unrecorded,
    UploadRecords,
    begin_multipart,
)
from cos_ftp_server.vfs.names import Target
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.publishing import Publication
from cos_ftp_server.vfs.resume import Beginning

__all__ = ["Upload", "UploadEngine", "too_large"]

_log = logging.getLogger(__name__)

_PARTS_AHEAD = 8
"""Parts of one upload that may be under way: enough for a store that gives each connection
50 MiB/s and 20 ms of latency to take more than 200 MiB/s, and a bound on one client's memory."""

_PARTS_IN_COMPANY = 2
"""The same while all slots are taken. More would leave no earlier, but wait in memory that others
could fill again while it is warm: 8 uploads at once took a third less CPU, and not more time."""

_ATTEMPTS = 4
"""How often a part is sent, the first time included, until its checksum is right."""


async def _no_doubt() -> None:
    """Confirm at once."""


def _always() -> bool:
    """Want it, whatever has happened."""
    return True


@dataclass(frozen=True, slots=True)
class UploadEngine:
    """What all uploads of an account share. `slots` bounds the parts in flight, server-wide."""

    client: CosClient
    pool: BufferPool
    ladder: PartLadder
    slots: asyncio.Semaphore
    missing_crc: MissingCrc = field(default_factory=MissingCrc)
    records: UploadRecords = field(default_factory=Unrecorded)


class Upload:
    """One file on its way into the bucket; implements `ObjectWriter`.

    `target` is the look at the name, which may go on while data arrives; it is awaited before the
    file can appear, and taken again with `look` when that takes long.
    Unless it `may_replace` a file, `commit` raises EXISTS when one has appeared meanwhile. With
    a `beginning`, `commit` raises CHANGED when that file is not the same any more; so it does when
    this one `appends` to no file, and there is one by then.
    """

    def __init__(
        self,
        engine: UploadEngine,
        key: str,
        options: ObjectOptions,
        target: asyncio.Future[Target],
        look: Callable[[], Awaitable[Target]],
        state: BucketState,
        *,
        may_replace: bool = True,
        appends: bool = False,
        beginning: Beginning | None = None,
    ) -> None:
        self.received = 0
        self.kept = 0
        self.committed = False
        self._engine = engine
        self._key = key
        self._options = options
        self._target = target
        self._beginning = beginning
        self._attempts = state.attempts
        is_whole = beginning is None and not appends
        self._attempt = state.attempts.begin(key, is_whole=is_whole)
        self._publication = Publication(
            Delivery(engine.client, key, options, engine.missing_crc),
            target,
            look,
            state,
            may_replace=may_replace,
            continues=beginning.meta.etag if beginning else "" if appends else None,
        )
        self._is_empty = False  # nothing was to be added, so that what was begun for it goes
        self._buffer: PartBuffer | None = None
        self._buffer_crc = 0
        self._crc = 0  # of all parts that have left; neither of the buffer nor of copied parts
        self._kept_crc: int | None = 0  # of the parts that were copied
        self._number = 0  # of the last part that has left
        self._multipart: asyncio.Task[MultipartUpload] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._parts: dict[int, CompletedPart] = {}
        self._failure: BaseException | None = None
        if target.done():
            self._target_seen(target)
        else:
            target.add_done_callback(self._target_seen)

    @property
    def _size(self) -> int:
        return self.kept + self.received

    async def take_beginning(self) -> None:
        """Let the file begin with what is kept of the old one; before anything is received.

        Raises CHANGED and whatever else reading it raises; copying goes on while data arrives.
        """
        beginning = self._beginning
        if beginning is None:
            return
        if beginning.size < self._engine.client.dialect.min_part_bytes:
            await self.write(await beginning.read(self._engine.client))
            self.received = 0
        else:
            self._number = len(beginning.ranges())
            copying = asyncio.create_task(self._copy(beginning, self._begin()))
            self._sending.add(copying)
            copying.add_done_callback(self._has_ended)
        self.kept = beginning.size

    async def _copy(self, beginning: Beginning, begun: asyncio.Task[MultipartUpload]) -> None:
        upload = await asyncio.shield(begun)
        copied = await beginning.copy(self._engine.client, self._key, upload.upload_id)
        self._kept_crc = copied.crc64
        self._parts.update((part.number, part) for part in copied.parts)

    # Receiving

    def window(self) -> memoryview:
        """Return free memory to receive into; empty when `wait` must be called."""
        buffer = None if self._failure else self._buffer or self._open_buffer()
        if buffer is None:
            return memoryview(b"")
        window = buffer.window()
        if not window and buffer.grow_now():
            window = buffer.window()
        return window

    def advance(self, count: int) -> None:
        """Take the first `count` bytes of the window as received."""
        buffer = self._buffer
        if buffer is None:
            raise ValueError("advance without a window")
        self._buffer_crc = crc64(buffer.window()[:count], self._buffer_crc)
        buffer.filled += count
        self.received += count
        if self._size > self._engine.ladder.max_file:
            self._fail(too_large(self._key, self._engine.ladder.max_file))
        elif buffer.is_full and self._failure is None:
            self._send_part(buffer)

    async def wait(self) -> None:
        """Return when there is a window. Raises StorageError if the upload has failed."""
        while True:
            if self._failure:
                raise self._failure
            buffer = self._buffer or self._open_buffer()
            if buffer is None:
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            elif self.window():
                return
            elif self._may_end_part(buffer):
                self._send_part(buffer)
            else:
                await buffer.grow()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Copy `data` in, waiting for room as needed."""
        rest = memoryview(data)
        while rest:
            window = self.window()
            if not window:
                await self.wait()
                continue
            count = min(len(window), len(rest))
            window[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def _open_buffer(self) -> PartBuffer | None:
        """Begin the next part; None if so many are under way that one must end first."""
        ahead = len(self._sending)
        if ahead >= _PARTS_AHEAD or (ahead >= _PARTS_IN_COMPANY and self._engine.slots.locked()):
            return None
        ladder, least = self._engine.ladder, self._engine.client.dialect.min_part_bytes
        number = self._number + 1
        size = needed = ladder.size(number)
        if ladder.may_end_early(number, self._size + least):
            size, needed = self._engine.pool.size_of_part(size), least
        self._buffer = PartBuffer(self._engine.pool, size, needed)
        self._buffer_crc = 0
        return self._buffer

    def _may_end_part(self, buffer: PartBuffer) -> bool:
        """Whether a smaller part than planned sets memory free that others wait for."""
        engine = self._engine
        return (
            engine.pool.is_pressed
            and buffer.filled >= engine.client.dialect.min_part_bytes
            and engine.ladder.may_end_early(self._number + 1, self._size)
        )

    # Sending parts

    def _send_part(self, buffer: PartBuffer) -> None:
        self._buffer = None
        self._number += 1
        self._crc = combine(self._crc, self._buffer_crc, buffer.filled)
        begun = self._begin()
        number, crc = self._number, self._buffer_crc
        task = asyncio.create_task(self._store_part(begun, number, buffer, crc))
        self._sending.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            # Not in the task itself: one that is cancelled at once never begins to run.
            self._has_ended(task)
            # After a failure some connection may still be reading the memory.
            buffer.release(reusable=number in self._parts)

        task.add_done_callback(ended)

    def _begin(self) -> asyncio.Task[MultipartUpload]:
        """Begin the multipart upload, once; whoever needs it awaits the task, shielded."""
        if self._multipart is None:
            engine = self._engine
            begin = begin_multipart(engine.client, engine.records, self._key, self._options)
            self._multipart = asyncio.create_task(begin)
        return self._multipart

    async def _store_part(
        self, begun: asyncio.Task[MultipartUpload], number: int, buffer: PartBuffer, crc: int
    ) -> None:
        upload_id = (await asyncio.shield(begun)).upload_id
        async with self._engine.slots:
            body = buffer.contents()
            self._parts[number] = await self._upload_part(upload_id, number, body, crc)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)

    def _target_seen(self, look: asyncio.Future[Target]) -> None:
        """Stop an upload to an impossible name early."""
        if not look.cancelled() and (refusal := look.result().refusal()):
            self._fail(refusal)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        for task in self._sending:
            task.cancel()

    async def _upload_part(
        self, upload_id: str, number: int, body: memoryview, crc: int
    ) -> CompletedPart:
        """Send a part until COS acknowledges the checksum that was computed on arrival."""
        for _ in range(_ATTEMPTS):
            part = await self._engine.client.upload_part(self._key, upload_id, number, body)
            if part.crc64 is None or part.crc64 == crc:
                return CompletedPart(number, part.etag)
            _log.warning("%r part %d: sent CRC64 %d, stored %d", self._key, number, crc, part.crc64)
        raise self._error(ErrorKind.INTEGRITY, temporary=True)

    # Ending

    @property
    def is_publishing(self) -> bool:
        """Whether only the outcome can tell what is at the path."""
        return self._publication.is_under_way

    @property
    def is_overtaken(self) -> bool:
        """Whether something else has been stored at the path, or deleted, since it was opened."""
        return self._attempt.is_overtaken

    async def commit(
        self, confirm: Confirmation = _no_doubt, is_wanted: Callable[[], bool] = _always
    ) -> Receipt:
        """Publish the file; see `ObjectWriter.commit`."""
        if self._failure:
            raise self._failure
        if (beginning := self._beginning) and beginning.is_whole and not self.received:
            await confirm()
            await self._publication.check_continued()
            self._is_empty = True
            return Receipt(beginning.size, beginning.meta.crc64)
        if self._multipart is None:
            crc: int | None = self._buffer_crc
            body = self._buffer.contents() if self._buffer else memoryview(b"")
            stored = await self._publication.put(body, self._buffer_crc, confirm, is_wanted)
        else:
            stored = await self._commit_parts(self._multipart, confirm, is_wanted)
            crc = self._whole_crc()
        self._release_buffer(reusable=True)
        self.committed = True
        self._target.cancel()  # a file that was known to be there has not waited for the look
        if self._multipart is not None:
            await self._multipart.result().completed()
        return Receipt(self._size, stored.crc64 if crc is None else crc)

    def note_interruption(self) -> None:
        """Remember that this one broke off, although it was committed; see `ObjectWriter`."""
        self._attempts.break_off(self._attempt)

    def _whole_crc(self) -> int | None:
        """Return the checksum of kept and received bytes, None if that of the former is unknown."""
        if self._kept_crc is None:
            return None
        return combine(self._kept_crc, self._crc, self.received)

    async def _commit_parts(
        self,
        begun: asyncio.Task[MultipartUpload],
        confirm: Confirmation,
        is_wanted: Callable[[], bool],
    ) -> Stored:
        if self._buffer and self._buffer.filled:
            self._send_part(self._buffer)
        await confirm()
        if self._sending:
            await asyncio.wait(self._sending)
        if self._failure:
            raise self._failure
        if len(self._parts) != self._number:
            raise self._error(ErrorKind.INTEGRITY, temporary=True)
        parts = [self._parts[number] for number in sorted(self._parts)]
        upload = begun.result()
        return await self._publication.complete(
            upload.upload_id, parts, self._size, self._whole_crc(), is_wanted
        )

    async def abort(self) -> None:
        """Leave nothing behind: no task, memory, object or multipart upload. Never raises."""
        if self._is_empty:
            self._attempts.end(self._attempt)
        else:
            self._attempts.break_off(self._attempt)
        try:
            await self._publication.take_back()
            await dismiss(self._target, *self._sending)
        except asyncio.CancelledError:  # the server has waited long enough
            self._leave()
            raise
        finally:
            self._release_buffer(reusable=False)
        if self._multipart is None:
            return
        try:
            await asyncio.wait((self._multipart,))
        except asyncio.CancelledError:
            self._multipart.cancel()
            raise
        if not self._multipart.cancelled() and not self._multipart.exception():
            await self._multipart.result().discard()

    def _leave(self) -> None:
        """End everything at once, and write down what stays in the store."""
        self._target.cancel()
        for task in self._sending:
            task.cancel()
        if self._multipart is None:
            return
        if not self._multipart.done():
            self._multipart.cancel()
        elif not self._multipart.cancelled() and not self._multipart.exception():
            self._multipart.result().leave()

    def _release_buffer(self, *, reusable: bool) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.release(reusable=reusable)

    def _error(self, kind: ErrorKind, *, temporary: bool = False) -> StorageError:
        return StorageError(kind, operation="upload", key=self._key, temporary=temporary)


def too_large(key: str, most: int) -> StorageError:
    """Return the error for a file of more than `most` bytes."""
    detail = f"more than the {most} bytes that a file may have"
    return StorageError(ErrorKind.TOO_LARGE, operation="upload", key=key, detail=detail)
