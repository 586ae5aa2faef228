"""What hangs ends a measurement, and says so."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import systems
from bench.load.session import Account
from bench.load.tasks import Order, Runner
from bench.systems import ProcessError, running_load

ORDER = Order("store", limit_s=0.2)


@pytest.fixture
def silent() -> Iterator[Account]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Account(server.getsockname()[1], "user", "password")


async def test_a_warm_up_that_hangs(silent: Account) -> None:
    runner = Runner(silent, ORDER)
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await runner.prepare()
    runner.close()


def test_clients_that_end_before_they_are_ready(silent: Account, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="TimeoutError"), running_load(tmp_path, silent, ORDER):
        pass


def test_a_process_that_says_nothing(
    silent: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "_START_S", -ORDER.limit_s)  # nobody starts at once
    with pytest.raises(ProcessError, match="said nothing"), running_load(tmp_path, silent, ORDER):
        pass
