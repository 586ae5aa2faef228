"""Passive and active data connections: who may connect, from where, and for how long."""

import asyncio
import re
import socket
import struct
from contextlib import suppress

import pytest

from cos_ftp_server.server.data import (
    DataConnection,
    DataConnectionError,
    NoDataConnectionError,
)
from cos_ftp_server.server.passive import PassiveListener
from tests.doubles.ftp_client import RawClient
from tests.doubles.loop_clock import LoopClock
from tests.doubles.memory_fs import MemoryFileSystem
from tests.server.conftest import Login, Servers


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class ClientListener:
    """What a client listens with in active mode."""

    def __init__(self) -> None:
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.port = 0
        self._server: asyncio.Server

    async def open(self, host: str) -> "ClientListener":
        self._server = await asyncio.start_server(self._take, host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received.set_result(await reader.read())
        writer.close()

    def close(self) -> None:
        self._server.close()


async def test_extended_passive(log_in: Login, file_system: MemoryFileSystem, host: str) -> None:
    async with log_in(file_system, hosts=(host,)) as client:
        assert (await client.store("a", b"content")).code == 226
        assert (await client.fetch("RETR a"))[0] == b"content"
        await client.expect("EPSV 2" if host == "::1" else "EPSV 1", 229)
        await client.expect("EPSV 1" if host == "::1" else "EPSV 2", 522)
        await client.expect("EPSV 7", 522)


async def test_extended_active(log_in: Login, file_system: MemoryFileSystem, host: str) -> None:
    file_system.put("/a", b"content")
    async with log_in(file_system, hosts=(host,)) as client:
        listener = await ClientListener().open(host)
        network = 2 if host == "::1" else 1
        await client.expect(f"EPRT |{network}|{host}|{listener.port}|", 200)
        await client.expect("RETR a", 150)
        assert (await client.reply()).code == 226
        assert await listener.received == b"content"
        listener.close()


async def test_passive_and_active_ipv4(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"content")
    text = (await client.expect("PASV", 227)).text
    numbers = re.search(r"\((\d+),(\d+),(\d+),(\d+),(\d+),(\d+)\)", text)
    assert numbers
    assert numbers.groups()[:4] == ("127", "0", "0", "1")
    reader, _ = await client.open_data(int(numbers[5]) * 256 + int(numbers[6]))
    await client.expect("RETR a", 150)
    assert await reader.read() == b"content"
    assert (await client.reply()).code == 226

    listener = await ClientListener().open("127.0.0.1")
    await client.expect(f"PORT 127,0,0,1,{listener.port // 256},{listener.port % 256}", 200)
    await client.expect("NLST", 150)
    assert (await client.reply()).code == 226
    assert await listener.received == b"a\r\n"
    listener.close()


async def test_passive_needs_ipv4(log_in: Login, file_system: MemoryFileSystem) -> None:
    async with log_in(file_system, hosts=("::1",)) as client:
        await client.expect("PASV", 425)
        await client.expect("PORT 127,0,0,1,200,200", 504)


@pytest.mark.parametrize("name", ["192.0.2.7", "localhost"])
async def test_masquerade(log_in: Login, file_system: MemoryFileSystem, name: str) -> None:
    async with log_in(file_system, masquerade_address=name) as client:
        told = "192,0,2,7" if name == "192.0.2.7" else "127,0,0,1"
        assert f"({told}," in (await client.expect("PASV", 227)).text


async def test_masquerade_name_that_is_unknown(
    log_in: Login, file_system: MemoryFileSystem
) -> None:
    async with log_in(file_system, masquerade_address="name.invalid") as client:
        await client.expect("PASV", 425)
        await client.expect("EPSV", 229)


async def test_stranger_is_turned_away(client: RawClient, file_system: MemoryFileSystem) -> None:
    port = await client.passive_port()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    writer.write(b"stolen")
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    _, own = await client.open_data(port)
    await client.expect("STOR a", 150)
    own.write(b"mine")
    own.write_eof()
    assert (await client.reply()).code == 226
    assert list(file_system.files.values()) == [b"mine"]


async def test_listener_is_closed_after_the_first_good_peer(client: RawClient) -> None:
    port = await client.passive_port()
    await client.open_data(port)
    await client.expect("NOOP", 200)
    with pytest.raises(ConnectionRefusedError):
        await client.open_data(port)


async def test_client_may_connect_after_the_preliminary_reply(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    port = await client.passive_port()
    await client.expect("STOR a", 150)
    _, writer = await client.open_data(port)
    writer.write_eof()
    assert (await client.reply()).code == 226


async def test_no_data_connection_in_time(log_in: Login, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"content")
    async with log_in(file_system, data_connect_timeout_seconds=0.05) as client:
        port = await client.passive_port()
        await client.expect("RETR a", 150)
        assert (await client.reply()).code == 425
        with pytest.raises(ConnectionRefusedError):
            await client.open_data(port)
        await client.expect("RETR a", 425)
        await client.expect("RETR missing", 550)
        await client.expect("STOR b", 425)


async def test_active_target_that_refuses(client: RawClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        await client.expect(f"EPRT |1|127.0.0.1|{unused.getsockname()[1]}|", 200)
        await client.expect("LIST", 150)
        assert (await client.reply()).code == 425


async def test_new_setup_drops_the_one_before(client: RawClient) -> None:
    for command in ("EPSV", "EPRT |1|127.0.0.1|2000|", "ABOR", "REIN"):
        port = await client.passive_port()
        reader, _ = await client.open_data(port)
        unused = await client.passive_port()
        await client.command(command)
        with pytest.raises(ConnectionRefusedError):
            await client.open_data(unused)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""


async def test_unused_connection_is_dropped_with_a_failed_command(client: RawClient) -> None:
    reader, _ = await client.open_data()
    await client.expect("RETR missing", 550)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    await client.expect("LIST", 425)


@pytest.mark.parametrize(
    "command",
    [
        "PORT 127,0,0,2,200,200",
        "PORT 8,8,8,8,200,200",
        "PORT 127,0,0,1,0,22",
        "EPRT |1|127.0.0.2|40000|",
        "EPRT |1|127.0.0.1|1023|",
        "EPRT |2|::1|40000|",
    ],
)
async def test_bounce_is_refused(client: RawClient, command: str) -> None:
    await client.expect(command, 504)
    await client.expect("LIST", 425)


async def test_after_epsv_all_nothing_else(client: RawClient) -> None:
    await client.expect("EPSV ALL", 200)
    for line in ("PASV", "PORT 127,0,0,1,200,200", "EPRT |1|127.0.0.1|40000|"):
        await client.expect(line, 503)
    assert (await client.store("a", b"")).code == 226


async def test_passive_ports_run_out_and_come_back(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    server = await serve(file_system, passive_ports=(port, port))
    async with RawClient(server.addresses[0]) as first, RawClient(server.addresses[0]) as second:
        await first.login()
        await second.login()
        assert await first.passive_port() == port
        await second.expect("EPSV", 425)
        await second.expect("PASV", 425)
        await second.expect("NOOP", 200)
        assert await first.passive_port() == port
        await first.expect("ABOR", 225)
        assert await second.passive_port() == port


async def test_ports_stay_in_their_range(log_in: Login, file_system: MemoryFileSystem) -> None:
    async with log_in(file_system, passive_ports=(40000, 40999)) as client:
        ports = {await client.passive_port() for _ in range(20)}
    assert len(ports) > 10
    assert ports <= set(range(40000, 41000))


async def test_failed_open_leaves_nothing(no_leaks: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NoDataConnectionError):
            await PassiveListener.open(
                ("127.0.0.1", 21), "127.0.0.1", ports=(port, port), stall_seconds=1.0
            )


async def test_a_reset_that_the_last_write_meets_is_no_success(no_leaks: None) -> None:
    opened: asyncio.Future[DataConnection] = asyncio.get_running_loop().create_future()
    server = await asyncio.get_running_loop().create_server(
        lambda: DataConnection(5, opened.set_result), "127.0.0.1", 0
    )
    async with server:
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            data = await opened
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await data.send(b"all of it")  # before the event loop can have heard of the reset
        with pytest.raises(DataConnectionError):
            await data.finish()


_STALL_SECONDS = 60.0
_READS_PER_STALL = 20


async def test_a_client_that_reads_slowly_is_given_up_only_when_it_stops(
    no_leaks: None, clock: LoopClock
) -> None:
    """What it reads makes no room that the event loop hears of, for longer than the stall time."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[DataConnection] = loop.create_future()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 1024**2)
    server = await loop.create_server(
        lambda: DataConnection(_STALL_SECONDS, opened.set_result), sock=listener
    )
    async with server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            data = await opened
            sending = asyncio.create_task(data.send(bytes(16 * 1024**2)))
            for _ in range(4 * _READS_PER_STALL):
                await clock.advance(_STALL_SECONDS / _READS_PER_STALL)
                await loop.sock_recv(client, 2 * 1024)
            assert not sending.done()
            await clock.advance(2 * _STALL_SECONDS)
            with pytest.raises(DataConnectionError) as caught:
                await sending
            assert caught.value.timed_out
