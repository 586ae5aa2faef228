"""Files that others have stored, or that were there before, survive what happens beside them."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.cosfs import CosFileSystem
from tests.vfs.conftest import MIB, World, path

OLD = b"the old content"


async def doubt() -> None:
    raise ConnectionError


async def broken_off(fs: CosFileSystem, name: str, content: bytes) -> None:
    """Send a file, and turn out to be gone at its end."""
    async with fs.open_writer(path(name)) as writer:
        await writer.write(content)
        with pytest.raises(ConnectionError):
            await writer.commit(doubt)


async def rename(fs: CosFileSystem, source: str, target: str) -> None:
    await (await fs.prepare_rename(path(source))).to(path(target))


async def test_a_body_that_the_store_refuses_costs_nobody_a_file(world: World) -> None:
    await world.store("/f", OLD)
    world.emulator.faults.add(Fault(operation="PutObject", status=400, code="BadDigest"))
    with pytest.raises(StorageError):
        await world.store("/f", b"new")
    world.emulator.faults.clear()
    assert await world.load("/f") == OLD


async def test_bits_that_flip_on_the_way_again_and_again_cost_nobody_a_file(world: World) -> None:
    await world.store("/f", OLD)
    world.emulator.faults.add(Fault(operation="PutObject", corrupt_at=1))
    for fs in (world.fs, world.another_file_system()):
        with pytest.raises(StorageError):
            await replace(world, fs=fs).store("/f", b"new")
    world.emulator.faults.clear()
    assert await world.load("/f") == OLD


@pytest.mark.parametrize("size", [10, 3 * MIB])
async def test_a_wrong_checksum_in_an_answer_is_looked_into(world: World, size: int) -> None:
    for operation in ("PutObject", "CompleteMultipartUpload"):
        world.emulator.faults.add(Fault(operation=operation, crc="wrong"))
    await world.store("/f", bytes(size))
    assert await world.load("/f") == bytes(size)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(operation="ListObjects", status=403, code="AccessDenied"),
        Fault(operation="ListObjects", status=503, code="SlowDown"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"half", bytes(3 * MIB)])
async def test_a_name_that_could_not_be_looked_at(
    world: World, fault: Fault, content: bytes
) -> None:
    await world.client.put_object("f", OLD)
    world.emulator.faults.add(fault)
    with suppress(StorageError):  # which may come first where a look that fails ends the upload
        await broken_off(world.fs, "/f", content)
    world.emulator.faults.clear()
    assert await world.load("/f") == OLD


async def test_a_listing_that_does_not_show_the_file_yet(world: World) -> None:
    world.emulator.faults.list_lag_s = 60
    await world.client.put_object("f", OLD)
    await broken_off(world.fs, "/f", b"half")
    assert await world.load("/f") == OLD


@pytest.mark.parametrize("content", [b"content", b"other"])
async def test_a_client_that_comes_back_before_its_first_upload_is_taken_back(
    world: World, content: bytes
) -> None:
    """The first one's PUT was stored, and its client turns out to be gone; the second one stays."""
    is_gone = asyncio.Event()

    async def doubt_late() -> None:
        await is_gone.wait()
        raise ConnectionError

    async def first() -> None:
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(b"content")
            with pytest.raises(ConnectionError):
                await writer.commit(doubt_late)

    task = asyncio.create_task(first())
    await world.emulator.requests.wait_for("PutObject", ended=True)
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="HeadObject", hold=hold, after_commit=True))
    again = asyncio.create_task(world.store("/f", content))
    is_gone.set()
    await world.emulator.requests.wait_for("HeadObject")
    for _ in range(100):  # for the second one to overtake the first
        await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(task, again)
    assert await world.load("/f") == content


async def test_a_new_file_is_taken_back_even_if_the_store_never_said_that_it_has_it(
    world: World,
) -> None:
    await world.store("/other", b"so that there is a connection, which breaks")
    rule = world.emulator.faults.add(
        Fault(operation="PutObject", reset=True, after_commit=True, times=1)
    )
    await broken_off(world.fs, "/f", b"half")
    assert rule.hits == 1
    assert await world.keys() == ["other"]


async def test_nobody_appends_to_what_may_be_taken_back(world: World) -> None:
    is_gone = asyncio.Event()

    async def doubt_late() -> None:
        await is_gone.wait()
        raise ConnectionError

    async def append() -> None:
        async with world.fs.open_writer(path("/f"), offset=None) as writer:
            await writer.write(b"behind")
            await writer.commit()

    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(b"half")
        committing = asyncio.create_task(writer.commit(doubt_late))
        await world.emulator.requests.wait_for("PutObject", ended=True)
        appending = asyncio.create_task(append())
        await world.emulator.requests.wait_for("GetObject", ended=True)
        is_gone.set()
        with pytest.raises(ConnectionError):
            await committing
    with pytest.raises(StorageError) as caught:
        await appending
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.keys() == []


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_who_is_gone_before_its_turn_has_come_sends_nothing(
    world: World, is_cancelled: bool
) -> None:
    async def doubt_or_hang() -> None:
        if is_cancelled:
            await asyncio.Event().wait()
        raise ConnectionError

    async def second() -> None:
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(b"second")
            await writer.commit(doubt_or_hang)

    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="PutObject", hold=hold))
    first = asyncio.create_task(world.store("/f", b"first"))
    await world.emulator.requests.wait_for("PutObject")
    waiting = asyncio.create_task(second())
    if is_cancelled:
        for _ in range(100):  # for it to wait for its turn
            await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError if is_cancelled else ConnectionError):
        await waiting
    hold.set()
    await first
    assert world.emulator.requests.count("PutObject") == 1
    assert await world.load("/f") == b"first"


async def test_a_source_stored_anew_during_its_rename_stays(world: World) -> None:
    await world.store("/a", b"first")
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="CopyObject", hold=hold, after_commit=True))
    pending = await world.fs.prepare_rename(path("/a"))
    move = asyncio.create_task(pending.to(path("/b")))
    await world.emulator.requests.wait_for("CopyObject")
    await world.appears("b")
    await world.store("/a", b"second")
    hold.set()
    with pytest.raises(StorageError) as caught:
        await move
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.load("/a") == b"second"
    assert await world.load("/b") == b"first"


@pytest.mark.parametrize("by_whom", ["this gateway", "another"])
async def test_a_file_stored_anew_during_the_rename_of_its_directory_stays(
    world: World, by_whom: str
) -> None:
    await world.store("/d/a", b"first")
    await world.store("/d/b", b"b")
    hold = asyncio.Event()
    world.emulator.faults.add(
        Fault(operation="CopyObject", key=lambda key: key == "e/b", hold=hold)
    )
    move = asyncio.create_task(rename(world.fs, "/d", "/e"))
    await world.appears("e/a")
    if by_whom == "this gateway":
        await world.store("/d/a", b"second")
    else:
        await world.client.put_object("d/a", b"second")
    hold.set()
    with pytest.raises(StorageError):
        await move
    assert await world.load("/d/a") == b"second"
    assert await world.keys() == ["d/a", "e/a", "e/b"]


async def test_a_file_that_appears_at_the_target_of_a_directory_rename_stays(
    world: World,
) -> None:
    await world.store("/d/a", b"source")
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="CopyObject", hold=hold))
    move = asyncio.create_task(rename(world.fs, "/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject")
    await world.store("/e/a", b"somebody else's")
    hold.set()
    with pytest.raises(StorageError) as caught:
        await move
    assert caught.value.kind is ErrorKind.EXISTS
    assert await world.load("/d/a") == b"source"
    assert await world.load("/e/a") == b"somebody else's"


async def test_the_undo_of_a_directory_rename_takes_only_its_own_copies(world: World) -> None:
    for name in ("a", "z"):
        await world.store(f"/d/{name}", name.encode())
    hold = asyncio.Event()
    world.emulator.faults.add(
        Fault(
            operation="CopyObject",
            key=lambda key: key == "e/z",
            hold=hold,
            status=403,
            code="AccessDenied",
        )
    )
    move = asyncio.create_task(rename(world.fs, "/d", "/e"))
    await world.appears("e/a")
    await world.store("/e/a", b"somebody else's")
    hold.set()
    with pytest.raises(StorageError):
        await move
    assert await world.keys() == ["d/a", "d/z", "e/a"]
    assert await world.load("/e/a") == b"somebody else's"


async def test_a_missing_crc_is_made_up_for_by_the_size(world: World) -> None:
    world.emulator.faults.add(Fault(operation="PutObject", crc="missing"))
    world.emulator.faults.add(Fault(operation="CompleteMultipartUpload", crc="missing"))
    world.emulator.faults.add(Fault(operation="PutObject", times=1, corrupt_at=1))
    await world.store("/small", b"content")
    assert await world.load("/small") == b"content"
    await world.store("/large", bytes(3 * MIB))
    assert await world.load("/large") == bytes(3 * MIB)


async def test_a_complete_that_has_begun_goes_on_to_its_outcome(world: World) -> None:
    await world.store("/f", OLD)
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="CompleteMultipartUpload", hold=hold))
    upload = asyncio.create_task(world.store("/f", bytes(3 * MIB)))
    await world.emulator.requests.wait_for("CompleteMultipartUpload")
    upload.cancel()
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await world.load("/f") == bytes(3 * MIB)
    assert await world.open_uploads() == 0


async def test_after_a_directory_rename_both_names_tell_the_truth_at_once(world: World) -> None:
    await world.store("/a/f", b"1")
    await world.store("/b/f", b"0")
    await world.fs.delete_file(path("/b/f"))
    await world.fs.remove_directory(path("/b"))
    world.emulator.faults.list_lag_s = 60
    await rename(world.fs, "/a", "/b")
    assert await world.names("/b") == ["f"]
    with pytest.raises(StorageError) as caught:
        await world.names("/a")
    assert caught.value.kind is ErrorKind.NOT_FOUND
    await world.fs.make_directory(path("/a"))


async def test_a_directory_that_another_account_removed_is_gone(world: World) -> None:
    other = CosFileSystem(world.engine, world.cleanups, recent=world.fs._recent)
    await world.fs.make_directory(path("/d"))
    await world.fs.check_directory(path("/d"))
    await other.remove_directory(path("/d"))
    with pytest.raises(StorageError):
        await world.fs.check_directory(path("/d"))
    await world.store("/d", b"now a file")


async def test_a_deep_path_is_not_looked_at_all_at_once(world: World) -> None:
    name = "/".join("d" * 300)
    await world.store(f"/{name}", b"deep")
    assert await world.load(f"/{name}") == b"deep"
    assert max_in_flight(world) <= 20


def max_in_flight(world: World) -> int:
    events = []
    for record in world.emulator.requests:
        if record.ended is not None:
            events += [(record.started, 1), (record.ended, -1)]
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


async def test_a_failed_delete_forgets_nothing(world: World) -> None:
    world.emulator.faults.list_lag_s = 60
    await world.store("/f", b"1")
    world.emulator.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied"))
    with pytest.raises(StorageError):
        await world.fs.delete_file(path("/f"))
    assert await world.names("/") == ["f"]
