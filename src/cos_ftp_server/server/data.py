"""One data connection in the clear: moves bytes between a socket and memory, with back-pressure.

Owns the socket's transport, the stall clock and the difference between a clean end and a broken
one. It must not know commands, replies or storage: what it fills is any `Sink`.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from cos_ftp_server.errors import GatewayError
from cos_ftp_server.send_buffer import bound_when_near, unacknowledged_bytes
from cos_ftp_server.server.ticker import Ticker

__all__ = [
    "DataConnection",
    "DataConnectionError",
    "DataEndpoint",
    "NoDataConnectionError",
    "Sink",
    "SocketName",
]

_EARLY_BYTES = 64 * 1024
"""Room for what a client sends before a transfer has claimed the connection. No client should, but
uvloop reads once before it can be paused."""

_DISCARD_SECONDS = 60.0
"""How long a client may go on sending what is thrown away. Most read their reply at once, and stop;
those that read it only at the end can send much by then, but not for ever."""

_CHECKS_PER_STALL = 4
"""The stall clock looks this often per period, so a stall is noticed at most a quarter late."""


SocketName = tuple[str, int] | tuple[str, int, int, int]
"""An address as sockets name it: host and port, and flow and scope for IPv6."""


class DataConnectionError(GatewayError):
    """The data connection did not end cleanly: it broke, or stood still for too long."""

    def __init__(self, *, timed_out: bool = False) -> None:
        super().__init__("data connection timed out" if timed_out else "data connection lost")
        self.timed_out = timed_out


class NoDataConnectionError(GatewayError):
    """No data connection came about; the text, for the log, says why."""


class Sink(Protocol):
    """Memory to receive into; `vfs.base.ObjectWriter` is one."""

    def window(self) -> memoryview:
        """Return free memory; empty when `wait` must come first."""
        ...

    def advance(self, count: int) -> None:
        """Say that the first `count` bytes of the window have been filled."""
        ...

    async def wait(self) -> None:
        """Return when `window()` is not empty."""
        ...


class _Discarded:
    """The sink of what nobody wants any more."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray(_EARLY_BYTES))

    def window(self) -> memoryview:
        """See Sink."""
        return self._memory

    def advance(self, count: int) -> None:
        """See Sink."""

    async def wait(self) -> None:
        """See Sink."""


class DataConnection(asyncio.BufferedProtocol):
    """A connected data socket. One coroutine at a time may await its methods.

    `on_open` is called once, when the connection stands; it may `abort()`.
    """

    __slots__ = (
        "_discard_timer",
        "_early",
        "_early_filled",
        "_eof",
        "_idle_checks",
        "_is_bounded",
        "_is_broken",
        "_is_open",
        "_loop",
        "_moved_at_check",
        "_on_open",
        "_sink",
        "_stall_seconds",
        "_timed_out",
        "_transport",
        "_waiter",
        "_window",
        "_write_paused",
        "received",
        "sent",
    )

    def __init__(
        self, stall_seconds: float, on_open: Callable[["DataConnection"], None] | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stall_seconds = stall_seconds
        self._on_open = on_open
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self._eof = False
        self._is_bounded = False  # only the many who send little need not be
        self._is_broken = False
        self._timed_out = False
        self._write_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._window: memoryview | None = None  # not None: it is the client's turn to send
        self._early: bytearray | None = None
        self._early_filled = 0
        self._idle_checks = 0
        self._moved_at_check = 0
        self._discard_timer: asyncio.TimerHandle | None = None
        self.received = 0
        """Bytes that a sink was given; what is thrown away does not count."""
        self.sent = 0

    @property
    def peer_host(self) -> str:
        """Address of the other end; "" when it is gone already."""
        peer = self._transport and self._transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    async def receive(self, sink: Sink) -> None:
        """Fill `sink` until the client has closed its side with a FIN.

        Raises DataConnectionError on anything else that ends the stream, and what `sink` raises.
        """
        if self._early is not None:
            await self._hand_over_early(self._early, sink)
        transport = self._require_transport()
        self._sink = sink
        try:
            with self._stall_clock():
                while not self._eof:
                    self._raise_if_lost()
                    # Held nowhere else: an error that is kept would keep the memory of this frame.
                    self._window = sink.window() or None
                    if self._window is None:
                        transport.pause_reading()
                        await sink.wait()
                        continue
                    transport.resume_reading()
                    await self._next_event()
        finally:
            self._sink = self._window = None

    async def send(self, data: bytes | memoryview) -> None:
        """Send `data`; return when the kernel has it all, and its memory may be used again.

        Raises DataConnectionError.
        """
        self._raise_if_lost()
        self._require_transport().write(data)
        self.sent += len(data)
        if self._write_paused:
            with self._stall_clock():
                while self._write_paused:
                    await self._next_event()
                    self._raise_if_lost()

    async def finish(self) -> None:
        """Hand everything to the kernel and close. Raises DataConnectionError if that failed."""
        is_sent = self._unsent() == 0 and not self._is_broken and not self._is_closing()
        self.close()
        if self._is_open and not is_sent:
            with self._stall_clock():
                while self._is_open:
                    await self._next_event()
        if self._is_broken:
            raise DataConnectionError(timed_out=self._timed_out)

    def discard(self) -> None:
        """Throw away what the client still sends, until it closes, for a minute at most.

        A client that is reset while it sends takes that for the outcome: curl and lftp do not read
        the reply which says why. Nothing but `abort` may be called from now on.
        """
        if self._transport is None or self._eof:
            self.abort()
            return
        self._sink = _Discarded()
        self._window = self._sink.window()
        self._discard_timer = self._loop.call_later(_DISCARD_SECONDS, self.abort)
        self._transport.resume_reading()

    @property
    def is_discarding(self) -> bool:
        """Whether it will close by itself."""
        return self._discard_timer is not None

    def close(self) -> None:
        """Close once everything is sent, without waiting for it."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what is unsent is dropped. May be called at any time, repeatedly."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        self._is_open = True
        if self._on_open is not None:
            on_open, self._on_open = self._on_open, None
            on_open(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the sink's own memory."""
        if self._window is not None:
            return self._window
        if self._early is None:
            self._early = bytearray(_EARLY_BYTES)
        return memoryview(self._early)[self._early_filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Tell the sink; stop reading when it has no room."""
        sink = self._sink
        if sink is None or self._window is None:
            self._early_filled += nbytes
            self._require_transport().pause_reading()
            return
        sink.advance(nbytes)
        if not self.is_discarding:
            self.received += nbytes
        self._window = sink.window() or None
        if self._window is None:
            self._require_transport().pause_reading()
            self._wake()

    def eof_received(self) -> bool:
        """Note the FIN; the transfer decides when to close, if there is one."""
        self._eof = True
        self._wake()
        return not self.is_discarding

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how it ended."""
        self._is_open = False
        self._transport = None
        self._is_broken = self._is_broken or exc is not None
        if self._discard_timer is not None:
            self._discard_timer.cancel()
            self._sink = self._window = None
        self._wake()

    def pause_writing(self) -> None:
        """Make `send` wait."""
        self._write_paused = True
        if not self._is_bounded:
            self._is_bounded = True
            bound_when_near(self._require_transport())

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._write_paused = False
        self._wake()

    async def _hand_over_early(self, early: bytearray, sink: Sink) -> None:
        rest = memoryview(early)[: self._early_filled]
        while rest:
            window = sink.window()
            if window:
                count = min(len(window), len(rest))
                window[:count] = rest[:count]
                sink.advance(count)
                self.received += count
                rest = rest[count:]
            else:
                await sink.wait()
        self._early, self._early_filled = None, 0

    def _require_transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise DataConnectionError(timed_out=self._timed_out)
        return self._transport

    def _raise_if_lost(self) -> None:
        if not self._is_open:
            raise DataConnectionError(timed_out=self._timed_out)

    def _next_event(self) -> "asyncio.Future[None]":
        """Return a future that is done as soon as anything has happened."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The stall clock: a timer that compares, instead of a deadline per chunk. It compares with what
    # the last check has seen, whenever that was: to look at each start would cost every chunk.

    def _stall_clock(self) -> Ticker:
        self._idle_checks = 0
        return Ticker(self._stall_seconds / _CHECKS_PER_STALL, self._check_stall)

    def _check_stall(self) -> None:
        moved = self._moved()
        if moved != self._moved_at_check or not self._is_clients_turn():
            self._idle_checks = 0
        else:
            self._idle_checks += 1
        self._moved_at_check = moved
        if self._idle_checks == _CHECKS_PER_STALL:
            self._is_broken = self._timed_out = True
            self.abort()

    def _is_clients_turn(self) -> bool:
        return self._window is not None or self._unacknowledged() > 0

    def _moved(self) -> int:
        return self.received + self.sent - self._unacknowledged()

    def _unacknowledged(self) -> int:
        return 0 if self._transport is None else unacknowledged_bytes(self._transport)

    def _is_closing(self) -> bool:
        """Whether a write has failed, of which `connection_lost` will tell."""
        return self._transport is not None and self._transport.is_closing()

    def _unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()


class DataEndpoint(Protocol):
    """Where the next transfer's data connection will come from: PASV and EPSV, or PORT and EPRT.

    It serves one transfer. Whoever holds it must `close` it, which also drops an unused connection.
    """

    async def connect(self, timeout_seconds: float) -> DataConnection:
        """Return the connection, to be closed by the caller. Raises NoDataConnectionError."""
        ...

    def close(self) -> None:
        """Release whatever was not handed over. May be called repeatedly."""
        ...
