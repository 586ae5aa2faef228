"""What all suites share: the event loop of the product, and a watch on what tests leave behind."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from tests.doubles.loop_clock import LoopClock


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def _open_sockets() -> set[str]:
    """Return the inodes of this process's sockets, but for the event loop's own pairs."""
    inodes = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor that listed the directory
            kind, _, inode = os.readlink(f"/proc/self/fd/{descriptor}").partition(":")
            if kind == "socket":
                inodes.add(inode.strip("[]"))
    unix = Path("/proc/self/net/unix").read_text().splitlines()[1:]
    return inodes - {line.split()[6] for line in unix}


_TURNS_TO_CLOSE = 10
"""Turns of the loop in which closed transports give their sockets back."""


@pytest.fixture
async def no_leaks() -> AsyncIterator[None]:
    """Fail a test that leaves tasks or sockets behind. Fixtures that open some depend on it."""
    tasks, sockets = asyncio.all_tasks(), _open_sockets()
    yield
    for _ in range(_TURNS_TO_CLOSE):
        await asyncio.sleep(0)
    left_tasks = {task for task in asyncio.all_tasks() if not task.done()} - tasks
    assert left_tasks - {asyncio.current_task()} == set()
    assert _open_sockets() - sockets == set()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    """What tests put forward instead of waiting."""
    return LoopClock(monkeypatch)
