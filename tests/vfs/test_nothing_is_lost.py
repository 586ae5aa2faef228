"""Files that others have stored, or that were there before, survive what happens beside them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from cos_ftp_server.cos.types import ObjectOptions, Stored
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs import publishing, recent
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.names import Names
from cos_ftp_server.vfs.recent import LIFETIME_S
from tests.vfs.conftest import MIB, Clock, World, believe_no_look, path

OLD = b"the old content"


async def doubt() -> None:
    raise ConnectionError


async def broken_off(fs: CosFileSystem, name: str, content: bytes) -> None:
    """Send a file, and turn out to be gone at its end."""
    async with fs.open_writer(path(name)) as writer:
        await writer.write(content)
        with pytest.raises(ConnectionError):
            await writer.commit(doubt)


@contextmanager
def forgetful(world: World) -> Iterator[None]:
    """Let the store ignore that it must replace nothing."""
    put = world.client.put_object

    async def replacing(*args: Any, **options: Any) -> Stored:
        return await put(*args, **{**options, "forbid_overwrite": False})

    with patch.object(world.client, "put_object", replacing):
        yield


async def learn_of_names(world: World) -> None:
    """Let the gateway know that behind "a" there is nothing."""
    await world.store("/a", b"first of all")


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
    await learn_of_names(world)
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
    await world.emulator.requests.wait_for("PutObject", "f", ended=True)
    hold = world.hold("HeadObject", after_commit=True)
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
    await learn_of_names(world)  # so that there is a connection as well, which breaks
    rule = world.emulator.faults.add(
        Fault(operation="PutObject", reset=True, after_commit=True, times=1)
    )
    await broken_off(world.fs, "/f", b"half")
    assert rule.hits == 1
    assert await world.keys() == ["a"]


async def test_what_adds_nothing_has_not_broken_off(world: World) -> None:
    await world.store("/f", OLD)
    async with world.fs.open_writer(path("/f"), offset=None) as writer:
        await writer.commit()
    assert not world.fs.is_interrupted(path("/f"))


async def test_a_rename_whose_look_fails_goes_on_to_the_end_of_its_copy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the copy would come later, over what others have stored since."""
    await world.store("/d/a", b"to be renamed")
    await world.store("/d/b", OLD)
    hold = world.hold("CopyObject")

    async def fail(*_: Any, **__: Any) -> bool:
        raise StorageError(ErrorKind.UNAVAILABLE, operation="list objects", temporary=True)

    monkeypatch.setattr(Names, "has_entries", fail)
    renaming = asyncio.create_task(world.rename("/d/a", "/d/b"))
    await world.emulator.requests.wait_for("CopyObject")
    storing = asyncio.create_task(world.another_account().store("/d/b", b"newer"))
    await world.emulator.requests.wait_for("CopyObject")
    assert not renaming.done()
    assert not storing.done()
    hold.set()
    with pytest.raises(StorageError) as caught:
        await renaming
    assert caught.value.aftermath == "Renamed, but the file is still at the old name."
    await storing
    assert await world.load("/d/b") == b"newer"
    assert await world.load("/d/a") == b"to be renamed"


async def test_keys_that_may_not_list_may_rename_and_delete(world: World) -> None:
    for name in ("a", "b"):
        await world.client.put_object(f"d/{name}", b"1")
    world.emulator.faults.add(Fault(operation="ListObjects", status=403, code="AccessDenied"))
    await world.rename("/d/a", "/d/c")
    await world.fs.delete_file(path("/d/b"))
    world.emulator.faults.clear()
    assert await world.keys() == ["d/", "d/c"]


async def test_what_broke_off_before_anything_came_may_have_been_sent(world: World) -> None:
    """What the client sent is lost with its connection."""
    async with world.fs.open_writer(path("/f")):
        pass
    assert world.fs.is_interrupted(path("/f"))


@pytest.mark.parametrize("size", [1000, 3 * MIB])
@pytest.mark.parametrize("old", [None, OLD])
async def test_a_part_that_is_not_wanted_any_more_replaces_nothing(
    world: World, size: int, old: bytes | None
) -> None:
    if old:
        await world.store("/f", old)
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(bytes(size))
        await world.store("/f", b"newer")
        with pytest.raises(StorageError) as caught:
            await writer.commit(is_wanted=lambda: not writer.is_overtaken)
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.load("/f") == b"newer"


@pytest.mark.parametrize("size", [1000, 2 * MIB])
@pytest.mark.parametrize("is_known_free", [True, False])
async def test_what_breaks_off_at_the_end_is_known_to_have_broken_off(
    world: World, *, is_known_free: bool, size: int
) -> None:
    """Also where the new file was stored, and has been taken back: its client may try again."""
    if is_known_free:
        await learn_of_names(world)

    async def be_gone() -> None:
        if is_known_free and size < MIB:
            await world.emulator.requests.wait_for("PutObject", "f", ended=True)
        raise ConnectionError

    async def upload() -> None:
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(bytes(size))
            await writer.commit(be_gone)

    with pytest.raises(ConnectionError):
        await upload()
    assert world.fs.is_interrupted(path("/f"))
    await world.store("/f", b"somebody else's")
    assert world.fs.is_interrupted(path("/f"))  # that client may still try again


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_new_file_is_not_there_before_it_is_confirmed(world: World, is_gone: bool) -> None:
    """Nobody here sees it, moves it or makes a file of it: it may be taken back."""
    await learn_of_names(world)
    is_certain = asyncio.Event()

    async def doubt_late() -> None:
        await is_certain.wait()
        if is_gone:
            raise ConnectionError

    async def upload() -> None:
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(b"half")
            await writer.commit(doubt_late)

    async def append() -> None:
        async with world.fs.open_writer(path("/f"), offset=None) as writer:
            await writer.write(b"behind")
            await writer.commit()

    uploading = asyncio.create_task(upload())
    await world.emulator.requests.wait_for("PutObject", "f", ended=True)
    assert await world.keys() == ["a", "f"]
    assert await world.names("/") == ["a"]
    for question in (
        world.load("/f"),
        world.fs.stat_file(path("/f")),
        world.fs.delete_file(path("/f")),
        world.fs.prepare_rename(path("/f")),
    ):
        with pytest.raises(StorageError) as caught:
            await question
        assert caught.value.kind is ErrorKind.NOT_FOUND
    with pytest.raises(StorageError) as caught:
        await world.fs.make_directory(path("/f"))
    assert caught.value.kind is ErrorKind.EXISTS
    appending = asyncio.create_task(append())
    for _ in range(20):  # turns of the loop, for it to wait for its turn
        await asyncio.sleep(0)
    is_certain.set()
    outcomes = await asyncio.gather(uploading, appending, return_exceptions=True)
    if is_gone:
        assert [type(outcome) for outcome in outcomes] == [ConnectionError, type(None)]
        assert await world.load("/f") == b"behind"
    else:
        assert isinstance(outcomes[1], StorageError)
        assert outcomes[1].kind is ErrorKind.CHANGED
        assert await world.load("/f") == b"half"


class Pending:
    """An upload of b"half" that is stored, and whose client will turn out to be gone."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._is_certain = asyncio.Event()
        self._uploading = asyncio.create_task(self._upload())

    async def is_stored(self) -> None:
        await self._world.emulator.requests.wait_for("PutObject", self._name[1:], ended=True)

    async def take_back(self) -> None:
        self._is_certain.set()
        with pytest.raises(ConnectionError):
            await self._uploading

    async def _upload(self) -> None:
        async with self._world.fs.open_writer(path(self._name)) as writer:
            await writer.write(b"half")
            await writer.commit(self._doubt_late)

    async def _doubt_late(self) -> None:
        await self._is_certain.wait()
        raise ConnectionError


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
async def test_a_question_that_was_asked_before_does_not_find_it_either(
    world: World, operation: str, is_over: bool
) -> None:
    """The answer leaves the store when the file is there; it comes before or after that is over."""
    await learn_of_names(world)
    hold = world.hold(operation, times=1)
    question = world.load("/f") if operation == "GetObject" else world.rename("/f", "/g")
    asking = asyncio.create_task(question)
    await world.emulator.requests.wait_for(operation)
    pending = Pending(world, "/f")
    await pending.is_stored()
    hold.set()
    if is_over:
        await pending.take_back()
    with pytest.raises(StorageError) as caught:
        await asking
    assert caught.value.kind is ErrorKind.NOT_FOUND
    if not is_over:
        await pending.take_back()
    assert await world.keys() == ["a"]


async def test_a_directory_outlives_its_last_file_whatever_is_taken_back_beside(
    world: World,
) -> None:
    await world.store("/d/f", b"")
    pending = Pending(world, "/d/new")
    await pending.is_stored()
    await world.fs.delete_file(path("/d/f"))
    await pending.take_back()
    assert await world.keys() == ["d/"]


@pytest.mark.parametrize("operation", ["CopyObject", "HeadObject"])
async def test_in_such_a_bucket_what_is_about_to_be_deleted_is_there(
    world: World, operation: str
) -> None:
    """It counts as deleted while it is copied, or looked at, but that may fail."""
    await learn_of_names(world)
    await world.store("/f", OLD)
    hold = asyncio.Event()
    pending = await world.fs.prepare_rename(path("/f"))
    rule = world.emulator.faults.add(
        Fault(operation=operation, hold=hold, status=403, code="AccessDenied")
    )
    change = (
        pending.to(path("/g")) if operation == "CopyObject" else world.fs.delete_file(path("/f"))
    )
    changing = asyncio.create_task(change)
    count = world.emulator.requests.count(operation)
    await world.emulator.requests.wait_for(operation, count=count + 1)
    with forgetful(world):
        await broken_off(world.fs, "/f", b"half")
    hold.set()
    with pytest.raises(StorageError):
        await changing
    world.emulator.faults.remove(rule)
    assert await world.load("/f") == OLD


async def test_a_new_file_is_taken_back_if_it_stands_in_its_own_way(world: World) -> None:
    """The first try came late, and the second was refused because of it, which nobody could see."""
    await learn_of_names(world)
    faults = world.emulator.faults
    faults.add(Fault(operation="PutObject", reset=True, after_commit=True, times=1))
    faults.add(Fault(operation="HeadObject", status=404, code="NoSuchKey", times=1))
    faults.add(Fault(operation="HeadObject", status=503, times=5))
    await broken_off(world.fs, "/f", b"half")
    assert world.emulator.requests.count("PutObject", "f") == 2
    assert await world.keys() == ["a"]


async def test_a_bucket_that_ignores_what_forbids_to_replace_loses_no_file(world: World) -> None:
    """COS does, in buckets that have ever had versioning."""
    await world.store("/f", OLD)
    with forgetful(world):
        await broken_off(world.another_file_system(), "/f", b"half")
    assert await world.load("/f") == OLD


async def test_in_such_a_bucket_who_waits_for_a_turn_replaces_no_file_either(world: World) -> None:
    """It was free when this one was sent, and is not when its turn comes."""
    await learn_of_names(world)
    is_certain = asyncio.Event()

    async def first() -> None:
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(b"first")
            await writer.commit(confirm_late)

    async def confirm_late() -> None:
        await is_certain.wait()

    async def doubt_late() -> None:
        await storing
        raise ConnectionError

    with forgetful(world):
        storing = asyncio.create_task(first())
        await world.emulator.requests.wait_for("PutObject", "f", ended=True)
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(b"half")
            breaking_off = asyncio.create_task(writer.commit(doubt_late))
            await asyncio.sleep(0)  # it waits for its turn
            is_certain.set()
            with pytest.raises(ConnectionError):
                await breaking_off
    assert await world.load("/f") == b"first"


async def test_in_such_a_bucket_another_servers_file_that_comes_before_the_turn_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look that is renewed in the turn finds it; nothing is sent, hence nothing taken back."""
    await learn_of_names(world)
    has_turn = asyncio.Event()
    take = world.state.turns.take

    async def take_late(key: str) -> None:
        await world.client.put_object("f", b"somebody else's")
        believe_no_look(monkeypatch)
        await take(key)
        has_turn.set()

    async def doubt_late() -> None:
        await has_turn.wait()
        raise ConnectionError

    monkeypatch.setattr(world.state.turns, "take", take_late)
    with forgetful(world):
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(b"half")
            with pytest.raises(ConnectionError):
                await writer.commit(doubt_late)
    assert world.emulator.requests.count("PutObject", "f") == 1  # somebody else's
    assert await world.load("/f") == b"somebody else's"


async def test_a_whole_file_stays_if_it_is_unclear_whether_it_came(world: World) -> None:
    """A client that was told so may have stored it again, through another gateway."""
    put = Fault(operation="PutObject", reset=True, after_commit=True)
    look = Fault(operation="HeadObject", status=503)
    rules = [world.emulator.faults.add(fault) for fault in (put, look)]
    with pytest.raises(StorageError):
        await world.store("/f", b"whole")
    for rule in rules:
        world.emulator.faults.remove(rule)
    await world.cleanups.aclose(10)
    assert await world.load("/f") == b"whole"


async def test_what_is_broken_off_does_not_stay_though_it_is_unclear_whether_it_came(
    world: World,
) -> None:
    """Whoever closes the data connection, and only then says ABOR, has sent no whole file."""
    put = Fault(operation="PutObject", reset=True, after_commit=True, times=1)
    look = Fault(operation="HeadObject", status=503, times=3)
    world.emulator.faults.add(put)
    world.emulator.faults.add(look)
    hold = world.hold("HeadObject", times=1)
    storing = asyncio.create_task(world.store("/f", b"half"))
    await world.emulator.requests.wait_for("HeadObject", "f")
    assert await world.keys() == ["f"]
    storing.cancel()
    hold.set()
    with pytest.raises(asyncio.CancelledError):
        await storing
    await world.cleanups.aclose(10)
    assert await world.keys() == []


async def test_a_file_that_is_there_is_seen_while_it_is_replaced_blindly(world: World) -> None:
    """By keys that may write but not list: the store has to say that the file is there."""
    await world.store("/f", OLD)
    blind = world.another_file_system()
    world.emulator.faults.add(Fault(operation="ListObjects", status=403, code="AccessDenied"))
    hold = world.hold("PutObject", times=1)
    replacing = asyncio.create_task(replace(world, fs=blind).store("/f", b"new"))
    await world.emulator.requests.wait_for("PutObject", "f", count=2)
    assert (await blind.stat_file(path("/f"))).size == len(OLD)
    hold.set()
    await replacing
    assert await world.load("/f") == b"new"


@pytest.mark.parametrize("operation", ["HeadObject", "DeleteObject"])
async def test_a_new_file_is_taken_back_even_if_the_store_is_away_for_a_while(
    world: World, operation: str
) -> None:
    await learn_of_names(world)
    rule = world.emulator.faults.add(Fault(operation=operation, status=503, times=7))
    await broken_off(world.fs, "/f", b"half")
    assert rule.hits == 7
    assert await world.keys() == ["a"]


async def test_a_file_that_is_replaced_late_comes_before_what_is_stored_next(world: World) -> None:
    """The client of the first one goes while the store takes its time."""
    await world.store("/f", OLD)
    hold = world.hold("PutObject", times=1)
    first = asyncio.create_task(world.store("/f", b"first"))
    await world.emulator.requests.wait_for("PutObject", "f", count=2)
    first.cancel()
    second = asyncio.create_task(world.store("/f", b"second"))
    for _ in range(20):  # turns of the loop, for it to overtake the first
        await asyncio.sleep(0)
    hold.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert await world.load("/f") == b"second"


async def test_a_put_that_takes_too_long_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be carried out when nobody waits for it any more."""
    monkeypatch.setattr(publishing, "_PUT_PATIENCE_S", 0.05)
    await world.store("/f", OLD)
    hold = world.hold("PutObject")
    storing = asyncio.create_task(world.store("/f", b"new"))
    await world.emulator.requests.wait_for("PutObject", "f", count=2)
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert "'f' may be stored although its upload was broken off" in caplog.messages
    hold.set()


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

    hold = world.hold("PutObject")
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
    hold = world.hold("CopyObject", after_commit=True)
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


def after_long(_: BucketState, clock: Clock) -> None:
    clock.now += LIFETIME_S


def after_much(state: BucketState, _: Clock) -> None:
    with patch.object(recent, "_MOST", 5):
        for number in range(10):
            state.deleted(f"somewhere else/{number}")


FORGETTING = pytest.mark.parametrize("forget", [after_long, after_much])


@FORGETTING
async def test_a_source_stored_anew_during_its_rename_stays_even_if_that_is_forgotten(
    world: World, forget: Callable[[BucketState, Clock], None]
) -> None:
    """The look whether its directory survives takes so long."""
    clock = Clock()
    mine = world.with_memory(BucketState(clock))
    await mine.store("/d/a", b"first")
    world.emulator.requests.clear()
    hold = world.hold("ListObjects")
    pending = await mine.fs.prepare_rename(path("/d/a"))
    move = asyncio.create_task(pending.to(path("/d/b")))
    await world.emulator.requests.wait_for("ListObjects")
    await mine.store("/d/a", b"second")
    forget(mine.state, clock)
    assert mine.state.find("d/a") is None
    hold.set()
    with pytest.raises(StorageError) as caught:
        await move
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.load("/d/a") == b"second"


@FORGETTING
async def test_a_file_stored_anew_stays_even_if_that_is_forgotten_before_its_directory_goes(
    world: World, forget: Callable[[BucketState, Clock], None]
) -> None:
    """It was looked at already; the look at another one takes so long."""
    clock = Clock()
    mine = world.with_memory(BucketState(clock))
    for name in ("a", "b"):
        await world.client.put_object(f"d/{name}", name.encode())
    hold = world.hold("HeadObject", "d/b")
    move = asyncio.create_task(mine.rename("/d", "/e"))
    await world.emulator.requests.wait_for("HeadObject", "d/a", ended=True)
    await mine.store("/d/a", b"second")
    forget(mine.state, clock)
    assert mine.state.find("d/a") is None
    hold.set()
    with pytest.raises(StorageError) as caught:
        await move
    assert caught.value.kind is ErrorKind.CHANGED
    assert await world.keys() == ["d/a", "e/a", "e/b"]
    assert await world.load("/d/a") == b"second"
    assert await world.load("/e/a") == b"a"


@pytest.mark.parametrize("by_whom", ["this gateway", "another"])
async def test_a_file_stored_anew_during_the_rename_of_its_directory_stays(
    world: World, by_whom: str
) -> None:
    await world.store("/d/a", b"first")
    await world.store("/d/b", b"b")
    hold = world.hold("CopyObject", "e/b")
    move = asyncio.create_task(world.rename("/d", "/e"))
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
    hold = world.hold("CopyObject")
    move = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject")
    await world.client.put_object("e/a", b"somebody else's")
    hold.set()
    with pytest.raises(StorageError) as caught:
        await move
    assert caught.value.kind is ErrorKind.EXISTS
    assert await world.load("/d/a") == b"source"
    assert await world.load("/e/a") == b"somebody else's"


async def test_who_stores_at_the_target_of_a_directory_rename_waits_for_the_copy(
    world: World,
) -> None:
    await world.store("/d/a", b"source")
    hold = world.hold("CopyObject")
    move = asyncio.create_task(world.rename("/d", "/e"))
    await world.emulator.requests.wait_for("CopyObject")
    upload = asyncio.create_task(world.store("/e/a", b"stored later"))
    hold.set()
    with suppress(StorageError):  # by the end of the move, the file may be another one
        await move
    await upload
    assert await world.load("/e/a") == b"stored later"


async def test_who_stores_at_the_target_of_a_directory_rename_waits_for_the_copy_to_be_encrypted(
    world: World,
) -> None:
    encrypted = ObjectOptions(server_side_encryption="AES256")
    await world.client.put_object("d/a", b"source", options=encrypted)
    await world.store("/d/b", b"")
    copying = world.hold("CopyObject", "e/b")
    move = asyncio.create_task(world.rename("/d", "/e"))
    await world.appears("e/a")
    await world.client.delete_object("e/a")
    await world.client.put_object("e/a", b"source")  # COS's own copy would not be encrypted
    encrypting = world.hold("CopyObject", "e/a")
    copying.set()
    await world.emulator.requests.wait_for("CopyObject", "e/a", count=2)
    upload = asyncio.create_task(world.store("/e/a", b"stored later"))
    await asyncio.wait((upload,), timeout=0.2)  # in which it would be stored if it did not wait
    encrypting.set()
    await move
    await upload
    assert await world.load("/e/a") == b"stored later"


async def test_the_undo_of_a_directory_rename_takes_only_its_own_copies(world: World) -> None:
    for name in ("a", "z"):
        await world.store(f"/d/{name}", name.encode())
    hold = world.hold("CopyObject", "e/z", status=403, code="AccessDenied")
    move = asyncio.create_task(world.rename("/d", "/e"))
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
    hold = world.hold("CompleteMultipartUpload")
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
    await world.rename("/a", "/b")
    assert await world.names("/b") == ["f"]
    with pytest.raises(StorageError) as caught:
        await world.names("/a")
    assert caught.value.kind is ErrorKind.NOT_FOUND
    await world.fs.make_directory(path("/a"))


async def test_a_directory_that_another_account_removed_is_gone(world: World) -> None:
    other = CosFileSystem(world.engine, world.cleanups, state=world.state)
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


async def test_a_path_may_be_as_deep_as_a_key_is_long(world: World) -> None:
    directory = "/" + "a/" * 424
    await world.store(f"{directory}x", b"deep")
    assert await world.load(f"{directory}x") == b"deep"
    await world.rename(f"{directory}x", f"{directory}y")
    assert await world.names(directory) == ["y"]


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
