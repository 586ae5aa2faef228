"""The control connection: bytes in, commands in a bounded queue; replies out, with back-pressure.

Only moves and cuts bytes: who acts on a command, and when, is none of its business.
"""

import asyncio
import fcntl
import socket
import sys
import termios
from collections import deque
from collections.abc import Callable
from typing import cast

from cos_ftp_server.protocol.commands import Command, loggable, parse_command
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.lines import NEED_DATA, LineBuffer
from cos_ftp_server.server.data import SocketName

__all__ = ["BadLine", "ControlConnection"]

_MAX_QUEUED = 64
"""Commands parsed ahead. Clients pipeline a handful; a queue beyond that fills TCP's buffers."""

_MAX_UNENDED_BYTES = 64 * 1024
"""Bytes without a line end, eight times what a line may have, before the client is cut off."""


_POLLS = 2
"""Turns of the event loop until all sockets have been looked at; the first may be under way."""

_READS = 8
"""Turns in which something is read: what is urgent divides what came together (Telnet's Synch)."""

_TCP_ESTABLISHED = b"\x01"
"""First byte of Linux's `struct tcp_info` as long as neither side has closed."""

_TCP_INFO_RTT_END = 8 + 16 * 4
"""Bytes of Linux's `struct tcp_info` up to and including `tcpi_rtt` (µs), its 16th 32-bit field."""


class BadLine:
    """A line that is no command this server can run; `loggable` is safe for a log."""

    __slots__ = ("error", "loggable")

    def __init__(self, error: ProtocolError, loggable: str) -> None:
        self.error = error
        self.loggable = loggable


class ControlConnection(asyncio.Protocol):
    """One client's control connection. `on_event` is called when there is something to look at:
    a command, the end of input, or the loss of the connection.
    """

    __slots__ = (
        "_drained",
        "_gone",
        "_is_paused",
        "_is_write_paused",
        "_lines",
        "_on_open",
        "_transport",
        "_unended_bytes",
        "is_eof",
        "is_lost",
        "on_event",
        "queue",
    )

    def __init__(self, on_open: Callable[["ControlConnection"], None]) -> None:
        self._on_open = on_open
        self._transport: asyncio.Transport | None = None
        self._lines = LineBuffer()
        self._unended_bytes = 0
        self._is_paused = False
        self._is_write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self.queue: deque[Command | BadLine] = deque()
        """Lines in the order they came. Look ahead freely, but remove with `take`."""
        self.is_eof = False
        self.is_lost = False
        self.on_event: Callable[[], None] = lambda: None

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed, or the connection is lost."""
        return self.is_eof or self.is_lost

    @property
    def is_write_paused(self) -> bool:
        """Whether the client does not read its replies."""
        return self._is_write_paused

    def socket_names(self) -> tuple[SocketName, SocketName] | None:
        """Return the local and the peer's socket name, None when the client is gone already."""
        if self._transport is None:
            return None
        local = self._transport.get_extra_info("sockname")
        peer = self._transport.get_extra_info("peername")
        return (local, peer) if local and peer else None

    def take(self, index: int = 0) -> Command | BadLine:
        """Remove one line from the queue, which makes room for others."""
        line = self.queue[index]
        del self.queue[index]
        if self._is_paused:
            self._fill_queue()
        return line

    def write(self, data: bytes) -> None:
        """Send `data` unless the connection is lost. Follow with `drain`."""
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self) -> None:
        """Return when the client has read enough of what was written, or is lost."""
        if self._is_write_paused and not self.is_lost:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    async def is_gone_within(self, least_seconds: float, most_seconds: float) -> bool:
        """Wait for the client to go, for as long as a round trip to it takes, but within these
        bounds, and say whether it went.
        """
        await self._wait_for_end(least_seconds)
        info = self._tcp_info()
        rest = min(_round_trip_seconds(info), most_seconds) - least_seconds
        if rest > 0:
            await self._wait_for_end(rest)
            info = self._tcp_info()
        is_open = info[:1] == _TCP_ESTABLISHED
        if not is_open or self._has_unread():
            # Timers come before sockets. What has come is read first: it may be ABOR, and whoever
            # serves the connection should know of its end before others act on it.
            await self._be_read()
        # While too many commands wait nothing is read, not even the end: the kernel knows it.
        return self.is_gone or not is_open

    async def _be_read(self) -> None:
        """Return when what has come was read and acted on; while commands are held back, soon."""
        for _ in range(_READS):
            if not self._has_unread():
                break
            await asyncio.sleep(0)
        for _ in range(_POLLS):
            await asyncio.sleep(0)

    async def _wait_for_end(self, seconds: float) -> None:
        if self.is_gone:
            return
        loop = asyncio.get_running_loop()
        self._gone = loop.create_future()
        timer = loop.call_later(seconds, self._stop_waiting_for_end)
        try:
            await self._gone
        finally:
            timer.cancel()
            self._gone = None

    def _tcp_info(self) -> bytes:
        sock = self._socket()
        if sock is None:
            return b""
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT_END)

    def _has_unread(self) -> bool:
        """Whether the kernel has bytes that were not read yet."""
        sock = self._socket()
        return sock is not None and any(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))

    def _socket(self) -> socket.socket | None:
        """Return what to ask the kernel about, None when it is closed, or about to be."""
        if self._transport is None or self._transport.is_closing():
            return None
        sock: socket.socket = self._transport.get_extra_info("socket")
        return sock

    def close(self) -> None:
        """Close once everything is sent, without waiting for it."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection over."""
        self._transport = cast(asyncio.Transport, transport)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Cut lines, parse them, and stop reading when enough of them wait."""
        self._lines.receive_data(data)
        self._unended_bytes += len(data)
        self._fill_queue()
        if self._unended_bytes > _MAX_UNENDED_BYTES:
            self.abort()
        self.on_event()

    def eof_received(self) -> bool:
        """Keep our side open: replies may still be due."""
        self.is_eof = True
        self._stop_waiting_for_end()
        self.on_event()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        self.is_lost = True
        self._transport = None
        self.resume_writing()
        self._stop_waiting_for_end()
        self.on_event()

    def pause_writing(self) -> None:
        """Make `drain` wait."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Let `drain` return."""
        self._is_write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _stop_waiting_for_end(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _fill_queue(self) -> None:
        queue, lines = self.queue, self._lines
        while lines.has_pending and len(queue) < _MAX_QUEUED:
            try:
                line = lines.next_line()
            except ProtocolError as error:  # too long
                self._unended_bytes = 0
                queue.append(BadLine(error, "(too long)"))
                continue
            if line is NEED_DATA:
                break
            self._unended_bytes = 0
            try:
                queue.append(parse_command(line))
            except ProtocolError as error:
                queue.append(BadLine(error, loggable(line)))
        self._pace_reading()

    def _pace_reading(self) -> None:
        """Pause only while the queue is full: `take`, which needs a line, is all that resumes."""
        is_full = len(self.queue) >= _MAX_QUEUED
        if is_full is self._is_paused or self._transport is None or self.is_eof:
            return
        self._is_paused = is_full
        if is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def _round_trip_seconds(tcp_info: bytes) -> float:
    """Return the kernel's smoothed estimate for a connection."""
    return int.from_bytes(tcp_info[-4:], sys.byteorder) / 1_000_000
