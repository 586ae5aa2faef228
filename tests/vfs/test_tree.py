"""Files and directories of a bucket behave like those of a file system."""

import asyncio
from dataclasses import replace

import pytest

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.creation import CreationRules
from cos_ftp_server.vfs.recent import LIFETIME_S
from tests.vfs.conftest import Clock, World, path


async def refused(kind: ErrorKind, work: object) -> None:
    with pytest.raises(StorageError) as caught:
        await work  # type: ignore[misc]  # any coroutine
    assert caught.value.kind is kind


# Looking


async def test_an_upload_that_broke_off_leaves_no_directory(world: World) -> None:
    async with world.fs.open_writer(path("/x/y/f")) as writer:
        await writer.write(b"half")
        await world.emulator.requests.wait_for("ListObjects", ended=True)
        await world.emulator.requests.wait_for("HeadObject", count=2, ended=True)
    for name in ("/x", "/x/y"):
        await refused(ErrorKind.NOT_FOUND, world.fs.check_directory(path(name)))
    await world.fs.make_directory(path("/x/y"))
    assert await world.keys() == ["x/y/"]


async def test_a_directory_that_is_removed_while_it_is_looked_at_is_not_believed_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the answer comes: what counts is when it was asked for."""
    clock = Clock()
    world = world.with_memory(BucketState(clock))
    await world.client.put_object("d/", b"")
    hold = asyncio.Event()
    head_object = world.client.head_object

    async def answer_late(key: str) -> ObjectMeta:
        meta = await head_object(key)
        asked.set()
        await hold.wait()
        return meta

    asked = asyncio.Event()
    monkeypatch.setattr(CosClient, "head_object", lambda _, key: answer_late(key))
    world.emulator.faults.add(Fault(operation="ListObjects", status=500))
    looking = asyncio.create_task(world.fs.check_directory(path("/d")))
    await asked.wait()
    monkeypatch.undo()
    world.emulator.faults.clear()
    clock.now = 1.0
    await world.another_account().fs.remove_directory(path("/d"))
    clock.now = 5.0
    hold.set()
    await looking
    clock.now = 12.0  # the removal is forgotten
    await refused(ErrorKind.NOT_FOUND, world.fs.check_directory(path("/d")))


async def test_stat(world: World) -> None:
    await world.store("/d/f", b"123")
    info = await world.fs.stat(path("/d/f"))
    assert (info.name, info.is_directory, info.size) == ("f", False, 3)
    assert (await world.fs.stat(path("/d"))).is_directory
    assert (await world.fs.stat(path("/"))).is_directory
    await refused(ErrorKind.NOT_FOUND, world.fs.stat(path("/x")))
    await refused(ErrorKind.NOT_FOUND, world.fs.stat_file(path("/d")))


async def test_a_prefix_is_a_directory_without_a_marker(world: World) -> None:
    await world.client.put_object("a/b/c", b"")
    for name in ("/", "/a", "/a/b"):
        await world.fs.check_directory(path(name))
    for name in ("/a/b/c", "/a/x", "/ab"):
        await refused(ErrorKind.NOT_FOUND, world.fs.check_directory(path(name)))


async def test_listing_shows_files_and_directories_once(world: World) -> None:
    for key in ("a", "d/", "d/x", "d/y/z", "d.txt", "e/f", "g/"):
        await world.client.put_object(key, b"1" if not key.endswith("/") else b"")
    assert await world.names("/") == ["a", "d.txt", "d/", "e/", "g/"]
    assert await world.names("/d") == ["x", "y/"]
    assert await world.names("/g") == []
    await refused(ErrorKind.NOT_FOUND, world.names("/nowhere"))
    await refused(ErrorKind.NOT_DIRECTORY, world.names("/a"))


async def test_names_that_no_path_can_name_are_left_out(world: World) -> None:
    for key in ("a//b", "a/./b", "a/../b", "a/c"):
        await world.client.put_object(key, b"")
    assert await world.names("/a") == ["c"]


async def test_a_long_listing_comes_page_by_page(world: World) -> None:
    await world.put_empty(f"d/{n:05}" for n in range(2500))
    world.emulator.requests.clear()
    pages = world.fs.list_directory(path("/d"))
    first = await anext(pages)
    assert len(first) == 1000
    assert world.emulator.requests.count("ListObjects") <= 2, "memory must stay at two pages"
    rest = [entry.name async for page in pages for entry in page]
    assert [entry.name for entry in first] + rest == [f"{n:05}" for n in range(2500)]
    assert world.emulator.requests.operations() == {"ListObjects": 3}


async def test_a_listing_that_is_not_read_to_its_end(world: World) -> None:
    await world.put_empty(f"d/{n:05}" for n in range(1500))
    pages = world.fs.list_directory(path("/d"))
    await anext(pages)
    await pages.aclose()


# Listings that lag


async def test_own_changes_are_seen_at_once_although_listings_lag(world: World) -> None:
    await world.store("/d/old", b"1")
    await world.store("/d/gone", b"1")
    world.emulator.faults.list_lag_s = 60
    await world.store("/d/new", b"12")
    await world.store("/d/sub/deep", b"1")
    await world.fs.make_directory(path("/d/made"))
    await world.fs.delete_file(path("/d/gone"))
    await world.store("/d/old", b"123")
    assert await world.names("/d") == ["made/", "new", "old", "sub/"]
    sizes = {entry.name: entry.size for entry in await world.entries("/d")}
    assert (sizes["new"], sizes["old"]) == (2, 3)
    await world.fs.check_directory(path("/d/sub"))
    await refused(ErrorKind.NOT_EMPTY, world.fs.remove_directory(path("/d/sub")))


async def test_own_changes_fall_onto_the_right_page(world: World) -> None:
    await world.put_empty(f"{n:05}" for n in range(1500))
    world.emulator.faults.list_lag_s = 60
    await world.store("/00500x", b"")
    await world.store("/01200x", b"")
    await world.store("/99999", b"")
    await world.fs.delete_file(path("/01499"))
    names = await world.names("/")
    assert len(names) == 1502
    assert names == sorted(names)


# Deleting


async def test_delete_a_file(world: World) -> None:
    await world.store("/f", b"")
    await world.fs.delete_file(path("/f"))
    assert await world.keys() == []
    await refused(ErrorKind.NOT_FOUND, world.fs.delete_file(path("/f")))


async def test_the_directory_of_the_last_file_stays(world: World) -> None:
    await world.store("/d/f", b"")
    await world.fs.delete_file(path("/d/f"))
    fresh = world.another_file_system()
    await fresh.check_directory(path("/d"))
    await fresh.remove_directory(path("/d"))
    await refused(ErrorKind.NOT_FOUND, fresh.check_directory(path("/d")))


async def test_two_sessions_delete_the_last_two_files(world: World) -> None:
    await world.store("/d/a", b"")
    await world.store("/d/b", b"")
    await asyncio.gather(world.fs.delete_file(path("/d/a")), world.fs.delete_file(path("/d/b")))
    await world.another_file_system().check_directory(path("/d"))


async def test_a_delete_that_fails_hides_nothing(world: World) -> None:
    await world.store("/f", b"")
    world.emulator.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied"))
    await refused(ErrorKind.DENIED, world.fs.delete_file(path("/f")))
    assert await world.names("/") == ["f"]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_second_delete_does_not_make_the_first_forgotten(world: World, count: int) -> None:
    """The last one fails, or at least one of two at the same time may."""
    await world.store("/d/f", b"1")
    world.emulator.faults.list_lag_s = 60
    if count == 1:
        await world.fs.delete_file(path("/d/f"))
    deletes = [world.fs.delete_file(path("/d/f")) for _ in range(count)]
    await asyncio.gather(*deletes, return_exceptions=True)
    assert await world.names("/d") == []
    await world.fs.remove_directory(path("/d"))


async def test_of_two_who_delete_a_file_at_the_same_time_one_is_told_that_it_did(
    world: World,
) -> None:
    await world.store("/d/f", b"1")
    world.emulator.faults.list_lag_s = 60
    hold = world.hold("DeleteObject", times=1)
    deleting = asyncio.create_task(world.fs.delete_file(path("/d/f")))
    await world.emulator.requests.wait_for("DeleteObject")
    other = world.another_account()
    await refused(ErrorKind.CHANGED, other.fs.delete_file(path("/d/f")))
    hold.set()
    await deleting
    assert await other.names("/d") == []
    world.emulator.faults.list_lag_s = 0
    assert await world.keys() == ["d/"]


async def test_a_file_is_not_listed_while_it_is_deleted_and_is_if_that_fails(world: World) -> None:
    await world.store("/d/f", b"1")
    hold = world.hold("DeleteObject", status=403, code="AccessDenied")
    deleting = asyncio.create_task(world.fs.delete_file(path("/d/f")))
    await world.emulator.requests.wait_for("DeleteObject")
    assert await world.names("/d") == []
    hold.set()
    await refused(ErrorKind.DENIED, deleting)
    assert await world.names("/d") == ["f"]
    await refused(ErrorKind.NOT_EMPTY, world.fs.remove_directory(path("/d")))


async def test_a_file_that_is_stored_anew_while_it_is_deleted_is_listed_at_once(
    world: World,
) -> None:
    await world.store("/d/f", b"1")
    hold = world.hold("HeadObject")
    deleting = asyncio.create_task(world.fs.delete_file(path("/d/f")))
    await world.emulator.requests.wait_for("HeadObject")
    await world.store("/d/f", b"22")
    assert [entry.size for entry in await world.entries("/d")] == [2]
    hold.set()
    await refused(ErrorKind.CHANGED, deleting)
    assert await world.load("/d/f") == b"22"


async def test_a_directory_that_is_removed_too_late_is_there(world: World) -> None:
    await world.fs.make_directory(path("/d"))
    hold = world.hold("DeleteObject")
    removing = asyncio.create_task(world.fs.remove_directory(path("/d")))
    await world.emulator.requests.wait_for("DeleteObject")
    await world.store("/d/f", b"1")
    hold.set()
    await removing
    assert await world.names("/") == ["d/"]
    await refused(ErrorKind.IS_DIRECTORY, world.store("/d", b"2"))


async def test_a_delete_that_takes_long_is_remembered(world: World) -> None:
    now = 0.0
    state = BucketState(lambda: now)
    fs = CosFileSystem(world.engine, world.cleanups, state=state)
    mine = replace(world, fs=fs)
    await mine.store("/f", b"1")
    world.emulator.faults.list_lag_s = 60
    hold = world.hold("CopyObject")
    moving = asyncio.create_task(mine.rename("/f", "/g"))
    await world.emulator.requests.wait_for("CopyObject")
    now = LIFETIME_S + 1
    hold.set()
    await moving
    assert await mine.names("/") == ["g"]


async def test_a_delete_that_was_not_begun_is_tried_again_by_the_client_alone(
    world: World,
) -> None:
    await world.store("/f", b"")
    world.emulator.faults.add(Fault(operation="DeleteObject", status=503, code="SlowDown"))
    await refused(ErrorKind.UNAVAILABLE, world.fs.delete_file(path("/f")))
    assert world.emulator.requests.count("DeleteObject") == 3  # as often as it was told to


async def test_a_delete_without_an_answer_is_tried_again(world: World) -> None:
    await world.store("/f", b"")
    world.emulator.faults.add(
        Fault(operation="DeleteObject", reset=True, after_commit=True, times=1)
    )
    await world.fs.delete_file(path("/f"))
    assert await world.keys() == []


# Directories


async def test_make_and_remove_a_directory(world: World) -> None:
    await world.fs.make_directory(path("/d"))
    assert await world.names("/") == ["d/"]
    await refused(ErrorKind.EXISTS, world.fs.make_directory(path("/d")))
    await refused(ErrorKind.EXISTS, world.fs.make_directory(path("/")))
    await world.store("/d/f", b"")
    await refused(ErrorKind.NOT_EMPTY, world.fs.remove_directory(path("/d")))
    await world.fs.delete_file(path("/d/f"))
    await world.fs.remove_directory(path("/d"))
    assert await world.keys() == []
    await refused(ErrorKind.NOT_FOUND, world.fs.remove_directory(path("/d")))
    await refused(ErrorKind.DENIED, world.fs.remove_directory(path("/")))


async def test_files_and_directories_do_not_share_names(world: World) -> None:
    await world.store("/f", b"")
    await refused(ErrorKind.EXISTS, world.fs.make_directory(path("/f")))
    await refused(ErrorKind.NOT_DIRECTORY, world.fs.make_directory(path("/f/d")))
    await refused(ErrorKind.NOT_DIRECTORY, world.fs.remove_directory(path("/f")))


async def test_removing_the_only_child_keeps_its_parent(world: World) -> None:
    await world.client.put_object("a/b/", b"")
    await world.fs.remove_directory(path("/a/b"))
    await world.another_file_system().check_directory(path("/a"))


# Renaming


async def test_rename_a_file(world: World) -> None:
    await world.store("/d/f", b"123")
    await world.rename("/d/f", "/e/g")
    assert await world.load("/e/g") == b"123"
    assert await world.names("/") == ["d/", "e/"]
    await refused(ErrorKind.NOT_FOUND, world.fs.prepare_rename(path("/d/f")))


async def test_rename_onto_a_file_replaces_it(world: World) -> None:
    await world.store("/a", b"new")
    await world.store("/b", b"old")
    await world.rename("/a", "/b")
    assert await world.load("/b") == b"new"
    assert await world.keys() == ["b"]


async def test_rename_onto_itself_changes_nothing(world: World) -> None:
    await world.store("/a", b"1")
    await world.rename("/a", "/a")
    assert await world.load("/a") == b"1"


@pytest.mark.parametrize("is_listed", [False, True])
async def test_a_file_is_not_renamed_below_itself(world: World, is_listed: bool) -> None:
    await world.store("/d/f", b"1")
    if is_listed:
        assert await world.names("/d") == ["f"]
    with pytest.raises(StorageError) as caught:
        await world.rename("/d/f", "/d/f/g")
    assert caught.value.kind is ErrorKind.NOT_DIRECTORY
    assert await world.keys() == ["d/f"]


async def test_a_copy_without_an_answer_is_not_in_its_own_way(world: World) -> None:
    fs = CosFileSystem(world.engine, world.cleanups, rules=CreationRules(may_replace=False))
    await world.store("/f", b"1")
    fault = Fault(operation="CopyObject", reset=True, after_commit=True, times=1)
    rule = world.emulator.faults.add(fault)
    await replace(world, fs=fs).rename("/f", "/g")
    assert rule.hits == 1
    assert await world.keys() == ["g"]


@pytest.mark.parametrize("target", ["/d", "/f/below"])
async def test_rename_onto_a_name_that_cannot_be(world: World, target: str) -> None:
    await world.store("/d/x", b"")
    await world.store("/f", b"")
    await world.store("/s", b"source")
    fresh = world.another_file_system()
    kind = ErrorKind.IS_DIRECTORY if target == "/d" else ErrorKind.NOT_DIRECTORY
    hold = world.hold("CopyObject")
    pending = await fresh.prepare_rename(path("/s"))
    world.emulator.requests.clear()
    move = asyncio.create_task(pending.to(path(target)))
    await world.emulator.requests.wait_for("ListObjects", ended=True)
    hold.set()
    await refused(kind, move)
    assert await world.keys() == ["d/x", "f", "s"]


async def test_rename_keeps_metadata_and_storage_class(world: World) -> None:
    from cos_ftp_server.cos.types import ObjectOptions

    options = ObjectOptions(
        content_type="text/x-test", storage_class="STANDARD_IA", metadata=(("note", "kept"),)
    )
    await world.client.put_object("a", b"1", options=options)
    await world.rename("/a", "/b")
    assert (await world.client.head_object("b")).options == options


async def test_a_source_replaced_between_rnfr_and_rnto_is_not_lost(world: World) -> None:
    await world.store("/a", b"first")
    pending = await world.fs.prepare_rename(path("/a"))
    await world.store("/a", b"second")
    await refused(ErrorKind.CHANGED, pending.to(path("/b")))
    assert await world.load("/a") == b"second"


async def test_of_those_who_rename_a_file_at_the_same_time_one_succeeds(world: World) -> None:
    """By renaming it they claim it: whoever succeeds has it for itself."""
    await world.store("/job", b"to do")
    claims = [await world.another_account().fs.prepare_rename(path("/job")) for _ in range(4)]
    hold = world.hold("CopyObject", times=1)
    first = asyncio.create_task(claims[0].to(path("/job.0")))
    await world.emulator.requests.wait_for("CopyObject")
    for number, claim in enumerate(claims[1:], start=1):
        await refused(ErrorKind.CHANGED, claim.to(path(f"/job.{number}")))
    hold.set()
    await first
    assert await world.keys() == ["job.0"]


async def test_a_failed_copy_loses_nothing(world: World) -> None:
    await world.store("/a", b"1")
    world.emulator.faults.add(Fault(operation="CopyObject", status=200, code="InternalError"))
    with pytest.raises(StorageError):
        await world.rename("/a", "/b")
    assert await world.load("/a") == b"1"


async def test_rename_a_directory(world: World) -> None:
    for key in ("d/", "d/a", "d/s/b", "d/s/t/"):
        await world.client.put_object(key, key.encode() if not key.endswith("/") else b"")
    await world.rename("/d", "/n/m")
    assert await world.keys() == ["n/m/", "n/m/a", "n/m/s/b", "n/m/s/t/"]
    assert await world.load("/n/m/s/b") == b"d/s/b"
    assert await world.names("/") == ["n/"]


async def test_rename_a_directory_with_many_files(world: World) -> None:
    await world.put_empty(f"d/{n:05}" for n in range(1200))
    await world.rename("/d", "/e")
    assert len(await world.names("/e")) == 1200
    await refused(ErrorKind.NOT_FOUND, world.another_file_system().check_directory(path("/d")))


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/taken", ErrorKind.EXISTS),
        ("/file", ErrorKind.EXISTS),
        ("/d/inside", ErrorKind.BAD_NAME),
        ("/file/x", ErrorKind.NOT_DIRECTORY),
    ],
)
async def test_a_directory_goes_only_where_nothing_is(
    world: World, target: str, kind: ErrorKind
) -> None:
    await world.store("/d/f", b"")
    await world.store("/taken/f", b"")
    await world.store("/file", b"")
    keys = await world.keys()
    await refused(kind, world.rename("/d", target))
    assert await world.keys() == keys


async def test_a_directory_rename_that_fails_half_way_loses_nothing(world: World) -> None:
    for number in range(20):
        await world.store(f"/d/{number}", b"")
    keys = await world.keys()
    world.emulator.faults.add(
        Fault(operation="CopyObject", key=lambda key: key == "e/7", status=403, code="AccessDenied")
    )
    with pytest.raises(StorageError):
        await world.rename("/d", "/e")
    assert await world.keys() == keys


async def test_a_client_that_leaves_during_a_rename(world: World) -> None:
    for number in range(20):
        await world.store(f"/d/{number}", b"")
    keys = await world.keys()
    hold = world.hold("CopyObject", "e/7")
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject", count=20)
    task.cancel()
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.keys() == keys
