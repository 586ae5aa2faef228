"""Downloads: right bytes or an error, in few requests, with bounded memory."""

import asyncio
from typing import Any

import pytest

from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from tests.vfs.conftest import MIB, World, path, random_bytes

LARGE = 40 * MIB + 123


@pytest.mark.parametrize("size", [0, 1, 100_000, 16 * MIB])
async def test_one_request_for_a_small_file(world: World, size: int) -> None:
    content = random_bytes(size)
    await world.client.put_object("f", content)
    world.emulator.requests.clear()
    assert await world.load("/f") == content
    assert world.emulator.requests.operations() == {"GetObject": 1}


@pytest.mark.parametrize("offset", [0, 1, 7 * MIB, 39 * MIB, LARGE - 1, LARGE])
async def test_a_large_file_from_any_offset(world: World, offset: int) -> None:
    content = random_bytes(LARGE)
    await world.store("/f", content)
    assert await world.load("/f", offset) == content[offset:]


async def test_an_offset_beyond_the_end(world: World) -> None:
    await world.store("/f", b"123")
    with pytest.raises(StorageError) as caught:
        await world.load("/f", 4)
    assert caught.value.kind is ErrorKind.BAD_RANGE
    assert await world.load("/f", 3) == b""


async def test_a_missing_file(world: World) -> None:
    with pytest.raises(StorageError) as caught:
        await world.load("/f")
    assert caught.value.kind is ErrorKind.NOT_FOUND


async def test_a_body_that_breaks_off_again_and_again_is_continued(world: World) -> None:
    content = random_bytes(LARGE)
    await world.store("/f", content)
    fault = Fault(operation="GetObject", probability=0.7, reset_after=2 * MIB)
    rule = world.emulator.faults.add(fault)
    assert await world.load("/f") == content
    assert rule.hits > 1


@pytest.mark.parametrize("size", [1, 1000, 2 * MIB, LARGE])
@pytest.mark.parametrize("fault", [{"corrupt_at": 0}, {"crc": "wrong"}])
async def test_what_is_damaged_on_the_way_is_never_whole(
    world: World, fault: dict[str, Any], size: int
) -> None:
    content = random_bytes(size)
    await world.store("/f", content)
    world.emulator.faults.add(Fault(operation="GetObject", times=1, **fault))
    received = 0

    async def load() -> None:
        nonlocal received
        async with world.fs.open_reader(path("/f")) as reader:
            while chunk := await reader.read():
                received += len(chunk)

    with pytest.raises(StorageError) as caught:
        await load()
    assert caught.value.kind is ErrorKind.DAMAGED
    assert received < size
    if size > 1:
        with pytest.raises(StorageError) as caught:
            await world.load("/f", 1)  # what came before may be what was damaged
        assert caught.value.kind is ErrorKind.DAMAGED
    assert await world.load("/f") == content
    assert await world.load("/f", 1) == content[1:]


async def test_what_was_replaced_amid_a_download_is_not_resumed(world: World) -> None:
    """What came is of the old file: with the end of the new one it may have the right size."""
    old, new = random_bytes(LARGE), random_bytes(LARGE, seed=2)
    await world.store("/f", old)

    async def load() -> None:
        async with world.fs.open_reader(path("/f")) as reader:
            assert await reader.read()
            await world.client.put_object("f", new)
            while await reader.read():
                pass

    with pytest.raises(StorageError) as caught:
        await load()
    assert caught.value.kind is ErrorKind.CHANGED
    with pytest.raises(StorageError) as caught:
        await world.load("/f", 1)
    assert caught.value.kind is ErrorKind.DAMAGED
    assert await world.load("/f") == new
    assert await world.load("/f", 1) == new[1:]


async def test_an_empty_answer_is_no_empty_file(world: World) -> None:
    """By a proxy that has lost the body: the checksum is that of the object."""
    await world.store("/f", b"")
    world.emulator.faults.add(Fault(operation="GetObject", crc="wrong"))
    with pytest.raises(StorageError) as caught:
        await world.load("/f")
    assert caught.value.kind is ErrorKind.DAMAGED


async def test_a_store_that_tells_no_checksum_is_believed(world: World) -> None:
    await world.store("/f", b"content")
    world.emulator.faults.add(Fault(operation="GetObject", crc="missing"))
    assert await world.load("/f") == b"content"


async def test_every_body_may_break_off_if_each_brings_some_bytes(world: World) -> None:
    content = random_bytes(LARGE)
    await world.store("/f", content)
    rule = world.emulator.faults.add(Fault(operation="GetObject", reset_after=MIB))
    assert await world.load("/f") == content
    assert rule.hits > 1


@pytest.mark.parametrize("how", ["replaced", "deleted"])
async def test_an_object_that_changes_meanwhile_never_mixes(world: World, how: str) -> None:
    content = random_bytes(LARGE, seed=1)
    await world.store("/f", content)
    received = bytearray()

    async def read_while_it_changes() -> None:
        async with world.fs.open_reader(path("/f")) as reader:
            received.extend(await reader.read())
            if how == "replaced":
                await world.store("/f", random_bytes(LARGE, seed=2))
            else:
                await world.client.delete_object("f")
            while chunk := await reader.read():
                received.extend(chunk)

    with pytest.raises(StorageError) as caught:
        await read_while_it_changes()
    assert caught.value.kind in (ErrorKind.CHANGED, ErrorKind.NOT_FOUND)
    assert len(received) < LARGE
    assert content.startswith(received)


async def test_a_reader_that_leaves_early_gives_everything_back(world: World) -> None:
    await world.store("/f", random_bytes(LARGE))
    async with world.fs.open_reader(path("/f")) as reader:
        for _ in range(20):
            await reader.read()
    assert world.pool.used == 0


@pytest.mark.parametrize("size", [0, 10, LARGE])
async def test_a_reader_that_was_read_to_its_end_holds_nothing(world: World, size: int) -> None:
    await world.store("/f", random_bytes(size))
    async with world.fs.open_reader(path("/f")) as reader:
        assert not reader.is_closed
        while await reader.read():
            pass
        assert reader.is_closed
        assert world.pool.used == 0


async def test_without_memory_to_spare_it_still_works(world: World) -> None:
    content = random_bytes(LARGE)
    await world.store("/f", content)
    taken = world.pool.try_take(world.pool.total // 2)
    assert taken is not None
    try:
        assert await world.load("/f") == content
    finally:
        world.pool.give_back(taken)


async def test_reading_ahead_uses_several_connections_when_the_store_is_slow(world: World) -> None:
    content = random_bytes(LARGE)
    await world.store("/f", content)
    hold = asyncio.Event()
    rule = world.emulator.faults.add(Fault(operation="GetObject", hold=hold))
    world.emulator.requests.clear()
    load = asyncio.create_task(world.load("/f"))
    await world.emulator.requests.wait_for("GetObject")
    world.emulator.faults.remove(rule)
    hold_others = world.hold("GetObject")
    hold.set()
    async with asyncio.timeout(10):
        await world.emulator.requests.wait_for("GetObject", count=3)
    hold_others.set()
    assert await load == content


async def test_an_archived_object_is_refused_before_any_data(world: World) -> None:
    await world.store("/f", b"x")
    world.emulator.faults.add(Fault(operation="GetObject", status=403, code="InvalidObjectState"))
    with pytest.raises(StorageError) as caught:
        await world.load("/f")
    assert caught.value.kind is ErrorKind.ARCHIVED
