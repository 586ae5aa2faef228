"""Renames of directories with very many files, over a socket, and what ends them early."""

import asyncio
import signal
from dataclasses import replace

import pytest

from cos_ftp_server import app
from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import RawClient
from tests.doubles.server_process import serving
from tests.gateway.conftest import BUCKET, Config, Start, World

pytestmark = pytest.mark.timeout(180)


async def load(world: World, count: int) -> list[str]:
    """Fill the directory d, and return the names of its files."""
    names = [f"{number:05}" for number in range(count)]
    await world.emulator.load(BUCKET.name, [(f"d/{name}", name.encode()) for name in names])
    return names


@pytest.fixture
async def impatient(start: Start, monkeypatch: pytest.MonkeyPatch) -> World:
    """A gateway that says every 0.1 seconds that it is still at work."""
    usual = app.server_config
    monkeypatch.setattr(
        app, "server_config", lambda keys: replace(usual(keys), finalise_keepalive_seconds=0.1)
    )
    return await start()


async def test_very_many_files(impatient: World) -> None:
    world, count = impatient, 10_000
    names = await load(world, count)
    looks = world.emulator.faults.add(Fault(operation="HeadObject"))  # they only count
    copies = world.emulator.faults.add(Fault(operation="CopyObject"))
    requests = world.emulator.faults.add(Fault())
    async with world.client() as client:
        await client.login()
        await client.expect("RNFR d", 350)
        requests.hits = 0
        reply = await client.expect("RNTO e", 250)
    assert set(reply.lines[:-1]) == {"250-Renaming, this takes a while."}
    assert await world.keys() == [f"e/{name}" for name in names]
    assert await world.emulator.object_bytes(BUCKET.name, "e/09999") == b"09999"
    assert copies.hits == count
    assert looks.hits <= count + 10
    assert requests.hits <= 2 * count + 100


async def test_a_client_that_is_killed_during_a_rename(world: World) -> None:
    names = await load(world, 100)
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="CopyObject", hold=hold))
    async with world.client() as client:
        await client.login()
        await client.expect("RNFR d", 350)
        client.send("RNTO e")
        await world.emulator.requests.wait_for("CopyObject", count=10)
        client.writer.transport.abort()
        hold.set()
        await world.emulator.requests.wait_for("DeleteMultipleObjects", ended=True)
    await world.emulator.requests.wait_for("DeleteObject", "e/", ended=True)
    assert await world.keys() == [f"e/{name}" for name in names]


@pytest.mark.parametrize(
    ("operation", "directory"), [("CopyObject", "d"), ("DeleteMultipleObjects", "e")]
)
async def test_a_server_that_is_stopped_during_a_rename(
    config: Config, start: Start, operation: str, directory: str
) -> None:
    """All files are in one place: what was not copied yet is undone, what was is completed."""
    config.sections["OPTIONAL"]["stop_timeout"] = 0
    world = await start()
    names = await load(world, 100)
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation=operation, hold=hold))
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await client.expect("RNFR d", 350)
        client.send("RNTO e")
        await world.emulator.requests.wait_for(operation)
        server.send(signal.SIGTERM)
        assert (await client.reply()).code == 421
        hold.set()
        assert await server.end() == 0
    assert await world.keys() == [f"{directory}/{name}" for name in names]


async def test_a_failure_says_what_is_where(world: World) -> None:
    names = await load(world, 100)
    rule = world.emulator.faults.add(
        Fault(
            operation="CopyObject",
            key=lambda key: key == "e/00050",
            status=403,
            code="AccessDenied",
        )
    )
    async with world.client() as client:
        await client.login()
        await client.expect("RNFR d", 350)
        reply = await client.expect("RNTO e", 550)
        assert reply.text == "550 Nothing was renamed. Permission denied."
        assert await world.keys() == [f"d/{name}" for name in names]
        world.emulator.faults.remove(rule)
        await client.expect("RNFR d", 350)
        await client.expect("RNTO e", 250)
    assert await world.keys() == [f"e/{name}" for name in names]
