"""A name is a file or a directory, whoever makes them at the same time, and whatever is removed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any, cast
from unittest.mock import patch

import pytest

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import ListPage, ObjectMeta
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs import moving, publishing, stretches
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.paths import parent_of
from cos_ftp_server.vfs.recent import RecentChanges
from tests.vfs.conftest import MIB, World, path


@dataclass(frozen=True)
class Making:
    """A way to make a file "n", or a directory of that name."""

    words: str
    make: Callable[[World], Coroutine[Any, Any, object]]
    operation: str  # which makes it
    key: str

    def __str__(self) -> str:
        return self.words


async def rename(world: World, source: str, target: str) -> None:
    await (await world.fs.prepare_rename(path(source))).to(path(target))


LARGE = bytes(2 * MIB)

FILE = [
    Making("small file", lambda w: w.store("/n", b"small"), "PutObject", "n"),
    Making("large file", lambda w: w.store("/n", LARGE), "CompleteMultipartUpload", "n"),
    Making("renamed file", lambda w: rename(w, "/other", "/n"), "CopyObject", "n"),
]
DIRECTORY = [
    Making("directory", lambda w: w.fs.make_directory(path("/n")), "PutObject", "n/"),
    Making("child", lambda w: w.store("/n/c", b"child"), "PutObject", "n/c"),
    Making("large child", lambda w: w.store("/n/c", LARGE), "CompleteMultipartUpload", "n/c"),
    Making("deep child", lambda w: w.store("/n/o/c", b"child"), "PutObject", "n/o/c"),
    Making("renamed child", lambda w: rename(w, "/other", "/n/c"), "CopyObject", "n/c"),
    Making("renamed directory", lambda w: rename(w, "/d", "/n"), "CopyObject", "n/c"),
]
REFUSALS = (ErrorKind.EXISTS, ErrorKind.IS_DIRECTORY, ErrorKind.NOT_DIRECTORY)
PAIRS = list(chain(product(FILE, DIRECTORY), product(DIRECTORY, FILE)))


@pytest.fixture
async def recent() -> RecentChanges:
    """What two accounts of one bucket share."""
    return RecentChanges()


@pytest.fixture
async def two(world: World, recent: RecentChanges) -> tuple[World, World]:
    """Both accounts; there is something to be renamed."""
    first, second = (
        replace(world, fs=CosFileSystem(world.engine, world.cleanups, recent=recent))
        for _ in range(2)
    )
    await first.store("/other", b"other")
    await first.store("/d/c", b"child")
    return first, second


async def is_refused(making: Awaitable[object]) -> None:
    with pytest.raises(StorageError) as caught:
        await making
    assert caught.value.kind in REFUSALS, caught.value


async def is_one(world: World) -> None:
    keys = await world.keys()
    assert ("n" in keys) != any(key.startswith("n/") for key in keys), keys


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=str)
async def test_while_one_is_made(two: tuple[World, World], first: Making, second: Making) -> None:
    world, other = two
    hold = asyncio.Event()
    world.emulator.faults.add(
        Fault(operation=first.operation, key=first.key.__eq__, hold=hold, times=1)
    )
    making = asyncio.create_task(first.make(world))
    await world.emulator.requests.wait_for(first.operation, first.key)
    await is_refused(second.make(other))
    hold.set()
    await making
    await is_one(world)


class LateAnswers:
    """A client that hears late what is at a name that begins with "n"."""

    def __init__(self, client: CosClient) -> None:
        self._client = client
        self.has_asked = asyncio.Event()
        self.answer = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def head_object(self, key: str) -> ObjectMeta:
        async with self._late(key.startswith("n")):
            return await self._client.head_object(key)

    async def list_objects(self, prefix: str, **options: Any) -> ListPage:
        async with self._late(prefix.startswith("n") or not prefix):
            return await self._client.list_objects(prefix, **options)

    @asynccontextmanager
    async def _late(self, is_late: bool) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if is_late:
                self.has_asked.set()
                await self.answer.wait()


@pytest.mark.parametrize(
    ("first", "second"),
    # The rename of a file does not wait for its look.
    [pair for pair in PAIRS if pair[1].operation != "CopyObject" or pair[1] is DIRECTORY[-1]],
    ids=str,
)
async def test_who_looked_before_the_other_was_made(
    two: tuple[World, World], recent: RecentChanges, first: Making, second: Making
) -> None:
    world, other = two
    client = LateAnswers(world.client)
    engine = replace(other.engine, client=cast(CosClient, client))
    fs = CosFileSystem(engine, other.cleanups, recent=recent)
    late = asyncio.create_task(second.make(replace(other, fs=fs)))
    await client.has_asked.wait()
    await first.make(world)
    client.answer.set()
    await is_refused(late)
    await is_one(world)


# What is removed meanwhile


async def test_a_directory_that_loses_its_last_file_is_one_all_the_time(
    two: tuple[World, World],
) -> None:
    """Its marker comes before the file goes; between the two, nothing may be seen in it."""
    world, other = two
    await world.client.put_object("n/last", b"")
    hold = asyncio.Event()
    rule = world.emulator.faults.add(Fault(operation="PutObject", key="n/".__eq__, hold=hold))
    deleting = asyncio.create_task(world.fs.delete_file(path("/n/last")))
    await world.emulator.requests.wait_for("PutObject", "n/")
    await is_refused(other.store("/n", b"file"))
    hold.set()
    await deleting
    assert rule.hits
    await is_one(world)


async def test_a_directory_that_got_a_file_during_its_move_stays(
    two: tuple[World, World],
) -> None:
    """The file was stored when the last page of what is to be deleted had been listed."""
    world, other = two
    await world.fs.make_directory(path("/n/o"))
    list_objects = world.client.list_objects

    async def list_late(prefix: str, **options: Any) -> ListPage:
        page = await list_objects(prefix, **options)
        if any(meta.key == "m/o/" for meta in page.objects):
            await other.store("/n/o/late", b"late")
        return page

    with patch.object(world.client, "list_objects", list_late):
        await rename(world, "/n", "/m")
    await is_refused(other.store("/n/o", b"file"))
    await is_refused(other.store("/n", b"file"))
    assert await world.names("/n") == ["o/"]
    assert await world.names("/n/o") == ["late"]


async def test_a_directory_that_keeps_a_file_after_its_move_stays(
    two: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, other = two
    monkeypatch.setattr(moving, "_PAGE", 1)  # so that its marker goes first
    await world.fs.make_directory(path("/n"))
    await world.client.put_object("n/stays", b"stays")
    world.emulator.faults.add(
        Fault(operation="HeadObject", key="n/stays".__eq__, status=403, code="AccessDenied")
    )
    with pytest.raises(StorageError):
        await rename(world, "/n", "/m")
    assert await world.keys() == ["d/c", "m/", "m/stays", "n/stays", "other"]
    await is_refused(other.store("/n", b"file"))


async def test_a_tree_that_was_moved_leaves_no_directory_to_be_seen(
    two: tuple[World, World],
) -> None:
    world, other = two
    await world.fs.make_directory(path("/n/o/p"))
    await world.store("/n/o/q", b"")
    await rename(world, "/n", "/m")
    for name in ("/n/o/p", "/n/o", "/n"):
        await other.store(name, b"file")
        await other.fs.delete_file(path(name))
        if name != "/n":
            await other.fs.remove_directory(parent_of(path(name)))


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_who_waits_long_for_a_turn_looks_again(
    two: tuple[World, World], recent: RecentChanges, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Another server makes a directory meanwhile, which this one does not remember."""
    world, _ = two
    monkeypatch.setattr(stretches, "LIFETIME_S", 0.0)
    take = recent.turns.take

    async def take_late(key: str) -> None:
        await world.client.put_object("n/c", b"somebody else's")
        monkeypatch.setattr(publishing, "LIFETIME_S", 0.0)
        await take(key)

    monkeypatch.setattr(recent.turns, "take", take_late)
    await is_refused(world.store("/n", bytes(size)))
    await is_one(world)
