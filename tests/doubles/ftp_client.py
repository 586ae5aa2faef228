"""An FTP client that does only what it is told, so that tests can misbehave with it."""

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tests.doubles.accounts import PASSWORD, USER

__all__ = ["ABORTS", "RawClient", "Reply", "reset", "until"]

_TIMEOUT_SECONDS = 20.0


def _plain(sock: socket.socket) -> None:
    sock.send(b"ABOR\r\n")


def _ftplib(sock: socket.socket) -> None:
    sock.send(b"ABOR\r\n", socket.MSG_OOB)


def _lftp(sock: socket.socket) -> None:
    sock.send(b"\xff\xf4\xff")
    sock.send(b"\xf2", socket.MSG_OOB)
    sock.send(b"ABOR\r\n")


def _tnftp(sock: socket.socket) -> None:
    sock.send(b"\xff\xf4")
    sock.send(b"\xff", socket.MSG_OOB)
    sock.send(b"\xf2ABOR\r\n")


ABORTS: Mapping[str, Callable[[socket.socket], None]] = {
    "plain": _plain,
    "ftplib": _ftplib,
    "lftp": _lftp,
    "tnftp": _tnftp,
}
"""The forms in which clients send ABOR: urgent or not, with Telnet's IP and Synch or without."""


@dataclass(frozen=True)
class Reply:
    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds, which nothing else tells."""
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110  # the point of this function
            await asyncio.sleep(0)


class RawClient:
    """A control connection; use as an async context, which closes all that was opened."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.host = address[0]
        self._opened: list[asyncio.StreamWriter] = []
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.name: tuple[str, int]

    async def __aenter__(self) -> "RawClient":
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        self._opened.append(self.writer)
        self.name = self.writer.get_extra_info("sockname")
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._opened:
            writer.transport.abort()

    def send(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())

    def abort(self, form: str = "plain") -> None:
        """Send ABOR in one of the forms of `ABORTS`, which an asyncio transport cannot."""
        transport_socket = self.writer.get_extra_info("socket")
        with socket.socket(fileno=socket.dup(transport_socket.fileno())) as sock:
            ABORTS[form](sock)

    async def line(self) -> str:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            line = await self.reader.readline()
        if not line:
            raise EOFError
        assert line.endswith(b"\r\n")
        return line.decode().removesuffix("\r\n")

    async def reply(self) -> Reply:
        lines = [await self.line()]
        code = lines[0][:3]
        if lines[0][3:4] == "-":
            while not lines[-1].startswith(f"{code} "):
                lines.append(await self.line())
        return Reply(int(code), tuple(lines))

    async def command(self, line: str) -> Reply:
        self.send(line)
        return await self.reply()

    async def expect(self, line: str, *codes: int) -> Reply:
        reply = await self.command(line)
        assert reply.code in codes, reply
        return reply

    async def login(self) -> None:
        assert (await self.reply()).code == 220
        await self.expect(f"USER {USER}", 331)
        await self.expect(f"PASS {PASSWORD}", 230)
        await self.expect("TYPE I", 200)

    async def passive_port(self) -> int:
        reply = await self.expect("EPSV", 229)
        found = re.search(r"\(\|\|\|(\d+)\|\)", reply.text)
        assert found
        return int(found[1])

    async def open_data(
        self, port: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port is None:
            port = await self.passive_port()
        reader, writer = await asyncio.open_connection(self.host, port)
        self._opened.append(writer)
        return reader, writer

    def close_data(self) -> None:
        """Close all data connections, at once."""
        for writer in self._opened[1:]:
            writer.transport.abort()

    async def lines_until_closed(self) -> list[str]:
        """Return all that the server has to say before it closes, even with an RST."""
        lines = []
        with suppress(EOFError, ConnectionResetError):
            while True:
                lines.append(await self.line())
        return lines

    async def at_eof(self) -> bool:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await self.reader.read() == b""

    async def store(self, path: str, content: bytes, verb: str = "STOR") -> Reply:
        _, writer = await self.open_data()
        reply = await self.command(f"{verb} {path}")
        if reply.code != 150:
            return reply
        writer.write(content)
        writer.write_eof()
        return await self.reply()

    async def fetch(self, command: str) -> tuple[bytes, Reply]:
        reader, _ = await self.open_data()
        reply = await self.command(command)
        if reply.code != 150:
            return b"", reply
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            content = await reader.read()
        return content, await self.reply()
