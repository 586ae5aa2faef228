"""The end of a large upload when the store's answer does not tell what has become of it.

226 is said if and only if the right object is there, which is looked at, never guessed.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cos_ftp_server.cos.transport import Timeouts
from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import RawClient, until
from tests.gateway.bench import PART, Bench, run_bench

OLD = b"what was there"
NEW = bytes(range(256)) * (3 * PART // 256)
OTHER = NEW[:-1] + b"x"

HASTY = Timeouts(connect_s=5, idle_s=5, total_s=5, slow_idle_s=0.5, slow_total_s=0.5)
"""Half a second for a complete."""

UNCLEAR: dict[str, dict[str, Any]] = {
    "no answer in time": {"hold": asyncio.Event()},
    "500": {"status": 500, "code": "InternalError"},
    "503": {"status": 503, "code": "ServiceUnavailable"},
    "an error in 200": {"status": 200, "code": "InternalError"},
    "cut": {"reset": True},
}

every_unclear_answer = pytest.mark.parametrize("effect", UNCLEAR)


async def end_of_upload(bench: Bench, client: RawClient) -> int | None:
    """Upload, and return the final code, None for a connection closed without a last line."""
    await client.login()
    try:
        return (await client.store("file", NEW)).code
    except EOFError:
        return None


@every_unclear_answer
@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("keepalive", [0.1, 60])
async def test_it_was_done(
    tmp_path: Path, no_leaks: None, effect: str, times: int | None, keepalive: float
) -> None:
    options = {"timeouts": HASTY, "finalise_keepalive_seconds": keepalive}
    async with run_bench(tmp_path / "store", **options) as bench, bench.client() as client:
        await bench.load("file", OLD)
        fault = Fault(
            operation="CompleteMultipartUpload", times=times, after_commit=True, **UNCLEAR[effect]
        )
        bench.emulator.faults.add(fault)
        assert await end_of_upload(bench, client) == 226
        assert await bench.content("file") == NEW


@every_unclear_answer
async def test_it_was_not_done_and_is_done_again(
    tmp_path: Path, no_leaks: None, effect: str
) -> None:
    async with run_bench(tmp_path / "store", timeouts=HASTY) as bench, bench.client() as client:
        await bench.load("file", OLD)
        bench.emulator.faults.add(
            Fault(operation="CompleteMultipartUpload", times=1, **UNCLEAR[effect])
        )
        assert await end_of_upload(bench, client) == 226
        assert await bench.content("file") == NEW


@every_unclear_answer
@pytest.mark.parametrize("keepalive", [0.1, 60])
async def test_it_was_not_done_and_cannot_be(
    tmp_path: Path, no_leaks: None, effect: str, keepalive: float
) -> None:
    options = {"timeouts": HASTY, "finalise_keepalive_seconds": keepalive}
    async with run_bench(tmp_path / "store", **options) as bench, bench.client() as client:
        await bench.load("file", OLD)
        bench.emulator.faults.add(Fault(operation="CompleteMultipartUpload", **UNCLEAR[effect]))
        assert await end_of_upload(bench, client) in ((None, 451) if keepalive < 1 else (451,))
        assert await bench.content("file") == OLD


@every_unclear_answer
async def test_something_else_of_that_size_is_there(
    tmp_path: Path, no_leaks: None, effect: str
) -> None:
    options = {"timeouts": HASTY, "finalise_keepalive_seconds": 60}
    async with run_bench(tmp_path / "store", **options) as bench, bench.client() as client:
        await bench.load("file", OLD)
        rule = bench.emulator.faults.add(
            Fault(operation="CompleteMultipartUpload", **UNCLEAR[effect])
        )
        uploading = asyncio.create_task(end_of_upload(bench, client))
        await until(lambda: rule.hits > 0)
        await bench.load("file", OTHER)
        assert await uploading == 451
        assert await bench.content("file") == OTHER


async def test_white_space_that_drips(tmp_path: Path, no_leaks: None) -> None:
    """It goes on for longer than the time-out for silence and for several keep-alive lines."""
    timeouts = Timeouts(slow_idle_s=1, slow_total_s=60)
    options = {"timeouts": timeouts, "finalise_keepalive_seconds": 0.2}
    async with run_bench(tmp_path / "store", **options) as bench, bench.client() as client:
        bench.emulator.faults.add(Fault(operation="CompleteMultipartUpload", drip_s=2))
        await client.login()
        reply = await client.store("file", NEW)
        assert reply.code == 226
        assert len(reply.lines) > 3
        assert await bench.content("file") == NEW
        assert bench.emulator.requests.count("CompleteMultipartUpload") == 1


async def test_a_store_that_cannot_be_asked_either(tmp_path: Path, no_leaks: None) -> None:
    """Nobody can know, so nobody says that the file is stored."""
    options = {"finalise_keepalive_seconds": 60}
    async with run_bench(tmp_path / "store", **options) as bench, bench.client() as client:
        await bench.load("file", OLD)
        for operation in ("CompleteMultipartUpload", "HeadObject"):
            fault = Fault(operation=operation, reset=True, after_commit=True)
            bench.emulator.faults.add(fault)
        assert await end_of_upload(bench, client) == 451
        assert await bench.content("file") == NEW
