"""What a request is about: bucket, key, query and operation, read from its head.

Owns addressing (virtual-host and path style) and the table of operations. Pure: it sees the raw
request target and headers as text, so that keys such as `a/../b`, `a//b` and `%2F` stay what
they are. Knows nothing of storage.
"""

import enum
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from cos_ftp_server.emulator.errors import CosError

__all__ = [
    "Operation",
    "Target",
    "check_key",
    "operation_of",
    "parse_copy_source",
    "parse_number",
    "parse_target",
]

MAX_KEY_BYTES = 850  # COS: Object Overview, naming rules
_MAX_DIGITS = 18  # no number of the protocol has more, and SQLite's integers end there

# Sub-resources of COS that the store does not have. To ignore one would do something else than
# what was asked for: `DELETE /key?versionId=…` must not delete the object.
_UNSUPPORTED = frozenset(
    {
        "acl",
        "cors",
        "domain",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "notification",
        "object-lock",
        "policy",
        "publicAccessBlock",
        "referer",
        "rename",
        "replication",
        "restore",
        "retention",
        "select",
        "symlink",
        "tagging",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)


class Operation(enum.StrEnum):
    """What the store can be asked for, named as in the COS documentation."""

    HEAD_BUCKET = "HeadBucket"
    LIST_OBJECTS = "ListObjects"
    LIST_UPLOADS = "ListMultipartUploads"
    DELETE_OBJECTS = "DeleteMultipleObjects"
    HEAD_OBJECT = "HeadObject"
    GET_OBJECT = "GetObject"
    PUT_OBJECT = "PutObject"
    COPY_OBJECT = "CopyObject"
    APPEND_OBJECT = "AppendObject"
    DELETE_OBJECT = "DeleteObject"
    INITIATE_UPLOAD = "InitiateMultipartUpload"
    UPLOAD_PART = "UploadPart"
    UPLOAD_PART_COPY = "UploadPartCopy"
    COMPLETE_UPLOAD = "CompleteMultipartUpload"
    ABORT_UPLOAD = "AbortMultipartUpload"
    LIST_PARTS = "ListParts"


@dataclass(frozen=True, slots=True)
class Target:
    """A request's addressee. `key` is "" for the bucket itself.

    `paths` are the decoded paths that a signer may have signed: with path style, with the bucket
    or without. `query` has decoded names and values, the first of each name.
    """

    bucket: str
    key: str
    paths: tuple[str, ...]
    query: Mapping[str, str]


def parse_target(raw: str, host: str, buckets: Collection[str]) -> Target:
    """Read the request target as it was on the wire, and the `Host` header.

    Raises:
        CosError: InvalidURI, or NoSuchBucket where no bucket is named or it is not there.
    """
    if not raw.startswith("/"):
        raise CosError("InvalidURI")
    raw_path, _, raw_query = raw.partition("?")
    path = _decode(raw_path)
    query = _parse_query(raw_query) if raw_query else {}
    bucket = _bucket_of_host(host, buckets)
    if bucket:
        target = Target(bucket, path[1:], (path,), query)
    else:
        bucket, _, key = path[1:].partition("/")
        target = Target(bucket, key, (path, "/" + key), query)
    if target.bucket not in buckets:
        raise CosError("NoSuchBucket", "The specified bucket does not exist.")
    return target


def check_key(key: str) -> None:
    """Raise `CosError` unless an object may have this name ("COS: Object Overview")."""
    if len(key.encode()) > MAX_KEY_BYTES:
        raise CosError("KeyTooLong", f"A key has at most {MAX_KEY_BYTES} bytes of UTF-8.")
    if key.startswith(("/", "\\")) or any("\x18" <= char <= "\x1b" for char in key):
        raise CosError("InvalidObjectName", "The key starts with a slash or has control bytes.")


def parse_copy_source(value: str, buckets: Collection[str]) -> tuple[str, str]:
    """Return bucket and key of `x-cos-copy-source`: `<bucket host>/<encoded key>`.

    `/<bucket>/<encoded key>` is understood as well, since other stores' clients send it, and so is
    `<host>/<bucket>/<encoded key>`, which is where an object is when the path names the bucket.

    Raises:
        CosError: InvalidCopySource, NotImplemented for a version, NoSuchBucket.
    """
    location, _, version = value.partition("?")
    if version:
        raise CosError("NotImplemented", "This store keeps no versions.")
    host, _, encoded = location.removeprefix("/").partition("/")
    bucket = host.partition(".")[0]
    if bucket not in buckets and encoded.partition("/")[0] in buckets:
        bucket, _, encoded = encoded.partition("/")
    key = _decode(encoded)
    if not bucket or not key:
        raise CosError("InvalidCopySource", "x-cos-copy-source: host/key expected.")
    if bucket not in buckets:
        raise CosError("NoSuchBucket", "The bucket of the copy source does not exist.")
    return bucket, key


def operation_of(method: str, target: Target, *, is_copy: bool) -> Operation:
    """Return what is asked for.

    Raises:
        CosError: MethodNotAllowed, or NotImplemented for a sub-resource that is not served.
    """
    query = target.query
    if not _UNSUPPORTED.isdisjoint(query):
        raise CosError("NotImplemented", "This store does not have that sub-resource.")
    find = _object_operation if target.key else _bucket_operation
    operation = find(method, query, is_copy)
    if operation is None:
        raise CosError("MethodNotAllowed", "The resource does not have this method.")
    return operation


def _bucket_operation(method: str, query: Mapping[str, str], is_copy: bool) -> Operation | None:
    if method == "HEAD":
        return Operation.HEAD_BUCKET
    if method == "GET":
        return Operation.LIST_UPLOADS if "uploads" in query else Operation.LIST_OBJECTS
    if method == "POST" and "delete" in query:
        return Operation.DELETE_OBJECTS
    return None


def _object_operation(method: str, query: Mapping[str, str], is_copy: bool) -> Operation | None:
    with_upload = "uploadId" in query
    match method:
        case "HEAD":
            return Operation.HEAD_OBJECT
        case "GET":
            return Operation.LIST_PARTS if with_upload else Operation.GET_OBJECT
        case "PUT" if with_upload or "partNumber" in query:
            return Operation.UPLOAD_PART_COPY if is_copy else Operation.UPLOAD_PART
        case "PUT":
            return Operation.COPY_OBJECT if is_copy else Operation.PUT_OBJECT
        case "DELETE":
            return Operation.ABORT_UPLOAD if with_upload else Operation.DELETE_OBJECT
        case "POST" if "uploads" in query:
            return Operation.INITIATE_UPLOAD
        case "POST" if with_upload:
            return Operation.COMPLETE_UPLOAD
        case "POST" if "append" in query:
            return Operation.APPEND_OBJECT
    return None


def _bucket_of_host(host: str, buckets: Collection[str]) -> str:
    """Return the bucket that a host names, "" for path style."""
    label, dot, _ = host.partition(".")
    if dot and (label in buckets or re.fullmatch(r"[a-z0-9-]+-[0-9]+", label)):
        return label
    return ""


def _parse_query(raw: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for item in raw.split("&"):
        name, _, value = item.partition("=")
        if name:
            # `+` is a space here though not in the path: COS SDKs sign it so.
            decoded = _decode(name.replace("+", " "))
            query.setdefault(decoded, _decode(value.replace("+", " ")))
    return query


def parse_number(text: str) -> int | None:
    """Return a non-negative decimal number of at most 18 digits, None if it is not one."""
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


def _decode(encoded: str) -> str:
    try:
        if encoded.isascii() and "%" not in encoded:
            return encoded
        # aiohttp hands out bytes that are not ASCII as UTF-8, or escaped where they are not.
        return unquote_to_bytes(encoded.encode(errors="surrogateescape")).decode()
    except UnicodeError as error:
        raise CosError("InvalidURI", "The request target is not UTF-8.") from error
