"""What an operation relies on while it is under way, however long that takes."""

import asyncio
from collections.abc import Awaitable

import pytest

from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs import moving, recent
from tests.vfs.conftest import World, path


async def rename(world: World, source: str, target: str) -> None:
    await (await world.fs.prepare_rename(path(source))).to(path(target))


async def refusal_of(work: Awaitable[object]) -> ErrorKind | None:
    try:
        await work
    except StorageError as error:
        return error.kind
    return None


async def put(world: World, *keys: str) -> None:
    """Let another tool store files whose content is their key."""
    for key in keys:
        await world.client.put_object(key, key.encode())


def hold(world: World, operation: str, key: str | None = None, **fault: object) -> asyncio.Event:
    """Hold the next such request until the event is set."""
    event = asyncio.Event()
    is_meant = None if key is None else key.__eq__
    world.emulator.faults.add(
        Fault(operation=operation, key=is_meant, hold=event, times=1, **fault)  # type: ignore[arg-type]
    )
    return event


@pytest.fixture(params=["time", "number"])
def forgetful(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done is not remembered any longer than it takes."""
    if request.param == "time":
        monkeypatch.setattr(recent, "LIFETIME_S", 0.0)
    else:
        monkeypatch.setattr(recent, "_MOST", 0)


# The name that a file is renamed to


@pytest.mark.parametrize("answer", ["heard", "lost"])
@pytest.mark.parametrize(
    ("there", "target", "kind"),
    [("n/c", "/n", ErrorKind.IS_DIRECTORY), ("n", "/n/c", ErrorKind.NOT_DIRECTORY)],
)
async def test_the_copy_is_not_taken_for_a_file_that_was_there(
    world: World, there: str, target: str, kind: ErrorKind, answer: str
) -> None:
    """The look at the name comes late, and finds the copy."""
    await put(world, there, "source")
    look = hold(world, "ListObjects")
    if answer == "lost":
        lost = Fault(operation="CopyObject", after_commit=True, reset=True, times=1)
        world.emulator.faults.add(lost)
    renaming = asyncio.create_task(rename(world, "/source", target))
    await world.emulator.requests.wait_for("ListObjects")
    await world.appears(target[1:])
    look.set()
    assert await refusal_of(renaming) is kind
    assert await world.keys() == [there, "source"]
    assert await refusal_of(world.store(target, b"file")) is kind


async def test_what_another_tool_made_both_can_be_renamed_to(world: World) -> None:
    await put(world, "n", "n/c", "source")
    await world.store("/n/c", b"new")
    await rename(world, "/source", "/n")
    assert await world.load("/n") == b"source"
    assert await world.keys() == ["n", "n/c"]


# The source


async def test_a_source_stored_anew_stays_however_long_the_rename_takes(
    world: World, forgetful: None
) -> None:
    other = world.another_account()
    await put(world, "d/x", "d/y")
    look = hold(world, "ListObjects")
    renaming = asyncio.create_task(rename(world, "/d/x", "/target"))
    await world.emulator.requests.wait_for("ListObjects")
    await world.appears("target")
    await other.store("/d/x", b"new")
    look.set()
    assert await refusal_of(renaming) is ErrorKind.CHANGED
    assert await world.load("/d/x") == b"new"


async def test_a_file_of_a_tree_stored_anew_stays_however_long_the_rename_takes(
    world: World, forgetful: None
) -> None:
    other = world.another_account()
    await put(world, "d/a", "d/b")
    look = hold(world, "HeadObject", "d/b")
    renaming = asyncio.create_task(rename(world, "/d", "/e"))
    await world.emulator.requests.wait_for("HeadObject", "d/b")
    await other.store("/d/a", b"new")
    look.set()
    assert await refusal_of(renaming) is ErrorKind.CHANGED
    assert await world.load("/d/a") == b"new"


async def test_only_one_of_those_who_claim_a_file_by_renaming_it_gets_it(world: World) -> None:
    await put(world, "job")
    prepared = [await world.fs.prepare_rename(path("/job")) for _ in range(3)]
    copy = hold(world, "CopyObject")
    claims = [
        asyncio.create_task(refusal_of(rename.to(path(f"/worker{number}"))))
        for number, rename in enumerate(prepared)
    ]
    await asyncio.wait(claims, return_when=asyncio.FIRST_COMPLETED)
    copy.set()
    assert sorted(map(str, await asyncio.gather(*claims))) == [
        "ErrorKind.CHANGED",
        "ErrorKind.CHANGED",
        "None",
    ]
    assert len(await world.keys()) == 1


# Directories that must survive


async def test_of_two_that_delete_a_file_neither_brings_it_back(world: World) -> None:
    other = world.another_account()
    await world.store("/d/x", b"")
    look = hold(world, "HeadObject", "d/x")
    first = asyncio.create_task(world.fs.delete_file(path("/d/x")))
    await world.emulator.requests.wait_for("HeadObject", "d/x")
    assert await refusal_of(other.fs.delete_file(path("/d/x"))) is ErrorKind.CHANGED
    look.set()
    await first
    assert await world.names("/d") == []
    assert await world.keys() == ["d/"]


async def test_a_directory_stays_that_is_emptied_as_soon_as_it_is_moved(world: World) -> None:
    other = world.another_account()
    await put(world, "a/f")
    delete = hold(world, "DeleteMultipleObjects", after_commit=True)
    moving = asyncio.create_task(rename(world, "/a", "/b"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    await other.fs.delete_file(path("/b/f"))
    delete.set()
    await moving
    assert await world.keys() == ["b/"]


async def test_the_marker_that_only_claimed_a_name_goes_if_nobody_needs_it(world: World) -> None:
    await put(world, "a/f")
    await rename(world, "/a", "/b")
    assert await world.keys() == ["b/f"]


async def test_the_directory_above_a_tree_that_moves_is_one_all_the_time(world: World) -> None:
    other = world.another_account()
    await put(world, "n/t/x")
    marker = hold(world, "PutObject", "n/")
    moving = asyncio.create_task(rename(world, "/n/t", "/m"))
    await world.emulator.requests.wait_for("PutObject", "n/")
    assert await refusal_of(other.store("/n", b"file")) is ErrorKind.IS_DIRECTORY
    marker.set()
    await moving
    assert await world.keys() == ["m/x", "n/"]


async def test_a_marker_that_listings_still_show_does_not_count(world: World) -> None:
    world.emulator.faults.list_lag_s = 60
    await world.fs.make_directory(path("/b"))
    await world.fs.remove_directory(path("/b"))
    await world.store("/b/f", b"")
    await world.fs.delete_file(path("/b/f"))
    assert (await world.client.head_object("b/")).size == 0


# A tree that is moved, and others who use its names


@pytest.mark.parametrize(
    ("operation", "key"), [("CopyObject", "m/o/x"), ("DeleteMultipleObjects", None)]
)
async def test_no_file_takes_the_name_of_a_directory_that_was_copied(
    world: World, operation: str, key: str | None
) -> None:
    other = world.another_account()
    await put(world, "n/o/x")
    step = hold(world, operation, key, after_commit=True)
    moving = asyncio.create_task(rename(world, "/n", "/m"))
    await world.emulator.requests.wait_for(operation, key)
    assert await refusal_of(other.store("/m/o", b"file")) is ErrorKind.IS_DIRECTORY
    step.set()
    await moving
    assert await world.keys() == ["m/o/x"]


async def test_no_directory_is_copied_to_the_name_of_a_file(world: World) -> None:
    other = world.another_account()
    await put(world, "n/a", "n/o/x")
    copy = hold(world, "CopyObject", "m/a")
    moving = asyncio.create_task(rename(world, "/n", "/m"))
    await world.emulator.requests.wait_for("CopyObject", "m/a")
    upload = hold(world, "PutObject", "m/p")
    await put(world, "n/p/x")
    storing = asyncio.create_task(other.store("/m/p", b"file"))
    await world.emulator.requests.wait_for("PutObject", "m/p")
    copy.set()
    upload.set()
    await storing
    await refusal_of(moving)
    keys = await world.keys()
    assert "m/p" in keys
    assert "m/p/x" not in keys


async def test_a_move_that_fails_leaves_no_directory_that_is_not_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PAGE", 1)
    await put(world, "n/", "n/o/", "n/stays")
    denied = Fault(operation="HeadObject", key="n/stays".__eq__, status=403, code="AccessDenied")
    world.emulator.faults.add(denied)
    assert await refusal_of(rename(world, "/n", "/m")) is ErrorKind.DENIED
    assert await world.names("/n") == ["stays"]
    await world.store("/n/o", b"file")


async def test_a_directory_that_somebody_uses_stays_when_its_move_is_undone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.another_account()
    await put(world, "n/a", "n/z")
    copy = hold(world, "CopyObject", "m/z", status=403, code="AccessDenied")
    moving = asyncio.create_task(rename(world, "/n", "/m"))
    await world.emulator.requests.wait_for("CopyObject", "m/z")
    await other.store("/m/x", b"somebody's")
    monkeypatch.setattr(recent, "LIFETIME_S", 0.0)
    copy.set()
    assert await refusal_of(moving) is ErrorKind.DENIED
    assert await refusal_of(other.store("/m", b"file")) is ErrorKind.IS_DIRECTORY
    assert await world.keys() == ["m/x", "n/a", "n/z"]


async def test_what_lay_in_a_directory_is_not_there_after_its_move(world: World) -> None:
    await put(world, "n/o/x")
    assert await refusal_of(world.store("/n/o", b"file")) is ErrorKind.IS_DIRECTORY
    await rename(world, "/n", "/m")
    await world.store("/n/o", b"file")
    assert await world.keys() == ["m/o/x", "n/o"]


# Depth


async def test_as_many_directories_as_a_key_has_room_for(world: World) -> None:
    name = "a/" * 424 + "x"
    await world.store(name, b"deep")
    await rename(world, name, "/a/y")
    await world.fs.make_directory(path("a/" * 424 + "d"))
    assert await world.load("/a/y") == b"deep"
