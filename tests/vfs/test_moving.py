"""Renames of whole trees, and of files above the size of a single copy, while things go wrong."""

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cos_ftp_server import app
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.dialect import COS
from cos_ftp_server.cos.types import DeleteFailure, ListPage, ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs import moving, recent, resume
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.creation import CreationRules
from cos_ftp_server.vfs.moving import TreeMove
from cos_ftp_server.vfs.names import Names
from tests.doubles.ftp_client import until
from tests.vfs.conftest import MIB, World, path, random_bytes

ALL_OPTIONS = ObjectOptions(
    content_type="text/x-test",
    headers=(("Cache-Control", "no-store"), ("Content-Encoding", "gzip")),
    storage_class="STANDARD_IA",
    server_side_encryption="AES256",
    metadata=(("note", "kept"),),
)


async def failing_rename(world: World, source: str = "/d", target: str = "/e") -> StorageError:
    with pytest.raises(StorageError) as caught:
        await world.rename(source, target)
    return caught.value


@pytest.fixture
async def tree(world: World) -> list[str]:
    """Twenty files, one of them deeper; their keys."""
    keys = [f"d/{number:02}" for number in range(19)] + ["d/s/deep"]
    for key in keys:
        await world.client.put_object(key, key.encode())
    return keys


@pytest.fixture
async def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_PAGE", 7)


def moved(keys: Sequence[str]) -> list[str]:
    return ["e" + key[1:] for key in keys]


# What survives, and what it costs


@pytest.mark.usefixtures("small_pages")
async def test_a_tree_moves_for_two_requests_an_object(world: World, tree: list[str]) -> None:
    world.emulator.requests.clear()
    await world.rename("/d", "/e")
    assert await world.keys() == moved(tree)
    asked = world.emulator.requests.operations()
    assert asked["CopyObject"] == len(tree)
    assert asked["HeadObject"] <= len(tree) + 4  # and the looks at the two names
    assert asked["DeleteMultipleObjects"] == 3
    assert await world.load("/e/s/deep") == b"d/s/deep"


async def test_all_options_survive(world: World) -> None:
    for key in ("d/", "d/f"):
        await world.client.put_object(key, b"", options=ALL_OPTIONS)
    await world.rename("/d", "/e")
    for key in ("e/", "e/f"):
        assert (await world.client.head_object(key)).options == ALL_OPTIONS
    assert await world.keys() == ["e/", "e/f"]


@pytest.fixture
def by_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that copies no more than 2 MiB at once."""
    world.client.dialect = replace(COS, max_copy_bytes=2 * MIB)
    monkeypatch.setattr(resume, "_SMALL_COPY", MIB)


@pytest.mark.usefixtures("by_parts")
@pytest.mark.parametrize("name", ["/d/large", "/d"])
async def test_what_is_too_large_for_one_copy(world: World, name: str) -> None:
    content = random_bytes(4 * MIB)
    await world.client.put_object("d/large", content, options=ALL_OPTIONS)
    await world.rename(name, "/e" + name.removeprefix("/d"))
    assert world.emulator.requests.count("UploadPartCopy") == 4
    assert await world.load("/e/large") == content
    assert (await world.client.head_object("e/large")).options == ALL_OPTIONS
    assert [key for key in await world.keys() if not key.endswith("/")] == ["e/large"]


@pytest.mark.usefixtures("by_parts")
@pytest.mark.parametrize("name", ["/d/large", "/d"])
async def test_a_lost_answer_to_the_last_request_of_a_copy_by_parts(
    world: World, name: str
) -> None:
    await world.client.put_object("d/large", bytes(4 * MIB))
    world.emulator.faults.add(
        Fault(operation="CompleteMultipartUpload", times=1, reset=True, after_commit=True)
    )
    await world.rename(name, "/e" + name.removeprefix("/d"))
    assert [key for key in await world.keys() if not key.endswith("/")] == ["e/large"]


@pytest.mark.usefixtures("by_parts")
@pytest.mark.parametrize(
    "operation", ["InitiateMultipartUpload", "UploadPartCopy", "CompleteMultipartUpload"]
)
async def test_a_copy_by_parts_that_is_broken_off_leaves_no_upload(
    world: World, operation: str
) -> None:
    await world.client.put_object("d/large", bytes(4 * MIB))
    hold = world.hold(operation, after_commit=True)
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for(operation)
    task.cancel()
    await asyncio.sleep(0)
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.cleanups.aclose(10)
    assert await world.keys() == ["d/large"]
    assert await world.open_uploads() == 0


async def test_a_wrong_copy_is_found(world: World) -> None:
    """The store says that the copy has another CRC64 than what HEAD tells of the source."""
    await world.store("/f", b"content")
    pending = await world.fs.prepare_rename(path("/f"))
    copy_object = world.client.copy_object

    async def corrupted(source: str, key: str, **options: Any) -> Stored:
        await copy_object(source, key, **options)
        return await world.client.put_object(key, b"CONTENT")

    world.client.copy_object = corrupted  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageError) as caught:
        await pending.to(path("/g"))
    assert caught.value.kind is ErrorKind.INTEGRITY
    assert await world.keys() == ["f"]


# Copies that fail


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=403, code="AccessDenied"),
        Fault(status=500, code="InternalError"),
        Fault(status=200, code="InternalError"),
        Fault(status=403, code="InvalidObjectState"),
        Fault(reset=True),
    ],
)
async def test_one_copy_that_fails_undoes_all(world: World, tree: list[str], fault: Fault) -> None:
    rule = world.emulator.faults.add(
        replace(fault, operation="CopyObject", key=lambda key: key == "e/15")
    )
    error = await failing_rename(world)
    assert error.aftermath == "Nothing was renamed."
    assert await world.keys() == tree
    world.emulator.faults.remove(rule)
    await world.rename("/d", "/e")  # and may be tried again at once
    assert await world.keys() == moved(tree)


async def test_an_answer_that_is_lost_is_no_failure(world: World, tree: list[str]) -> None:
    world.emulator.faults.add(
        Fault(operation="CopyObject", reset=True, after_commit=True, probability=0.5)
    )
    await world.rename("/d", "/e")
    assert await world.keys() == moved(tree)


async def test_a_file_that_somebody_deletes_meanwhile(world: World, tree: list[str]) -> None:
    hold = world.hold("CopyObject", "e/07")
    move = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject", count=20)
    await world.client.delete_object("d/07")
    hold.set()
    await move
    assert await world.keys() == [key for key in moved(tree) if key != "e/07"]


async def test_an_undo_that_fails_is_told(
    world: World, tree: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    refusal = Fault(status=403, code="AccessDenied")
    faults = world.emulator.faults
    faults.add(replace(refusal, operation="CopyObject", key=lambda key: key == "e/15"))
    faults.add(replace(refusal, operation="DeleteMultipleObjects"))
    error = await failing_rename(world)
    assert error.aftermath == "Nothing was renamed, but there are files at the new name too."
    assert set(tree) < set(await world.keys())
    assert "copies left behind below 'e/'" in caplog.text


async def test_an_undo_goes_on_when_nobody_waits_for_it(world: World, tree: list[str]) -> None:
    world.emulator.faults.add(
        Fault(
            operation="CopyObject", key=lambda key: key == "e/15", status=403, code="AccessDenied"
        )
    )
    hold = world.hold("DeleteMultipleObjects")
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    task.cancel()
    await asyncio.sleep(0)
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.cleanups.aclose(10)
    assert await world.keys() == tree


async def test_a_copy_that_hangs_leaves_time_for_the_undo(world: World, tree: list[str]) -> None:
    world.hold("CopyObject", "e/15")
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject", count=20)
    task.cancel()
    async with asyncio.timeout(app._CLEANUP_SECONDS / 2):
        await world.emulator.requests.wait_for("DeleteMultipleObjects")
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.cleanups.aclose(10)
    assert await world.keys() == tree


async def test_of_two_renames_to_one_name_only_one_happens(world: World, tree: list[str]) -> None:
    await world.client.put_object("x/other", b"other")
    others = [replace(world, fs=world.another_file_system()) for _ in range(2)]
    hold = world.hold("PutObject", "e/")
    moves = [
        asyncio.create_task(world.rename("/d", "/e")),
        asyncio.create_task(others[0].rename("/x", "/e")),
        asyncio.create_task(others[1].rename("/d", "/e")),
    ]
    await world.emulator.requests.wait_for("PutObject", "e/", count=3)
    hold.set()
    results = await asyncio.gather(*moves, return_exceptions=True)
    refused = [result for result in results if isinstance(result, StorageError)]
    assert [error.kind for error in refused] == [ErrorKind.EXISTS] * 2
    keys = [key for key in await world.keys() if not key.endswith("/")]
    assert keys in (sorted([*tree, "e/other"]), sorted([*moved(tree), "x/other"]))


# The claim of the new name


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("effect", [Fault(reset=True), Fault(status=500, code="InternalError")])
async def test_a_claim_without_an_answer_is_kept(
    world: World, tree: list[str], effect: Fault, *, after_commit: bool
) -> None:
    world.emulator.faults.add(
        replace(
            effect,
            operation="PutObject",
            key=lambda key: key == "e/",
            after_commit=after_commit,
            times=1,
        )
    )
    await world.rename("/d", "/e")
    assert await world.keys() == moved(tree)


async def test_a_claim_that_is_refused_leaves_what_is_there(world: World, tree: list[str]) -> None:
    hold = world.hold("PutObject", times=1)
    move = asyncio.create_task(failing_rename(world))
    await world.emulator.requests.wait_for("PutObject", "e/")
    await world.client.put_object("e/", b"")
    hold.set()
    assert (await move).kind is ErrorKind.EXISTS
    assert await world.keys() == [*tree, "e/"]


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("answers", [False, True])
async def test_a_claim_that_nobody_waits_for_is_taken_back(
    world: World,
    tree: list[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    after_commit: bool,
    answers: bool,
) -> None:
    hold = world.hold("PutObject", "e/", after_commit=after_commit)
    if not answers:
        monkeypatch.setattr(moving, "_SETTLE_S", 0.1)
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("PutObject", "e/")
    if after_commit:
        await world.appears("e/")
    task.cancel()
    await asyncio.sleep(0)
    if answers:
        hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.cleanups.aclose(10)
    assert await world.keys() == tree
    world.emulator.faults.clear()
    await world.rename("/d", "/e")  # the name is free


# Deletes that fail, and what comes meanwhile


async def test_deletes_that_fail_leave_both_and_are_told(world: World, tree: list[str]) -> None:
    world.emulator.faults.add(
        Fault(operation="DeleteMultipleObjects", status=403, code="AccessDenied")
    )
    error = await failing_rename(world)
    assert error.kind is ErrorKind.DENIED
    assert error.aftermath == "Renamed, but files may still be at the old name."
    assert set(tree) | set(moved(tree)) <= set(await world.keys())
    assert await world.names("/d") == sorted([key[2:] for key in tree[:19]] + ["s/"])


async def test_single_deletes_that_fail_are_counted(world: World, tree: list[str]) -> None:
    delete_objects = world.client.delete_objects

    async def fail_some(keys: Sequence[str]) -> tuple[DeleteFailure, ...]:
        spared = {"d/03", "d/s/deep"}
        await delete_objects([key for key in keys if key not in spared])
        return tuple(DeleteFailure(key, "AccessDenied", "") for key in keys if key in spared)

    world.client.delete_objects = fail_some  # type: ignore[method-assign]
    error = await failing_rename(world)
    assert (error.kind, error.temporary) == (ErrorKind.DENIED, False)
    assert error.aftermath == "Renamed, but 2 files are still at the old name."
    assert await world.keys() == sorted([*moved(tree), "d/03", "d/s/deep"])
    assert await world.names("/d") == ["03", "s/"]


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("HeadObject", Fault(status=500, code="InternalError")),
        ("DeleteMultipleObjects", Fault(status=503, code="SlowDown")),
    ],
)
async def test_what_the_client_tries_again_is_not_tried_again_beyond_it(
    world: World, tree: list[str], operation: str, fault: Fault
) -> None:
    rule = world.emulator.faults.add(
        replace(fault, operation=operation, key=lambda key: key in ("", "d/15"))
    )
    error = await failing_rename(world)
    assert error.aftermath == "Renamed, but files may still be at the old name."
    assert rule.hits == 3  # as often as it was told to


async def test_a_file_whose_delete_fails_is_told(world: World) -> None:
    await world.store("/f", b"x")
    world.emulator.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied"))
    error = await failing_rename(world, "/f", "/g")
    assert error.aftermath == "Renamed, but the file is still at the old name."
    assert await world.keys() == ["f", "g"]


async def test_a_new_file_at_the_old_name_stays(world: World, tree: list[str]) -> None:
    hold = world.hold("CopyObject", "e/15")
    move = asyncio.create_task(failing_rename(world))
    await world.emulator.requests.wait_for("CopyObject", count=20)
    await world.client.put_object("d/new", b"new")
    hold.set()
    error = await move
    assert error.kind is ErrorKind.CHANGED
    assert error.aftermath == "Renamed, but 1 file is still at the old name."
    assert await world.keys() == sorted(["d/new", *moved(tree)])


async def test_a_file_stored_while_others_are_looked_at_stays(
    world: World, tree: list[str]
) -> None:
    """Its name was looked at already, and the whole page is about to be deleted."""
    hold = world.hold("HeadObject", "d/15")
    move = asyncio.create_task(failing_rename(world))
    await world.emulator.requests.wait_for("HeadObject", "d/03", ended=True)
    await world.store("/d/03", b"new")
    hold.set()
    await move
    assert await world.load("/d/03") == b"new"
    assert await world.load("/e/03") == b"d/03"


async def test_what_others_do_at_the_new_name_meanwhile_is_seen(
    world: World, tree: list[str]
) -> None:
    hold = world.hold("DeleteMultipleObjects")
    move = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    await world.store("/e/03", b"much newer")
    await world.fs.delete_file(path("/e/04"))
    hold.set()
    await move
    sizes = {entry.name: entry.size for entry in await world.entries("/e")}
    assert sizes["03"] == len(b"much newer")
    assert "04" not in sizes
    await world.rename("/e", "/f")  # all of it


async def test_a_tree_that_moves_back_is_seen_at_once(world: World, tree: list[str]) -> None:
    names = await world.names("/d")
    world.emulator.faults.list_lag_s = 60
    await world.rename("/d", "/e")
    assert await world.names("/e") == names
    await world.rename("/e", "/d")
    assert await world.names("/d") == names


async def test_a_directory_that_is_removed_while_it_is_filled_is_known_to_be_there(
    world: World,
) -> None:
    await world.client.put_object("d/f", b"1")
    copied = world.hold("CopyObject", "e/f")
    removed = world.hold("DeleteObject")
    moving_there = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject", "e/f")
    removing = asyncio.create_task(world.another_account().fs.remove_directory(path("/e")))
    await world.emulator.requests.wait_for("DeleteObject", "e/")
    copied.set()
    await until(lambda: not world.state.under_way.counts_as_deleted("e/"))
    removed.set()
    await removing  # as if it had come before
    await moving_there
    with pytest.raises(StorageError) as caught:
        await world.store("/e", b"a file")
    assert caught.value.kind is ErrorKind.IS_DIRECTORY
    assert await world.load("/e/f") == b"1"


async def test_a_directory_that_somebody_removes_first_is_not_renamed(world: World) -> None:
    await world.fs.make_directory(path("/d"))
    move = await world.fs.prepare_rename(path("/d"))
    await world.fs.remove_directory(path("/d"))
    with pytest.raises(StorageError) as caught:
        await move.to(path("/e"))
    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert caught.value.aftermath == "Nothing was renamed."
    assert await world.keys() == []


async def test_a_copy_that_has_no_place_and_cannot_be_taken_away_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.store("/f", b"1")
    await world.client.put_object("e/x", b"2")
    world.emulator.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied"))
    with pytest.raises(StorageError) as caught:
        await world.rename("/f", "/e")
    assert caught.value.kind is ErrorKind.IS_DIRECTORY
    assert caught.value.aftermath == "There is a copy at the new name."
    assert "'e' has no place there, and stays" in caplog.text
    assert await world.load("/f") == b"1"


async def test_a_directory_that_moved_away_leaves_its_name_free(world: World) -> None:
    await world.fs.make_directory(path("/d/made"))
    world.emulator.faults.list_lag_s = 60  # from now on listings show what there was
    await world.rename("/d", "/e")
    await world.rename("/e", "/d/made")
    assert await world.names("/d") == ["made/"]
    assert await world.names("/d/made") == ["made/"]


@pytest.mark.parametrize("others", [True, False])
async def test_a_tree_moves_although_a_directory_is_listed_as_the_file_that_it_was(
    world: World, *, others: bool
) -> None:
    await world.store("/d/x", b"1")
    world.emulator.faults.list_lag_s = 60
    if others:
        await world.client.delete_object("d/x")
        world = world.with_memory(BucketState())
    else:
        await world.fs.delete_file(path("/d/x"))
    await world.store("/d/x/y", b"22")
    await world.rename("/d", "/e")
    assert await world.load("/e/x/y") == b"22"
    world.emulator.faults.list_lag_s = 0
    assert "d/x/y" not in await world.keys()


async def test_a_directory_stays_when_all_in_it_moves_away_although_its_old_marker_is_listed(
    world: World,
) -> None:
    await world.fs.make_directory(path("/a"))
    await world.store("/a/f", b"1")
    world.emulator.faults.list_lag_s = 60
    await world.rename("/a", "/b")
    await world.store("/a/d/x", b"22")
    await world.rename("/a/d", "/c")
    world.emulator.faults.list_lag_s = 0
    assert await world.keys() == ["a/", "b/", "b/f", "c/x"]


async def test_a_copy_that_somebody_deletes_before_its_source_stays(
    world: World, tree: list[str]
) -> None:
    hold = world.hold("CopyObject", "e/15")
    move = asyncio.create_task(failing_rename(world))
    await world.appears("e/03")
    await world.client.delete_object("e/03")
    hold.set()
    await move
    assert await world.keys() == sorted(["d/03", *(key for key in moved(tree) if key != "e/03")])


async def test_a_move_that_deletes_already_goes_on(world: World, tree: list[str]) -> None:
    hold = world.hold("DeleteMultipleObjects")
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    task.cancel()
    await asyncio.sleep(0)
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.cleanups.aclose(10)
    assert await world.keys() == moved(tree)


async def test_what_cannot_be_finished_in_time_is_logged(
    world: World, tree: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    world.hold("DeleteMultipleObjects")
    task = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("DeleteMultipleObjects")
    closing = asyncio.create_task(world.cleanups.aclose(0))
    with pytest.raises(asyncio.CancelledError):
        await task
    await closing
    assert "files are below both 'd/' and 'e/'" in caplog.text
    assert set(tree) | set(moved(tree)) <= set(await world.keys())


async def test_a_file_rename_goes_on_when_nobody_waits_for_it(world: World) -> None:
    await world.store("/f", b"content")
    hold = world.hold("CopyObject")
    task = asyncio.create_task(world.rename("/f", "/g"))
    await world.emulator.requests.wait_for("CopyObject")
    task.cancel()
    await asyncio.sleep(0)
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.cleanups.aclose(10)
    assert await world.keys() == ["g"]


# Listings that lag


@pytest.mark.usefixtures("small_pages")
async def test_files_that_are_not_listed_yet_move_too(world: World, tree: list[str]) -> None:
    world.emulator.faults.list_lag_s = 60
    for name in ("00a", "18a", "s/more", "t/new"):
        await world.store(f"/d/{name}", name.encode())
    await world.store("/d/05", b"newer")
    await world.fs.delete_file(path("/d/06"))
    await world.rename("/d", "/e")
    world.emulator.faults.list_lag_s = 0
    left = {*moved(tree), "e/00a", "e/18a", "e/s/more", "e/t/new"} - {"e/06"}
    assert await world.keys() == sorted(left)
    assert await world.load("/e/05") == b"newer"


async def test_a_foreign_file_that_listings_do_not_show_yet_stays(
    world: World, tree: list[str]
) -> None:
    hold = world.hold("CopyObject", "e/15")
    move = asyncio.create_task(failing_rename(world))
    await world.appears("e/03")
    world.emulator.faults.list_lag_s = 60
    await world.client.put_object("d/03", b"newer")
    hold.set()
    error = await move
    assert error.kind is ErrorKind.CHANGED
    world.emulator.faults.list_lag_s = 0
    assert await world.keys() == sorted([*moved(tree), "d/03"])
    assert (await world.client.head_object("d/03")).size == len(b"newer")


# All at once


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_ever_lost(world: World, seed: int) -> None:
    """Requests fail and answers get lost while other clients store files at both names."""
    chance = random.Random(seed)
    contents = {f"d/{number:02}": f"{number} of {seed}".encode() for number in range(40)}
    for key, content in contents.items():
        await world.client.put_object(key, content)
    for operation in ("CopyObject", "HeadObject", "ListObjects", "DeleteMultipleObjects"):
        for effect in (
            Fault(status=503, code="SlowDown"),
            Fault(reset=True),
            Fault(reset=True, after_commit=True),
            Fault(status=403, code="AccessDenied", times=1),
        ):
            often = chance.choice([0, 0, 0.02, 0.1])
            world.emulator.faults.add(replace(effect, operation=operation, probability=often))
    world.emulator.faults.list_lag_s = chance.choice([0, 0, 0.2])
    replaced: set[bytes] = set()

    async def store(key: str, content: bytes) -> None:
        try:
            await world.store(f"/{key}", content)
        except StorageError:
            replaced.add(contents.get(key, b""))  # or not: nobody was told
            return
        replaced.add(contents.get(key, b""))
        contents[key] = content

    async def disturb() -> None:
        for number in range(20):
            names = (f"d/{chance.randrange(40):02}", f"d/new{number}", f"e/other{number}")
            await store(chance.choice(names), f"stored {number} of {seed}".encode())

    move = asyncio.create_task(world.rename("/d", "/e"))
    results = await asyncio.gather(move, disturb(), return_exceptions=True)
    assert not [r for r in results if isinstance(r, Exception) and not isinstance(r, StorageError)]
    world.emulator.faults.clear()
    bucket = "bucket-1250000000"
    found = {
        key: await world.emulator.object_bytes(bucket, key)
        for key in await world.emulator.object_names(bucket)
    }
    assert set(contents.values()) - replaced <= set(found.values())
    if results[0] is None:
        assert not [key for key in found if key.startswith("d/") and key[2:].isdecimal()]


# Memory


class EndlessStore:
    """A tree of so many objects that are not stored; what `TreeMove` needs of a client."""

    dialect = COS

    def __init__(self, count: int, *, refuses_deletes: bool = False) -> None:
        self.count = count
        self.refuses_deletes = refuses_deletes
        self.deleted = 0
        self.copied = 0
        self.memory: list[int] = []  # what is held when the last page of the source is asked for

    async def list_objects(
        self, prefix: str, *, marker: str = "", max_keys: int = 1000
    ) -> ListPage:
        first = int(marker[2:]) + 1 if marker else 0
        last = min(first + max_keys, self.count)
        if prefix == "d/" and last == self.count:
            gc.collect()
            self.memory.append(tracemalloc.get_traced_memory()[0])
        objects = tuple(self._meta(f"{prefix}{number:08}") for number in range(first, last))
        return ListPage(objects, (), objects[-1].key if last < self.count else "")

    async def find_object(self, key: str) -> ObjectMeta:
        return self._meta(key)

    async def put_object(self, key: str, body: bytes, **_: object) -> Stored:
        return Stored(etag='""')

    async def copy_object(self, source: str, key: str, **_: object) -> Stored:
        self.copied += 1
        return Stored(etag=self._meta(source).etag)

    async def delete_objects(self, keys: Sequence[str]) -> tuple[DeleteFailure, ...]:
        if self.refuses_deletes:
            return tuple(DeleteFailure(key, "AccessDenied", "Access Denied.") for key in keys)
        self.deleted += len(keys)
        return ()

    async def delete_object(self, key: str) -> None:
        pass

    @staticmethod
    def _meta(key: str) -> ObjectMeta:
        return ObjectMeta(
            key=key, size=1, etag=f'"{key[2:]:0>32}"', modified=datetime(2026, 1, 1, tzinfo=UTC)
        )


@pytest.mark.parametrize("refuses_deletes", [False, True])
async def test_memory_does_not_grow_with_the_tree(
    monkeypatch: pytest.MonkeyPatch, *, refuses_deletes: bool
) -> None:
    """To remember as little as their keys would take 200 KB more."""
    monkeypatch.setattr(recent, "_MOST", 10)
    monkeypatch.setattr(moving, "_PAGE", 50)
    store = EndlessStore(2500, refuses_deletes=refuses_deletes)
    state = BucketState()
    names = Names(cast(CosClient, store), state, "")
    tree = SimpleNamespace(client=store, state=state, rules=CreationRules(), names=names)
    tracemalloc.start()
    refusal = pytest.raises(StorageError, match="2500 files are still at the old name")
    try:
        with refusal if refuses_deletes else nullcontext():
            await TreeMove(tree, "d/", "e/").run()  # type: ignore[arg-type]  # all that it uses
    finally:
        tracemalloc.stop()
    assert (store.copied, store.deleted) == (2500, 0 if refuses_deletes else 2500)
    assert len(store.memory) == 2
    assert max(store.memory) < 150_000
