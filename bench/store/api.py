"""What each request to the null store is answered: COS and S3 over one set of objects.

Knows no sockets. No signature is checked. An ETag is the MD5 of the content only where somebody
looks at it, in S3's PUT of a whole object; elsewhere it has the hyphen of those that are not.
"""

import itertools
import re
import time
from dataclasses import dataclass, field

from bench.store import documents
from bench.store.http import Request, answer
from bench.store.objects import MODIFIED, Objects, Stored, Upload
from cos_ftp_server.crc64 import combine

__all__ = ["Answer", "Api", "Received"]

_LAST_MODIFIED = f"Last-Modified: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', MODIFIED)}\r\n"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(slots=True)
class Received:
    """The body of a request as far as anybody needs it."""

    size: int = 0
    crc64: int = 0
    md5: str = ""
    document: bytes = b""


@dataclass(slots=True)
class Answer:
    """`head`, and then the bytes from `offset` on of what every object contains."""

    head: bytes
    offset: int = 0
    length: int = 0


@dataclass(slots=True)
class Api:
    """One bucket, addressed by path or by host name."""

    bucket: str
    objects: Objects = field(default_factory=Objects)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def key_of(self, path: str) -> str:
        """Return the key that a path addresses, "" for the bucket."""
        rest = path.removeprefix(f"/{self.bucket}")
        return rest[1:] if rest[:1] in ("", "/") else path[1:]

    def operation(self, request: Request, key: str) -> str:
        """Return what a request asks for, as one word."""
        query = request.query
        if not key:
            return {"GET": "list", "POST": "delete-many"}.get(request.method, "head-bucket")
        if "uploadId" in query:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(
                request.method, "list-parts"
            )
        if request.method == "POST":
            return "initiate"
        return request.method.lower()

    def answer(self, operation: str, request: Request, key: str, body: Received) -> Answer:
        """Return what a request is answered."""
        match operation:
            case "put":
                return self._put(request, key, body)
            case "get" | "head":
                return self._read(request, key)
            case "list":
                return self._list(request.query)
            case "delete":
                self.objects.delete(key)
                return Answer(answer(204))
            case "delete-many":
                return _document(b"<DeleteResult></DeleteResult>")
            case "head-bucket":
                return Answer(answer(200))
            case "initiate":
                upload_id = f"upload{next(self._ids)}"
                self.objects.uploads[upload_id] = Upload(key)
                return _document(documents.initiate_result(self.bucket, key, upload_id))
            case _:
                return self._multipart(operation, request, key, body)

    def render_list(self, count: int) -> None:
        """Make the rows of a list ready in both forms, so that the first to ask does not wait."""
        prefix = marker = f"list-{count}/"
        while marker:
            page = self.objects.list(prefix, "/", marker, 1000)
            for is_encoded in (False, True):
                documents.listing(self.bucket, prefix, page, is_v2=False, is_encoded=is_encoded)
            marker = page.next_marker

    def _put(self, request: Request, key: str, body: Received) -> Answer:
        if request.header(b"x-cos-forbid-overwrite") == "true" and self.objects.find(key):
            return _refusal(409, "FileAlreadyExists")
        if source := request.header(b"x-cos-copy-source") or request.header(b"x-amz-copy-source"):
            copied = self.objects.find(source.partition("/")[2].removeprefix(f"{self.bucket}/"))
            if copied is None:
                return _refusal(404, "NoSuchKey")
            self.objects.put(key, copied)
            return _document(documents.copy_result(copied))
        stored = Stored(body.size, body.crc64, body.md5 or f"{body.crc64:032x}-1")
        self.objects.put(key, stored)
        return Answer(answer(200, _describe(stored)))

    def _read(self, request: Request, key: str) -> Answer:
        stored = self.objects.find(key)
        is_head = request.method == "HEAD"
        if stored is None:
            return Answer(answer(404)) if is_head else _refusal(404, "NoSuchKey")
        wanted = request.header(b"if-match").strip('"')
        if wanted and wanted != stored.etag:
            return _refusal(412, "PreconditionFailed")
        headers = f"{_describe(stored)}{_LAST_MODIFIED}Accept-Ranges: bytes\r\n"
        headers += "Content-Type: application/octet-stream\r\n"
        first, end, status = 0, stored.size, 200
        if match := _RANGE.fullmatch(request.header(b"range")):
            status = 206
            if match[1]:
                first = int(match[1])
                end = min(int(match[2] or stored.size) + 1, stored.size)
            else:
                first = max(stored.size - int(match[2]), 0)
            if first >= stored.size:
                return _refusal(416, "InvalidRange")
            headers += f"Content-Range: bytes {first}-{end - 1}/{stored.size}\r\n"
        head = answer(status, headers, length=end - first)
        return Answer(head) if is_head else Answer(head, first, end - first)

    def _list(self, query: dict[str, str]) -> Answer:
        for name in ("location", "versioning", "uploads"):
            if name in query:
                return _document(b"<Result></Result>")
        is_v2 = query.get("list-type") == "2"
        prefix = query.get("prefix", "")
        if is_v2:
            marker = query.get("continuation-token", query.get("start-after", ""))
        else:
            marker = query.get("marker", "")
        page = self.objects.list(
            prefix, query.get("delimiter", ""), marker, min(int(query.get("max-keys", 1000)), 1000)
        )
        is_encoded = query.get("encoding-type") == "url"
        return _document(
            documents.listing(self.bucket, prefix, page, is_v2=is_v2, is_encoded=is_encoded)
        )

    def _multipart(self, operation: str, request: Request, key: str, body: Received) -> Answer:
        upload_id = request.query["uploadId"]
        upload = self.objects.uploads.get(upload_id)
        if upload is None:
            return _refusal(404, "NoSuchUpload")
        if operation == "part":
            part = Stored(body.size, body.crc64, body.md5 or f"{body.crc64:032x}-1")
            upload.parts[int(request.query["partNumber"])] = part
            return Answer(answer(200, _describe(part)))
        if operation == "list-parts":
            rows = sorted(upload.parts.items())
            return _document(documents.parts(self.bucket, key, upload_id, rows))
        del self.objects.uploads[upload_id]
        if operation == "abort":
            return Answer(answer(204))
        whole = _join([upload.parts[number] for number in documents.part_numbers(body.document)])
        self.objects.put(key, whole)
        return _document(documents.complete_result(self.bucket, key, whole))


def _join(parts: list[Stored]) -> Stored:
    size = crc = 0
    for part in parts:
        crc = combine(crc, part.crc64, part.size)
        size += part.size
    return Stored(size, crc, f"{crc:032x}-{len(parts)}")


def _describe(stored: Stored) -> str:
    return f'ETag: "{stored.etag}"\r\nx-cos-hash-crc64ecma: {stored.crc64}\r\n'


def _document(xml: bytes) -> Answer:
    return Answer(answer(200, "Content-Type: application/xml\r\n", xml))


def _refusal(status: int, code: str) -> Answer:
    return Answer(answer(status, "Content-Type: application/xml\r\n", documents.error(code)))
