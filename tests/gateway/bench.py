"""The gateway's server and file system, put together so that uploads can break off by the hundred:
times are short, parts are small, and everything that could be left behind can be counted.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.dialect import COS
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Timeouts, create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig
from cos_ftp_server.server import FtpServer, ServerConfig
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.upload import UploadEngine
from tests.doubles.accounts import OneUser
from tests.doubles.ftp_client import RawClient, until

__all__ = ["MAX_FILE", "PART", "Bench", "Footprint", "gateway_before", "run_bench"]

PART = 64 * 1024
"""Bytes: a store that takes such parts makes an upload of several of them cheap."""

MAX_FILE = 40 * PART

_DIALECT = replace(COS, min_part_bytes=PART)
_BUCKET = EmulatorBucket("bucket-1250000000", "AKIDtest", "secret")
_RETRY = RetryPolicy(max_tries=3, base_s=0.01, cap_s=0.05)
PATIENT = Timeouts()

_CONFIG = ServerConfig(
    hosts=("127.0.0.1",),
    port=0,
    passive_ports=(0, 0),
    shutdown_grace_seconds=0,
)

Tasks = frozenset["asyncio.Task[Any]"]


@dataclass(frozen=True)
class Footprint:
    """Tasks and sockets of this process, but for those between the gateway and its store."""

    tasks: Tasks
    sockets: frozenset[str]


class Back:
    """The gateway: a file system in front of a store, and a server before it."""

    def __init__(
        self, config: ServerConfig, files: CosFileSystem, pool: BufferPool, cleanups: Cleanups
    ) -> None:
        self.files = files
        self.pool = pool
        self.cleanups = cleanups
        self._config = config
        self._new_server()

    def _new_server(self) -> None:
        self.server = FtpServer(self._config, OneUser(self.files))

    async def stop(self) -> None:
        """Stop as at once as a signal does when no time is given to transfers."""
        await self.server.drain()
        await self.server.aclose()
        await self.cleanups.aclose(10)

    async def restart(self) -> None:
        """Start another server, once the first one has been stopped."""
        self._new_server()
        await self.server.start()


@asynccontextmanager
async def gateway_before(
    endpoint: str,
    *,
    timeouts: Timeouts = PATIENT,
    retry: RetryPolicy = _RETRY,
    max_file: int = MAX_FILE,
    **config: Any,
) -> AsyncIterator[Back]:
    """Run a server whose store is at `endpoint`; `config` is what differs in `ServerConfig`."""
    async with create_transport(timeouts) as transport:
        client = CosClient(
            transport,
            BucketAddress(_BUCKET.name, endpoint=endpoint, scheme="http"),
            StaticCredentials(Credentials(_BUCKET.secret_id, _BUCKET.secret_key)),
            dialect=_DIALECT,
            retry=retry,
        )
        pool = BufferPool(64 * PART, smallest_part=PART)
        ladder = PartLadder(first=PART, max_file=max_file)
        engine = UploadEngine(client=client, pool=pool, ladder=ladder, slots=asyncio.Semaphore(16))
        cleanups = Cleanups()
        files = CosFileSystem(engine, cleanups)
        back = Back(replace(_CONFIG, **config), files, pool, cleanups)
        await back.server.start()
        try:
            yield back
        finally:
            await back.stop()
        assert pool.used == 0


class Bench:
    """A gateway and its embedded store, both in this process."""

    def __init__(self, emulator: Emulator, back: Back) -> None:
        self.emulator = emulator
        self.back = back

    def client(self) -> RawClient:
        return RawClient(self.back.server.addresses[0])

    async def load(self, name: str, content: bytes) -> None:
        """Store an object past the gateway."""
        await self.emulator.load(_BUCKET.name, [(name, content)])

    async def content(self, name: str) -> bytes | None:
        """Return what the object is, None if there is none."""
        try:
            return await self.emulator.object_bytes(_BUCKET.name, name)
        except KeyError:
            return None

    async def names(self) -> list[str]:
        return await self.emulator.object_names(_BUCKET.name)

    async def open_uploads(self) -> list[tuple[str, str]]:
        return await self.emulator.open_uploads(_BUCKET.name)

    def footprint(self) -> Footprint:
        return Footprint(_tasks(), self._sockets())

    async def has_let_go(self, client: RawClient) -> None:
        """Return when the server is through with a client that is gone."""
        address = client.name
        sessions = self.back.server._sessions
        await until(lambda: all(d._session.peer != address for d in sessions.values()))

    async def returns_to(self, before: Footprint) -> None:
        """Return when no task, socket, port or buffer is in use that was not before."""
        with suppress(TimeoutError):
            await until(lambda: not self.back.pool.used and _tasks() <= before.tasks)
            await until(lambda: self._sockets() <= before.sockets)
        now = self.footprint()
        tasks, sockets = now.tasks - before.tasks, now.sockets - before.sockets
        assert (self.back.pool.used, tasks, sockets) == (0, frozenset(), frozenset()), (
            tasks,
            sockets,
        )

    def _sockets(self) -> frozenset[str]:
        return frozenset(_ftp_sockets(self.emulator.port))


def _tasks() -> Tasks:
    running = (task for task in asyncio.all_tasks() if not task.done())
    return frozenset(task for task in running if not _serves_http(task))


def _ftp_sockets(store_port: int) -> Iterator[str]:
    """Yield what tells the sockets of this process from each other, but for the store's."""
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it is no socket, or is not open any more
            link = os.readlink(f"/proc/self/fd/{descriptor}")
            if link.startswith("socket:") and store_port not in _ports(int(descriptor)):
                yield link


def _ports(descriptor: int) -> set[int]:
    """Return the ports of both ends, none for sockets that have none."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        if sock.family != socket.AF_INET:
            return set()
        ports = {sock.getsockname()[1]}
        with suppress(OSError):  # it listens, or its peer has gone
            ports.add(sock.getpeername()[1])
        return ports


def _serves_http(task: "asyncio.Task[Any]") -> bool:
    """Whether it is the store's end of a connection of the gateway."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("RequestHandler.")


@asynccontextmanager
async def run_bench(directory: Path, **options: Any) -> AsyncIterator[Bench]:
    """Run a gateway and its store; `options` are those of `gateway_before`.

    Nothing may be left of an upload in the end.
    """
    config = EmulatorConfig(directory=directory, buckets=(_BUCKET,), min_part_bytes=PART)
    async with Emulator(config) as emulator:
        async with gateway_before(f"127.0.0.1:{emulator.port}", **options) as back:
            bench = Bench(emulator, back)
            yield bench
            emulator.faults.clear()
        assert await bench.open_uploads() == []
