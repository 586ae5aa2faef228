"""The XML that the null store answers with, in both dialects. Pure."""

import re
import time
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote
from xml.sax.saxutils import escape

from bench.store.objects import MODIFIED, Entry, Page, Stored

__all__ = [
    "complete_result",
    "copy_result",
    "error",
    "initiate_result",
    "listing",
    "part_numbers",
    "parts",
]

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_ISO_MODIFIED = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", MODIFIED)
_PART_NUMBER = re.compile(rb"<PartNumber>(\d+)</PartNumber>")


def error(code: str) -> bytes:
    """Return what a refusal says."""
    return f"{_HEAD}<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


def initiate_result(bucket: str, key: str, upload_id: str) -> bytes:
    """Return the answer to Initiate Multipart Upload."""
    return (
        f"{_HEAD}<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
        f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
    ).encode()


def complete_result(bucket: str, key: str, stored: Stored) -> bytes:
    """Return the answer to Complete Multipart Upload."""
    return (
        f"{_HEAD}<CompleteMultipartUploadResult><Location>x</Location><Bucket>{bucket}</Bucket>"
        f"<Key>{escape(key)}</Key><ETag>&quot;{stored.etag}&quot;</ETag>"
        f"<CRC64>{stored.crc64}</CRC64></CompleteMultipartUploadResult>"
    ).encode()


def copy_result(stored: Stored) -> bytes:
    """Return the answer to PUT Object - Copy."""
    return (
        f"{_HEAD}<CopyObjectResult><ETag>&quot;{stored.etag}&quot;</ETag>"
        f"<CRC64>{stored.crc64}</CRC64><LastModified>{_ISO_MODIFIED}</LastModified>"
        "</CopyObjectResult>"
    ).encode()


def parts(bucket: str, key: str, upload_id: str, stored: Iterable[tuple[int, Stored]]) -> bytes:
    """Return the answer to List Parts, which is always one page."""
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><LastModified>{_ISO_MODIFIED}</LastModified>"
        f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size}</Size></Part>"
        for number, part in stored
    )
    return (
        f"{_HEAD}<ListPartsResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
        f"<UploadId>{upload_id}</UploadId><IsTruncated>false</IsTruncated>{rows}</ListPartsResult>"
    ).encode()


def part_numbers(body: bytes) -> list[int]:
    """Return the numbers in a CompleteMultipartUpload."""
    return [int(number) for number in _PART_NUMBER.findall(body)]


def listing(bucket: str, prefix: str, page: Page, *, is_v2: bool, is_encoded: bool) -> bytes:
    """Return a page of GET Bucket (COS, and S3's first version) or of S3's ListObjectsV2."""
    encode = _quote if is_encoded else escape
    more = "true" if page.next_marker else "false"
    head = [
        f"{_HEAD}<ListBucketResult><Name>{bucket}</Name><Prefix>{encode(prefix)}</Prefix>",
        f"<MaxKeys>1000</MaxKeys><IsTruncated>{more}</IsTruncated>",
    ]
    if is_encoded:
        head.append("<EncodingType>url</EncodingType>")
    if is_v2:
        head.append(f"<KeyCount>{len(page.entries) + len(page.prefixes)}</KeyCount>")
    if page.next_marker:
        name = "NextContinuationToken" if is_v2 else "NextMarker"
        head.append(f"<{name}>{encode(page.next_marker)}</{name}>")
    head += [
        f"<CommonPrefixes><Prefix>{encode(name)}</Prefix></CommonPrefixes>"
        for name in page.prefixes
    ]
    head += [_contents(entry, is_encoded) for entry in page.entries]
    head.append("</ListBucketResult>")
    return "".join(head).encode()


def _quote(text: str) -> str:
    return quote(text, safe="/")


@lru_cache(maxsize=250_000)  # both lists in both forms: their second reading is a join
def _contents(entry: Entry, is_encoded: bool) -> str:
    key = _quote(entry.key) if is_encoded else escape(entry.key)
    return (
        f"<Contents><Key>{key}</Key><LastModified>{_ISO_MODIFIED}</LastModified>"
        f"<ETag>&quot;{entry.etag}&quot;</ETag><Size>{entry.size}</Size>"
        "<Owner><ID>1250000000</ID><DisplayName>1250000000</DisplayName></Owner>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )
