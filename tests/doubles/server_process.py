"""The program as a process of its own: started, listened to, sent signals, and seen to its end."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["ServerProcess", "serving", "write_config"]

_TIMEOUT_SECONDS = 60.0

Sections = Mapping[str, Mapping[str, object]]


def write_config(path: Path, sections: Sections) -> None:
    """Write a configuration file, in place of the one that was there."""
    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items()), ""]
    path.write_text("\n".join(lines))
    path.chmod(0o600)


class ServerProcess:
    """`cos-ftp-server serve` once it is ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self.address = ("", 0)
        self.log: list[str] = []
        """Lines of stderr so far."""
        self._process = process
        self._has_more = asyncio.Condition()
        self._reader = asyncio.create_task(self._read_log())

    async def ready(self) -> None:
        """Wait for the line that says so."""
        assert self._process.stdout
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            line = (await self._process.stdout.readline()).decode()
        assert line.startswith("ready ftp://"), (line, self.log)
        host, _, port = line.removeprefix("ready ftp://").strip().rstrip("/").rpartition(":")
        self.address = (host, int(port))

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def logged(self, *parts: str, after: int = 0) -> str:
        """Wait for a line of stderr with all of `parts`, past the first `after` lines."""

        def find() -> str | None:
            found = (line for line in self.log[after:] if all(part in line for part in parts))
            return next(found, None)

        async with asyncio.timeout(_TIMEOUT_SECONDS), self._has_more:
            await self._has_more.wait_for(lambda: find() is not None or self._reader.done())
        line = find()
        assert line is not None, (parts, self.log)
        return line

    async def end(self) -> int:
        """Return the exit code, once the process has ended."""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            code = await self._process.wait()
            await self._reader
        assert not [line for line in self.log if "Traceback" in line], self.log
        return code

    async def stop(self) -> int:
        """End the process as `kill` does, and return its exit code."""
        self.send(signal.SIGTERM)
        return await self.end()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def _read_log(self) -> None:
        assert self._process.stderr
        async for line in self._process.stderr:
            async with self._has_more:
                self.log.append(line.decode().rstrip("\n"))
                self._has_more.notify_all()
        async with self._has_more:
            self._has_more.notify_all()


@asynccontextmanager
async def serving(
    config: Path, *, wrapper: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> AsyncIterator[ServerProcess]:
    """Run `serve`, as an argument of `wrapper`, and yield it once clients can connect."""
    command = [*wrapper, sys.executable, "-m", "cos_ftp_server", "serve", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env
    )
    server = ServerProcess(process)
    try:
        await server.ready()
        yield server
    finally:
        await server.kill()
