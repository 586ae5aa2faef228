"""The content of an object as it arrives. Knows one answer, not how it came to be."""

from cos_ftp_server.cos.http_error import HttpError
from cos_ftp_server.cos.transport import Stream, translate
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["ObjectBody"]

_PIECE_BYTES = 64 * 1024


class ObjectBody:
    """An opened object, or a range of one; made by `CosClient.get_object`. `aclose` it."""

    __slots__ = ("_left", "_stream", "first", "meta")

    def __init__(self, stream: Stream, meta: ObjectMeta, first: int, length: int) -> None:
        self.meta = meta
        """The whole object's, also for a range."""
        self.first = first
        """Position in the object of the first byte that is read."""
        self._stream = stream
        self._left = length

    def take(self, most: int) -> bytes:
        """Return the next bytes, at most `most`, if some are there already; else b""."""
        chunk = self._stream.take(min(most, self._left))
        self._left -= len(chunk)
        return chunk

    async def read_into(self, memory: memoryview, least: int = 1) -> int:
        """Receive the next bytes into `memory`; return how many, 0 at the end.

        They are at least `least`, unless the end, or a break, comes before. Raises
        StorageError(UNAVAILABLE, temporary) when the body ends early or stalls.
        """
        if not self._left:
            return 0
        try:
            count = await self._stream.read_into(memory[: self._left], least)
        except HttpError as error:
            raise translate(error, "get object", self.meta.key) from error
        self._left -= count
        if not count:
            raise StorageError(
                ErrorKind.UNAVAILABLE,
                operation="get object",
                key=self.meta.key,
                temporary=True,
                detail=f"body ended {self._left} bytes before its announced end",
            )
        return count

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end; for callers without memory for them.

        Raises as `read_into` does.
        """
        if piece := self.take(_PIECE_BYTES):
            return piece
        memory = memoryview(bytearray(min(_PIECE_BYTES, self._left)))
        return bytes(memory[: await self.read_into(memory)])

    async def aclose(self) -> None:
        """Let the connection go; a body that was not read to its end is cut."""
        await self._stream.aclose()
