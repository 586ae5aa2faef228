"""A file system on an embedded store, and a watch on what it leaves behind."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Timeouts, create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig, Fault
from cos_ftp_server.vfs import bucket, recent
from cos_ftp_server.vfs.base import FileInfo, Receipt, VirtualPath
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.paths import ROOT, resolve
from cos_ftp_server.vfs.upload import UploadEngine

KIB = 1024
MIB = 1024 * KIB
MAX_FILE = 64 * MIB

_BUCKET = EmulatorBucket("bucket-1250000000", "AKIDtest", "secret")


def path(text: str) -> VirtualPath:
    return resolve(ROOT, text)


def random_bytes(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


@dataclass
class World:
    emulator: Emulator
    client: CosClient
    pool: BufferPool
    state: BucketState
    fs: CosFileSystem
    engine: UploadEngine
    cleanups: Cleanups

    async def store(self, name: str, content: bytes) -> Receipt:
        async with self.fs.open_writer(path(name)) as writer:
            await writer.write(content)
            return await writer.commit()

    async def load(self, name: str, offset: int = 0) -> bytes:
        async with self.fs.open_reader(path(name), offset) as reader:
            chunks = []
            while chunk := await reader.read():
                chunks.append(bytes(chunk))  # its memory is used again
            assert reader.info.size - offset == sum(map(len, chunks))
        return b"".join(chunks)

    async def rename(self, source: str, target: str) -> None:
        await (await self.fs.prepare_rename(path(source))).to(path(target))

    async def entries(self, name: str) -> list[FileInfo]:
        return [entry async for page in self.fs.list_directory(path(name)) for entry in page]

    async def names(self, name: str) -> list[str]:
        return [entry.name + "/" * entry.is_directory for entry in await self.entries(name)]

    async def keys(self) -> list[str]:
        return [meta.key for meta in (await self.client.list_objects("")).objects]

    def hold(self, operation: str, key: str | None = None, **fault: Any) -> asyncio.Event:
        """Let the store hold such requests, all or those for `key`, until the event is set."""
        hold = asyncio.Event()
        matches = None if key is None else key.__eq__
        self.emulator.faults.add(Fault(operation=operation, key=matches, hold=hold, **fault))
        return hold

    async def appears(self, key: str) -> None:
        """Return once the store has `key`; a held request tells of no event."""
        async with asyncio.timeout(10):
            while key not in await self.keys():  # noqa: ASYNC110 - each turn asks the store
                await asyncio.sleep(0)

    async def open_uploads(self) -> int:
        return len((await self.client.list_uploads()).uploads)

    async def put_empty(self, keys: Iterable[str]) -> None:
        """Create many objects, a few at a time."""
        slots = asyncio.Semaphore(20)

        async def put(key: str) -> None:
            async with slots:
                await self.client.put_object(key, b"")

        await asyncio.gather(*map(put, keys))

    def another_account(self) -> "World":
        """As another account of the same server sees the bucket: it shares what is remembered."""
        return replace(self, fs=CosFileSystem(self.engine, self.cleanups, state=self.state))

    def with_memory(self, state: BucketState) -> "World":
        """As a server sees the bucket that remembers its changes there."""
        fs = CosFileSystem(self.engine, self.cleanups, state=state)
        return replace(self, state=state, fs=fs)

    def another_file_system(self) -> CosFileSystem:
        """As another gateway would see the bucket: without this one's memory."""
        return CosFileSystem(self.engine, self.cleanups)


def believe_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that was seen of the store be too old, and what was done be forgotten at once."""
    for module in (bucket, recent):
        monkeypatch.setattr(module, "LIFETIME_S", 0.0)


class Clock:
    """A time that a test sets, for what is remembered."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def late_s() -> float:
    """How long what got no answer may come late: tests of failures are quick without."""
    return 0.0


@pytest.fixture
async def world(tmp_path: Path, no_leaks: None, late_s: float) -> AsyncIterator[World]:
    """Times out and gives up quickly, so that tests of failures are quick."""
    state = BucketState(late_s=late_s)
    config = EmulatorConfig(directory=tmp_path / "store", buckets=(_BUCKET,))
    timeouts = Timeouts(connect_s=5, idle_s=5, total_s=10, slow_idle_s=10, slow_total_s=20)
    async with Emulator(config) as emulator, create_transport(timeouts) as transport:
        client = CosClient(
            transport,
            BucketAddress(_BUCKET.name, endpoint=f"127.0.0.1:{emulator.port}", scheme="http"),
            StaticCredentials(Credentials(_BUCKET.secret_id, _BUCKET.secret_key)),
            retry=RetryPolicy(max_tries=3, base_s=0.01, cap_s=0.05),
            on_unanswered=state.turns.make_last,
        )
        pool = BufferPool(64 * MIB, smallest_part=MIB)
        engine = UploadEngine(
            client=client,
            pool=pool,
            ladder=PartLadder(first=MIB, max_file=MAX_FILE),
            slots=asyncio.Semaphore(16),
        )
        cleanups = Cleanups()
        fs = CosFileSystem(engine, cleanups, state=state)
        yield World(emulator, client, pool, state, fs, engine, cleanups)
        emulator.faults.clear()
        await cleanups.aclose(10)
        assert pool.used == 0, "memory was not given back"
        for register in (vars(state.turns)["_turns"], *vars(state.under_way).values()):
            assert not register, "somebody is still busy"
        assert not vars(state.attempts)["_under_way"], "an upload has not ended"
        assert (await client.list_uploads()).uploads == (), "an upload was left open"
