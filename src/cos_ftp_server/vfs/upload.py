"""Uploads: what arrives goes into part buffers, from there to COS, and becomes visible at the end.

A file that fits into one part is a single PUT; a longer one is a multipart upload whose parts
leave while the rest arrives. The CRC is computed on arrival, once per byte, and compared with
what COS answers. Whatever ends other than by `commit` leaves nothing behind.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.crc64 import combine, crc64
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import Confirmation, Receipt
from cos_ftp_server.vfs.buffers import BufferPool, PartBuffer
from cos_ftp_server.vfs.concurrency import dismiss
from cos_ftp_server.vfs.names import Target
from cos_ftp_server.vfs.parts import PartLadder

__all__ = ["Upload", "UploadEngine", "discard_multipart"]

_log = logging.getLogger(__name__)

_PARTS_AHEAD = 8
"""Parts of one upload that may be under way: enough for a store that gives each connection
50 MiB/s and 20 ms of latency to take more than 200 MiB/s, and a bound on one client's memory."""

_ATTEMPTS = 4
"""How often a part is sent again after a wrong checksum, or a complete settled."""

_HASTE_S = 0.005
"""How long a small file waits for doubts while it is not known whether it replaces another. A
client that was killed was seen to be gone within 0.5 ms, on a machine that was not overloaded."""

_ABORT_ATTEMPTS = 6
_PAUSE_S = 0.2  # doubled each time, with full jitter


async def _no_doubt() -> None:
    """Confirm at once."""


@dataclass(frozen=True, slots=True)
class UploadEngine:
    """What all uploads of an account share. `slots` bounds the parts in flight, server-wide."""

    client: CosClient
    pool: BufferPool
    ladder: PartLadder
    slots: asyncio.Semaphore


class Upload:
    """One file on its way into the bucket; implements `ObjectWriter`.

    `target` looks at the name while data arrives; it is awaited before the file can appear.
    Unless it `may_replace` a file, `commit` raises EXISTS when one has appeared meanwhile.
    """

    def __init__(
        self,
        engine: UploadEngine,
        key: str,
        options: ObjectOptions,
        target: asyncio.Task[Target],
        on_stored: Callable[[ObjectMeta], None],
        *,
        may_replace: bool = True,
    ) -> None:
        self.received = 0
        self.committed = False
        self._engine = engine
        self._key = key
        self._options = options
        self._target = target
        self._on_stored = on_stored
        self._may_replace = may_replace
        self._buffer: PartBuffer | None = None
        self._buffer_crc = 0
        self._crc = 0  # of all parts that have left; not of the buffer
        self._number = 0  # of the last part that has left
        self._upload_id: asyncio.Task[str] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._parts: dict[int, CompletedPart] = {}
        self._put_task: asyncio.Task[Stored] | None = None
        self._failure: StorageError | None = None
        target.add_done_callback(self._target_seen)

    # Receiving

    def window(self) -> memoryview:
        """Return free memory to receive into; empty when `wait` must be called."""
        if self._failure or not self._open_buffer():
            return memoryview(b"")
        assert self._buffer is not None  # noqa: S101 - for the type checker
        window = self._buffer.window()
        if not window and self._buffer.grow_now():
            window = self._buffer.window()
        return window

    def advance(self, count: int) -> None:
        """Take the first `count` bytes of the window as received."""
        buffer = self._buffer
        if buffer is None:
            raise ValueError("advance without a window")
        self._buffer_crc = crc64(buffer.window()[:count], self._buffer_crc)
        buffer.filled += count
        self.received += count
        if self.received > self._engine.ladder.max_file:
            self._fail(self._error(ErrorKind.TOO_LARGE))
        elif buffer.is_full:
            self._send_part()

    async def wait(self) -> None:
        """Return when there is a window. Raises StorageError if the upload has failed."""
        while True:
            if self._failure:
                raise self._failure
            if not self._open_buffer():
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            elif self.window():
                return
            elif self._may_end_part():
                self._send_part()
            elif self._buffer is not None:
                await self._buffer.grow()

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

    def _open_buffer(self) -> bool:
        if self._buffer is None and len(self._sending) < _PARTS_AHEAD:
            size = self._engine.ladder.size(self._number + 1)
            self._buffer = PartBuffer(self._engine.pool, size)
            self._buffer_crc = 0
        return self._buffer is not None

    def _may_end_part(self) -> bool:
        """Whether a smaller part than planned sets memory free that others wait for."""
        engine = self._engine
        return (
            engine.pool.is_pressed
            and self._buffer is not None
            and self._buffer.filled >= engine.client.dialect.min_part_bytes
            and engine.ladder.may_end_early(self._number + 1, self.received)
        )

    # Sending parts

    def _send_part(self) -> None:
        buffer, self._buffer = self._buffer, None
        assert buffer is not None  # noqa: S101 - for the type checker
        self._number += 1
        self._crc = combine(self._crc, self._buffer_crc, buffer.filled)
        if self._upload_id is None:
            begin = self._engine.client.initiate_multipart(self._key, options=self._options)
            self._upload_id = asyncio.create_task(begin)
        number, crc = self._number, self._buffer_crc
        task = asyncio.create_task(self._store_part(self._upload_id, number, buffer, crc))
        self._sending.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            # Not in the task itself: one that is cancelled at once never begins to run.
            self._sending.discard(task)
            # After a failure some connection may still be reading the memory.
            buffer.release(reusable=number in self._parts)

        task.add_done_callback(ended)

    async def _store_part(
        self, upload: asyncio.Task[str], number: int, buffer: PartBuffer, crc: int
    ) -> None:
        try:
            upload_id = await asyncio.shield(upload)
            async with self._engine.slots:
                part = await self._verified(
                    crc,
                    lambda: self._engine.client.upload_part(
                        self._key, upload_id, number, buffer.contents()
                    ),
                )
        except StorageError as error:
            self._fail(error)
        else:
            self._parts[number] = CompletedPart(number, part.etag)

    def _target_seen(self, look: asyncio.Task[Target]) -> None:
        """Stop an upload to an impossible name early."""
        if not look.cancelled() and (refusal := look.result().refusal()):
            self._fail(refusal)

    def _fail(self, error: StorageError) -> None:
        if self._failure is None:
            self._failure = error
        for task in self._sending:
            if task is not asyncio.current_task():
                task.cancel()

    async def _verified(self, crc: int, send: Callable[[], Awaitable[Stored]]) -> Stored:
        """Send until COS acknowledges the checksum that was computed on arrival."""
        for _ in range(_ATTEMPTS):
            stored = await send()
            if stored.crc64 is None or stored.crc64 == crc:
                return stored
            _log.warning("%r: sent CRC64 %d, stored %d", self._key, crc, stored.crc64)
            if not self._may_replace and self._upload_id is None:
                await self._engine.client.delete_object(self._key)  # or it would be in the way
        raise self._error(ErrorKind.INTEGRITY, temporary=True)

    # Ending

    async def commit(self, confirm: Confirmation = _no_doubt) -> Receipt:
        """Publish the file; see `ObjectWriter.commit`."""
        if self._failure:
            raise self._failure
        confirming = asyncio.create_task(confirm())
        try:
            if self._upload_id is None:
                stored = await self._commit_whole(confirming)
            else:
                stored = await self._commit_parts(self._upload_id, confirming)
        finally:
            await dismiss(confirming)
        self.committed = True
        self._on_stored(
            ObjectMeta(
                key=self._key,
                size=self.received,
                etag=stored.etag,
                modified=datetime.now(UTC).replace(microsecond=0),
                crc64=self._crc,
                options=self._options,
            )
        )
        return Receipt(self.received, self._crc)

    async def _commit_whole(self, confirming: asyncio.Task[None]) -> Stored:
        """PUT what is in the buffer.

        Where no file would be replaced, the confirmation is waited for meanwhile; should it fail,
        or the name turn out to be impossible, `abort` takes the new object away again. Where a
        file would be replaced, it is waited for first. A client that sends a small file in no
        time is done before that is known: then a moment must do, or each would cost it
        two round trips instead of one.
        """
        self._crc = self._buffer_crc
        if not self._is_new():
            patience = None if self._target.done() else _HASTE_S
            await asyncio.wait((confirming,), timeout=patience)
            if confirming.done():
                confirming.result()
        self._put_task = put = asyncio.create_task(self._put())
        await asyncio.wait((put, self._target, confirming))
        stored = put.result()
        confirming.result()
        if refusal := self._target.result().refusal():
            raise refusal
        self._release_buffer(reusable=True)
        return stored

    def _is_new(self) -> bool:
        """Whether the look at the name has found that there is no file."""
        target = self._target
        return target.done() and not target.cancelled() and not target.result().etag

    async def _put(self) -> Stored:
        body = self._buffer.contents() if self._buffer else b""
        client = self._engine.client
        try:
            return await self._verified(
                self._crc,
                lambda: client.put_object(
                    self._key,
                    body,
                    options=self._options,
                    forbid_overwrite=not self._may_replace,
                ),
            )
        except StorageError as error:
            if error.kind is ErrorKind.INTEGRITY:
                await client.delete_object(self._key)
            # What exists may be this very file, stored by a try that got no answer.
            elif (error.temporary or error.kind is ErrorKind.EXISTS) and (
                there := await self._look()
            ):
                return there
            raise

    async def _commit_parts(
        self, upload: asyncio.Task[str], confirming: asyncio.Task[None]
    ) -> Stored:
        if self._buffer and self._buffer.filled:
            self._send_part()
        if self._sending:
            await asyncio.wait(self._sending)
        if self._failure:
            raise self._failure
        if refusal := (await self._target).refusal():
            raise refusal
        await confirming
        parts = [self._parts[number] for number in sorted(self._parts)]
        stored = await self._complete(upload.result(), parts)
        if stored.crc64 is not None and stored.crc64 != self._crc:
            _log.error("%r: sent CRC64 %d, stored %d", self._key, self._crc, stored.crc64)
            await self._engine.client.delete_object(self._key)
            raise self._error(ErrorKind.INTEGRITY, temporary=True)
        self._release_buffer(reusable=True)
        return stored

    async def _complete(self, upload_id: str, parts: list[CompletedPart]) -> Stored:
        """Complete, and when the answer does not say what happened, look at what is there."""
        client = self._engine.client
        for attempt in range(_ATTEMPTS):
            try:
                return await client.complete_multipart(
                    self._key, upload_id, parts, forbid_overwrite=not self._may_replace
                )
            except StorageError as error:
                unclear = error.temporary or error.kind in (
                    ErrorKind.NO_UPLOAD,
                    ErrorKind.CONFLICT,
                )
                if not unclear:
                    raise
                if there := await self._look():
                    return there
                if error.kind is ErrorKind.NO_UPLOAD or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_PAUSE_S * 2**attempt * random.random())  # noqa: S311 - jitter
        raise self._error(ErrorKind.UNAVAILABLE, temporary=True)

    async def _look(self) -> Stored | None:
        """Return the object if it is, beyond doubt, what was sent."""
        try:
            meta = await self._engine.client.head_object(self._key)
        except StorageError as error:
            _log.warning("cannot tell whether %r was stored: %s", self._key, error)
            return None
        if meta.size != self.received or meta.crc64 != self._crc:
            return None
        return Stored(etag=meta.etag, crc64=meta.crc64)

    async def abort(self) -> None:
        """Leave nothing behind: no task, memory, object or multipart upload. Never raises."""
        if self._put_task is not None:
            await self._take_back(self._put_task)
        await dismiss(self._target, *self._sending)
        self._release_buffer(reusable=False)
        if self._upload_id is not None:
            await asyncio.wait((self._upload_id,))
            if not self._upload_id.cancelled() and not self._upload_id.exception():
                await discard_multipart(self._engine.client, self._key, self._upload_id.result())

    async def _take_back(self, put: asyncio.Task[Stored]) -> None:
        """End a PUT that is not to count.

        One that replaces a file is cut, and if that comes too late the whole new file is there.
        One that replaces none is let through and deleted, if it is still the same object.
        """
        if not self._is_new():
            await dismiss(put)
            return
        await asyncio.wait((put,))
        if put.cancelled() or put.exception():
            return
        try:
            meta = await self._engine.client.head_object(self._key)
            if meta.etag == put.result().etag:
                await self._engine.client.delete_object(self._key)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                _log.error("%r was stored but not acknowledged, and stays: %s", self._key, error)

    def _release_buffer(self, *, reusable: bool) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.release(reusable=reusable)

    def _error(self, kind: ErrorKind, *, temporary: bool = False) -> StorageError:
        return StorageError(kind, operation="upload", key=self._key, temporary=temporary)


async def discard_multipart(client: CosClient, key: str, upload_id: str) -> bool:
    """Abort a multipart upload until COS no longer knows it; say whether that was achieved.

    A part that was in flight may be recorded after the abort, hence the look afterwards
    (COS: Abort Multipart Upload). What stays is logged with its UploadId: it costs money.
    """
    left_behind = "multipart upload left behind: key=%r UploadId=%s: %s"
    problem: object = "parts are still listed"
    try:
        for attempt in range(_ABORT_ATTEMPTS):
            try:
                await client.abort_multipart(key, upload_id)
                await client.list_parts(key, upload_id)
            except StorageError as error:
                if error.kind is ErrorKind.NO_UPLOAD:
                    return True
                problem = error
            await asyncio.sleep(_PAUSE_S * 2**attempt * random.random())  # noqa: S311 - jitter
    except asyncio.CancelledError:
        _log.error(left_behind, key, upload_id, "the server was stopped")
        raise
    _log.error(left_behind, key, upload_id, problem)
    return False
