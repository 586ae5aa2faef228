"""Downloads: one GET for a small file, ranges read ahead for a large one, never a mixture.

The first GET pins the object's ETag. A body that breaks off is continued from where it was, and
every further request names that ETag, so that an object replaced meanwhile ends the download
with CHANGED instead of mixed bytes.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack

from cos_ftp_server.cos.client import CosClient, ObjectBody
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import StorageError
from cos_ftp_server.vfs.base import FileInfo
from cos_ftp_server.vfs.buffers import BufferPool

__all__ = ["Download", "ObjectRange"]

SEGMENT = 8 * 1024 * 1024
"""Bytes of one range. With 20 ms of latency and 50 MiB/s for each connection, six of them
under way carry more than 250 MiB/s."""

_AHEAD = 8
"""Segments read ahead at most."""

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
        self._opened = AsyncExitStack()
        self._body: ObjectBody | None = None

    async def open(self) -> ObjectMeta:
        """Send the GET, pin the ETag for all that follow, and return what the object is."""
        last = None if self.end is None else self.end - 1
        body = await self._opened.enter_async_context(
            self._client.get_object(self._key, first=self.position, last=last, if_match=self._etag)
        )
        self._body = body
        self._etag = body.meta.etag
        if self.end is None:
            self.end = body.meta.size
        return body.meta

    async def read(self) -> bytes:
        """Return the next chunk, b"" at `end`."""
        while self.end is None or self.position < self.end:
            try:
                if self._body is None:
                    await self.open()
                    continue
                chunk = await self._body.read()
            except StorageError as error:
                self._breaks += 1
                if not error.temporary or self._breaks > _BREAKS:
                    raise
                chunk = b""
            if chunk:
                return self._take(chunk)
            await self.aclose()
        await self.aclose()
        return b""

    def _take(self, chunk: bytes) -> bytes:
        self._breaks = 0
        if self.end is not None and len(chunk) > self.end - self.position:
            chunk = chunk[: self.end - self.position]
        self.position += len(chunk)
        return chunk

    async def aclose(self) -> None:
        """Let the connection go; a body that was not read to its end is cut."""
        self._body = None
        await self._opened.aclose()


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
    ) -> None:
        self.info = info
        self.offset = opened.position
        self._client = client
        self._pool = pool
        self._meta = meta
        if meta.size - opened.position > 2 * SEGMENT:
            opened.end = opened.position + SEGMENT
        self._direct: ObjectRange | None = opened  # passed on as it comes, held nowhere
        self._planned = opened.end or meta.size  # end of the last segment that somebody fetches
        self._window = 1
        self._ahead: deque[asyncio.Task[Sequence[bytes]]] = deque()
        self._ready: deque[bytes] = deque()
        self._taken = 0  # bytes of the pool held for `_ahead` and `_ready`

    async def read(self) -> bytes:
        """Return the next chunk, b"" at the end; see `ObjectReader.read`."""
        while True:
            if self._ready:
                return self._next_ready()
            self._read_ahead()
            if self._direct is not None:
                if chunk := await self._direct.read():
                    return chunk
                self._direct = None
            elif self._ahead:
                await self._await_segment()
            elif self._planned < self._meta.size:
                self._direct = self._segment()
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
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)
        self._ahead.clear()
        self._ready.clear()
        self._pool.give_back(self._taken)
        self._taken = 0

    def _next_ready(self) -> bytes:
        chunk = self._ready.popleft()
        if not self._ready:
            self._taken -= SEGMENT
            self._pool.give_back(SEGMENT)
        return chunk

    async def _await_segment(self) -> None:
        if not self._ahead[0].done():
            self._window = min(self._window + 1, _AHEAD)
            self._read_ahead()
        self._ready.extend(await self._ahead[0])
        self._ahead.popleft()

    def _read_ahead(self) -> None:
        """Begin fetching further segments, as far as the window and the memory allow."""
        while len(self._ahead) < self._window and self._planned < self._meta.size:
            if not self._pool.try_take(SEGMENT):
                return
            self._taken += SEGMENT
            self._ahead.append(asyncio.create_task(self._fetch(self._segment())))

    def _segment(self) -> ObjectRange:
        first = self._planned
        self._planned = min(first + SEGMENT, self._meta.size)
        return ObjectRange(self._client, self._meta.key, first, self._planned, self._meta.etag)

    async def _fetch(self, segment: ObjectRange) -> Sequence[bytes]:
        chunks = []
        try:
            while chunk := await segment.read():
                chunks.append(chunk)
        finally:
            await segment.aclose()
        return chunks
