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
from cos_ftp_server.vfs import moving
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.paths import parent_of
from cos_ftp_server.vfs.recent import LIFETIME_S
from tests.vfs.conftest import MIB, Clock, World, believe_no_look, path


@dataclass(frozen=True)
class Making:
    """A way to make a file "n", or a directory of that name, and why it is refused."""

    words: str
    make: Callable[[World], Coroutine[Any, Any, object]]
    operation: str  # which makes it
    key: str
    refusal: ErrorKind

    def __str__(self) -> str:
        return self.words


LARGE = bytes(2 * MIB)

FILE = [
    Making(
        "small file", lambda w: w.store("/n", b"small"), "PutObject", "n", ErrorKind.IS_DIRECTORY
    ),
    Making(
        "large file",
        lambda w: w.store("/n", LARGE),
        "CompleteMultipartUpload",
        "n",
        ErrorKind.IS_DIRECTORY,
    ),
    Making(
        "renamed file", lambda w: w.rename("/a", "/n"), "CopyObject", "n", ErrorKind.IS_DIRECTORY
    ),
]
DIRECTORY = [
    Making(
        "directory", lambda w: w.fs.make_directory(path("/n")), "PutObject", "n/", ErrorKind.EXISTS
    ),
    Making(
        "child", lambda w: w.store("/n/c", b"child"), "PutObject", "n/c", ErrorKind.NOT_DIRECTORY
    ),
    Making(
        "large child",
        lambda w: w.store("/n/c", LARGE),
        "CompleteMultipartUpload",
        "n/c",
        ErrorKind.NOT_DIRECTORY,
    ),
    Making(
        "deep child",
        lambda w: w.store("/n/o/c", b"child"),
        "PutObject",
        "n/o/c",
        ErrorKind.NOT_DIRECTORY,
    ),
    Making(
        "renamed child",
        lambda w: w.rename("/b", "/n/c"),
        "CopyObject",
        "n/c",
        ErrorKind.NOT_DIRECTORY,
    ),
    Making(
        "renamed directory", lambda w: w.rename("/d", "/n"), "CopyObject", "n/c", ErrorKind.EXISTS
    ),
]
PAIRS = list(chain(product(FILE, DIRECTORY), product(DIRECTORY, FILE)))


@pytest.fixture
async def two(world: World) -> tuple[World, World]:
    """Two accounts of a bucket in which there is something to be renamed."""
    await world.store("/a", b"file")
    await world.store("/b", b"file")
    await world.store("/d/c", b"child")
    return world, world.another_account()


async def refusal_of(making: Awaitable[object]) -> ErrorKind | None:
    try:
        await making
    except StorageError as error:
        return error.kind
    return None


async def is_refused(making: Awaitable[object], kind: ErrorKind) -> None:
    assert await refusal_of(making) is kind


async def is_one(world: World) -> None:
    keys = await world.keys()
    assert ("n" in keys) != any(key.startswith("n/") for key in keys), keys


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=str)
async def test_while_one_is_made(two: tuple[World, World], first: Making, second: Making) -> None:
    world, other = two
    hold = world.hold(first.operation, first.key, times=1)
    making = asyncio.create_task(first.make(world))
    await world.emulator.requests.wait_for(first.operation, first.key)
    await is_refused(second.make(other), second.refusal)
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

    async def find_object(self, key: str) -> ObjectMeta | None:
        async with self._late(key.startswith("n")):
            return await self._client.find_object(key)

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


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=str)
async def test_who_looks_before_the_other_is_made(
    two: tuple[World, World], first: Making, second: Making
) -> None:
    """One of them is refused: who looks first may have said so already."""
    world, other = two
    client = LateAnswers(world.client)
    engine = replace(other.engine, client=cast(CosClient, client))
    fs = CosFileSystem(engine, other.cleanups, state=world.state)
    late = asyncio.create_task(second.make(replace(other, fs=fs)))
    await client.has_asked.wait()
    refusal = await refusal_of(first.make(world))
    client.answer.set()
    refusals = refusal, await refusal_of(late)
    assert refusals in ((first.refusal, None), (None, second.refusal))
    await is_one(world)


# A copy that comes before the answer to the look


@pytest.mark.parametrize("is_lost", [False, True], ids=["answered", "answer lost"])
@pytest.mark.parametrize(
    ("there", "target", "kind"),
    [("n/c", "/n", ErrorKind.IS_DIRECTORY), ("n", "/n/c", ErrorKind.NOT_DIRECTORY)],
)
async def test_a_copy_that_the_look_finds_is_no_file_that_may_be_replaced(
    two: tuple[World, World], there: str, target: str, kind: ErrorKind, *, is_lost: bool
) -> None:
    """It was made where none may be, and goes; who comes next is refused too."""
    world, _ = two
    await world.client.put_object(there, b"somebody else's")
    mine = replace(world, fs=world.another_file_system())
    pending = await mine.fs.prepare_rename(path("/a"))
    keys = await world.keys()
    hold = world.hold("ListObjects", times=1)
    if is_lost:
        lost = Fault(operation="CopyObject", reset=True, after_commit=True, times=1)
        world.emulator.faults.add(lost)
    renaming = asyncio.create_task(pending.to(path(target)))
    await world.emulator.requests.wait_for(
        "CopyObject", target[1:], count=2 if is_lost else 1, ended=True
    )
    hold.set()
    await is_refused(renaming, kind)
    assert await world.keys() == keys
    await is_refused(mine.store(target, b"file"), kind)
    assert await world.keys() == keys


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
    await is_refused(other.store("/n", b"file"), ErrorKind.IS_DIRECTORY)
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
        await world.rename("/n", "/m")
    await is_refused(other.store("/n/o", b"file"), ErrorKind.IS_DIRECTORY)
    await is_refused(other.store("/n", b"file"), ErrorKind.IS_DIRECTORY)
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
        await world.rename("/n", "/m")
    assert await world.keys() == ["a", "b", "d/c", "m/", "m/stays", "n/stays"]
    await is_refused(other.store("/n", b"file"), ErrorKind.IS_DIRECTORY)


async def test_a_tree_that_was_moved_leaves_no_directory_to_be_seen(
    two: tuple[World, World],
) -> None:
    world, other = two
    await world.fs.make_directory(path("/n/o/p"))
    await world.store("/n/o/q", b"")
    await world.rename("/n", "/m")
    for name in ("/n/o/p", "/n/o", "/n"):
        await other.store(name, b"file")
        await other.fs.delete_file(path(name))
        if name != "/n":
            await other.fs.remove_directory(parent_of(path(name)))


async def test_a_directory_whose_files_go_before_its_move_has_ended_stays(
    two: tuple[World, World],
) -> None:
    """A reader takes the only file away; there was no marker at the old name, nor is one needed."""
    world, other = two
    await world.client.put_object("n/c", b"only")
    hold = world.hold("DeleteMultipleObjects")
    move = asyncio.create_task(world.rename("/n", "/m"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    await other.fs.delete_file(path("/m/c"))
    hold.set()
    await move
    assert await world.keys() == ["a", "b", "d/c", "m/"]


async def test_a_directory_whose_last_file_goes_with_its_marker_stays(
    two: tuple[World, World],
) -> None:
    """It gets another marker, once the first one is gone."""
    world, other = two
    await world.client.put_object("n/c", b"only")
    hold = world.hold("DeleteObject", "m/")
    move = asyncio.create_task(world.rename("/n", "/m"))
    await world.emulator.requests.wait_for("DeleteObject", "m/")
    world.emulator.requests.clear()
    deleting = asyncio.create_task(other.fs.delete_file(path("/m/c")))
    await world.emulator.requests.wait_for("ListObjects", ended=True)
    for _ in range(100):  # for the new marker to overtake
        await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(move, deleting)
    assert await world.keys() == ["a", "b", "d/c", "m/"]


@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_a_file_named_like_a_directory_that_comes_with_a_move(
    two: tuple[World, World], moment: str
) -> None:
    world, other = two
    await world.client.put_object("m/o/c", b"child")
    await world.client.put_object("m/z", b"last")
    operation, key = {
        "before": ("PutObject", "n/"),
        "during": ("CopyObject", "n/o/c"),
        "after": ("CopyObject", "n/z"),
    }[moment]
    world.emulator.faults.list_lag_s = 60  # so that only this server's memory tells
    hold = world.hold(operation, key)
    move = asyncio.create_task(world.rename("/m", "/n"))
    await world.emulator.requests.wait_for(operation, key)
    if moment == "after":
        await world.emulator.requests.wait_for("CopyObject", "n/o/c", ended=True)
    refusal = await refusal_of(other.store("/n/o", b"file"))
    hold.set()
    refusals = refusal, await refusal_of(move)
    world.emulator.faults.list_lag_s = 0
    if moment == "before":
        assert refusals == (None, ErrorKind.NOT_DIRECTORY)
        assert await world.keys() == ["a", "b", "d/c", "m/o/c", "m/z", "n/o"]
    else:
        assert refusals == (ErrorKind.IS_DIRECTORY, None)
        assert await world.keys() == ["a", "b", "d/c", "n/o/c", "n/z"]


@pytest.mark.parametrize("moment", ["before", "during"])
async def test_a_directory_named_like_a_file_that_comes_with_a_move(
    two: tuple[World, World], moment: str
) -> None:
    world, other = two
    await world.client.put_object("m/o", b"file")
    operation, key = ("PutObject", "n/") if moment == "before" else ("CopyObject", "n/o")
    hold = world.hold(operation, key)
    move = asyncio.create_task(world.rename("/m", "/n"))
    await world.emulator.requests.wait_for(operation, key)
    refusal = await refusal_of(other.fs.make_directory(path("/n/o")))
    hold.set()
    refusals = refusal, await refusal_of(move)
    if moment == "before":
        assert refusals == (None, ErrorKind.IS_DIRECTORY)
        assert await world.keys() == ["a", "b", "d/c", "m/o", "n/o/"]
    else:
        assert refusals == (ErrorKind.EXISTS, None)
        assert await world.keys() == ["a", "b", "d/c", "n/o"]


async def test_a_move_that_fails_leaves_no_directory_to_be_seen_that_is_gone(
    two: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, other = two
    monkeypatch.setattr(moving, "_PAGE", 1)  # so that the others go first
    await world.store("/n/o/p/c", b"child")
    await world.store("/n/stays", b"stays")
    world.emulator.faults.add(
        Fault(operation="HeadObject", key="n/stays".__eq__, status=403, code="AccessDenied")
    )
    await is_refused(world.rename("/n", "/m"), ErrorKind.DENIED)
    assert await other.names("/n") == ["stays"]
    await other.store("/n/o", b"file")


async def test_a_name_whose_move_was_undone_is_a_directory_if_it_got_a_file_long_ago(
    two: tuple[World, World],
) -> None:
    clock = Clock()
    world = two[0].with_memory(BucketState(clock))
    await world.client.put_object("m/z", b"last")
    hold = world.hold("CopyObject", status=403, code="AccessDenied")
    move = asyncio.create_task(world.rename("/m", "/n"))
    await world.emulator.requests.wait_for("CopyObject")
    await world.store("/n/o/c", b"child")
    clock.now = LIFETIME_S
    hold.set()
    await is_refused(move, ErrorKind.DENIED)
    assert await world.keys() == ["a", "b", "d/c", "m/z", "n/o/c"]
    await is_refused(world.store("/n", b"file"), ErrorKind.IS_DIRECTORY)
    await is_refused(world.store("/n/o", b"file"), ErrorKind.IS_DIRECTORY)


async def test_a_name_that_was_moved_away_is_a_directory_if_it_got_a_file_long_ago(
    two: tuple[World, World],
) -> None:
    clock = Clock()
    world = two[0].with_memory(BucketState(clock))
    await world.client.put_object("n/c", b"child")
    hold = world.hold("DeleteMultipleObjects")
    move = asyncio.create_task(world.rename("/n", "/m"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    await world.store("/n/o/late", b"late")
    clock.now = LIFETIME_S
    hold.set()
    await move
    assert await world.keys() == ["a", "b", "d/c", "m/c", "n/o/late"]
    await is_refused(world.store("/n", b"file"), ErrorKind.IS_DIRECTORY)
    await is_refused(world.store("/n/o", b"file"), ErrorKind.IS_DIRECTORY)


async def test_names_that_were_directories_of_a_moved_one_are_free_at_once(
    two: tuple[World, World],
) -> None:
    """Which somebody else had made, and the listing for "file" showed."""
    world, _ = two
    await world.client.put_object("n/o/c", b"child")
    await world.client.put_object("n/p/c", b"child")
    await world.store("/n/file", b"file")
    await is_refused(world.store("/n/o", b"file"), ErrorKind.IS_DIRECTORY)
    assert await world.names("/n/p") == ["c"]
    await world.rename("/n", "/m")
    await world.store("/n/o", b"file")
    await world.store("/n/p", b"file")
    assert await world.names("/n") == ["o", "p"]


async def test_a_directory_that_is_made_anew_before_its_move_has_ended_is_seen_at_once(
    two: tuple[World, World],
) -> None:
    world, other = two
    await world.client.put_object("n/c", b"only")
    hold = world.hold("DeleteObject", "m/")
    move = asyncio.create_task(world.rename("/n", "/m"))
    await world.emulator.requests.wait_for("DeleteObject", "m/")
    world.emulator.faults.list_lag_s = 60
    await other.fs.make_directory(path("/n"))
    hold.set()
    await move
    assert await world.names("/") == ["a", "b", "d/", "m/", "n/"]
    assert await world.names("/n") == []


async def test_a_directory_that_is_moved_away_leaves_one_all_the_time(
    two: tuple[World, World],
) -> None:
    """The marker of the one above comes after the move, which has left nothing in it."""
    world, other = two
    await world.client.put_object("n/o/c", b"child")
    hold = world.hold("PutObject", "n/")
    move = asyncio.create_task(world.rename("/n/o", "/m"))
    await world.emulator.requests.wait_for("PutObject", "n/")
    await is_refused(other.store("/n", b"file"), ErrorKind.IS_DIRECTORY)
    hold.set()
    await move
    await is_one(world)


async def test_no_file_takes_the_name_of_a_directory_whose_removal_will_fail(
    world: World,
) -> None:
    """Though it counts as deleted while that is tried."""
    await world.client.put_object("d/", b"")
    await world.client.put_object("d/f", b"1")
    hold = world.hold("ListObjects", times=1)
    removing = asyncio.create_task(world.fs.remove_directory(path("/d")))
    await world.emulator.requests.wait_for("ListObjects")
    async with world.another_account().fs.open_writer(path("/d")) as writer:
        await writer.write(b"a file")
        await world.emulator.requests.wait_for("ListObjects", ended=True)  # the other one
        hold.set()
        with pytest.raises(StorageError) as caught:
            await removing
        assert caught.value.kind is ErrorKind.NOT_EMPTY
        with pytest.raises(StorageError) as caught:
            await writer.commit()
        assert caught.value.kind is ErrorKind.IS_DIRECTORY
    assert await world.keys() == ["d/", "d/f"]


async def test_a_directory_that_is_made_removed_and_filled_survives_listings_that_lag(
    two: tuple[World, World],
) -> None:
    """They show the marker that is gone, so that it seems to need no other."""
    world, _ = two
    await world.fs.make_directory(path("/n"))
    world.emulator.faults.list_lag_s = 60
    await world.fs.remove_directory(path("/n"))
    await world.store("/n/c", b"child")
    await world.fs.delete_file(path("/n/c"))
    await is_refused(world.store("/n", b"file"), ErrorKind.IS_DIRECTORY)
    world.emulator.faults.list_lag_s = 0
    assert await world.keys() == ["a", "b", "d/c", "n/"]


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_who_waits_long_for_a_turn_looks_again(
    two: tuple[World, World], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Another server makes a directory meanwhile, which this one does not remember."""
    world, _ = two
    take = world.state.turns.take

    async def take_late(key: str) -> None:
        await world.client.put_object("n/c", b"somebody else's")
        believe_no_look(monkeypatch)
        await take(key)

    monkeypatch.setattr(world.state.turns, "take", take_late)
    await is_refused(world.store("/n", bytes(size)), ErrorKind.IS_DIRECTORY)
    await is_one(world)


@pytest.mark.parametrize("key", ["n/o/", "n/o/c"])
async def test_directories_below_one_that_another_account_renamed_are_gone(
    world: World, key: str
) -> None:
    """It has used one of them a moment ago."""
    other = world.another_account()
    await world.client.put_object(key, b"")
    await other.names("/n/o")
    await world.rename("/n", "/m")
    with pytest.raises(StorageError) as caught:
        await other.names("/n/o")
    assert caught.value.kind is ErrorKind.NOT_FOUND
    await other.store("/n/o", b"file")


async def test_a_directory_rename_that_was_undone_leaves_no_directories_above(
    world: World,
) -> None:
    await world.client.put_object("n/c", b"")
    world.emulator.faults.add(Fault(operation="CopyObject", status=403, code="AccessDenied"))
    with pytest.raises(StorageError):
        await world.rename("/n", "/m/o/p")
    assert await world.keys() == ["n/c"]
    assert await world.names("/") == ["n/"]
    await world.fs.make_directory(path("/m/o"))
    await world.store("/m/o/p", b"file")


async def test_what_another_tool_made_both_can_be_renamed_to(world: World) -> None:
    for key in ("n", "n/c", "a"):
        await world.client.put_object(key, key.encode())
    await world.store("/n/c", b"new")
    await world.rename("/a", "/n")
    assert await world.load("/n") == b"a"
    assert await world.keys() == ["n", "n/c"]
