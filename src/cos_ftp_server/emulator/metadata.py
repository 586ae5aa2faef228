"""Object headers: what is kept of a request, what is told in an answer, and conditions on them.

Owns the rules for stored headers, `If-*` and `Range` (RFC 9110; "COS: GET Object"). Pure.
"""

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.records import Attributes, StoredObject

__all__ = [
    "attributes_of",
    "http_date",
    "is_modified",
    "object_headers",
    "requested_range",
    "storage_class_of",
]

_MAX_METADATA_BYTES = 2 * 1024  # COS: Custom Object Headers
_METADATA = "x-cos-meta-"
_KEPT = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Expires",
    "x-cos-server-side-encryption",
)
_STORAGE_CLASSES = frozenset(  # COS: Storage Class Overview
    (
        "STANDARD",
        "STANDARD_IA",
        "INTELLIGENT_TIERING",
        "ARCHIVE",
        "DEEP_ARCHIVE",
        "MAZ_STANDARD",
        "MAZ_STANDARD_IA",
        "MAZ_INTELLIGENT_TIERING",
    )
)


def attributes_of(headers: Mapping[str, str]) -> Attributes:
    """Return what a request wants its object to have.

    Raises:
        CosError: MetadataTooLarge, or InvalidArgument for what could not be given back.
    """
    kept = {name: headers[name] for name in _KEPT if name in headers}
    size = 0
    for name, value in headers.items():
        lowered = name.lower()
        if lowered.startswith(_METADATA):
            kept[lowered] = value
            size += len(lowered) - len(_METADATA) + len(value.encode(errors="surrogateescape"))
    if size > _MAX_METADATA_BYTES:
        raise CosError("MetadataTooLarge", f"At most {_MAX_METADATA_BYTES} bytes of metadata.")
    try:
        "".join(kept.values()).encode()
    except UnicodeEncodeError as error:
        raise CosError("InvalidArgument", "A header is not UTF-8.") from error
    return Attributes(kept, storage_class_of(headers))


def storage_class_of(headers: Mapping[str, str]) -> str:
    """Return the storage class that a request wants.

    Raises:
        CosError: InvalidArgument.
    """
    storage_class = headers.get("x-cos-storage-class", "STANDARD").upper()
    if storage_class not in _STORAGE_CLASSES:
        raise CosError("InvalidArgument", "There is no such storage class.")
    return storage_class


def object_headers(stored: StoredObject) -> dict[str, str]:
    """Return what HEAD and GET tell of an object, but for the length of the answer."""
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": f'"{stored.etag}"',
        "Last-Modified": http_date(stored.modified),
        "Accept-Ranges": "bytes",
        "x-cos-hash-crc64ecma": str(stored.crc),
        **stored.attributes.headers,
    }
    if stored.attributes.storage_class != "STANDARD":
        headers["x-cos-storage-class"] = stored.attributes.storage_class
    if stored.appendable:
        headers["x-cos-object-type"] = "appendable"
    return headers


@lru_cache(maxsize=1024)  # requests come many to the second
def http_date(seconds: int) -> str:
    """Return an HTTP date (RFC 9110 section 5.6.7) of Unix seconds."""
    return formatdate(seconds, usegmt=True)


def is_modified(headers: Mapping[str, str], stored: StoredObject, prefix: str = "") -> bool:
    """Evaluate `If-*` headers in the order of RFC 9110 section 13.2.2; False is a 304.

    Raises:
        CosError: PreconditionFailed.
    """
    match = headers.get(f"{prefix}If-Match")
    unmodified_since = _seconds(headers.get(f"{prefix}If-Unmodified-Since"))
    if match is not None:
        failed = not _names_etag(match, stored.etag)
    else:
        failed = unmodified_since is not None and stored.modified > unmodified_since
    if failed:
        raise CosError("PreconditionFailed", "The object is not the expected one.")
    none_match = headers.get(f"{prefix}If-None-Match")
    if none_match is not None:
        return not _names_etag(none_match, stored.etag)
    modified_since = _seconds(headers.get(f"{prefix}If-Modified-Since"))
    return modified_since is None or stored.modified > modified_since


def requested_range(header: str, size: int) -> tuple[int, int] | None:
    """Return start and length of the range that is asked for, None for the whole object.

    A header that is not a single byte range is ignored (RFC 9110 section 14.2).

    Raises:
        CosError: InvalidRange if no byte of the object is asked for.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if match is None or match[0].endswith("=-"):
        return None
    first, last = match[1], match[2]
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        end = min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return None
        length = end - start + 1
    if length <= 0:
        raise CosError("InvalidRange", "The range is beyond the end of the object.")
    return start, length


def _names_etag(header: str, etag: str) -> bool:
    names = {name.strip().removeprefix("W/").strip('"') for name in header.split(",")}
    return "*" in names or etag in names


def _seconds(date: str | None) -> float | None:
    """Return an HTTP date in Unix seconds; one that cannot be read counts as absent."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
