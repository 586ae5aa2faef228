"""Uploads against the embedded store: what is acknowledged is there, what is not leaves nothing."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from cos_ftp_server.crc64 import crc64
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs import recent
from cos_ftp_server.vfs.base import Confirmation, ObjectWriter
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.parts import PartLadder
from tests.vfs.conftest import MAX_FILE, MIB, World, believe_no_look, path, random_bytes

OLD = b"the old content"


@pytest.mark.parametrize(
    "size", [0, 1, 65_536, MIB - 1, MIB, MIB + 1, 8 * MIB, 8 * MIB + 1, 33 * MIB + 7]
)
async def test_what_goes_in_comes_out(world: World, size: int) -> None:
    content = random_bytes(size)
    receipt = await world.store("/a/f", content)
    assert (receipt.size, receipt.crc64) == (size, crc64(content))
    assert await world.load("/a/f") == content


async def test_a_file_of_one_part_is_a_single_put(world: World) -> None:
    await world.store("/f", random_bytes(MIB - 1))
    assert world.emulator.requests.count("PutObject") == 1
    assert world.emulator.requests.count("InitiateMultipartUpload") == 0


async def test_nothing_is_visible_before_commit(world: World) -> None:
    await world.store("/f", OLD)
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(random_bytes(5 * MIB))
        assert await world.load("/f") == OLD
        await writer.commit()
    assert len(await world.load("/f")) == 5 * MIB


SIZES = pytest.mark.parametrize("size", [10, 20 * MIB])


async def refusal_of_commit(writer: ObjectWriter) -> ErrorKind:
    with pytest.raises(StorageError) as caught:
        await writer.commit()
    return caught.value.kind


@SIZES
async def test_a_directory_made_meanwhile_stays_alone(world: World, size: int) -> None:
    async with world.fs.open_writer(path("/d")) as writer:
        await writer.write(random_bytes(size))
        await world.fs.make_directory(path("/d"))
        assert await refusal_of_commit(writer) is ErrorKind.IS_DIRECTORY
    assert await world.keys() == ["d/"]
    assert await world.open_uploads() == 0


@SIZES
async def test_a_file_that_became_a_directory_is_not_replaced(world: World, size: int) -> None:
    await world.store("/d", OLD)
    async with world.fs.open_writer(path("/d")) as writer:
        await writer.write(random_bytes(size))
        await world.fs.delete_file(path("/d"))
        await world.fs.make_directory(path("/d"))
        assert await refusal_of_commit(writer) is ErrorKind.IS_DIRECTORY
    assert await world.keys() == ["d/"]
    assert await world.open_uploads() == 0


@SIZES
async def test_a_file_is_not_stored_below_another(world: World, size: int) -> None:
    """Which of the two comes too late depends on when the first has looked."""
    async with world.fs.open_writer(path("/f/d/g")) as writer:
        await writer.write(random_bytes(size))
        with suppress(StorageError):
            await world.store("/f", OLD)
        with suppress(StorageError):
            await writer.commit()
    assert await world.keys() in (["f"], ["f/d/g"])
    assert await world.open_uploads() == 0


@SIZES
async def test_a_long_upload_looks_again(
    world: World, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has made a directory of that name since the look at the beginning."""
    believe_no_look(monkeypatch)
    async with world.fs.open_writer(path("/d")) as writer:
        await writer.write(random_bytes(size))
        await world.emulator.requests.wait_for("ListObjects", ended=True)
        await world.put_empty(["d/"])
        assert await refusal_of_commit(writer) is ErrorKind.IS_DIRECTORY
    assert await world.keys() == ["d/"]
    assert await world.open_uploads() == 0


async def test_a_look_that_is_renewed_counts_from_then_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is too old when the file is whole, since so much has happened meanwhile."""
    between = [f"f-{number}" for number in range(10)]  # and "f/", for which another is needed
    for name in ("x", "y", *between):
        await world.client.put_object(name, b"")
    monkeypatch.setattr(recent, "_MOST", 1)
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(b"content")
        await world.emulator.requests.wait_for("ListObjects", count=2, ended=True)
        await world.fs.delete_file(path("/x"))
        await world.fs.delete_file(path("/y"))  # so that the other one is forgotten
        await writer.commit()
    assert world.emulator.requests.count("ListObjects") == 2 * 2


@SIZES
async def test_leaving_without_commit_leaves_nothing(world: World, size: int) -> None:
    await world.store("/f", OLD)
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(random_bytes(size))
    assert await world.load("/f") == OLD
    assert await world.open_uploads() == 0


@pytest.mark.parametrize(
    "operation",
    [
        "ListObjects",
        "PutObject",
        "InitiateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
    ],
)
async def test_cancelled_while_a_request_hangs(world: World, operation: str) -> None:
    """Wherever the store hangs, cancelling leaves the old file and no trace."""
    await world.store("/f", OLD)
    other = replace(world, fs=world.another_file_system())  # which has not looked at the name yet
    size = 10 if operation in ("PutObject", "ListObjects") else 6 * MIB
    hold = asyncio.Event()
    rule = world.emulator.faults.add(Fault(operation=operation, hold=hold))
    seen = world.emulator.requests.count(operation)
    upload = asyncio.create_task(other.store("/f", random_bytes(size)))
    await world.emulator.requests.wait_for(operation, count=seen + 1)
    upload.cancel()
    if operation == "InitiateMultipartUpload":  # its answer is awaited: it names what to abort
        hold.set()
    with pytest.raises(asyncio.CancelledError):
        await upload
    world.emulator.faults.remove(rule)
    if operation != "ListObjects":  # there the file itself had been stored already
        assert await world.load("/f") == OLD


async def test_too_large_a_file_is_refused_and_gone(world: World) -> None:
    with pytest.raises(StorageError) as caught:
        await world.store("/f", bytes(MAX_FILE + 1))
    assert caught.value.kind is ErrorKind.TOO_LARGE
    with pytest.raises(StorageError) as caught:
        async with world.fs.open_writer(path("/f"), size_hint=MAX_FILE + 1):
            pass
    assert caught.value.kind is ErrorKind.TOO_LARGE
    assert await world.keys() == []


@pytest.mark.parametrize("name", ["/d", "/d/f/below"])
@pytest.mark.parametrize("size", [3, 4 * MIB])
async def test_a_name_that_is_taken_otherwise(world: World, name: str, size: int) -> None:
    await world.store("/d/f", OLD)
    other = replace(world, fs=world.another_file_system())
    kind = ErrorKind.IS_DIRECTORY if name == "/d" else ErrorKind.NOT_DIRECTORY
    hold = world.hold("PutObject")
    world.emulator.requests.clear()
    upload = asyncio.create_task(other.store(name, bytes(size)))
    await world.emulator.requests.wait_for("ListObjects", ended=True)
    hold.set()
    with pytest.raises(StorageError) as caught:
        await upload
    assert caught.value.kind is kind
    assert await world.keys() == ["d/f"]


async def test_a_clash_that_other_tools_made_loses_no_file(world: World) -> None:
    """Both "d" and "d/f" are there: "d" may be replaced, and is never deleted."""
    await world.client.put_object("d", OLD)
    await world.client.put_object("d/f", OLD)
    await world.store("/d", b"new")
    assert await world.load("/d") == b"new"


async def test_keys_that_may_not_list_may_still_upload(world: World) -> None:
    world.emulator.faults.add(Fault(operation="ListObjects", status=403, code="AccessDenied"))
    await world.store("/f", b"x")
    world.emulator.faults.clear()
    assert await world.load("/f") == b"x"


@pytest.mark.parametrize("size", [3, 4 * MIB])
async def test_a_look_that_fails_lets_no_file_take_the_name_of_a_directory(
    world: World, size: int
) -> None:
    await world.client.put_object("d/f", OLD)
    world.emulator.faults.add(Fault(operation="ListObjects", status=503, code="SlowDown"))
    with pytest.raises(StorageError) as caught:
        await world.store("/d", bytes(size))
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert caught.value.temporary
    world.emulator.faults.clear()
    assert await world.keys() == ["d/f"]


async def test_a_look_that_fails_for_good_is_told_with_its_cause(world: World) -> None:
    world.emulator.faults.add(Fault(operation="ListObjects", status=404, code="NoSuchBucket"))
    with pytest.raises(StorageError) as caught:
        await world.store("/f", b"1")
    error = caught.value
    assert (error.kind, error.code) == (ErrorKind.NO_BUCKET, "NoSuchBucket")
    assert not error.temporary
    assert error.request_id


async def test_a_look_that_fails_lets_no_rename_take_the_name_of_a_directory(world: World) -> None:
    await world.client.put_object("a", OLD)
    await world.client.put_object("d/f", OLD)
    world.emulator.faults.add(Fault(operation="ListObjects", status=503, code="SlowDown"))
    move = await world.fs.prepare_rename(path("/a"))
    with pytest.raises(StorageError) as caught:
        await move.to(path("/d"))
    assert caught.value.temporary
    world.emulator.faults.clear()
    assert await world.keys() == ["a", "d/f"]


# Confirmation


async def doubt() -> None:
    raise ConnectionError


async def name_is_known(world: World) -> None:
    """Return when the answer to the look at the name has been read."""
    await world.emulator.requests.wait_for("ListObjects", ended=True)
    for _ in range(100):
        await asyncio.sleep(0)


async def refused_commit(world: World, size: int, confirm: Confirmation = doubt) -> None:
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(bytes(size))
        with pytest.raises(ConnectionError):
            await writer.commit(confirm)


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
@pytest.mark.parametrize("old", [None, OLD])
async def test_a_client_that_is_gone_publishes_nothing(
    world: World, size: int, old: bytes | None
) -> None:
    if old is not None:
        await world.store("/f", old)
    await refused_commit(world, size)
    assert await world.keys() == ([] if old is None else ["f"])
    if old is not None:
        assert await world.load("/f") == old


async def test_a_new_object_is_taken_back_when_doubt_comes_late(world: World) -> None:
    """It is stored while the client may still turn out to be gone, and then it is."""
    stored = asyncio.Event()

    async def doubt_later() -> None:
        await stored.wait()
        raise ConnectionError

    async def watch() -> None:
        await world.emulator.requests.wait_for("PutObject", ended=True)
        stored.set()

    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(b"half")
        await name_is_known(world)
        watcher = asyncio.create_task(watch())
        with pytest.raises(ConnectionError):
            await writer.commit(doubt_later)
    await watcher
    assert await world.keys() == []


async def test_what_somebody_else_stored_meanwhile_is_not_taken_back(world: World) -> None:
    async def replaced_and_doubted() -> None:
        await world.emulator.requests.wait_for("PutObject", ended=True)
        await world.client.put_object("f", b"somebody else's")
        raise ConnectionError

    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(b"half")
        await name_is_known(world)
        with pytest.raises(ConnectionError):
            await writer.commit(replaced_and_doubted)
    assert await world.load("/f") == b"somebody else's"


# A server that stops


@pytest.mark.parametrize(
    ("operation", "size", "old"),
    [
        ("PutObject", 10, None),
        ("PutObject", 10, OLD),
        ("CompleteMultipartUpload", 3 * MIB, None),
        ("CompleteMultipartUpload", 3 * MIB, OLD),
    ],
)
async def test_what_is_left_when_waiting_has_an_end_is_told(
    world: World,
    operation: str,
    size: int,
    old: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cleanups = Cleanups()
    fs = CosFileSystem(world.engine, cleanups)
    if old is not None:
        await replace(world, fs=fs).store("/f", old)
    before = asyncio.all_tasks()
    hold = asyncio.Event()
    rule = world.emulator.faults.add(Fault(operation=operation, hold=hold))
    count = world.emulator.requests.count(operation)
    storing = asyncio.create_task(replace(world, fs=fs).store("/f", bytes(size)))
    await world.emulator.requests.wait_for(operation, count=count + 1)
    storing.cancel()
    for _ in range(10):  # turns of the loop, for its clean-up to begin
        await asyncio.sleep(0)
    await cleanups.aclose(0.05)
    await asyncio.wait({storing})
    assert world.pool.used == 0
    assert not {task for task in asyncio.all_tasks() - before if "vfs" in repr(task)}
    assert "'f' may be stored although its upload was broken off" in caplog.messages
    uploads = (await world.client.list_uploads()).uploads
    assert len(uploads) == (operation == "CompleteMultipartUpload")
    for upload in uploads:
        assert f"UploadId={upload.upload_id}: the server was stopped" in caplog.text
        await world.client.abort_multipart(upload.key, upload.upload_id)
    world.emulator.faults.remove(rule)
    hold.set()


# A store that misbehaves


@pytest.mark.parametrize("operation", ["PutObject", "InitiateMultipartUpload", "UploadPart"])
@pytest.mark.parametrize("effect", [{"status": 503, "code": "SlowDown"}, {"reset": True}])
async def test_a_store_that_recovers_is_not_noticed(
    world: World, operation: str, effect: dict[str, object]
) -> None:
    world.emulator.faults.add(Fault(operation=operation, times=2, **effect))  # type: ignore[arg-type]  # test data
    content = random_bytes(100 if operation == "PutObject" else 5 * MIB)
    await world.store("/f", content)
    assert await world.load("/f") == content


@pytest.mark.parametrize(
    "operation", ["PutObject", "InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
)
async def test_a_store_that_does_not_recover(world: World, operation: str) -> None:
    await world.store("/f", OLD)
    world.emulator.faults.add(Fault(operation=operation, status=503, code="ServiceUnavailable"))
    with pytest.raises(StorageError) as caught:
        await world.store("/f", random_bytes(100 if operation == "PutObject" else 5 * MIB))
    assert caught.value.temporary
    world.emulator.faults.clear()
    assert await world.load("/f") == OLD
    assert await world.open_uploads() == 0


async def test_a_part_that_fails_for_good(world: World) -> None:
    world.emulator.faults.add(Fault(operation="UploadPart", status=403, code="AccessDenied"))
    with pytest.raises(StorageError) as caught:
        await world.store("/f", random_bytes(30 * MIB))
    assert caught.value.kind is ErrorKind.DENIED
    assert await world.keys() == []


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart"])
async def test_bits_that_flip_on_the_way_are_sent_again(world: World, operation: str) -> None:
    world.emulator.faults.add(Fault(operation=operation, times=1, corrupt_at=77))
    content = random_bytes(100 if operation == "PutObject" else 3 * MIB)
    await world.store("/f", content)
    assert await world.load("/f") == content


async def test_a_put_that_stays_wrong_does_not_stay(world: World) -> None:
    world.emulator.faults.add(Fault(operation="PutObject", corrupt_at=5))
    with pytest.raises(StorageError) as caught:
        await world.store("/f", random_bytes(100))
    assert caught.value.kind is ErrorKind.INTEGRITY
    assert caught.value.temporary
    assert await world.keys() == []


@SIZES
async def test_what_was_acknowledged_and_cannot_be_found_is_tried_again_later(
    world: World, size: int
) -> None:
    """No fault of the client's name, whatever the store says to it."""
    world.emulator.faults.add(Fault(crc="missing"))
    world.emulator.faults.add(Fault(operation="HeadObject", status=404, code="NoSuchKey"))
    with pytest.raises(StorageError) as caught:
        await world.store("/f", random_bytes(size))
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert caught.value.temporary


@pytest.mark.parametrize(
    ("operation", "size"), [("PutObject", 10), ("CompleteMultipartUpload", 3 * MIB)]
)
async def test_a_wrong_answer_that_a_second_look_settles(
    world: World, operation: str, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    world.emulator.faults.add(Fault(operation=operation, crc="wrong"))
    await world.store("/f", random_bytes(size))
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in told] == ["ERROR", "WARNING"]
    assert told[0][1].startswith("'f': sent CRC64 ")
    assert told[1][1] == "'f': a second look has found the right CRC64, nothing is lost"


async def test_a_store_without_crc_is_accepted(world: World) -> None:
    world.emulator.faults.add(Fault(crc="missing"))
    for size in (10, 3 * MIB):
        content = random_bytes(size)
        await world.store("/f", content)
        assert await world.load("/f") == content


@pytest.mark.parametrize(
    "effect",
    [
        {"status": 500, "code": "InternalError", "after_commit": True},
        {"reset": True, "after_commit": True},
        {"status": 200, "code": "InternalError", "after_commit": True},
        {"truncate_at": 30},
    ],
)
@pytest.mark.parametrize("times", [1, None])
async def test_complete_that_happened_but_did_not_say_so(
    world: World, effect: dict[str, object], times: int | None
) -> None:
    world.emulator.faults.add(Fault(operation="CompleteMultipartUpload", times=times, **effect))  # type: ignore[arg-type]  # test data
    content = random_bytes(5 * MIB)
    await world.store("/f", content)
    assert await world.load("/f") == content


async def test_complete_that_says_error_inside_200_and_means_it(world: World) -> None:
    await world.store("/f", OLD)
    world.emulator.faults.add(
        Fault(operation="CompleteMultipartUpload", status=200, code="InternalError")
    )
    with pytest.raises(StorageError):
        await world.store("/f", random_bytes(5 * MIB))
    assert await world.load("/f") == OLD


async def test_complete_that_drips_white_space(world: World) -> None:
    world.emulator.faults.add(Fault(operation="CompleteMultipartUpload", drip_s=0.3))
    content = random_bytes(5 * MIB)
    await world.store("/f", content)
    assert await world.load("/f") == content


async def test_put_that_happened_but_did_not_say_so(world: World) -> None:
    world.emulator.faults.add(Fault(operation="PutObject", reset=True, after_commit=True))
    await world.store("/f", b"content")
    world.emulator.faults.clear()
    assert await world.load("/f") == b"content"


async def test_an_abort_is_repeated_until_it_has_worked(world: World) -> None:
    world.emulator.faults.add(
        Fault(operation="AbortMultipartUpload", times=4, status=503, code="SlowDown")
    )
    async with world.fs.open_writer(path("/f")) as writer:
        await writer.write(random_bytes(3 * MIB))
    assert await world.open_uploads() == 0


async def test_a_client_that_is_cancelled_twice_still_leaves_nothing(world: World) -> None:
    """The clean-up goes on in the background, and the cleanups' owner waits for it."""
    hold = world.hold("AbortMultipartUpload")

    async def upload() -> None:
        async with world.fs.open_writer(path("/f")) as writer:
            await writer.write(random_bytes(3 * MIB))
            await asyncio.Event().wait()

    task = asyncio.create_task(upload())
    await world.emulator.requests.wait_for("UploadPart", count=2, ended=True)
    task.cancel()
    await world.emulator.requests.wait_for("AbortMultipartUpload")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    await world.cleanups.aclose(10)
    assert await world.open_uploads() == 0


# Memory


async def test_parts_may_be_larger_than_all_memory(world: World) -> None:
    """They are sent before they have that size, in order that it goes on."""
    pool = BufferPool(32 * MIB, smallest_part=MIB)
    ladder = PartLadder(first=512 * MIB, max_file=1024 * MIB)
    engine = replace(world.engine, pool=pool, ladder=ladder)
    other = replace(world, fs=CosFileSystem(engine, world.cleanups))
    content = random_bytes(40 * MIB)
    await other.store("/f", content)
    assert await world.load("/f") == content
    assert pool.used == 0


async def test_no_more_than_two_parts_wait_while_others_have_all_slots(world: World) -> None:
    slots = asyncio.Semaphore(1)
    engine = replace(world.engine, slots=slots)
    other = replace(world, fs=CosFileSystem(engine, world.cleanups))
    content = random_bytes(6 * MIB)
    async with slots:
        upload = asyncio.create_task(other.store("/f", content))
        await world.emulator.requests.wait_for("InitiateMultipartUpload", ended=True)
        for _ in range(100):  # turns enough for more
            await asyncio.sleep(0)
        assert world.pool.used == 2 * MIB
    await upload
    assert await world.load("/f") == content


async def test_a_hundred_uploads_share_a_small_budget(world: World) -> None:
    """300 MiB in flight through 64 MiB, every one arriving whole."""
    contents = {f"/u/{number}": random_bytes(3 * MIB + number, number) for number in range(100)}
    peak = 0

    async def upload(name: str, content: bytes) -> None:
        nonlocal peak
        async with world.fs.open_writer(path(name)) as writer:
            for start in range(0, len(content), 100_000):
                await writer.write(content[start : start + 100_000])
                peak = max(peak, world.pool.used)
                await asyncio.sleep(0)
            await writer.commit()

    await asyncio.gather(*(upload(name, content) for name, content in contents.items()))
    assert peak <= world.pool.total
    for name in ("/u/0", "/u/57", "/u/99"):
        assert await world.load(name) == contents[name]


async def test_an_unexpected_error_in_a_part_ends_the_upload(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as it is, and the client does not go on sending in vain."""

    async def fail(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(world.client, "initiate_multipart", fail)
    sent = 0

    async def send() -> None:
        nonlocal sent
        async with world.fs.open_writer(path("/f")) as writer:
            while sent < MAX_FILE:
                await writer.write(bytes(MIB))
                sent += MIB
                await asyncio.sleep(0)
            await writer.commit()

    with pytest.raises(ZeroDivisionError):
        await send()
    assert sent < 10 * MIB
    assert await world.keys() == []


async def test_what_was_stored_a_moment_ago_is_not_looked_at(world: World) -> None:
    await world.store("/d/f", OLD)
    world.emulator.requests.clear()
    await world.store("/d/f", b"new")
    assert [record.operation for record in world.emulator.requests] == ["PutObject"]
