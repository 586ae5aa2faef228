"""Server-side copies of any size; no byte passes through the gateway."""

import asyncio

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.multipart import UploadRecords, begin_multipart

__all__ = ["copy_object"]

_COPY_PART = 1024**3
"""Bytes of one part copy; COS allows 5 GiB, smaller ones run side by side."""

_PARALLEL_PARTS = 8


async def copy_object(
    client: CosClient,
    records: UploadRecords,
    cleanups: Cleanups,
    source: ObjectMeta,
    key: str,
    *,
    options: ObjectOptions | None = None,
    may_replace: bool = True,
) -> Stored:
    """Copy `source` to `key`, pinned by ETag, with its own options or with others.

    The copy's checksum has been compared when this returns. Raises CHANGED if the source was
    replaced meanwhile, and EXISTS unless the copy `may_replace` an object.
    """
    options = options or source.options
    if source.size <= client.dialect.max_copy_bytes:
        stored = await client.copy_object(
            source.key,
            key,
            if_match=source.etag,
            options=options,
            replace_metadata=options != source.options,
            forbid_overwrite=not may_replace,
        )
    else:
        stored = await _copy_parts(client, records, cleanups, source, key, options, may_replace)
    if None not in (stored.crc64, source.crc64) and stored.crc64 != source.crc64:
        raise StorageError(
            ErrorKind.INTEGRITY,
            operation="copy",
            key=key,
            temporary=True,
            detail=f"CRC64 of the source {source.crc64}, of the copy {stored.crc64}",
        )
    return stored


async def _copy_parts(
    client: CosClient,
    records: UploadRecords,
    cleanups: Cleanups,
    source: ObjectMeta,
    key: str,
    options: ObjectOptions,
    may_replace: bool,
) -> Stored:
    upload = await begin_multipart(client, records, key, options)
    slots = asyncio.Semaphore(_PARALLEL_PARTS)

    async def copy_part(number: int, first: int) -> CompletedPart:
        last = min(first + _COPY_PART, source.size) - 1
        async with slots:
            part = await client.copy_part(
                source.key,
                key,
                upload.upload_id,
                number,
                first=first,
                last=last,
                if_match=source.etag,
            )
        return CompletedPart(number, part.etag)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(copy_part(number, first))
                for number, first in enumerate(range(0, source.size, _COPY_PART), 1)
            ]
        parts = [task.result() for task in tasks]
        stored = await _complete(client, source, key, upload.upload_id, parts, may_replace)
    except BaseException as error:
        await cleanups.run(upload.discard())
        if isinstance(error, BaseExceptionGroup):
            raise error.exceptions[0] from error
        raise
    await upload.completed()
    return stored


async def _complete(
    client: CosClient,
    source: ObjectMeta,
    key: str,
    upload_id: str,
    parts: list[CompletedPart],
    may_replace: bool,
) -> Stored:
    """Complete, and when the answer does not say what happened, look at what is there."""
    try:
        return await client.complete_multipart(
            key, upload_id, parts, forbid_overwrite=not may_replace
        )
    except StorageError as error:
        if not error.temporary and error.kind is not ErrorKind.NO_UPLOAD:
            raise
        meta = await client.head_object(key)
        if meta.crc64 is None or (meta.size, meta.crc64) != (source.size, source.crc64):
            raise
        return Stored(etag=meta.etag, crc64=meta.crc64)
