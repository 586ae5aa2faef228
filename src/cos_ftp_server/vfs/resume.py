"""The bytes of a file that stay when it is resumed or appended to: an object is never changed in
place, so they become the beginning of a new one.

The store copies them itself; only fewer than a part may have pass through the gateway. It must
not know how the rest of the file comes.
"""

import asyncio
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta
from cos_ftp_server.crc64 import combine, crc64
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.concurrency import together
from cos_ftp_server.vfs.download import ObjectRange

__all__ = ["Beginning", "CopiedBeginning"]

_GIB = 1024**3

_PARALLEL_COPIES = 8

_SMALL_COPY = _GIB
_LARGE_COPY = 5 * _GIB
"""Bytes of one part copy: small ones run side by side, the largest that COS allows leave part
numbers for the rest of a file (COS: Upload Part - Copy)."""

_MANY_COPIES = 100
"""Small copies before large ones are made: a hundredth of the 10,000 parts that there are."""


@dataclass(frozen=True, slots=True)
class CopiedBeginning:
    """The parts 1 to n of an upload; `crc64` is of all of them, None if the store does not say."""

    parts: tuple[CompletedPart, ...]
    crc64: int | None


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first `size` bytes of the object `meta`, pinned by its ETag.

    All its methods raise CHANGED when the object is not the same any more.
    """

    meta: ObjectMeta
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether all of the object is kept."""
        return self.size == self.meta.size

    def ranges(self) -> list[tuple[int, int]]:
        """Return the first and last byte of each part; all are of nearly the same size."""
        most = _SMALL_COPY if self.size <= _MANY_COPIES * _SMALL_COPY else _LARGE_COPY
        count = -(-self.size // most)
        ends = [self.size * number // count for number in range(count + 1)]
        return [(first, end - 1) for first, end in pairwise(ends)]

    async def read(self, client: CosClient) -> bytearray:
        """Return the bytes themselves, when they are too few for a part.

        The store tells no checksum of less than all, and some stores tell none: what comes twice
        alike is not damaged.
        """
        if self.is_whole and self.meta.crc64 is not None:
            data = await self._read(client)
            self._compare(crc64(data))
            return data
        data, again = await together(self._read(client), self._read(client))
        if data != again:
            raise self._mismatch("it has come in two ways")
        return data

    async def _read(self, client: CosClient) -> bytearray:
        source = ObjectRange(client, self.meta.key, 0, self.size, self.meta.etag)
        data = bytearray(self.size)
        room = memoryview(data)
        try:
            while room:
                room = room[await source.read_into(room, len(room)) :]
        except StorageError as error:
            raise self._explained(error) from error
        finally:
            await source.aclose()
        return data

    async def copy(self, client: CosClient, key: str, upload_id: str) -> CopiedBeginning:
        """Make the bytes the first parts of an upload to `key`."""
        slots = asyncio.Semaphore(_PARALLEL_COPIES)

        async def copy_part(number: int, first: int, last: int) -> tuple[str, int, int | None]:
            async with slots:
                part = await client.copy_part(
                    self.meta.key,
                    key,
                    upload_id,
                    number,
                    first=first,
                    last=last,
                    if_match=self.meta.etag,
                )
            return part.etag, last + 1 - first, part.crc64

        ranges = self.ranges()
        try:
            copied = await together(
                *(copy_part(number, first, last) for number, (first, last) in enumerate(ranges, 1))
            )
        except StorageError as error:
            raise self._explained(error) from error
        crc = reduce(_combine, ((part_crc, size) for _, size, part_crc in copied))[0]
        self._compare(crc)
        parts = tuple(CompletedPart(number, etag) for number, (etag, *_) in enumerate(copied, 1))
        return CopiedBeginning(parts, crc)

    def _explained(self, error: StorageError) -> StorageError:
        """Return what it means that the object is not there, or not the same, any more."""
        if error.kind not in (ErrorKind.CHANGED, ErrorKind.NOT_FOUND):
            return error
        return StorageError(
            ErrorKind.CHANGED, operation="resume", key=self.meta.key, temporary=True
        )

    def _compare(self, crc: int | None) -> None:
        if self.is_whole and None not in (crc, self.meta.crc64) and crc != self.meta.crc64:
            raise self._mismatch(f"CRC64 of the file {self.meta.crc64}, of what was kept {crc}")

    def _mismatch(self, detail: str) -> StorageError:
        return StorageError(
            ErrorKind.INTEGRITY,
            operation="resume",
            key=self.meta.key,
            temporary=True,
            detail=detail,
        )


def _combine(
    first: tuple[int | None, int], second: tuple[int | None, int]
) -> tuple[int | None, int]:
    """Join the checksums and sizes of two neighbours."""
    size = first[1] + second[1]
    if first[0] is None or second[0] is None:
        return None, size
    return combine(first[0], second[0], second[1]), size
