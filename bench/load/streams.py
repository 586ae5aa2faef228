"""The two halves of a data connection: what sends the common content, and what swallows."""

import asyncio
from typing import cast

from bench.content import BLOCK_BYTES, piece

__all__ = ["Receiver", "Sender"]

_SHARED = memoryview(bytearray(BLOCK_BYTES))
_WRITE_BYTES = 256 * 1024
_HIGH_WATER = 512 * 1024


class Sender(asyncio.Protocol):
    """Sends `size` bytes after `first` when told to, and then the end of the data."""

    transport: asyncio.Transport

    def __init__(self, first: bytes = b"") -> None:
        self.sent = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the other side has closed, which reports in another way how it went."""
        self._first = first
        self._size = 0
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_HIGH_WATER)

    def start(self, size: int) -> None:
        """Begin to send."""
        self._size = size
        if self._first:
            self.transport.write(self._first)
        self._send()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        while self.sent < self._size and not self._is_paused:
            count = min(self._size - self.sent, _WRITE_BYTES)
            self.transport.write(piece(self.sent, count))
            self.sent += count
        if self.sent == self._size and not self.transport.is_closing():
            self.transport.write_eof()


class Receiver(asyncio.BufferedProtocol):
    """Counts what arrives until the other side closes."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.received = 0
        self.first_at: float | None = None
        """When the first byte came, by the event loop's clock."""
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _SHARED

    def buffer_updated(self, nbytes: int) -> None:
        if self.first_at is None:
            self.first_at = self._loop.time()
        self.received += nbytes

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
