"""What a store was sent and did not answer, and carries out when others have had their turn."""

import asyncio
from contextlib import suppress

import pytest

from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import StorageError
from cos_ftp_server.vfs import moving, publishing
from cos_ftp_server.vfs.base import Receipt
from tests.doubles.ftp_client import until
from tests.doubles.loop_clock import LoopClock
from tests.vfs.conftest import World, path

LATE_S = 1000.0  # longer than any test takes


@pytest.fixture
def late_s() -> float:
    return LATE_S


class LateRequest:
    """A request whose connection is cut, by either side, and that the store carries out when told.

    Of two `keys`, the first is the object's and the other the request's.
    """

    def __init__(
        self, world: World, operation: str, *keys: str, times: int = 1, is_cut: bool = True
    ) -> None:
        self._requests = world.emulator.requests
        self._turns = world.state.turns
        self._operation = operation
        self._key = keys[0]
        self._hold = world.hold(operation, keys[-1], times=times, late=is_cut)

    @property
    def waiting(self) -> int:
        """How many wait for their turn at the object."""
        turn = vars(self._turns)["_turns"].get(self._key)
        return len(turn.waiting) if turn else 0

    async def comes(self) -> None:
        self._hold.set()
        sent = self._requests.count(self._operation)
        await self._requests.wait_for(self._operation, count=sent, ended=True)

    async def comes_before(self, later: asyncio.Task[Receipt], clock: LoopClock) -> None:
        """Make sure that `later` waits for it, and not for ever."""
        await until(lambda: self.waiting > 0)
        await self.comes()
        assert not later.done()
        await clock.advance(LATE_S)
        await later


async def test_an_upload_does_not_undo_a_later_one(world: World, clock: LoopClock) -> None:
    await world.store("/f", b"first")
    late = LateRequest(world, "PutObject", "f")
    await world.store("/f", b"second")
    await late.comes_before(asyncio.create_task(world.store("/f", b"third")), clock)
    assert await world.load("/f") == b"third"


async def test_an_upload_that_was_given_up_does_not_undo_a_later_one(
    world: World, clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_PUT_PATIENCE_S", 0.0)
    await world.store("/f", b"first")
    late = LateRequest(world, "PutObject", "f", is_cut=False)
    upload = asyncio.create_task(world.store("/f", b"second"))
    await world.emulator.requests.wait_for("PutObject", count=2)
    upload.cancel()
    await asyncio.wait((upload,))
    await late.comes_before(asyncio.create_task(world.store("/f", b"third")), clock)
    assert await world.load("/f") == b"third"


async def test_a_deletion_takes_nothing_that_was_stored_later(
    world: World, clock: LoopClock
) -> None:
    await world.store("/f", b"first")
    late = LateRequest(world, "DeleteObject", "f")
    await world.fs.delete_file(path("/f"))
    await late.comes_before(asyncio.create_task(world.store("/f", b"second")), clock)
    assert await world.load("/f") == b"second"


async def test_what_is_taken_back_is_nothing_that_was_stored_later(
    world: World, clock: LoopClock
) -> None:
    await world.store("/a", b"")
    assert await world.names("/") == ["a"]  # so there is no need to look whether "f" is free
    late = LateRequest(world, "DeleteObject", "f")

    async def refuse() -> None:
        await world.appears("f")
        raise ConnectionResetError

    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(b"first")
        with pytest.raises(ConnectionResetError):
            await writer.commit(refuse)
    await late.comes_before(asyncio.create_task(world.store("/f", b"second")), clock)
    assert await world.load("/f") == b"second"


async def test_a_renamed_file_does_not_undo_a_later_upload(world: World, clock: LoopClock) -> None:
    await world.store("/f", b"first")
    await world.store("/g", b"former")
    late = LateRequest(world, "CopyObject", "g", times=2)  # the first would replace nothing
    await world.rename("/f", "/g")
    await late.comes_before(asyncio.create_task(world.store("/g", b"second")), clock)
    assert await world.load("/g") == b"second"


async def test_the_rename_of_a_directory_takes_nothing_that_was_stored_later(
    world: World, clock: LoopClock
) -> None:
    await world.store("/d/f", b"first")
    late = LateRequest(world, "DeleteMultipleObjects", "d/f", "")
    rename = asyncio.create_task(world.rename("/d", "/e"))
    await until(lambda: late.waiting == 1)
    upload = asyncio.create_task(world.store("/d/f", b"second"))
    await until(lambda: late.waiting == 2)
    await late.comes_before(upload, clock)
    with suppress(StorageError):  # if there was a file at the old name again
        await rename
    assert await world.load("/d/f") == b"second"
    assert await world.load("/e/f") == b"first"


async def test_what_is_stored_while_the_rename_of_a_directory_waits_stays(
    world: World, clock: LoopClock
) -> None:
    for name in ("/d/a", "/d/b"):
        await world.store(name, b"first")
    look, next_look = (world.hold("HeadObject", key, times=1) for key in ("d/a", "d/b"))
    rename = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("HeadObject", "d/a")
    late = LateRequest(world, "PutObject", "d/a")
    world.emulator.faults.add(Fault(operation="PutObject", key="d/a".__eq__, status=403))
    with pytest.raises(StorageError):
        await world.store("/d/a", b"refused")
    looks = world.emulator.requests.count("HeadObject", "d/a")
    look.set()
    await world.emulator.requests.wait_for("HeadObject", "d/a", count=looks, ended=True)
    next_look.set()
    await until(lambda: late.waiting == 1)
    await world.store("/d/b", b"second")
    await clock.advance(LATE_S)
    with pytest.raises(StorageError) as caught:
        await rename
    assert caught.value.aftermath == "Renamed, but 1 file is still at the old name."
    assert await world.load("/d/b") == b"second"
    await late.comes()


async def is_undone(rename: asyncio.Task[None], late: LateRequest, clock: LoopClock) -> None:
    """Let the request come while the rename waits for it, and find that nothing was renamed."""
    await until(lambda: late.waiting == 1)
    await late.comes()
    await clock.advance(LATE_S)
    with pytest.raises(StorageError) as caught:
        await rename
    assert caught.value.aftermath == "Nothing was renamed."


async def test_the_undo_of_a_directory_rename_finds_late_copies(
    world: World, clock: LoopClock
) -> None:
    await world.store("/d/f", b"content")
    late = LateRequest(world, "CopyObject", "e/f")
    world.emulator.faults.add(Fault(operation="CopyObject", status=403, code="AccessDenied"))
    rename = asyncio.create_task(world.rename("/d", "/e"))
    await is_undone(rename, late, clock)
    assert await world.keys() == ["d/f"]


async def test_the_undo_of_a_directory_rename_finds_late_copies_that_were_given_up(
    world: World, clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_SETTLE_S", 0.0)
    for name in ("/d/f", "/d/g"):
        await world.store(name, b"content")
    late = LateRequest(world, "CopyObject", "e/f", is_cut=False)
    refusal = world.hold("CopyObject", "e/g", status=403, code="AccessDenied")
    rename = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject", "e/f")
    refusal.set()
    await is_undone(rename, late, clock)
    assert await world.keys() == ["d/f", "d/g"]


async def test_the_undo_of_a_directory_rename_takes_a_late_marker_away(
    world: World, clock: LoopClock
) -> None:
    await world.store("/d/f", b"content")
    late = LateRequest(world, "PutObject", "e/")
    world.emulator.faults.add(Fault(operation="CopyObject", status=403, code="AccessDenied"))
    rename = asyncio.create_task(world.rename("/d", "/e"))
    await is_undone(rename, late, clock)
    assert await world.keys() == ["d/f"]


async def test_who_waits_may_give_up(world: World, clock: LoopClock) -> None:
    await world.store("/f", b"first")
    late = LateRequest(world, "PutObject", "f")
    await world.store("/f", b"second")
    later = asyncio.create_task(world.store("/f", b"third"))
    await until(lambda: late.waiting == 1)
    await late.comes()
    later.cancel()
    await asyncio.wait((later,))
    assert await world.load("/f") == b"second"
    await clock.advance(LATE_S)
    await world.store("/f", b"fourth")
    assert await world.load("/f") == b"fourth"
