"""The XML of the COS API: answers in, requests out. Pure.

Elements are found by local name, because answers come with and without a namespace. Documents
with a DOCTYPE are refused before parsing, so that entities cannot be declared. What parses a
result raises XmlError for what is not one, and ErrorAnswer for an `<Error>`.
"""

import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias
from xml.etree.ElementTree import Element, ParseError, XMLParser
from xml.sax.saxutils import escape

from cos_ftp_server.cos.types import (
    CompletedPart,
    DeleteFailure,
    ListPage,
    MultipartUpload,
    ObjectMeta,
    ObjectOptions,
    Part,
    PartsPage,
    UploadsPage,
)

__all__ = [
    "ErrorAnswer",
    "StoreMessage",
    "WrittenAnswer",
    "XmlError",
    "build_complete",
    "build_delete",
    "is_xml_text",
    "parse_delete_result",
    "parse_error_body",
    "parse_list",
    "parse_parts",
    "parse_upload_id",
    "parse_uploads",
    "parse_written",
]


class XmlError(ValueError):
    """An answer is not the XML that it should be."""


@dataclass(frozen=True, slots=True)
class StoreMessage:
    """What an `<Error>` says."""

    code: str = ""
    message: str = ""
    request_id: str = ""


class ErrorAnswer(Exception):  # noqa: N818 - it is an answer, and a valid one
    """An `<Error>` came where a result was expected, whatever the status said."""

    def __init__(self, message: StoreMessage) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """The result of a copy, a part copy or a complete; `crc64` is None if the body has none."""

    etag: str
    crc64: int | None


def _parse(data: bytes) -> Element:
    """Return the root element. Leading white space (a slow complete drips it) is skipped."""
    try:
        # As text, the parser ignores a declared encoding: what is searched here is what it reads.
        text = data.decode("utf-8-sig").lstrip()
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise XmlError("a document type is not allowed")
        parser = XMLParser()  # noqa: S314 - no DOCTYPE, hence no entities
        parser.feed(text)
        return parser.close()
    except (UnicodeDecodeError, ParseError) as error:
        raise XmlError(str(error)) from error


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _texts(element: Element) -> dict[str, str]:
    """Return the children's texts by local name; of repeated children the last."""
    return {child.tag.rpartition("}")[2]: child.text or "" for child in element}


def _children(element: Element, name: str) -> Iterator[Element]:
    return (child for child in element if _local(child) == name)


def _expect(data: bytes, name: str) -> Element:
    root = _parse_result(data)
    if _local(root) != name:
        raise XmlError(f"expected <{name}>, not <{_local(root)}>")
    return root


def _parse_result(data: bytes) -> Element:
    root = _parse(data)
    if _local(root) == "Error":
        raise ErrorAnswer(_message(_texts(root)))
    return root


def _digits(fields: dict[str, str], name: str) -> str:
    text = fields.get(name, "").strip()
    if not text.isdecimal():
        raise XmlError(f"<{name}> is not a number: {text[:40]!r}")
    return text


def _number(fields: dict[str, str], name: str) -> int:
    return int(_digits(fields, name))


def _required(fields: dict[str, str], name: str) -> str:
    text = fields.get(name)
    if not text:
        raise XmlError(f"<{name}> is missing")
    return text


def _time(text: str) -> datetime:
    """Parse a time; COS writes it with and without milliseconds and zone, always meaning UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise XmlError(f"not a time: {text[:40]!r}") from error
    if moment.tzinfo is UTC:  # as nearly always
        return moment
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unchanged(text: str) -> str:
    return text


def _unquote(text: str) -> str:
    """Decode %XX, all that url-encoding does here: "+" is a plus sign.

    Quoted-printable is the same code with another sign, and `binascii` reads it 15 times
    faster than `urllib.parse.unquote` does, which took half the time of a page of Japanese names.
    """
    if "%" not in text:
        return text
    printable = text.replace("=", "=3D").replace("%", "=").encode()
    return binascii.a2b_qp(printable).decode(errors="replace")


def _key_decoder(fields: dict[str, str]) -> Callable[[str], str]:
    """Return how keys are to be read: COS escapes them when asked to, and says so."""
    # List Multipart Uploads spells the element with a hyphen.
    encoding = fields.get("EncodingType") or fields.get("Encoding-Type") or ""
    return _unquote if encoding.lower() == "url" else _unchanged


_Row: TypeAlias = tuple[str, str, str, str, str]
"""Key, time, ETag, decimal size and storage class of an entry, as `<Contents>` has them."""

_PLAIN_ENTRY = re.compile(
    r"""
    <Contents>\s*+
    <Key>([^<&>\x00-\x1f\ufffe\uffff]++)</Key>\s*+
    <LastModified>([0-9T:.Z+-]++)</LastModified>\s*+
    <ETag>(?:&quot;|&\#34;|")([0-9A-Za-z-]*+)(?:&quot;|&\#34;|")</ETag>\s*+
    <Size>([0-9]++)</Size>\s*+
    (?:<Owner>\s*+<ID>[^<&]*+</ID>\s*+<DisplayName>[^<&]*+</DisplayName>\s*+</Owner>\s*+)?+
    <StorageClass>([A-Z_]*+)</StorageClass>\s*+
    (?:<StorageTier>[A-Z_]*+</StorageTier>\s*+)?+
    (?:<RestoreStatus>[A-Z_]*+</RestoreStatus>\s*+)?+
    </Contents>
    """,
    re.VERBOSE,
)
"""An entry as COS and most stores like it write one. It holds nothing that XML gives a meaning to.

It never goes back (`++`), so that what does not match costs no more than what does.
"""


_PLACE = "PlainEntries"
"""The element that is put in the place of plain entries; no store has one of this name."""


def _cut_plain_entries(data: bytes) -> tuple[Sequence[_Row], bytes]:
    """Return the plain entries of a page, and the page with one element in place of them all.

    Usually these are all entries, and to build a tree of them and to read that takes four times
    as long. Unless nothing stands between them, it returns none, and the page as it is.
    """
    try:
        head, *pieces = _PLAIN_ENTRY.split(data.decode())
    except UnicodeDecodeError:
        return (), data  # for the parser to refuse
    if not pieces:
        return (), data
    keys, times, etags, sizes, classes, between = (pieces[n::6] for n in range(6))
    rest = f"{head}<{_PLACE}/>{between.pop()}"
    if "".join(between).strip() or "<!" in rest or rest.count("<?") > 1 or rest.count(_PLACE) > 1:
        return (), data  # in a comment, or in CDATA, what looks like an entry is none
    quoted = [f'"{etag}"' for etag in etags]
    return tuple(zip(keys, times, quoted, sizes, classes, strict=True)), rest.encode()


def _row(contents: Element) -> _Row:
    entry = _texts(contents)
    return (
        _required(entry, "Key"),
        entry.get("LastModified", ""),
        entry.get("ETag", ""),
        _digits(entry, "Size"),
        entry.get("StorageClass", ""),
    )


def _objects(rows: Iterable[_Row], decode: Callable[[str], str]) -> Iterator[ObjectMeta]:
    options: dict[str, ObjectOptions] = {}
    for key, modified, etag, size, storage_class in rows:
        if storage_class not in options:
            options[storage_class] = ObjectOptions(storage_class=storage_class)
        # By position: keywords double the time. Listings do not tell the CRC64.
        yield ObjectMeta(
            decode(key), int(size), etag, _time(modified), None, options[storage_class]
        )


def parse_list(data: bytes) -> ListPage:
    """Parse `<ListBucketResult>` (COS: GET Bucket)."""
    plain_rows, rest = _cut_plain_entries(data)
    rows: list[_Row] = []
    folded: list[str] = []
    fields: dict[str, str] = {}
    for child in _expect(rest, "ListBucketResult"):
        name = _local(child)
        if name == "Contents":
            rows.append(_row(child))
        elif name == _PLACE:
            rows.extend(plain_rows)
        elif name == "CommonPrefixes":
            folded.append(_required(_texts(child), "Prefix"))
        else:
            fields[name] = child.text or ""
    decode = _key_decoder(fields)
    objects = tuple(_objects(rows, decode))
    prefixes = tuple([decode(prefix) for prefix in folded])
    return ListPage(objects, prefixes, _next_marker(fields, objects, prefixes, decode))


def _next_marker(
    fields: dict[str, str],
    objects: Sequence[ObjectMeta],
    prefixes: Sequence[str],
    decode: Callable[[str], str],
) -> str:
    if fields.get("IsTruncated") != "true":
        return ""
    # S3 leaves NextMarker out when no delimiter was given: the last entry serves then.
    last = max([*(meta.key for meta in objects[-1:]), *prefixes[-1:]], key=str.encode, default="")
    marker = decode(fields.get("NextMarker", "")) or last
    if not marker:
        raise XmlError("a truncated page without entries and without <NextMarker>")
    return marker


def parse_parts(data: bytes) -> PartsPage:
    """Parse `<ListPartsResult>` (COS: List Parts)."""
    root = _expect(data, "ListPartsResult")
    fields = _texts(root)
    parts = []
    for child in _children(root, "Part"):
        entry = _texts(child)
        parts.append(
            Part(
                number=_number(entry, "PartNumber"),
                etag=entry.get("ETag", ""),
                size=_number(entry, "Size"),
            )
        )
    truncated = fields.get("IsTruncated") == "true"
    return PartsPage(
        parts=tuple(parts), next_marker=_number(fields, "NextPartNumberMarker") if truncated else 0
    )


def parse_uploads(data: bytes) -> UploadsPage:
    """Parse `<ListMultipartUploadsResult>` (COS: List Multipart Uploads)."""
    root = _expect(data, "ListMultipartUploadsResult")
    fields = _texts(root)
    decode = _key_decoder(fields)
    uploads = []
    for child in _children(root, "Upload"):
        entry = _texts(child)
        uploads.append(
            MultipartUpload(
                key=decode(_required(entry, "Key")),
                upload_id=_required(entry, "UploadId"),
                initiated=_time(entry.get("Initiated", "")),
            )
        )
    truncated = fields.get("IsTruncated") == "true"
    return UploadsPage(
        uploads=tuple(uploads),
        next_key_marker=decode(_required(fields, "NextKeyMarker")) if truncated else "",
        next_upload_id_marker=fields.get("NextUploadIdMarker", "") if truncated else "",
    )


def parse_upload_id(data: bytes) -> str:
    """Parse `<InitiateMultipartUploadResult>`."""
    return _required(_texts(_expect(data, "InitiateMultipartUploadResult")), "UploadId")


def parse_written(data: bytes) -> WrittenAnswer:
    """Parse the answer to a copy, a part copy or a complete.

    COS answers 200 before it is done; only an ETag means success.
    """
    fields = _texts(_parse_result(data))
    crc64 = fields.get("CRC64", "")
    return WrittenAnswer(
        etag=_required(fields, "ETag"), crc64=int(crc64) if crc64.isdecimal() else None
    )


def parse_delete_result(data: bytes) -> tuple[DeleteFailure, ...]:
    """Parse `<DeleteResult>`: what was not deleted."""
    failures = []
    for child in _children(_expect(data, "DeleteResult"), "Error"):
        entry = _texts(child)
        failures.append(
            DeleteFailure(
                key=entry.get("Key", ""),
                code=entry.get("Code", ""),
                message=entry.get("Message", ""),
            )
        )
    return tuple(failures)


def parse_error_body(data: bytes) -> StoreMessage:
    """Parse an error's body; empty for one that is missing or not the store's (a proxy's HTML)."""
    if not data:
        return StoreMessage()
    try:
        root = _parse(data)
    except XmlError:
        return StoreMessage()
    return _message(_texts(root)) if _local(root) == "Error" else StoreMessage()


def _message(fields: dict[str, str]) -> StoreMessage:
    return StoreMessage(
        code=fields.get("Code", "").strip(),
        message=fields.get("Message", "").strip(),
        request_id=fields.get("RequestId", "").strip(),
    )


def is_xml_text(text: str) -> bool:
    """Return whether XML 1.0 can carry `text` unharmed (section 2.2; CR would become LF)."""
    return not any(
        (character < " " and character not in "\t\n") or character in "\ufffe\uffff"
        for character in text
    )


def build_delete(keys: Sequence[str]) -> bytes:
    """Build the body of a multi-delete that reports failures only; keys must be `is_xml_text`."""
    entries = "".join([f"<Object><Key>{escape(key)}</Key></Object>" for key in keys])
    return f"<Delete><Quiet>true</Quiet>{entries}</Delete>".encode()


def build_complete(parts: Sequence[CompletedPart]) -> bytes:
    """Build the body of Complete Multipart Upload; `parts` ascend by number."""
    entries = "".join(
        [
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag></Part>"
            for part in parts
        ]
    )
    return f"<CompleteMultipartUpload>{entries}</CompleteMultipartUpload>".encode()
