"""Server-side copies of any size; no byte passes through the gateway."""

import asyncio
from collections.abc import Sequence

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.concurrency import together
from cos_ftp_server.vfs.multipart import MultipartUpload, begin_multipart
from cos_ftp_server.vfs.resume import Beginning
from cos_ftp_server.vfs.tree import Tree

__all__ = ["copy_object", "find_own_copy", "is_copy"]


def is_copy(copy: ObjectMeta, source: ObjectMeta) -> bool:
    """Whether both have the same content, as far as can be told without reading it.

    A copy made by parts may have another ETag; then only the CRC64 tells, which listings lack.
    """
    return copy.size == source.size and (
        copy.etag == source.etag or (copy.crc64 is not None and copy.crc64 == source.crc64)
    )


async def find_own_copy(client: CosClient, source: ObjectMeta, key: str) -> ObjectMeta | None:
    """Return what is in the way at `key` if it is the copy itself, by a try that got no answer."""
    copy, source = await together(client.head_object(key), client.head_object(source.key))
    return copy if is_copy(copy, source) else None


async def copy_object(
    tree: Tree,
    source: ObjectMeta,
    key: str,
    *,
    options: ObjectOptions | None = None,
    may_replace: bool = True,
) -> Stored:
    """Copy `source` to `key`, pinned by ETag, with its own options or with others.

    What the store says of the copy has been compared when this returns. Raises CHANGED if the
    source was replaced meanwhile, and EXISTS unless the copy `may_replace` an object. Above
    `dialect.max_copy_bytes`, `source` must be what HEAD tells.
    """
    options = options or source.options
    if source.size <= tree.client.dialect.max_copy_bytes:
        stored = await tree.client.copy_object(
            source.key,
            key,
            if_match=source.etag,
            options=options,
            replace_metadata=options != source.options,
            forbid_overwrite=not may_replace,
        )
    else:
        stored = await _copy_parts(tree, source, key, options, may_replace)
    await _verify(tree.client, source, key, stored, may_replace)
    return stored


async def _verify(
    client: CosClient, source: ObjectMeta, key: str, stored: Stored, may_replace: bool
) -> None:
    """Compare the copy with its source: by CRC64, by ETag, or where neither tells, by size.

    Only if the answer to the copy does not settle it, the objects themselves are asked. A wrong
    copy does not stay where there was nothing before.
    """
    if None in (stored.crc64, source.crc64):
        if stored.etag == source.etag:
            return
    elif stored.crc64 == source.crc64:
        return
    crc = (await client.head_object(source.key) if source.crc64 is None else source).crc64
    copy = await client.head_object(key)
    is_ours = copy.etag == stored.etag
    if is_ours and copy.size == source.size and (None in (copy.crc64, crc) or copy.crc64 == crc):
        return
    if is_ours and not may_replace:
        await client.delete_object(key)
    raise StorageError(
        ErrorKind.INTEGRITY,
        operation="copy",
        key=key,
        temporary=True,
        detail=f"{copy.size} bytes, CRC64 {copy.crc64} of {source.size} bytes, CRC64 {crc}",
    )


async def _copy_parts(
    tree: Tree, source: ObjectMeta, key: str, options: ObjectOptions, may_replace: bool
) -> Stored:
    begin = asyncio.create_task(begin_multipart(tree.client, tree.records, key, options))
    try:
        upload = await asyncio.shield(begin)
        copied = await Beginning(source, source.size).copy(tree.client, key, upload.upload_id)
        stored = await _complete(tree.client, source, key, upload, copied.parts, may_replace)
    except BaseException:
        await tree.cleanups.run(_discard(begin))
        raise
    await upload.completed()
    return stored


async def _discard(begin: asyncio.Task[MultipartUpload]) -> None:
    """End an upload that may still be about to begin."""
    try:
        upload = await begin
    except StorageError:
        return
    await upload.discard()


async def _complete(
    client: CosClient,
    source: ObjectMeta,
    key: str,
    upload: MultipartUpload,
    parts: Sequence[CompletedPart],
    may_replace: bool,
) -> Stored:
    """Complete, and when the answer does not say what happened, look at what is there."""
    try:
        return await client.complete_multipart(
            key, upload.upload_id, parts, forbid_overwrite=not may_replace
        )
    except StorageError as error:
        if not error.temporary and error.kind is not ErrorKind.NO_UPLOAD:
            raise
        there = await _look(client, key)
        if there is None or there.crc64 is None or not is_copy(there, source):
            raise
        return Stored(etag=there.etag, crc64=there.crc64)


async def _look(client: CosClient, key: str) -> ObjectMeta | None:
    try:
        return await client.head_object(key)
    except StorageError:
        return None
