"""HTTP of the null store: requests from bytes, answers to bytes. Pure."""

from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from urllib.parse import parse_qsl, unquote_to_bytes

__all__ = ["Request", "answer", "parse_request"]

_REASONS = {
    100: "Continue",
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    404: "Not Found",
    409: "Conflict",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
}


@dataclass(slots=True)
class Request:
    """The head of a request; header names are searched for in `_lower`, which is lower case."""

    method: str
    path: str
    query: dict[str, str]
    length: int
    _head: bytes
    _lower: bytes

    @property
    def is_s3(self) -> bool:
        """Whether it is signed as S3's requests are."""
        return b"\r\nauthorization: aws4" in self._lower

    def header(self, name: bytes) -> str:
        """Return a header's value, "" when it is missing. `name` is lower case."""
        start = self._lower.find(b"\r\n" + name + b":")
        if start < 0:
            return ""
        start += len(name) + 3
        return self._head[start : self._head.find(b"\r\n", start)].strip().decode("latin-1")


def parse_request(head: bytes) -> Request:
    """Parse a head, which ends with the empty line."""
    method, target, _ = head[: head.find(b"\r\n")].decode("latin-1").split(" ")
    path, _, query = target.partition("?")
    request = Request(method, _unquote(path), _parse_query(query), 0, head, head.lower())
    if length := request.header(b"content-length"):
        request.length = int(length)
    return request


def _unquote(path: str) -> str:
    return unquote_to_bytes(path).decode() if "%" in path else path


@lru_cache(maxsize=1024)
def _parse_items(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(query, keep_blank_values=True))


def _parse_query(query: str) -> dict[str, str]:
    return dict(_parse_items(query)) if query else {}


def answer(status: int, headers: str = "", body: bytes = b"", length: int | None = None) -> bytes:
    """Return an answer; `length` is that of the body which follows, when it is not `body`."""
    size = len(body) if length is None else length
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nServer: null\r\n{_DATE}x-cos-request-id: 0\r\n"
        f"x-amz-request-id: 0\r\nContent-Length: {size}\r\n{headers}\r\n"
    )
    return head.encode("latin-1") + body


# The clock of the store stands still, but not far from that of clients who look.
_DATE = f"Date: {formatdate(usegmt=True)}\r\n"
