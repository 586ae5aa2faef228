"""The content of an object as it arrives. Knows one answer, not how it came to be."""

import aiohttp

from cos_ftp_server.cos.transport import FOREIGN_ERRORS, translate
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["ObjectBody"]


class ObjectBody:
    """An opened object, or a range of one; made by `CosClient.get_object`."""

    def __init__(
        self, response: aiohttp.ClientResponse, meta: ObjectMeta, first: int, length: int
    ) -> None:
        self.meta = meta
        """The whole object's, also for a range."""
        self.first = first
        """Position in the object of the first byte that `read` returns."""
        self._response = response
        self._left = length

    async def read(self) -> bytes:
        """Return the next bytes, as many as lie in the buffer, or b"" at the end.

        Raises StorageError(UNAVAILABLE, temporary) when the body ends early or stalls.
        """
        content = self._response.content
        try:
            chunk, _ = await content.readchunk()  # neither joins nor copies
            while not chunk and not content.at_eof():  # empty at the end of an HTTP chunk
                chunk, _ = await content.readchunk()
        except FOREIGN_ERRORS as error:
            raise translate(error, "get object", self.meta.key) from error
        self._left -= len(chunk)
        if self._left < 0 or (not chunk and self._left):
            raise StorageError(
                ErrorKind.UNAVAILABLE,
                operation="get object",
                key=self.meta.key,
                temporary=True,
                detail=f"body ended {self._left} bytes before its announced end",
            )
        return chunk
