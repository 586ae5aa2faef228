"""Files that begin with what is there already: resumed and appended uploads."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.cos.types import ObjectMeta, ObjectOptions
from cos_ftp_server.crc64 import crc64
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import Receipt
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.resume import Beginning
from tests.vfs.conftest import MAX_FILE, MIB, World, path, random_bytes

END = None


async def resume(world: World, content: bytes, offset: int | None, name: str = "/f") -> Receipt:
    async with world.fs.open_writer(path(name), offset=offset) as writer:
        await writer.write(content)
        assert writer.received == len(content)
        return await writer.commit()


@pytest.mark.parametrize("old", [0, 10, MIB - 1, MIB, 3 * MIB + 5])
@pytest.mark.parametrize("new", [1, 2 * MIB + 7])
async def test_appending(world: World, old: int, new: int) -> None:
    before, behind = random_bytes(old), random_bytes(new, seed=2)
    await world.store("/f", before)
    receipt = await resume(world, behind, END)
    assert await world.load("/f") == before + behind
    assert receipt == Receipt(old + new, crc64(before + behind))


@pytest.mark.parametrize("offset", [1, MIB - 1, MIB, 2 * MIB + 1, 3 * MIB])
@pytest.mark.parametrize("new", [0, 5, 2 * MIB])
async def test_resuming_keeps_what_is_before_and_nothing_else(
    world: World, offset: int, new: int
) -> None:
    old, rest = random_bytes(3 * MIB), random_bytes(new, seed=2)
    await world.store("/f", old)
    receipt = await resume(world, rest, offset)
    assert await world.load("/f") == old[:offset] + rest
    assert receipt == Receipt(offset + new, crc64(old[:offset] + rest))


async def test_only_what_is_new_passes_through(world: World) -> None:
    await world.store("/f", random_bytes(40 * MIB))
    world.emulator.requests.clear()
    await resume(world, random_bytes(MIB), END)
    assert world.emulator.requests.operations() == {
        "HeadObject": 2,  # what it is, and whether it is still the same
        "InitiateMultipartUpload": 1,
        "UploadPartCopy": 1,
        "UploadPart": 1,
        "CompleteMultipartUpload": 1,
    }


async def test_appending_to_no_file_creates_it(world: World) -> None:
    await resume(world, b"first", END)
    assert await world.load("/f") == b"first"


async def test_appending_nothing_changes_nothing(world: World) -> None:
    await world.store("/f", random_bytes(2 * MIB))
    before = await world.client.head_object("f")
    receipt = await resume(world, b"", END)
    assert receipt == Receipt(2 * MIB, before.crc64)
    assert await world.client.head_object("f") == before


@pytest.mark.parametrize(("old", "offset"), [(5, 6), (None, 1)])
async def test_an_offset_beyond_the_end(world: World, old: int | None, offset: int) -> None:
    if old is not None:
        await world.store("/f", bytes(old))
    with pytest.raises(StorageError) as caught:
        await resume(world, b"x", offset)
    assert caught.value.kind is ErrorKind.BAD_RANGE


async def test_what_others_chose_for_the_file_stays(world: World) -> None:
    options = ObjectOptions(
        content_type="text/x-log", storage_class="STANDARD_IA", metadata=(("owner", "erp"),)
    )
    await world.client.put_object("f", random_bytes(MIB), options=options)
    await resume(world, b"more", END)
    assert (await world.client.head_object("f")).options == options


async def test_the_whole_file_may_not_be_too_large(world: World) -> None:
    await world.store("/f", bytes(MAX_FILE - MIB))
    with pytest.raises(StorageError) as caught:
        await resume(world, bytes(MIB + 1), END)
    assert caught.value.kind is ErrorKind.TOO_LARGE
    await resume(world, bytes(MIB), END)
    assert (await world.client.head_object("f")).size == MAX_FILE


@pytest.mark.parametrize("old", [10, 2 * MIB])
@pytest.mark.parametrize("then", ["replaced", "deleted"])
async def test_a_file_that_changes_meanwhile_is_not_lost(world: World, old: int, then: str) -> None:
    await world.store("/f", random_bytes(old))
    async with world.fs.open_writer(path("/f"), offset=END) as writer:
        await writer.write(b"behind")
        if then == "replaced":
            await world.client.put_object("f", b"other")
        else:
            await world.client.delete_object("f")
        with pytest.raises(StorageError) as caught:
            await writer.commit()
    assert caught.value.kind is ErrorKind.CHANGED
    assert caught.value.temporary
    assert await world.keys() == (["f"] if then == "replaced" else [])
    if then == "replaced":
        assert await world.load("/f") == b"other"


@pytest.mark.parametrize("old", [10, 2 * MIB, None])
async def test_of_many_who_append_at_once_each_is_there_or_was_told(
    world: World, old: int | None
) -> None:
    beginning = b"" if old is None else random_bytes(old)
    if old is not None:
        await world.store("/f", beginning)
    lines = [f"line {number:03d}\n".encode() for number in range(20)]
    outcomes = await asyncio.gather(
        *(resume(world, line, END) for line in lines), return_exceptions=True
    )
    content = await world.load("/f")
    assert content.startswith(beginning)
    for line, outcome in zip(lines, outcomes, strict=True):
        assert content.count(line) == isinstance(outcome, Receipt), outcome
    assert any(isinstance(outcome, Receipt) for outcome in outcomes)


@pytest.mark.parametrize(
    ("operation", "old"),
    [
        ("HeadObject", MIB),
        ("GetObject", 10),
        ("InitiateMultipartUpload", MIB),
        ("UploadPartCopy", MIB),
        ("UploadPart", MIB),
        ("CompleteMultipartUpload", MIB),
        ("PutObject", 10),
    ],
)
async def test_a_failing_store_leaves_the_file(world: World, operation: str, old: int) -> None:
    content = random_bytes(old)
    await world.store("/f", content)
    rule = world.emulator.faults.add(Fault(operation=operation, status=503, code="SlowDown"))
    with pytest.raises(StorageError) as caught:
        await resume(world, random_bytes(100 if operation == "PutObject" else 2 * MIB), END)
    assert caught.value.temporary
    world.emulator.faults.remove(rule)
    assert await world.load("/f") == content


@pytest.mark.parametrize(
    ("operation", "old"),
    [
        ("HeadObject", MIB),
        ("GetObject", 10),
        ("UploadPartCopy", MIB),
        ("UploadPart", MIB),
        ("CompleteMultipartUpload", MIB),
        ("PutObject", 10),
    ],
)
async def test_cancelled_while_a_request_hangs(world: World, operation: str, old: int) -> None:
    content = random_bytes(old)
    await world.store("/f", content)
    seen = world.emulator.requests.count(operation)
    rule = world.emulator.faults.add(Fault(operation=operation, hold=asyncio.Event()))
    size = 100 if operation == "PutObject" else 2 * MIB
    upload = asyncio.create_task(resume(world, random_bytes(size), END))
    await world.emulator.requests.wait_for(operation, count=seen + 1)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    world.emulator.faults.remove(rule)
    assert await world.load("/f") == content


@pytest.mark.parametrize("crc", ["", "missing"])
@pytest.mark.parametrize("offset", [1000, END])
async def test_what_is_damaged_on_its_way_through_does_not_become_the_beginning(
    world: World, offset: int | None, crc: str
) -> None:
    content = random_bytes(2000)
    await world.store("/f", content)
    world.emulator.faults.add(Fault(operation="HeadObject", crc=crc))
    world.emulator.faults.add(Fault(operation="GetObject", corrupt_at=3, times=1))
    with pytest.raises(StorageError) as caught:
        await resume(world, b"rest", offset)
    assert (caught.value.kind, caught.value.temporary) == (ErrorKind.INTEGRITY, True)
    assert await world.load("/f") == content


async def test_a_copy_that_differs_does_not_become_the_file(world: World) -> None:
    """The store's own checksum of what it copied is compared with that of the file."""
    await world.store("/f", random_bytes(2 * MIB))
    meta = await world.client.head_object("f")
    wrong = meta._replace(crc64=(meta.crc64 or 0) ^ 1)
    upload_id = await world.client.initiate_multipart("g")
    try:
        with pytest.raises(StorageError) as caught:
            await Beginning(wrong, wrong.size).copy(world.client, "g", upload_id)
    finally:
        await world.client.abort_multipart("g", upload_id)
    assert caught.value.kind is ErrorKind.INTEGRITY


GIB = 1024 * MIB
LARGEST = 48 * 1024 * GIB


@given(
    size=st.integers(MIB, LARGEST),
    first=st.sampled_from([MIB, 8 * MIB, 64 * MIB, 5 * GIB]),
    spare=st.integers(0, LARGEST),
)
def test_ranges(size: int, first: int, spare: int) -> None:
    """They cover the beginning, are parts that COS takes, and leave parts for the largest file."""
    ladder = PartLadder(first=first, max_file=min(size + spare, LARGEST))
    ranges = Beginning(_meta(size), size).ranges()
    assert ranges[0][0] == 0
    assert ranges[-1][1] == size - 1
    assert all(end + 1 == begin for (_, end), (begin, _) in pairwise(ranges))
    assert all(MIB <= end + 1 - begin <= 5 * GIB for begin, end in ranges)
    assert len(ranges) <= ladder.max_parts
    assert ladder.capacity_after(len(ranges)) >= ladder.max_file - size


def _meta(size: int) -> ObjectMeta:
    return ObjectMeta(key="f", size=size, etag='"e"', modified=datetime(2026, 1, 1, tzinfo=UTC))


async def test_of_two_who_append_the_same_to_nothing_one_is_told(world: World) -> None:
    outcomes = await asyncio.gather(
        *(resume(world, b"the same line\n", END) for _ in range(2)), return_exceptions=True
    )
    told = [outcome for outcome in outcomes if isinstance(outcome, StorageError)]
    assert [error.kind for error in told] == [ErrorKind.CHANGED]
    assert await world.load("/f") == b"the same line\n"


async def test_an_upload_that_only_waits_for_its_turn_can_be_broken_off(world: World) -> None:
    await world.store("/f", random_bytes(2 * MIB))
    hold = world.hold("CompleteMultipartUpload")
    world.emulator.requests.clear()
    first = asyncio.create_task(resume(world, b"first", END))
    await world.emulator.requests.wait_for("CompleteMultipartUpload")
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(random_bytes(3 * MIB))
        second = asyncio.create_task(writer.commit())
        await world.emulator.requests.wait_for("UploadPart", count=4, ended=True)
        for _ in range(100):  # as many turns as it needs to get into the queue
            await asyncio.sleep(0)
        assert not writer.is_publishing
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    hold.set()
    await first
    assert (await world.client.head_object("f")).size == 2 * MIB + 5


async def test_what_is_stored_is_known_before_anybody_else_has_a_turn(world: World) -> None:
    """A rename that waits for its turn must see the new file, not delete it."""
    await world.store("/a", b"old")
    hold = world.hold("CompleteMultipartUpload")
    content = random_bytes(3 * MIB)
    upload = asyncio.create_task(world.store("/a", content))
    await world.emulator.requests.wait_for("CompleteMultipartUpload")
    rename = asyncio.create_task(world.rename("/a", "/b"))
    await world.emulator.requests.wait_for("CopyObject", ended=True)
    hold.set()
    await upload
    with pytest.raises(StorageError):
        await rename
    assert await world.load("/a") == content


async def test_a_rename_onto_a_file_that_is_being_appended_to(world: World) -> None:
    """Whoever publishes second sees what the first has done."""
    await world.store("/b", b"old")
    await world.store("/x", b"renamed")
    async with world.fs.open_writer(path("/b"), offset=END) as writer:
        await writer.write(b" and more")
        hold = world.hold("CopyObject")
        rename = asyncio.create_task(world.rename("/x", "/b"))
        await world.emulator.requests.wait_for("CopyObject")
        commit = asyncio.create_task(writer.commit())
        hold.set()
        await rename
        with pytest.raises(StorageError) as caught:
            await commit
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.load("/b") == b"renamed"


async def test_a_source_that_others_replace_during_a_long_copy_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cos_ftp_server.vfs.renaming._LONG_COPY_S", 0.0)
    await world.store("/a", b"old")
    hold = world.hold("CopyObject", after_commit=True)
    rename = asyncio.create_task(world.rename("/a", "/b"))
    await world.appears("b")
    await world.client.put_object("a", b"new, from elsewhere")
    hold.set()
    with pytest.raises(StorageError) as caught:
        await rename
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.load("/a") == b"new, from elsewhere"
    assert await world.load("/b") == b"old"


@pytest.mark.parametrize("offset", [END, 5])
async def test_what_is_continued_is_not_looked_at_again(world: World, offset: int | None) -> None:
    await world.client.put_object("d/f", b"0123456789")
    world.emulator.requests.clear()
    await resume(world, b"new", offset, "/d/f")
    assert world.emulator.requests.count("ListObjects") == 0
    assert world.emulator.requests.count("HeadObject") == 2  # at the beginning and at the end


# After an upload that broke off


async def broken_off(world: World, offset: int | None = 0) -> None:
    async with world.fs.open_writer(path("/f"), offset=offset) as writer:
        await writer.write(b"half of the new")


@pytest.mark.parametrize("offset", [3, 8, END])
async def test_a_replacement_that_broke_off_is_not_resumed_behind_the_old_file(
    world: World, offset: int | None
) -> None:
    await world.store("/f", b"old file")
    await broken_off(world)
    with pytest.raises(StorageError) as caught:
        await resume(world, b"rest", offset)
    assert caught.value.kind is ErrorKind.NOT_RESUMABLE
    assert await world.load("/f") == b"old file"
    await world.store("/f", b"new")
    await resume(world, b" rest", END)
    assert await world.load("/f") == b"new rest"


async def test_what_was_appended_can_be_appended_again(world: World) -> None:
    await world.store("/f", b"old ")
    await broken_off(world, END)
    await resume(world, b"rest", END)
    assert await world.load("/f") == b"old rest"


async def test_a_new_file_that_broke_off_can_be_begun_by_appending(world: World) -> None:
    await broken_off(world)
    await resume(world, b"all", END)
    assert await world.load("/f") == b"all"


async def test_a_file_that_was_renamed_to_the_name_can_be_resumed(world: World) -> None:
    await world.store("/f", b"old")
    await broken_off(world)
    await world.store("/g", b"other ")
    await world.rename("/g", "/f")
    await resume(world, b"rest", END)
    assert await world.load("/f") == b"other rest"


@pytest.mark.parametrize("offset", [3, END])
async def test_nothing_is_resumed_while_the_whole_file_is_sent(
    world: World, offset: int | None
) -> None:
    """That client may have lost its connection, and this one be the same."""
    await world.store("/f", b"old")
    async with world.fs.open_writer(path("/f")):
        with pytest.raises(StorageError) as caught:
            await resume(world, b"rest", offset)
    assert (caught.value.kind, caught.value.temporary) == (ErrorKind.CONFLICT, True)
    with pytest.raises(StorageError) as caught:
        await resume(world, b"rest", offset)  # what its client sent may be lost on the way
    assert caught.value.kind is ErrorKind.NOT_RESUMABLE
    assert await world.load("/f") == b"old"


async def test_an_upload_that_was_overtaken_does_not_count(world: World) -> None:
    async with world.fs.open_writer(path("/f")) as late:
        await late.write(b"half of the first try")
        assert not late.is_overtaken
        await world.store("/f", b"second try")
        assert late.is_overtaken
    await resume(world, b" and more", END)
    assert await world.load("/f") == b"second try and more"
