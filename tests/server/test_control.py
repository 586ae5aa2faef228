"""When the control connection reads on, and when it does not."""

import asyncio

import pytest

from cos_ftp_server.protocol.lines import DEFAULT_LIMIT
from cos_ftp_server.server.control import ControlConnection

QUEUED = 64


class PacedTransport(asyncio.Transport):
    """A connection that knows whether anybody reads from it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = True

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True


@pytest.fixture
def transport() -> PacedTransport:
    return PacedTransport()


@pytest.fixture
def control(transport: PacedTransport) -> ControlConnection:
    connection = ControlConnection(lambda _: None)
    connection.connection_made(transport)
    return connection


@pytest.mark.parametrize("size", range(DEFAULT_LIMIT - 1, DEFAULT_LIMIT + 4))
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_line_whose_end_comes_later_is_read_to_its_end(
    control: ControlConnection, transport: PacedTransport, size: int, end: bytes
) -> None:
    line = b"NOOP".ljust(size, b"a") + end
    control.data_received(line[:-1])
    assert transport.is_read
    control.data_received(line[-1:])
    assert len(control.queue) == 1


async def test_nothing_is_read_while_enough_commands_wait(
    control: ControlConnection, transport: PacedTransport
) -> None:
    control.data_received(b"NOOP\r\n" * (QUEUED - 1))
    assert transport.is_read
    control.data_received(b"NOOP\r\n" * 3)
    for waiting in range(3, 0, -1):
        assert not transport.is_read
        assert len(control.queue) == QUEUED
        control.take()
        assert transport.is_read is (waiting == 1)
