"""The bytes that everybody here sends: one random block, over and over.

Any part of any object is known without keeping it, and so is its checksum. Pure.
"""

import random
from functools import lru_cache

from cos_ftp_server.crc64 import combine, crc64

__all__ = ["BLOCK_BYTES", "crc_of", "piece"]

BLOCK_BYTES = 1024 * 1024

# Twice, so that a piece of up to a block's length is contiguous wherever it begins.
_TWICE = memoryview(random.Random(1).randbytes(BLOCK_BYTES) * 2)


def piece(offset: int, length: int) -> memoryview:
    """Return the bytes of every object from `offset`; `length` is at most BLOCK_BYTES."""
    start = offset % BLOCK_BYTES
    return _TWICE[start : start + length]


@lru_cache(maxsize=1024)
def crc_of(size: int) -> int:
    """Return the CRC-64 of an object's first `size` bytes."""
    blocks, rest = divmod(size, BLOCK_BYTES)
    block_crc, result = crc64(piece(0, BLOCK_BYTES)), 0
    for _ in range(blocks):
        result = combine(result, block_crc, BLOCK_BYTES)
    return combine(result, crc64(piece(0, rest)), rest)
