"""FTP by hand over a real socket: for sequences of commands that no client at hand would send."""

import re
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.e2e.harness import DEADLINE_S, Site

__all__ = ["Reply", "Wire", "read_all", "reset"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply; `lines` with their codes."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines as one."""
        return "\n".join(self.lines)


class Wire:
    """A control connection. Reading from it fails after a deadline, so nothing hangs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.socket = socket.create_connection((site.host, site.port), DEADLINE_S)
        self._lines = self.socket.makefile("rb")
        self.greeting = self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close without QUIT."""
        self._lines.close()
        self.socket.close()

    def line(self) -> str:
        """Return one line. Raises EOFError when the server has closed."""
        line = self._lines.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(line)
        return line[:-2].decode()

    def reply(self) -> Reply:
        """Read a whole reply (RFC 959 section 4.2). Raises EOFError."""
        lines = [self.line()]
        code = lines[0][:3]
        assert code.isdecimal(), lines
        if lines[0][3:4] == "-":
            while not lines[-1].startswith(f"{code} "):
                lines.append(self.line())
        return Reply(int(code), tuple(lines))

    def send(self, command: str | bytes) -> None:
        """Send a line and do not wait."""
        line = command.encode() if isinstance(command, str) else command
        self.socket.sendall(line + b"\r\n")

    def ask(self, command: str | bytes) -> Reply:
        """Send a line and return the next reply."""
        self.send(command)
        return self.reply()

    def expect(self, command: str | bytes, code: int) -> Reply:
        """Send a line, and hold the next reply to `code`."""
        reply = self.ask(command)
        assert reply.code == code, (command, reply)
        return reply

    def play(self, script: str) -> None:
        """Send lines of `CODE COMMAND` one by one, and hold each reply to its code."""
        for line in script.strip().splitlines():
            code, _, command = line.strip().partition(" ")
            self.expect(command, int(code))

    def log_in(self) -> None:
        """Log in, and set TYPE I."""
        self.play(f"331 USER {self.site.user}\n230 PASS {self.site.password}\n200 TYPE I")

    def passive(self) -> socket.socket:
        """Open a data connection by PASV."""
        reply = self.expect("PASV", 227)
        match = re.search(r"\(([\d,]+)\)", reply.text)
        assert match, reply
        *host, high, low = match[1].split(",")
        return socket.create_connection((".".join(host), int(high) * 256 + int(low)), DEADLINE_S)

    def extended_passive(self) -> socket.socket:
        """Open a data connection by EPSV."""
        reply = self.expect("EPSV", 229)
        match = re.search(r"\(\|\|\|(\d+)\|\)", reply.text)
        assert match, reply
        return socket.create_connection((self.site.host, int(match[1])), DEADLINE_S)

    def upload(self, command: str, content: bytes) -> Reply:
        """Send `content` after `command` and return the final reply."""
        with self.passive() as data:
            self.expect(command, 150)
            data.sendall(content)
        return self.reply()

    def download(self, command: str) -> bytes:
        """Return what `command` sends, which must end with 226."""
        with self.passive() as data:
            self.expect(command, 150)
            content = read_all(data)
        reply = self.reply()
        assert reply.code == 226, reply
        return content


def read_all(data: socket.socket) -> bytes:
    """Return all that comes until the other end closes."""
    chunks = []
    while chunk := data.recv(256 * 1024):
        chunks.append(chunk)
    return b"".join(chunks)


def reset(connection: socket.socket) -> None:
    """Close with an RST, as the kernel of a client that died with unread data does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
