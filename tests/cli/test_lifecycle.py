"""A service between signals: which phases it goes through, and how the process ends."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cos_ftp_server.lifecycle import run_service

# A service that says which phase it is in; the arguments name phases that never end.
PROGRAM = """
import asyncio, sys
from cos_ftp_server.lifecycle import run, run_service

class Talkative:
    url = "here"

    async def phase(self, name):
        print(name, flush=True)
        if name in sys.argv:
            await asyncio.Event().wait()

    async def start(self):
        await self.phase("start")

    async def drain(self):
        await self.phase("drain")

    async def aclose(self):
        await self.phase("close")

service = Talkative()
run(run_service(service, lambda url: print("ready", url, flush=True), service.drain))
print("end")
"""


class Process:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.send = process.send_signal

    def wait_for(self, line: str) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline() == line + "\n"

    def end(self) -> tuple[int, list[str]]:
        out, err = self._process.communicate(timeout=60)
        assert "Traceback" not in err
        return self._process.returncode, out.splitlines()


@contextmanager
def started(*endless: str) -> Iterator[Process]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *endless],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_closes(number: signal.Signals) -> None:
    with started() as process:
        process.wait_for("start")
        process.wait_for("ready here")
        process.send(number)
        assert process.end() == (0, ["drain", "close", "end"])


def test_a_second_signal_stops_at_once() -> None:
    with started("drain") as process:
        process.wait_for("start")
        process.wait_for("ready here")
        process.send(signal.SIGTERM)
        process.wait_for("drain")
        process.send(signal.SIGINT)
        assert process.end() == (0, ["close", "end"])


def test_a_signal_before_the_service_is_ready_stops_at_once() -> None:
    with started("start") as process:
        process.wait_for("start")
        process.send(signal.SIGTERM)
        assert process.end() == (0, ["close", "end"])


class FailsToStart:
    url = ""
    closed = False

    async def start(self) -> None:
        raise OSError("no such address")

    async def aclose(self) -> None:
        self.closed = True


async def test_a_service_that_fails_to_start_is_closed() -> None:
    service = FailsToStart()
    announced: list[str] = []
    with pytest.raises(OSError, match="no such address"):
        await run_service(service, announced.append)
    assert service.closed
    assert announced == []


class Waits(FailsToStart):
    async def start(self) -> None:
        await asyncio.Event().wait()


async def test_cancellation_from_elsewhere_is_not_taken_for_a_signal() -> None:
    service = Waits()
    task = asyncio.create_task(run_service(service, print))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.closed
