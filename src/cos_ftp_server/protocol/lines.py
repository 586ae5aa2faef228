"""Bytes of the control connection → command lines, in bounded memory, without the Telnet in them.

RFC 959 section 2.3 puts the control connection on Telnet; of that, clients still send IP and
Synch in front of ABOR (RFC 854). It must not know what a line means.
"""

import enum
import re
from typing import Final

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError

__all__ = ["DEFAULT_LIMIT", "NEED_DATA", "LineBuffer", "LineTooLong", "NeedData"]

DEFAULT_LIMIT = 8192
"""Bytes in a line: ten times the longest name in COS (850), and what ftplib accepts itself."""

_LF = b"\n"

_TELNET = re.compile(
    rb"\xff(?:"
    rb"(\xff)"  # IAC IAC: the byte 255 itself
    rb"|[\xf0-\xfa]"  # a command of two bytes: IP, DM, AO, …
    rb"|[\xfb-\xfe](?s:.)"  # WILL, WONT, DO, DONT and their option
    rb"|([\xfb-\xfe]?)\Z"  # cut by the end of the chunk
    rb")?"  # any other byte: the command was read out of band; drop the IAC alone
)

_STRAY_COMMANDS = b"\xf2\xf4"
"""DM and IP whose IAC went out of band (RFC 959 section 4.1.3, Synch). No verb begins so."""


class NeedData(enum.Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = enum.auto()


NEED_DATA: Final = NeedData.NEED_DATA
"""There is no complete line yet."""


class LineTooLong(ProtocolError):  # noqa: N818 - reads better as the condition it is
    """A line was longer than the limit; it is dropped, the lines around it are not."""

    def __init__(self) -> None:
        super().__init__(replies.LINE_TOO_LONG)


class LineBuffer:
    """Bytes in, lines out.

    An unfinished line never holds more than `limit` bytes and its line end, however much of it
    comes. Finished lines are held until they are taken: stop reading from the client while any are
    left, and memory is bounded by one read more.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._pending = bytearray()  # what was received and has not been taken
        self._cut_telnet = b""  # the beginning of a Telnet command, at most two bytes
        self._is_skipping = False  # within a line that has been reported as too long

    @property
    def has_pending(self) -> bool:
        """Whether anything was received that has not been taken, even if it is not a whole line."""
        return bool(self._pending)

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._cut_telnet or b"\xff" in data:
            data = self._strip_telnet(self._cut_telnet + data)
        if self._is_skipping:
            _, line_end, data = data.partition(_LF)
            self._is_skipping = not line_end
        self._pending += data
        if len(self._pending) > self._limit:
            # The CR of its line end may be among the bytes of a line that is just short enough.
            kept = self._pending.rfind(_LF) + 1 + self._limit + 2
            del self._pending[kept:]

    def next_line(self) -> bytes | NeedData:
        """Return the next line without its LF or CRLF, or `NEED_DATA`.

        Raises LineTooLong, once for each such line, in its place among the others.
        """
        end = self._pending.find(_LF)
        if end < 0:
            if len(self._pending) > self._limit + 1:
                self._pending.clear()
                self._is_skipping = True
                raise LineTooLong
            return NEED_DATA
        line = bytes(self._pending[:end]).removesuffix(b"\r")
        del self._pending[: end + 1]
        if len(line) > self._limit:
            raise LineTooLong
        return line.lstrip(_STRAY_COMMANDS)

    def _strip_telnet(self, data: bytes) -> bytes:
        self._cut_telnet = b""

        def keep(match: re.Match[bytes]) -> bytes:
            if match[2] is not None:
                self._cut_telnet = match[0]
            return match[1] or b""

        return _TELNET.sub(keep, data)
