"""The operations on multipart uploads. Knows nothing of sockets, signatures or faults."""

import re
from contextlib import aclosing
from itertools import islice
from sqlite3 import Connection

from cos_ftp_server.emulator import xml
from cos_ftp_server.emulator.call import (
    Call,
    Reply,
    number_param,
    read_document,
    receive_content,
)
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.lookup import find_upload, parts_after
from cos_ftp_server.emulator.metadata import attributes_of
from cos_ftp_server.emulator.objects import check_copy_conditions, copy_source, written_headers

__all__ = [
    "abort_upload",
    "complete_upload",
    "initiate_upload",
    "list_parts",
    "upload_part",
    "upload_part_copy",
]

_MAX_PARTS = 10_000  # COS: Specifications and Limits
_MAX_PAGE = 1000  # COS: List Parts
_XML = {"Content-Type": "application/xml"}


async def initiate_upload(call: Call) -> Reply:
    """COS: Initiate Multipart Upload."""
    attributes = attributes_of(call.headers)
    upload_id = await call.store.write(
        lambda index: index.create_upload(
            call.address, attributes, call.now, forbid_overwrite=call.forbids_overwrite
        )
    )
    content = xml.element("UploadId", upload_id)
    body = xml.upload_result("InitiateMultipartUploadResult", call.address, content)
    return Reply(200, dict(_XML), body)


async def upload_part(call: Call) -> Reply:
    """COS: Upload Part."""
    if call.content_length is None:
        raise CosError("MissingContentLength", "A part needs a Content-Length.")
    upload_id, number = await _find_part_address(call)
    content = await receive_content(call, may_be_small=False)
    part = await call.store.write(
        lambda index: index.put_part(call.address, upload_id, number, content, call.now),
        blob=content.blob,
    )
    return Reply(200, written_headers(part.etag, part.crc))


async def upload_part_copy(call: Call) -> Reply:
    """COS: Upload Part - Copy."""
    upload_id, number = await _find_part_address(call)
    found = await call.store.open_object(copy_source(call))
    if found is None:
        raise CosError("NoSuchKey", "The copy source does not exist.")
    try:
        check_copy_conditions(call, found.meta)
        start, size = _copied_range(call, found.meta.size)
        async with aclosing(found.read(start, size)) as chunks:
            content = await call.store.receive(
                chunks, max_bytes=call.config.max_put_bytes, may_be_small=False
            )
    finally:
        found.close()
    part = await call.store.write(
        lambda index: index.put_part(call.address, upload_id, number, content, call.now),
        blob=content.blob,
    )
    return Reply(200, dict(_XML), xml.copy_result("CopyPartResult", part))


async def complete_upload(call: Call) -> Reply:
    """COS: Complete Multipart Upload."""
    wanted = xml.parse_completion(await read_document(call))
    stored = await call.store.write(
        lambda index: index.complete(
            call.address,
            call.query["uploadId"],
            wanted,
            call.now,
            min_part_bytes=call.config.min_part_bytes,
            forbid_overwrite=call.forbids_overwrite,
        )
    )
    body = xml.upload_result(
        "CompleteMultipartUploadResult",
        call.address,
        xml.element("Location", f"http://{call.headers.get('Host', '')}/{call.address.key}"),
        xml.element("ETag", f'"{stored.etag}"'),
    )
    return Reply(200, {**_XML, "x-cos-hash-crc64ecma": str(stored.crc)}, body)


async def abort_upload(call: Call) -> Reply:
    """COS: Abort Multipart Upload."""
    upload_id = call.query["uploadId"]
    await call.store.write(lambda index: index.abort(call.address, upload_id))
    return Reply(204)


async def list_parts(call: Call) -> Reply:
    """COS: List Parts."""
    upload_id = call.query["uploadId"]
    limit = number_param(call, "max-parts", _MAX_PAGE, _MAX_PAGE)
    marker = number_param(call, "part-number-marker", 0, _MAX_PARTS)

    def page(connection: Connection) -> bytes:
        find_upload(connection, call.address, upload_id)
        parts = list(islice(parts_after(connection, upload_id, marker), limit + 1))
        return xml.part_listing(
            call.address,
            upload_id,
            parts[:limit],
            marker=marker,
            limit=limit,
            truncated=0 < limit < len(parts),
            encoding=call.query.get("encoding-type", ""),
        )

    return Reply(200, dict(_XML), await call.store.ask(page))


def _copied_range(call: Call, source_size: int) -> tuple[int, int]:
    """Return start and length of what a part copy takes: unlike that of a GET, all must be there.

    Raises:
        CosError: InvalidArgument, InvalidRange, EntityTooLarge.
    """
    start, size = 0, source_size
    header = call.headers.get("x-cos-copy-source-range", "")
    if header:
        match = re.fullmatch(r"bytes=(\d{1,18})-(\d{1,18})", header)
        if match is None:
            raise CosError("InvalidArgument", "x-cos-copy-source-range: bytes=a-b expected.")
        start = int(match[1])
        size = int(match[2]) - start + 1
        if size <= 0 or start + size > source_size:
            raise CosError("InvalidRange", "The range is not within the copy source.")
    if size > call.config.max_put_bytes:
        raise CosError("EntityTooLarge", "A part of this size is not taken.")
    return start, size


async def _find_part_address(call: Call) -> tuple[str, int]:
    """Return UploadId and part number, before the body of the part is taken in.

    Raises:
        CosError: InvalidArgument, NoSuchUpload.
    """
    number = number_param(call, "partNumber", 0, _MAX_PARTS + 1)
    if not 1 <= number <= _MAX_PARTS:
        raise CosError("InvalidArgument", f"partNumber: 1 to {_MAX_PARTS} expected.")
    upload_id = call.query.get("uploadId", "")
    await call.store.ask(lambda connection: find_upload(connection, call.address, upload_id))
    return upload_id, number
