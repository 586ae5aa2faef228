"""The operations on buckets: listings and multi-delete. Knows nothing of sockets or faults."""

import dataclasses
from sqlite3 import Connection

from cos_ftp_server.emulator import xml
from cos_ftp_server.emulator.call import Call, Reply, number_param, read_document
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.listing import PageQuery, hiding_recent, list_page
from cos_ftp_server.emulator.lookup import object_rows, upload_rows
from cos_ftp_server.emulator.records import Address

__all__ = ["delete_objects", "head_bucket", "list_objects", "list_uploads"]

_MAX_PAGE = 1000  # COS: GET Bucket, List Multipart Uploads, DELETE Multiple Objects
_XML = {"Content-Type": "application/xml"}


async def head_bucket(call: Call) -> Reply:
    """COS: HEAD Bucket."""
    return Reply(200, {"x-cos-bucket-region": call.config.region})


async def list_objects(call: Call) -> Reply:
    """COS: GET Bucket (List Objects)."""
    query = _page_query(call, "marker", "max-keys")
    encoding = _encoding(call)
    bucket = call.address.bucket

    def page(connection: Connection) -> bytes:
        seek = hiding_recent(object_rows(connection, bucket), call.store.hidden(bucket))
        return xml.object_listing(bucket, query, list_page(seek, query), encoding)

    return Reply(200, dict(_XML), await call.store.ask(page))


async def list_uploads(call: Call) -> Reply:
    """COS: List Multipart Uploads."""
    query = _page_query(call, "key-marker", "max-uploads")
    encoding = _encoding(call)
    bucket = call.address.bucket
    id_marker = call.query.get("upload-id-marker", "") if query.marker else ""
    after: tuple[bytes, str] | None = None
    if id_marker:  # the page before ended within the uploads of the key-marker's key
        after = (query.marker, id_marker)
        query = dataclasses.replace(query, with_marker=True)

    def page(connection: Connection) -> bytes:
        found = list_page(upload_rows(connection, bucket, after), query)
        return xml.upload_listing(bucket, query, found, encoding, id_marker)

    return Reply(200, dict(_XML), await call.store.ask(page))


async def delete_objects(call: Call) -> Reply:
    """COS: DELETE Multiple Objects."""
    if "Content-MD5" not in call.headers:
        raise CosError("InvalidRequest", "This operation needs a Content-MD5.")
    keys, quiet = xml.parse_deletion(await read_document(call))
    if len(keys) > _MAX_PAGE:
        raise CosError("MalformedXML", f"At most {_MAX_PAGE} objects are deleted at once.")
    addresses = [Address(call.address.bucket, key) for key in keys]
    await call.store.write(lambda index: index.delete(addresses))
    return Reply(200, dict(_XML), xml.delete_result(keys, quiet))


def _page_query(call: Call, marker: str, limit: str) -> PageQuery:
    delimiter = call.query.get("delimiter", "")
    if len(delimiter) > 1:
        raise CosError("InvalidDelimiter", "A delimiter is one character.")
    return PageQuery(
        call.query.get("prefix", "").encode(),
        delimiter.encode(),
        call.query.get(marker, "").encode(),
        number_param(call, limit, _MAX_PAGE, _MAX_PAGE),
    )


def _encoding(call: Call) -> str:
    encoding = call.query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise CosError("InvalidArgument", "encoding-type: url expected.")
    return encoding
