"""How much the kernel may hold of what is sent to somebody near, and to somebody far away."""

import asyncio
import socket
import sys
from types import SimpleNamespace
from typing import cast

import pytest

from cos_ftp_server.send_buffer import bound_when_near


class KernelSocket:
    """A connection of which the kernel tells this much."""

    def __init__(self, info: bytes) -> None:
        self.info = info
        self.options: list[tuple[int, int, int]] = []

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self.info[:size]

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.append((level, option, value))


def info_of(shortest_round_trip_us: int) -> bytes:
    return bytes(148) + shortest_round_trip_us.to_bytes(4, sys.byteorder) + bytes(80)


def transport_of(sock: object, *, is_closing: bool = False) -> asyncio.WriteTransport:
    fake = SimpleNamespace(is_closing=lambda: is_closing, get_extra_info=lambda _: sock)
    return cast(asyncio.WriteTransport, fake)


async def test_buffer_of_a_connection_on_this_machine_grows_no_further() -> None:
    received = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: received.set_result(writer), "127.0.0.1")
    host, port = server.sockets[0].getsockname()
    _, writer = await asyncio.open_connection(host, port)
    sock: socket.socket = writer.transport.get_extra_info("socket")

    bound_when_near(writer.transport)
    first = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    writer.write(bytes(16 * 1024 * 1024))  # nobody reads: a buffer that may grow does
    await asyncio.sleep(0)

    assert first <= 2 * 256 * 1024
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == first
    writer.transport.abort()
    (await received).transport.abort()
    server.close()


@pytest.mark.parametrize("shortest_us", [20, 1_000])
def test_near(shortest_us: int) -> None:
    sock = KernelSocket(info_of(shortest_us))

    bound_when_near(transport_of(sock))

    assert sock.options == [(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)]


@pytest.mark.parametrize("info", [info_of(1_001), info_of(50_000), info_of(2**32 - 1), bytes(104)])
def test_buffer_is_left_to_the_kernel_when_far_away_or_unknown(info: bytes) -> None:
    sock = KernelSocket(info)

    bound_when_near(transport_of(sock))

    assert sock.options == []


def test_closed_connection_is_left_alone() -> None:
    """Its descriptor may be another file's by now."""
    sock = KernelSocket(info_of(20))

    bound_when_near(transport_of(sock, is_closing=True))

    assert sock.options == []
