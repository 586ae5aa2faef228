"""Server-side copies of any size; no byte passes through the gateway."""

import asyncio

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.upload import discard_multipart

__all__ = ["copy_object"]

_COPY_PART = 1024**3
"""Bytes of one part copy; COS allows 5 GiB, smaller ones run side by side."""

_PARALLEL_PARTS = 8


async def copy_object(client: CosClient, source: ObjectMeta, key: str) -> Stored:
    """Copy `source` to `key`, pinned by ETag, with its storage class and metadata.

    The copy's checksum has been compared when this returns. Raises CHANGED if the source was
    replaced meanwhile.
    """
    if source.size <= client.dialect.max_copy_bytes:
        stored = await client.copy_object(
            source.key, key, if_match=source.etag, options=source.options
        )
    else:
        stored = await _copy_parts(client, source, key)
    if None not in (stored.crc64, source.crc64) and stored.crc64 != source.crc64:
        raise StorageError(
            ErrorKind.INTEGRITY,
            operation="copy",
            key=key,
            temporary=True,
            detail=f"CRC64 of the source {source.crc64}, of the copy {stored.crc64}",
        )
    return stored


async def _copy_parts(client: CosClient, source: ObjectMeta, key: str) -> Stored:
    upload_id = await client.initiate_multipart(key, options=source.options)
    slots = asyncio.Semaphore(_PARALLEL_PARTS)

    async def copy_part(number: int, first: int) -> CompletedPart:
        last = min(first + _COPY_PART, source.size) - 1
        async with slots:
            part = await client.copy_part(
                source.key, key, upload_id, number, first=first, last=last, if_match=source.etag
            )
        return CompletedPart(number, part.etag)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(copy_part(number, first))
                for number, first in enumerate(range(0, source.size, _COPY_PART), 1)
            ]
        return await client.complete_multipart(key, upload_id, [task.result() for task in tasks])
    except BaseException as error:
        await asyncio.shield(discard_multipart(client, key, upload_id))
        if isinstance(error, BaseExceptionGroup):
            raise error.exceptions[0] from error
        raise
