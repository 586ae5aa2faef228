"""HTTP headers ↔ what they say about an object. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from cos_ftp_server.cos.dialect import Dialect
from cos_ftp_server.cos.types import ObjectMeta, ObjectOptions, Stored

__all__ = [
    "HeaderError",
    "format_options",
    "format_placement",
    "format_range",
    "parse_content_range",
    "parse_crc64",
    "parse_length",
    "parse_meta",
    "parse_stored",
]

_MONTHS = {
    "Jan": 1,
    "Feb": 2,
    "Mar": 3,
    "Apr": 4,
    "May": 5,
    "Jun": 6,
    "Jul": 7,
    "Aug": 8,
    "Sep": 9,
    "Oct": 10,
    "Nov": 11,
    "Dec": 12,
}
_KEPT = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
}
"""Headers that COS keeps and gives back (COS: PUT Object); only other tools set them."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class HeaderError(ValueError):
    """A header that an answer needs is missing or malformed."""


def format_options(options: ObjectOptions, dialect: Dialect) -> dict[str, str]:
    """Return the headers that create an object with `options`."""
    headers = {}
    if options.content_type:
        headers["Content-Type"] = options.content_type
    headers.update(options.headers)
    headers.update(format_placement(options, dialect))
    for name, value in options.metadata:
        headers[f"{dialect.header_prefix}meta-{name}"] = value
    return headers


def format_placement(options: ObjectOptions, dialect: Dialect) -> dict[str, str]:
    """Return the headers for what a copy never inherits: storage class and encryption."""
    headers = {}
    if options.storage_class:
        headers[f"{dialect.header_prefix}storage-class"] = options.storage_class
    if options.server_side_encryption:
        name = f"{dialect.header_prefix}server-side-encryption"
        headers[name] = options.server_side_encryption
    return headers


def format_range(first: int, last: int | None) -> str:
    """Return a Range header's value; `last` is inclusive.

    >>> format_range(5, None), format_range(0, 9)
    ('bytes=5-', 'bytes=0-9')
    """
    return f"bytes={first}-" if last is None else f"bytes={first}-{last}"


def parse_content_range(value: str) -> tuple[int, int, int]:
    """Return first and last position (inclusive) and the whole object's size. Raises HeaderError.

    >>> parse_content_range("bytes 0-9/100")
    (0, 9, 100)
    """
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None:
        raise HeaderError(f"Content-Range: {value[:80]!r}")
    first, last, size = (int(group) for group in match.groups())
    return first, last, size


def parse_length(headers: Mapping[str, str]) -> int:
    """Return the Content-Length. Raises HeaderError."""
    value = headers.get("content-length", "")
    if not value.isdecimal():
        raise HeaderError(f"Content-Length: {value[:80]!r}")
    return int(value)


def parse_crc64(headers: Mapping[str, str], dialect: Dialect) -> int | None:
    """Return the object's CRC-64/XZ, None where the store does not tell it."""
    value = headers.get(dialect.crc64_header, "") if dialect.crc64_header else ""
    return int(value) if value.isdecimal() else None


def parse_stored(headers: Mapping[str, str], dialect: Dialect) -> Stored:
    """Read the acknowledgement of a PUT; names are in lower case.

    Raises HeaderError when there is no ETag.
    """
    etag = headers.get("etag", "")
    if not etag:
        raise HeaderError("ETag is missing")
    return Stored(etag=etag, crc64=parse_crc64(headers, dialect))


def _parse_date(value: str) -> datetime:
    """Parse "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7); always GMT."""
    try:
        return datetime(
            int(value[12:16]),
            _MONTHS[value[8:11]],
            int(value[5:7]),
            int(value[17:19]),
            int(value[20:22]),
            int(value[23:25]),
            tzinfo=UTC,
        )
    except (KeyError, ValueError) as error:
        raise HeaderError(f"not a date: {value[:80]!r}") from error


def parse_meta(key: str, size: int, headers: Mapping[str, str], dialect: Dialect) -> ObjectMeta:
    """Read what HEAD and GET say about an object of `size` bytes; names are in lower case.

    Raises HeaderError.
    """
    modified = _parse_date(headers.get("last-modified", ""))
    etag = headers.get("etag", "")
    if not etag:  # by which a read is pinned
        raise HeaderError("ETag is missing")
    prefix = dialect.header_prefix
    meta_prefix = f"{prefix}meta-"
    return ObjectMeta(
        key=key,
        size=size,
        etag=etag,
        modified=modified,
        crc64=parse_crc64(headers, dialect),
        options=ObjectOptions(
            content_type=headers.get("content-type", ""),
            headers=tuple([(_KEPT[name], headers[name]) for name in _KEPT if name in headers]),
            storage_class=headers.get(f"{prefix}storage-class", ""),
            server_side_encryption=headers.get(f"{prefix}server-side-encryption", ""),
            metadata=tuple(
                [
                    (name[len(meta_prefix) :], value)
                    for name, value in headers.items()
                    if name.startswith(meta_prefix)
                ]
            ),
        ),
    )
