"""How long a client may still turn out to be gone after the end of its data."""

import asyncio
import sys
from typing import Any

import pytest

from cos_ftp_server.server.control import ControlConnection

ESTABLISHED, CLOSE_WAIT = 1, 8
LEAST, MOST = 0.02, 0.2
TOLERANCE = 0.001  # the loop's clock counts in milliseconds


class FarAway(asyncio.Transport):
    """A connection of which the kernel tells this state and round trip. It is its own socket."""

    def __init__(self, state: int, round_trip: float) -> None:
        super().__init__()
        self._state = state
        self._round_trip = round_trip

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        microseconds = round(self._round_trip * 1_000_000).to_bytes(4, sys.byteorder)
        return bytes([self._state]) + bytes(size - 5) + microseconds


async def wait(control: ControlConnection) -> tuple[bool, float]:
    """Return whether the client went, and how long that took to find out."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    is_gone = await control.is_gone_within(LEAST, MOST)
    return is_gone, loop.time() - begin


def connected(state: int, round_trip: float) -> ControlConnection:
    control = ControlConnection(lambda _: None)
    control.connection_made(FarAway(state, round_trip))
    return control


@pytest.mark.parametrize(
    ("round_trip", "seconds"), [(0.0, LEAST), (0.0005, LEAST), (0.07, 0.07), (3.0, MOST)]
)
async def test_a_client_has_the_time_of_a_round_trip_within_bounds(
    round_trip: float, seconds: float
) -> None:
    is_gone, waited = await wait(connected(ESTABLISHED, round_trip))
    assert not is_gone
    assert seconds - TOLERANCE <= waited < seconds + 1


async def test_an_end_that_was_not_read_yet_counts() -> None:
    is_gone, _ = await wait(connected(CLOSE_WAIT, 0.0))
    assert is_gone


@pytest.mark.parametrize("delay", [0.0, LEAST / 2, LEAST + 0.05])
async def test_an_end_that_comes_meanwhile_ends_the_wait(delay: float) -> None:
    control = connected(ESTABLISHED, MOST)
    asyncio.get_running_loop().call_later(delay, control.eof_received)
    is_gone, _ = await wait(control)
    assert is_gone


async def test_a_client_that_is_gone_is_not_waited_for() -> None:
    control = connected(ESTABLISHED, MOST)
    control.connection_lost(None)
    is_gone, waited = await wait(control)
    assert is_gone
    assert waited < MOST
