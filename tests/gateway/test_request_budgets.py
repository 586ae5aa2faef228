"""What each command may cost: requests in all, and round trips one after the other.

COS answers in 10 to 50 ms and charges for each request, so these numbers are a contract.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import RawClient
from tests.gateway.conftest import BUCKET, MIB, World

_LATENCY_S = 0.2
"""So that round trips that could run side by side are told from those that wait for another: it is
much longer than all that happens between two requests, on a loaded machine too."""


@dataclass
class Budget:
    world: World
    client: RawClient

    def begin(self) -> None:
        self.world.emulator.requests.clear()

    def holds(self, *, round_trips: int, requests: int) -> None:
        log = self.world.emulator.requests
        spent = [(record.operation, record.key) for record in log]
        assert log.round_trips() <= round_trips, spent
        assert len(log) <= requests, spent


@pytest.fixture
async def budget(world: World) -> AsyncIterator[Budget]:
    async with world.client() as client:
        await client.login()
        await client.store("/d/f", b"content")
        await client.expect("CWD /d", 250)
        world.emulator.faults.add(Fault(delay_s=_LATENCY_S))
        yield Budget(world, client)


async def test_stor_of_a_small_file(budget: Budget) -> None:
    budget.begin()
    assert (await budget.client.store("new", b"x" * 4096)).code == 226
    budget.holds(round_trips=1, requests=2)


async def test_stor_over_an_existing_file(budget: Budget) -> None:
    budget.begin()
    assert (await budget.client.store("f", b"x" * 4096)).code == 226
    budget.holds(round_trips=1, requests=2)


async def test_stor_over_a_file_that_others_made(budget: Budget, world: World) -> None:
    """The store refuses to replace it before the client has been confirmed; then it may."""
    await world.emulator.load(BUCKET.name, [("d/other", b"old")])
    budget.begin()
    assert (await budget.client.store("other", b"x" * 4096)).code == 226
    budget.holds(round_trips=2, requests=3)


async def test_stor_of_a_large_file(budget: Budget) -> None:
    budget.begin()
    assert (await budget.client.store("large", bytes(4 * MIB))).code == 226
    budget.holds(round_trips=3, requests=7)  # begin, 4 parts, complete, and the look at the name


@pytest.mark.parametrize("content", [b"", b"content"])
async def test_retr(budget: Budget, content: bytes) -> None:
    await budget.client.store("f", content)
    budget.begin()
    received, reply = await budget.client.fetch("RETR f")
    assert (received, reply.code) == (content, 226)
    budget.holds(round_trips=1, requests=1)


async def test_retr_of_a_missing_file(budget: Budget) -> None:
    budget.begin()
    assert (await budget.client.fetch("RETR nothing"))[1].code == 550
    budget.holds(round_trips=1, requests=1)


@pytest.mark.parametrize("command", ["SIZE f", "MDTM f"])
async def test_size_and_mdtm(budget: Budget, command: str) -> None:
    budget.begin()
    await budget.client.expect(command, 213)
    budget.holds(round_trips=1, requests=1)


@pytest.mark.parametrize("command", ["LIST", "NLST", "MLSD", "LIST /d"])
async def test_listing(budget: Budget, command: str) -> None:
    budget.begin()
    content, reply = await budget.client.fetch(command)
    assert content
    assert reply.code == 226
    budget.holds(round_trips=1, requests=1)


async def test_cwd(budget: Budget) -> None:
    budget.begin()
    await budget.client.expect("CWD /d/nothing", 550)
    budget.holds(round_trips=1, requests=2)


async def test_mlst(budget: Budget) -> None:
    budget.begin()
    await budget.client.expect("MLST f", 250)
    budget.holds(round_trips=1, requests=3)


async def test_mkd(budget: Budget) -> None:
    budget.begin()
    await budget.client.expect("MKD new", 257)
    budget.holds(round_trips=2, requests=4)


async def test_dele(budget: Budget) -> None:
    await budget.client.store("g", b"")
    budget.begin()
    await budget.client.expect("DELE g", 250)
    budget.holds(round_trips=2, requests=3)


async def test_rename_of_a_file(budget: Budget) -> None:
    await budget.client.store("g", b"")
    budget.begin()
    await budget.client.expect("RNFR g", 350)
    await budget.client.expect("RNTO h", 250)
    budget.holds(round_trips=3, requests=5)


@pytest.mark.parametrize(
    "command", ["PWD", "NOOP", "TYPE I", "REST 0", "EPSV", "FEAT", "SYST", "STAT", "CWD /d"]
)
async def test_commands_that_ask_nothing(budget: Budget, command: str) -> None:
    await budget.client.expect("CWD /d", 250)
    budget.begin()
    await budget.client.command(command)
    budget.holds(round_trips=0, requests=0)


async def test_a_slow_request_delays_nobody_else(world: World) -> None:
    """One key hangs; hundreds of commands of another session go through meanwhile."""
    hold = asyncio.Event()
    async with world.client() as stuck, world.client() as free:
        await stuck.login()
        await free.login()
        world.emulator.faults.add(Fault(key=lambda key: key == "stuck", hold=hold))
        stuck.send("SIZE /stuck")
        await world.emulator.requests.wait_for("HeadObject", "stuck")
        for number in range(200):
            assert (await free.store(f"/free{number % 10}", b"x")).code == 226
        assert world.emulator.requests.count("HeadObject", "stuck") == 1
        hold.set()
        assert (await stuck.reply()).code == 550
