"""A service between signals: which phases it goes through, and how the process ends."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cos_ftp_server.lifecycle import run_service

# A service that says which phase it is in; the arguments name phases that wait for a line.
PROGRAM = """
import asyncio, os, sys
from cos_ftp_server.lifecycle import run, run_service

async def wait_for_line():
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(0, lambda: came.set() if os.read(0, 1) else loop.remove_reader(0))
    try:
        await came.wait()
    finally:
        loop.remove_reader(0)

class Talkative:
    url = "here"

    async def phase(self, name):
        print(name, flush=True)
        if name in sys.argv:
            await wait_for_line()
        if name + "!" in sys.argv:
            raise ValueError(name)

    async def start(self):
        await self.phase("start")

    async def drain(self):
        await self.phase("drain")

    async def reload(self):
        await self.phase("reload")
        print("reloaded", flush=True)

    async def aclose(self):
        await self.phase("close")

service = Talkative()
ready = lambda url: print("ready", url, flush=True)
reload = None if "no reload" in sys.argv else service.reload
run(run_service(service, ready, service.drain, reload))
print("end")
"""


class Process:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.send = process.send_signal

    def wait_for(self, line: str) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline() == line + "\n"

    def go_on(self) -> None:
        """Let the phase end that waits."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> tuple[int, list[str]]:
        out, err = self._process.communicate(timeout=60)
        assert "Traceback" not in err
        return self._process.returncode, out.splitlines()


@contextmanager
def started(*phases: str) -> Iterator[Process]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *phases],
        stdin=subprocess.PIPE,
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


def test_a_second_signal_does_not_disturb_the_end() -> None:
    with started("close") as process:
        process.wait_for("start")
        process.wait_for("ready here")
        process.send(signal.SIGTERM)
        process.wait_for("drain")
        process.wait_for("close")
        for _ in range(3):
            process.send(signal.SIGTERM)
        process.go_on()
        assert process.end() == (0, ["end"])


def test_a_hangup_stops_what_cannot_reload() -> None:
    with started("no reload") as process:
        process.wait_for("start")
        process.wait_for("ready here")
        process.send(signal.SIGHUP)
        assert process.end() == (0, ["drain", "close", "end"])


def test_a_hangup_reloads_each_time() -> None:
    with started() as process:
        process.wait_for("start")
        process.wait_for("ready here")
        for _ in range(3):
            process.send(signal.SIGHUP)
            process.wait_for("reload")
            process.wait_for("reloaded")
        process.send(signal.SIGTERM)
        assert process.end() == (0, ["drain", "close", "end"])


def test_a_hangup_during_a_reload_is_not_lost() -> None:
    with started("reload") as process:
        process.wait_for("start")
        process.wait_for("ready here")
        process.send(signal.SIGHUP)
        process.wait_for("reload")
        process.send(signal.SIGHUP)
        process.go_on()
        process.wait_for("reloaded")
        process.wait_for("reload")
        process.go_on()
        process.wait_for("reloaded")
        process.send(signal.SIGTERM)
        assert process.end() == (0, ["drain", "close", "end"])


def test_a_reload_that_fails_is_survived() -> None:
    with started("reload!") as process:
        process.wait_for("start")
        process.wait_for("ready here")
        for _ in range(2):
            process.send(signal.SIGHUP)
            process.wait_for("reload")
        process.send(signal.SIGTERM)
        assert process.end() == (0, ["drain", "close", "end"])


def test_a_stop_does_not_wait_for_a_reload() -> None:
    with started("reload") as process:
        process.wait_for("start")
        process.wait_for("ready here")
        process.send(signal.SIGHUP)
        process.wait_for("reload")
        process.send(signal.SIGTERM)
        assert process.end() == (0, ["drain", "close", "end"])


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


async def test_a_service_that_fails_to_start_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    service = FailsToStart()
    announced: list[str] = []
    with pytest.raises(OSError, match="no such address"):
        await run_service(service, announced.append)
    assert service.closed
    assert announced == []
    assert caplog.records == []  # what never ran has not stopped


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
