"""An HTTP/1.1 answer, from the bytes of a connection (RFC 9112). Pure: it never reads or waits.

The grammar is httptools' (llhttp's) business; what an answer must be to be of use, and whether
another may follow it, is decided here.
"""

from collections import deque
from functools import lru_cache

import httptools

from cos_ftp_server.cos.http_error import HttpError, Trouble

__all__ = ["Answer"]

_MAX_HEAD_BYTES = 64 * 1024
"""Eight times what common servers accept; COS sends less than 1 KiB, metadata 2 KiB at most."""

_FIRST_FINAL = 200


class Answer:
    """What has come of one answer; `feed` it. Unless it `has_body`, it ends with its head (HEAD).

    Names of headers are in lower case; of one that comes twice the first value counts.
    """

    __slots__ = (
        "_has_body",
        "_head_bytes",
        "_is_interim",
        "_parser",
        "_pieces",
        "has_head",
        "headers",
        "held",
        "is_complete",
        "keeps_alive",
        "left",
        "status",
    )

    def __init__(self, *, has_body: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.has_head = False
        self.is_complete = False
        self.keeps_alive = False
        """Whether the connection can be used again, once the answer is complete."""
        self.left: int | None = None
        """Bytes of the body that have not come yet, None if only its end will tell."""
        self.held = 0
        """Bytes of the body that have come and have not been taken."""
        self._has_body = has_body
        self._head_bytes = 0
        self._is_interim = False
        self._pieces: deque[bytes] = deque()
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: memoryview) -> None:
        """Take what the connection has received. Raises HttpError(NO_HTTP)."""
        parser = self._parser
        if parser is None:  # more than was announced
            self.keeps_alive = False
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keeps_alive = False
            if not self.is_complete:
                raise HttpError(Trouble.NO_HTTP, str(error)) from error
        if not self.has_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                raise HttpError(Trouble.NO_HTTP, f"head longer than {_MAX_HEAD_BYTES} bytes")
        elif self.is_complete:
            self._parser = None

    def take(self, most: int) -> bytes:
        """Return the next bytes of the body that have come, b"" if there are none."""
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        if len(piece) > most:
            self._pieces.appendleft(piece[most:])
            piece = piece[:most]
        self.held -= len(piece)
        return piece

    def take_all(self) -> bytes:
        """Return all of the body that has come."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.held = 0
        return body

    def bypass(self) -> None:
        """Say that the rest of the body, of known length, will not be fed but `count`ed."""
        self._parser = None

    def count(self, received: int) -> None:
        """Count bytes of the body that have gone another way."""
        assert self.left is not None  # noqa: S101 - for the type checker; see `bypass`
        self.left -= received
        self.is_complete = self.left == 0

    def end(self) -> None:
        """Take note of the end of the connection, which ends a body of unknown length."""
        self.keeps_alive = False
        if self.has_head and self.left is None and "transfer-encoding" not in self.headers:
            self.is_complete = True

    # Called by the parser

    def on_message_begin(self) -> None:
        """Notice another answer that nobody has asked for."""
        if self.is_complete:
            self.keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what follows a chunked body is of no interest."""
        if not self.has_head:
            self.headers.setdefault(_header_name(name), value.decode("utf-8", "surrogateescape"))

    def on_headers_complete(self) -> None:
        """Find out where the answer ends."""
        parser = self._parser
        if parser is None or self.is_complete:  # that of an answer that nobody has asked for
            return
        status = parser.get_status_code()
        if status < _FIRST_FINAL:
            self._is_interim = True
            return
        self.status = status
        self.keeps_alive = parser.should_keep_alive()
        self.has_head = True
        if not self._has_body:
            self.is_complete = True
            # The parser expects a body of unknown length where nothing tells one.
            closes = "close" in self.headers.get("connection", "").lower()
            self.keeps_alive |= parser.get_http_version() == "1.1" and not closes
        elif "transfer-encoding" not in self.headers and "content-length" in self.headers:
            self.left = int(self.headers["content-length"])

    def on_body(self, data: bytes) -> None:
        """Hold a piece of the body."""
        if self.is_complete:  # behind an answer to HEAD
            self.keeps_alive = False
            return
        self._pieces.append(data)
        self.held += len(data)
        if self.left is not None:
            self.left -= len(data)

    def on_message_complete(self) -> None:
        """End the answer, unless it only announced another (100 Continue)."""
        if self._is_interim:
            self._is_interim = False
            self.headers.clear()
        else:
            self.is_complete = True


@lru_cache(maxsize=256)  # most answers have the names of the last one
def _header_name(name: bytes) -> str:
    return name.decode("latin-1").lower()
