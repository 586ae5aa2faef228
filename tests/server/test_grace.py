"""How long a client may still turn out to be gone after the end of its data."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cos_ftp_server.server.control import ControlConnection

ESTABLISHED, CLOSE_WAIT = 1, 8
LEAST, MOST = 0.02, 0.2
TOLERANCE = 0.001  # the loop's clock counts in milliseconds


class FarAway(asyncio.Transport):
    """A connection of which the kernel tells this state and round trip. It is its own socket."""

    def __init__(self, near: socket.socket, state: int, round_trip: float) -> None:
        super().__init__()
        self._near = near
        self._state = state
        self._round_trip = round_trip
        self.on_asked: Callable[[], None] = lambda: None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def is_closing(self) -> bool:
        return self._near.fileno() < 0

    def fileno(self) -> int:
        return self._near.fileno()

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        self.on_asked()
        microseconds = round(self._round_trip * 1_000_000).to_bytes(4, sys.byteorder)
        return bytes([self._state]) + bytes(size - 5) + microseconds


class Line:
    """Both ends of a connection: what the gateway has, and what a client sends into it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()

    def connected(self, state: int, round_trip: float) -> tuple[ControlConnection, FarAway]:
        control = ControlConnection(lambda _: None)
        transport = FarAway(self.near, state, round_trip)
        control.connection_made(transport)
        return control, transport

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


async def wait(control: ControlConnection) -> tuple[bool, float]:
    """Return whether the client went, and how long that took to find out."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    is_gone = await control.is_gone_within(LEAST, MOST)
    return is_gone, loop.time() - begin


@pytest.mark.parametrize(
    ("round_trip", "seconds"), [(0.0, LEAST), (0.0005, LEAST), (0.07, 0.07), (3.0, MOST)]
)
async def test_a_client_has_the_time_of_a_round_trip_within_bounds(
    line: Line, round_trip: float, seconds: float
) -> None:
    control, _ = line.connected(ESTABLISHED, round_trip)
    is_gone, waited = await wait(control)
    assert not is_gone
    assert seconds - TOLERANCE <= waited < seconds + 1


async def test_an_end_that_was_not_read_yet_counts(line: Line) -> None:
    control, _ = line.connected(CLOSE_WAIT, 0.0)
    is_gone, _ = await wait(control)
    assert is_gone


@pytest.mark.parametrize("delay", [0.0, LEAST / 2, LEAST + 0.05])
async def test_an_end_that_comes_meanwhile_ends_the_wait(line: Line, delay: float) -> None:
    control, _ = line.connected(ESTABLISHED, MOST)
    asyncio.get_running_loop().call_later(delay, control.eof_received)
    is_gone, _ = await wait(control)
    assert is_gone


@pytest.mark.parametrize("has_sent", [True, False])
async def test_what_was_sent_in_time_is_read_before_the_client_is_believed(
    line: Line, has_sent: bool
) -> None:
    """The loop was late: the time is over, and it has not looked at the sockets yet."""
    control, transport = line.connected(ESTABLISHED, 0.0)
    if has_sent:
        line.far.send(b"ABOR\r\n")
    loop = asyncio.get_running_loop()

    def read_in_the_next_turn() -> None:
        loop.call_soon(control.eof_received)

    transport.on_asked = read_in_the_next_turn
    is_gone, _ = await wait(control)
    assert is_gone is has_sent


async def test_what_is_read_in_pieces_is_read_to_its_end(line: Line) -> None:
    """One read ends where urgent data begins, as with the Synch in front of ABOR."""
    control, transport = line.connected(ESTABLISHED, 0.0)
    line.far.send(b"\xff\xf4\xff\xf2ABOR\r\n")
    loop = asyncio.get_running_loop()

    pieces = iter([3, 1, 6])

    def read() -> None:
        if size := next(pieces, 0):
            line.near.recv(size)
            loop.call_soon(read)
        else:
            control.eof_received()

    def read_in_the_next_turn() -> None:
        loop.call_soon(read)

    transport.on_asked = read_in_the_next_turn
    is_gone, _ = await wait(control)
    assert is_gone


async def test_what_nobody_reads_is_not_waited_for(line: Line) -> None:
    """Too many commands are waiting already."""
    control, _ = line.connected(ESTABLISHED, 0.0)
    line.far.send(b"NOOP\r\n")
    async with asyncio.timeout(5):
        is_gone, _ = await wait(control)
    assert not is_gone


async def test_a_client_that_is_gone_is_not_waited_for(line: Line) -> None:
    control, _ = line.connected(ESTABLISHED, MOST)
    control.connection_lost(None)
    is_gone, waited = await wait(control)
    assert is_gone
    assert waited < MOST


async def test_a_connection_that_is_being_closed_is_gone(line: Line) -> None:
    control, _ = line.connected(ESTABLISHED, 0.0)
    line.close()
    is_gone, _ = await wait(control)
    assert is_gone
