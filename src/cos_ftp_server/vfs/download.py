"""Downloads: one GET for a small file, ranges read ahead for a large one, never a mixture.

The first GET pins the object's ETag. A body that breaks off is continued from where it was, and
every further request names that ETag, so that an object replaced meanwhile ends the download
with CHANGED instead of mixed bytes. The last bytes of a whole file are only given away if its CRC64
is the one that the store has told.
"""

import asyncio
import mmap
from collections import deque

from cos_ftp_server.cos.client import CosClient, ObjectBody
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.crc64 import crc64
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import FileInfo
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.damaged import DamagedFiles

__all__ = ["Download", "ObjectRange"]

SEGMENT = 8 * 1024 * 1024
"""Bytes of one range. With 20 ms of latency and 50 MiB/s for each connection, six of them
under way carry more than 250 MiB/s."""

_AHEAD = 8
"""Segments read ahead at most."""

_CHUNK = 1024 * 1024
"""Bytes handed to the client at a time of what was read ahead."""

_DIRECT_CHUNK = 256 * 1024
"""Bytes passed on at a time where nothing is read ahead: they stay in the processor's cache."""

_BREAKS = 5
"""Bodies that may break off one after the other without a single byte in between."""


class ObjectRange:
    """The bytes [position, end) of one object, opened again where they break off.

    `end` may be None until `open` has told the size. Close it with `aclose`.
    """

    def __init__(
        self, client: CosClient, key: str, position: int, end: int | None, etag: str = ""
    ) -> None:
        self.position = position
        self.end = end
        self._client = client
        self._key = key
        self._etag = etag
        self._breaks = 0
        self._body: ObjectBody | None = None

    async def open(self) -> ObjectMeta:
        """Send the GET, pin the ETag for all that follow, and return what the object is."""
        last = None if self.end is None else self.end - 1
        body = await self._client.get_object(
            self._key, first=self.position, last=last, if_match=self._etag
        )
        self._body = body
        self._etag = body.meta.etag
        if self.end is None:
            self.end = body.meta.size
        return body.meta

    @property
    def left(self) -> int:
        """Bytes until `end`, which is known."""
        assert self.end is not None  # noqa: S101 - for the type checker: `open` sets it
        return self.end - self.position

    def take(self) -> bytes:
        """Return the next bytes if some have come with the head of the answer, else b""."""
        if self._body is None:
            return b""
        chunk = self._body.take(self.left)
        self.position += len(chunk)
        return chunk

    async def read_into(self, memory: memoryview, least: int = 1) -> int:
        """Receive the next bytes into `memory`; return how many, 0 at `end`.

        They are at least `least`, unless the end, or a break, comes before.
        """
        while self.end is None or self.left:
            try:
                if self._body is None:
                    await self.open()
                    continue
                count = await self._body.read_into(memory[: self.left], least)
                if not count:
                    raise self._ended_early()
            except StorageError as error:
                self._breaks += 1
                if not error.temporary or self._breaks > _BREAKS:
                    raise
                await self.aclose()
                continue
            self._breaks = 0
            self.position += count
            return count
        return 0

    def _ended_early(self) -> StorageError:
        """A store may answer with less than the range (RFC 9110 section 15.3.7)."""
        return StorageError(
            ErrorKind.UNAVAILABLE,
            operation="get object",
            key=self._key,
            temporary=True,
            detail=f"{self.left} bytes less than asked for",
        )

    async def aclose(self) -> None:
        """Let the connection go; a body that was not read to its end is cut."""
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()


class Download:
    """One object on its way to a client; implements `ObjectReader`.

    Reading ahead begins with one segment and widens each time the client turns out to be
    faster than the store: a slow client holds no memory that it has no use for.
    """

    def __init__(
        self,
        client: CosClient,
        pool: BufferPool,
        info: FileInfo,
        meta: ObjectMeta,
        opened: ObjectRange,
        damaged: DamagedFiles,
    ) -> None:
        self.info = info
        self._damaged = damaged
        self.offset = opened.position
        self._client = client
        self._pool = pool
        self._meta = meta
        self._crc = 0 if opened.position == 0 else None  # of a part nobody knows what it should be
        self._left = meta.size - opened.position
        if meta.size - opened.position > 2 * SEGMENT:
            opened.end = opened.position + SEGMENT
        self._direct: ObjectRange | None = opened  # passed on as it comes
        self._passing: memoryview | None = None  # its memory, once more is needed than came
        self._planned = opened.end or meta.size  # end of the last segment that somebody fetches
        self._window = 1
        self._ahead: deque[_Segment] = deque()
        self._ready: _Segment | None = None

    async def read(self) -> bytes | memoryview:
        """Return the next chunk, b"" at the end; see `ObjectReader.read`."""
        try:
            chunk = await self._next_chunk()
        except StorageError as error:
            if error.kind in (ErrorKind.CHANGED, ErrorKind.NOT_FOUND):
                self._damaged.note_change(self._meta.key)
            raise
        if self._crc is not None and self._meta.crc64 is not None:
            self._crc = crc64(chunk, self._crc)
            self._left -= len(chunk)
            if not self._left:
                self._check(self._crc)
        return chunk

    def _check(self, crc: int) -> None:
        """Raise DAMAGED instead of giving the last bytes away: the client gets less than the file,
        whether or not it heeds the reply.
        """
        key, etag = self._meta.key, self._meta.etag
        if crc == self._meta.crc64:
            self._damaged.clear(key)
            return
        self._damaged.note(key, etag)
        detail = f"received CRC64 {crc}, stored {self._meta.crc64}"
        raise StorageError(ErrorKind.DAMAGED, operation="get object", key=key, detail=detail)

    async def _next_chunk(self) -> bytes | memoryview:
        while True:
            if self._ready is not None:
                if chunk := self._ready.next_chunk():
                    return chunk
                self._give_back(self._ready)
                self._ready = None
            self._read_ahead()
            if self._direct is not None:
                if passed := await self._pass_on(self._direct):
                    return passed
                await self._direct.aclose()
                self._direct = None
            elif self._ahead:
                self._ready = await self._await_segment()
            elif self._planned < self._meta.size:
                self._direct = self._plan()
            else:
                return b""

    @property
    def is_closed(self) -> bool:
        """Whether nothing is held any more, as after reading to the end."""
        return self._direct is None and not self._ahead and not self._ready

    async def aclose(self) -> None:
        """Stop reading ahead and give all memory and connections back."""
        if self._direct is not None:
            await self._direct.aclose()
        if not self._ahead and self._ready is None:
            return
        for segment in self._ahead:
            segment.fetching.cancel()
        await asyncio.gather(*[segment.fetching for segment in self._ahead], return_exceptions=True)
        # A data connection that was cut drops what it had queued in the loop's next iteration.
        await asyncio.sleep(0)
        if self._ready is not None:
            self._ahead.append(self._ready)
            self._ready = None
        while self._ahead:
            self._give_back(self._ahead.popleft())

    async def _pass_on(self, source: ObjectRange) -> bytes | memoryview:
        if not source.left:
            return b""
        if chunk := source.take():
            return chunk
        if self._passing is None:  # for other ranges, too, which may have more left than this one
            self._passing = memoryview(bytearray(min(_DIRECT_CHUNK, self._meta.size)))
        return self._passing[: await source.read_into(self._passing)]

    async def _await_segment(self) -> "_Segment":
        if not self._ahead[0].fetching.done():
            self._window = min(self._window + 1, _AHEAD)
            self._read_ahead()
        await self._ahead[0].fetching
        return self._ahead.popleft()

    def _read_ahead(self) -> None:
        """Begin fetching further segments, as far as the window and the memory allow."""
        while self._planned < self._meta.size and len(self._ahead) < self._window:
            memory = self._pool.try_take(SEGMENT)
            if memory is None:
                return
            self._ahead.append(_Segment(self._plan(), memory))

    def _give_back(self, segment: "_Segment") -> None:
        segment.left = memoryview(b"")
        self._pool.give_back(segment.memory)

    def _plan(self) -> ObjectRange:
        first = self._planned
        self._planned = min(first + SEGMENT, self._meta.size)
        return ObjectRange(self._client, self._meta.key, first, self._planned, self._meta.etag)


class _Segment:
    """A range that is fetched into `memory`, to be handed out once it is all there."""

    def __init__(self, source: ObjectRange, memory: mmap.mmap) -> None:
        self.memory = memory
        self.left = memoryview(memory)[: source.left]
        self.fetching = asyncio.create_task(self._fetch(source))

    async def _fetch(self, source: ObjectRange) -> None:
        room = self.left
        try:
            while room:
                room = room[await source.read_into(room, len(room)) :]
        finally:
            await source.aclose()

    def next_chunk(self) -> memoryview:
        """Return the next bytes, none at the end."""
        chunk, self.left = self.left[:_CHUNK], self.left[_CHUNK:]
        return chunk
