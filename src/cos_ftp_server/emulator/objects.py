"""The operations on single objects. Knows nothing of sockets, signatures or faults."""

from cos_ftp_server.emulator import xml
from cos_ftp_server.emulator.call import Call, ObjectRange, Reply, receive_content
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.metadata import (
    attributes_of,
    is_modified,
    object_headers,
    requested_range,
    storage_class_of,
)
from cos_ftp_server.emulator.records import Address, Attributes, StoredObject
from cos_ftp_server.emulator.target import parse_copy_source, parse_number

__all__ = [
    "append_object",
    "copy_object",
    "copy_source",
    "delete_object",
    "get_object",
    "head_object",
    "put_object",
    "written_headers",
]

_COPY_SOURCE = "x-cos-copy-source"
_OVERRIDES = {  # COS: GET Object, request parameters
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}


async def head_object(call: Call) -> Reply:
    """COS: HEAD Object."""
    stored = await call.store.find_object(call.address)
    if stored is None:
        raise _no_such_key()
    if not is_modified(call.headers, stored):
        return Reply(304, {"ETag": f'"{stored.etag}"'})
    return Reply(200, {**object_headers(stored), "Content-Length": str(stored.size)})


async def get_object(call: Call) -> Reply:
    """COS: GET Object."""
    found = await call.store.open_object(call.address)
    if found is None:
        raise _no_such_key()
    try:
        stored = found.meta
        if not is_modified(call.headers, stored):
            found.close()
            return Reply(304, {"ETag": f'"{stored.etag}"'})
        headers = object_headers(stored)
        for param, header in _OVERRIDES.items():
            if param in call.query:
                headers[header] = _header_value(call.query[param])
        wanted = requested_range(call.headers.get("Range", ""), stored.size)
    except BaseException:
        found.close()
        raise
    if wanted is None:
        return Reply(200, headers, content=ObjectRange(found, 0, stored.size))
    start, size = wanted
    headers["Content-Range"] = f"bytes {start}-{start + size - 1}/{stored.size}"
    return Reply(206, headers, content=ObjectRange(found, start, size))


async def put_object(call: Call) -> Reply:
    """COS: PUT Object."""
    attributes = attributes_of(call.headers)
    content = await receive_content(call, may_be_small=True)
    stored = await call.store.write(
        lambda index: index.put(
            call.address,
            content,
            attributes,
            call.now,
            forbid_overwrite=call.forbids_overwrite,
        ),
        blob=content.blob,
    )
    return Reply(200, written_headers(stored.etag, stored.crc))


async def append_object(call: Call) -> Reply:
    """COS: Append Object."""
    position = parse_number(call.query.get("position", ""))
    if position is None:
        raise CosError("InvalidArgument", "position is not a number.")
    attributes = attributes_of(call.headers)
    content = await receive_content(call, may_be_small=False)
    stored = await call.store.write(
        lambda index: index.append(
            call.address,
            content,
            attributes,
            call.now,
            position=position,
            max_bytes=call.config.max_put_bytes,
        ),
        blob=content.blob,
    )
    headers = written_headers(stored.etag, stored.crc)
    return Reply(200, {**headers, "x-cos-next-append-position": str(stored.size)})


async def copy_object(call: Call) -> Reply:
    """COS: PUT Object - Copy."""
    source = copy_source(call)
    directive = call.headers.get("x-cos-metadata-directive", "Copy").lower()
    if directive not in ("copy", "replaced"):
        raise CosError("InvalidArgument", "x-cos-metadata-directive: Copy or Replaced expected.")
    if directive == "copy" and source == call.address:
        raise CosError("InvalidRequest", "A copy onto itself must replace the metadata.")
    replaced = attributes_of(call.headers)

    def attributes(found: StoredObject) -> Attributes:
        check_copy_conditions(call, found)
        if found.size > call.config.max_put_bytes:
            raise CosError("EntityTooLarge", "An object of this size is copied by parts.")
        if directive == "replaced":
            return replaced
        # The storage class is not inherited.
        return Attributes(found.attributes.headers, storage_class_of(call.headers))

    stored = await call.store.write(
        lambda index: index.copy(
            source, call.address, attributes, call.now, forbid_overwrite=call.forbids_overwrite
        )
    )
    return Reply(
        200, {"Content-Type": "application/xml"}, xml.copy_result("CopyObjectResult", stored)
    )


async def delete_object(call: Call) -> Reply:
    """COS: DELETE Object; one that is not there counts as deleted."""
    await call.store.write(lambda index: index.delete([call.address]))
    return Reply(204)


def copy_source(call: Call) -> Address:
    """Return the source of a copy.

    Raises:
        CosError: InvalidCopySource, NoSuchBucket, AccessDenied.
    """
    buckets = {bucket.name for bucket in call.config.buckets}
    bucket, key = parse_copy_source(call.headers[_COPY_SOURCE], buckets)
    if bucket not in call.readable:
        raise CosError("AccessDenied", "The SecretId may not read the copy source.")
    return Address(bucket, key)


def check_copy_conditions(call: Call, found: StoredObject) -> None:
    """Raise PreconditionFailed unless the `x-cos-copy-source-If-*` headers agree to the copy."""
    if not is_modified(call.headers, found, prefix=f"{_COPY_SOURCE}-"):
        raise CosError("PreconditionFailed", "The copy source is not the expected one.")


def written_headers(etag: str, crc: int) -> dict[str, str]:
    """Return the receipt for content that is stored now."""
    return {"ETag": f'"{etag}"', "x-cos-hash-crc64ecma": str(crc)}


def _header_value(text: str) -> str:
    """Return a parameter that may be given back as a header; a line break would end the header.

    Raises:
        CosError: InvalidArgument.
    """
    if not text.isprintable():
        raise CosError("InvalidArgument", "A response-* parameter has control characters.")
    return text


def _no_such_key() -> CosError:
    return CosError("NoSuchKey", "The specified key does not exist.")
