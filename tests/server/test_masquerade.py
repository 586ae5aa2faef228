"""The address that PASV tells behind NAT: by name, as it changes, and when nobody knows it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from cos_ftp_server.server import FtpServer, ServerConfig, masquerade
from tests.doubles.accounts import OneUser
from tests.doubles.ftp_client import RawClient, until
from tests.doubles.memory_fs import MemoryFileSystem

NAME = "ftp.example.com"


class NameServer:
    """Answers what it is told, or fails."""

    def __init__(self, *addresses: str) -> None:
        self.answer: Sequence[str] | OSError = addresses
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, name: str) -> Sequence[str]:
        assert name == NAME
        self.asked += 1
        await self.go.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer

    def fail(self) -> None:
        self.answer = socket.gaierror(-2, "Name or service not known")


@asynccontextmanager
async def connected(
    names: NameServer, ttl_seconds: float = 60.0, name: str = NAME, host: str = "127.0.0.1"
) -> AsyncIterator[RawClient]:
    config = ServerConfig(
        hosts=(host,),
        port=0,
        passive_ports=(0, 0),
        masquerade_address=name,
        masquerade_ttl_seconds=ttl_seconds,
    )
    server = FtpServer(config, OneUser(MemoryFileSystem()), resolve=names)
    await server.start()
    try:
        async with RawClient(server.addresses[0]) as client:
            await client.login()
            yield client
    finally:
        await server.aclose()


async def told(client: RawClient) -> str:
    reply = await client.expect("PASV", 227)
    return ".".join(re.findall(r"\d+", reply.text)[1:5])


async def test_a_name_is_resolved_once_for_a_while(no_leaks: None) -> None:
    names = NameServer("192.0.2.7")
    async with connected(names) as client:
        for _ in range(3):
            assert await told(client) == "192.0.2.7"
            names.answer = ["192.0.2.8"]
    assert names.asked == 1


async def test_a_name_that_moves_is_followed(no_leaks: None) -> None:
    names = NameServer("192.0.2.7")
    async with connected(names, ttl_seconds=0.0) as client:
        assert await told(client) == "192.0.2.7"
        names.answer = ["192.0.2.8", "192.0.2.9"]
        assert await told(client) == "192.0.2.8"
        names.answer = ["192.0.2.9", "192.0.2.8"]  # as name servers rotate them
        assert await told(client) == "192.0.2.8"


async def test_the_last_address_outlives_its_name_server(
    no_leaks: None, caplog: pytest.LogCaptureFixture
) -> None:
    names = NameServer("192.0.2.7")
    async with connected(names, ttl_seconds=0.0) as client:
        assert await told(client) == "192.0.2.7"
        names.fail()
        for _ in range(3):
            assert await told(client) == "192.0.2.7"
    assert names.asked == 2  # nor is it asked again at once
    assert caplog.text.count("PASV goes on with 192.0.2.7: [Errno -2] Name or service") == 1


async def test_a_name_that_never_was_known(no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masquerade, "_RETRY_SECONDS", 0.0)
    names = NameServer()
    names.fail()
    async with connected(names) as client:
        await client.expect("PASV", 425)
        await client.expect("EPSV", 229)
        names.answer = ["192.0.2.7"]
        assert await told(client) == "192.0.2.7"


async def test_a_name_server_that_hangs_delays_one_command(
    no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masquerade, "_RESOLVE_SECONDS", 0.05)
    names = NameServer("192.0.2.7")
    async with connected(names, ttl_seconds=0.0) as client:
        assert await told(client) == "192.0.2.7"
        names.go.clear()
        assert await told(client) == "192.0.2.7"


async def test_clients_share_an_answer(no_leaks: None) -> None:
    names = NameServer("192.0.2.7")
    names.go.clear()
    async with connected(names) as client, RawClient(client.address) as other:
        await other.login()
        asked = [asyncio.create_task(told(each)) for each in (client, other)]
        await until(lambda: names.asked > 0)
        # Nothing else waits for it.
        async with RawClient(client.address) as third:
            await third.login()
            await third.expect("EPSV", 229)
        names.go.set()
        assert await asyncio.gather(*asked) == ["192.0.2.7"] * 2
    assert names.asked == 1


async def test_an_address_needs_no_name_server(no_leaks: None) -> None:
    names = NameServer()
    async with connected(names, name="192.0.2.7", ttl_seconds=0.0) as client:
        assert await told(client) == "192.0.2.7"
    assert names.asked == 0


async def test_the_system_resolver() -> None:
    assert await masquerade.resolve_ipv4("localhost") == ["127.0.0.1"]
    with pytest.raises(OSError, match="Errno"):
        await masquerade.resolve_ipv4("name.invalid")
