"""A session: an FTP client that does just what the works need, and one of the bare relay."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from bench.load.streams import Receiver, Sender

__all__ = ["Account", "FtpSession", "RawSession", "Session", "SessionError"]

_HOST = "127.0.0.1"
_Stream = TypeVar("_Stream", Sender, Receiver)


class SessionError(Exception):
    """The server has answered something else than it should, or nothing."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where to go, and as whom; without a user it is the relay."""

    port: int
    user: str = ""
    password: str = ""


class Session(Protocol):
    """One client."""

    sending: Sender | None
    """The upload under way."""

    async def open(self) -> None:
        """Connect and log in."""

    async def store(self, name: str, size: int) -> None:
        """Upload a file of the common content."""

    async def retrieve(self, name: str, size: int) -> Receiver:
        """Download a file, which must have this size."""

    async def list(self, path: str) -> Receiver:
        """Download a listing."""

    def close(self) -> None:
        """Hang up."""


class _Control(asyncio.Protocol):
    """The control connection: lines in, replies out."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._rest = b""
        self._replies: deque[str] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line[:3].isdigit() and line[3:4] == b" ":
                self._replies.append(line.decode())
                self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def reply(self, codes: str) -> str:
        """Return the next reply, whose first digit must be one of `codes`."""
        while not self._replies:
            if self._is_lost:
                raise SessionError("connection lost")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        line = self._replies.popleft()
        if line[0] not in codes:
            raise SessionError(line)
        return line


class FtpSession:
    """A session on an FTP server."""

    def __init__(self, account: Account) -> None:
        self.sending: Sender | None = None
        self._account = account
        self._control = _Control()

    async def open(self) -> None:
        """Connect and log in."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._control, _HOST, self._account.port)
        await self._control.reply("2")
        await self._command(f"USER {self._account.user}", "23")
        await self._command(f"PASS {self._account.password}", "2")
        await self._command("TYPE I", "2")

    async def log_in_and_out(self) -> None:
        """Do nothing but log in and leave."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._control, _HOST, self._account.port)
        await self._control.reply("2")
        await self._command(f"USER {self._account.user}", "23")
        await self._command(f"PASS {self._account.password}", "2")
        await self._command("QUIT", "2")
        self.close()

    async def store(self, name: str, size: int) -> None:
        """Upload a file."""
        sender = self.sending = await self._connect(Sender)
        try:
            await self._command(f"STOR {name}", "1")
            sender.start(size)
            await self._control.reply("2")
        finally:
            sender.transport.close()
            self.sending = None

    async def retrieve(self, name: str, size: int) -> Receiver:
        """Download a file."""
        receiver = await self._receive(f"RETR {name}")
        if receiver.received != size:
            raise SessionError(f"{name}: {receiver.received} bytes instead of {size}")
        return receiver

    async def list(self, path: str) -> Receiver:
        """Download a listing."""
        return await self._receive(f"LIST {path}")

    def close(self) -> None:
        """Hang up."""
        self._control.transport.abort()

    async def _receive(self, command: str) -> Receiver:
        receiver = await self._connect(Receiver)
        try:
            await self._command(command, "1")
            await receiver.ended
            await self._control.reply("2")
        finally:
            receiver.transport.close()
        return receiver

    async def _connect(self, factory: Callable[[], _Stream]) -> _Stream:
        answer = await self._command("EPSV", "2")
        port = int(answer.rpartition("(")[2].split("|")[3])
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(factory, _HOST, port)
        return stream

    async def _command(self, line: str, codes: str) -> str:
        self._control.transport.write(f"{line}\r\n".encode())
        return await self._control.reply(codes)


class RawSession:
    """A session on the relay: each file is a connection whose first line says what to send back."""

    def __init__(self, account: Account) -> None:
        self.sending: Sender | None = None
        self._port = account.port

    async def open(self) -> None:
        """There is nothing to log in to."""

    async def store(self, name: str, size: int) -> None:
        """Send as many bytes, and wait until they have arrived."""
        loop = asyncio.get_running_loop()
        _, sender = await loop.create_connection(lambda: Sender(b"0\n"), _HOST, self._port)
        sender.start(size)
        await sender.ended

    async def retrieve(self, name: str, size: int) -> Receiver:
        """Receive as many bytes."""
        loop = asyncio.get_running_loop()
        transport, receiver = await loop.create_connection(Receiver, _HOST, self._port)
        transport.write(b"%d\n" % size)
        transport.write_eof()
        await receiver.ended
        if receiver.received != size:
            raise SessionError(f"{receiver.received} bytes instead of {size}")
        return receiver

    async def list(self, path: str) -> Receiver:
        """Raise, for there is nothing to list."""
        raise SessionError("the relay has no listings")

    def close(self) -> None:
        """There is nothing to hang up."""
