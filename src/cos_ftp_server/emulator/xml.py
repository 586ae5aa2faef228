"""The XML of COS: what the store answers, and what clients send.

Owns element names and the text forms of values in XML. Pure; knows no storage and no HTTP.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote
from xml.parsers import expat
from xml.sax.saxutils import escape

from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.listing import Page, PageQuery
from cos_ftp_server.emulator.records import (
    Address,
    ListedObject,
    ListedUpload,
    StoredObject,
    StoredPart,
)
from cos_ftp_server.emulator.target import parse_number

__all__ = [
    "copy_result",
    "delete_result",
    "element",
    "error_document",
    "object_listing",
    "parse_completion",
    "parse_deletion",
    "part_listing",
    "upload_listing",
    "upload_result",
]

_PLAIN = re.compile(r"[^&<>\r]+")
_MAX_DEPTH = 8  # no document of COS comes near


def element(name: str, value: str | int) -> str:
    """Return an element with text; a carriage return survives the reader."""
    text = str(value)
    if text and not _PLAIN.fullmatch(text):
        text = escape(text, {"\r": "&#13;"})
    return f"<{name}>{text}</{name}>" if text else f"<{name}/>"


def _document(root: str, *content: str) -> bytes:
    inner = "".join(content)
    return f"<?xml version='1.0' encoding='utf-8' ?>\n<{root}>{inner}</{root}>".encode(
        errors="replace"
    )


def error_document(code: str, message: str, resource: str, request_id: str, trace_id: str) -> bytes:
    """Return what COS says of a failure."""
    return _document(
        "Error",
        element("Code", code),
        element("Message", message),
        element("Resource", resource),
        element("RequestId", request_id),
        element("TraceId", trace_id),
    )


def copy_result(root: str, stored: StoredObject | StoredPart) -> bytes:
    """Return the answer to a copy (`CopyObjectResult`) or part copy (`CopyPartResult`)."""
    return _document(
        root,
        element("ETag", f'"{stored.etag}"'),
        element("CRC64", stored.crc),
        element("LastModified", _iso_time(stored.modified)),
    )


def upload_result(root: str, address: Address, *content: str) -> bytes:
    """Return the answer to initiate or complete."""
    return _document(root, element("Bucket", address.bucket), element("Key", address.key), *content)


def delete_result(deleted: Iterable[str], quiet: bool) -> bytes:
    """Return the answer to a multi-delete, in which nothing fails here."""
    names = () if quiet else deleted
    return _document(
        "DeleteResult", *(f"<Deleted>{element('Key', key)}</Deleted>" for key in names)
    )


def object_listing(bucket: str, query: PageQuery, page: Page[ListedObject], encoding: str) -> bytes:
    """Return a page of objects ("COS: GET Bucket")."""
    show = _encoder(encoding)
    head = [
        element("Name", bucket),
        element("Prefix", show(query.prefix)),
        element("Marker", show(query.marker)),
        element("MaxKeys", query.limit),
        *_asked_for(query, encoding, "EncodingType"),
        element("IsTruncated", str(page.truncated).lower()),
    ]
    if page.truncated:
        head.append(element("NextMarker", show(page.next_marker)))
    owner = _owner(bucket)
    contents = (
        f"<Contents>{element('Key', show(row.key))}"
        f"{element('LastModified', _iso_time(row.modified, '.000'))}"
        f"<ETag>&quot;{row.etag}&quot;</ETag><Size>{row.size}</Size>"
        f"{owner}{element('StorageClass', row.storage_class)}</Contents>"
        for row in page.rows
    )
    return _document("ListBucketResult", *head, *_common_prefixes(page, show), *contents)


def upload_listing(
    bucket: str, query: PageQuery, page: Page[ListedUpload], encoding: str, id_marker: str
) -> bytes:
    """Return a page of uploads in progress ("COS: List Multipart Uploads")."""
    show = _encoder(encoding)
    head = [
        element("Bucket", bucket),
        *_asked_for(query, encoding, "Encoding-Type"),  # spelled so, here alone
        element("KeyMarker", show(query.marker)),
        element("UploadIdMarker", id_marker),
        element("MaxUploads", query.limit),
        element("Prefix", show(query.prefix)),
        element("IsTruncated", str(page.truncated).lower()),
    ]
    if page.truncated:
        head.append(element("NextKeyMarker", show(page.next_marker)))
        if page.rows and page.rows[-1].key == page.next_marker:
            head.append(element("NextUploadIdMarker", page.rows[-1].upload_id))
    owner = _owner(bucket)
    uploads = (
        f"<Upload>{element('Key', show(row.key))}{element('UploadId', row.upload_id)}"
        f"{element('StorageClass', row.storage_class)}"
        f"{owner.replace('Owner>', 'Initiator>')}{owner}"
        f"{element('Initiated', _iso_time(row.initiated, '.000'))}</Upload>"
        for row in page.rows
    )
    return _document("ListMultipartUploadsResult", *head, *_common_prefixes(page, show), *uploads)


def part_listing(
    address: Address,
    upload_id: str,
    parts: Sequence[StoredPart],
    *,
    marker: int,
    limit: int,
    truncated: bool,
    encoding: str,
) -> bytes:
    """Return a page of an upload's parts ("COS: List Parts")."""
    head = [
        element("Bucket", address.bucket),
        element("Encoding-type", encoding) if encoding else "",
        element("Key", _encoder(encoding)(address.key.encode())),
        element("UploadId", upload_id),
        _owner(address.bucket),
        element("PartNumberMarker", marker),
        element("MaxParts", limit),
        element("IsTruncated", str(truncated).lower()),
    ]
    if truncated:
        head.append(element("NextPartNumberMarker", parts[-1].number))
    rows = (
        f"<Part>{element('PartNumber', part.number)}"
        f"{element('LastModified', _iso_time(part.modified, '.000'))}"
        f"<ETag>&quot;{part.etag}&quot;</ETag>{element('Size', part.size)}</Part>"
        for part in parts
    )
    return _document("ListPartsResult", *head, *rows)


def parse_completion(body: bytes) -> list[tuple[int, str]]:
    """Return part numbers and ETags of a `CompleteMultipartUpload`.

    Raises:
        CosError: MalformedXML.
    """
    root = _parse(body, "CompleteMultipartUpload")
    parts = []
    for part in root.all("Part"):
        number = parse_number(part.text("PartNumber").strip())
        if number is None:
            raise CosError("MalformedXML", "PartNumber is not a number.")
        parts.append((number, part.text("ETag").strip()))
    if not parts:
        raise CosError("MalformedXML", "Parts expected.")
    return parts


def parse_deletion(body: bytes) -> tuple[list[str], bool]:
    """Return the keys of a `Delete`, and whether it wants a quiet answer.

    Raises:
        CosError: MalformedXML, NotImplemented for versions.
    """
    root = _parse(body, "Delete")
    objects = root.all("Object")
    if any(found.all("VersionId") for found in objects):
        raise CosError("NotImplemented", "This store keeps no versions.")
    keys = [found.text("Key") for found in objects]
    if not keys or not all(keys):
        raise CosError("MalformedXML", "Objects with keys expected.")
    quiet = any(node.value.strip().lower() == "true" for node in root.all("Quiet"))
    return keys, quiet


@dataclass(slots=True)
class _Node:
    name: str
    value: str = ""
    children: list["_Node"] = field(default_factory=list)

    def all(self, name: str) -> list["_Node"]:
        return [child for child in self.children if child.name == name]

    def text(self, name: str) -> str:
        found = self.all(name)
        return found[0].value if found else ""


def _parse(body: bytes, root: str) -> _Node:
    """Read a small document, without its namespaces; a DTD is refused, and with it entities."""
    stack = [_Node("")]
    parser = expat.ParserCreate(namespace_separator="}")

    def start(name: str, _: object) -> None:
        if len(stack) > _MAX_DEPTH:
            raise CosError("MalformedXML", "The document is too deep.")
        node = _Node(name.rpartition("}")[2])
        stack[-1].children.append(node)
        stack.append(node)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].value += data

    def refuse(*_: object) -> None:
        raise CosError("MalformedXML", "A document type declaration is not taken.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise CosError("MalformedXML", "The body is not well-formed XML.") from error
    (document,) = stack[0].children
    if document.name != root:
        raise CosError("MalformedXML", f"{root} expected.")
    return document


def _encoder(encoding: str) -> Callable[[bytes], str]:
    """Return how to show keys: as they are, or percent-encoded but for `/` (`url`)."""
    return (lambda key: quote(key, safe="/")) if encoding == "url" else bytes.decode


def _asked_for(query: PageQuery, encoding: str, encoding_name: str) -> list[str]:
    found = []
    if query.delimiter:
        found.append(element("Delimiter", query.delimiter.decode()))
    if encoding:
        found.append(element(encoding_name, encoding))
    return found


def _common_prefixes(
    page: Page[ListedObject] | Page[ListedUpload], show: Callable[[bytes], str]
) -> list[str]:
    return [
        f"<CommonPrefixes>{element('Prefix', show(prefix))}</CommonPrefixes>"
        for prefix in page.prefixes
    ]


def _owner(bucket: str) -> str:
    account = bucket.rpartition("-")[2]
    return f"<Owner>{element('ID', account)}{element('DisplayName', account)}</Owner>"


@lru_cache(maxsize=1024)  # the rows of a listing repeat few times
def _iso_time(seconds: int, fraction: str = "") -> str:
    return time.strftime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time.gmtime(seconds))
