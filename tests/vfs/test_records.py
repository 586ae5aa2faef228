"""Records of uploads under way: there as long as the upload, and in nobody's way."""

import asyncio
import os
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from cos_ftp_server.vfs import records
from cos_ftp_server.vfs.multipart import Unrecorded
from cos_ftp_server.vfs.record_file import read_record
from cos_ftp_server.vfs.records import RecordFiles

ORIGIN = "http://127.0.0.1:1/bucket-1250000000"


def open_files(directory: Path) -> list[str]:
    """What this process holds open below `directory`."""
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    targets = (os.readlink(link) for link in links if os.path.lexists(link))
    return [target for target in targets if target.startswith(str(directory))]


def written(directory: Path) -> list[Path]:
    return [directory / name for name in os.listdir(directory)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "log" / "uploads"


@pytest.fixture
async def files(directory: Path) -> AsyncIterator[RecordFiles]:
    opened = RecordFiles(directory)
    yield opened
    opened.close()
    opened._thread.join()
    assert open_files(directory) == []


async def settled(files: RecordFiles) -> None:
    """Return when all work that was given has been done."""
    await files.names()


async def test_from_begin_to_end(files: RecordFiles, directory: Path) -> None:
    record = await files.of_bucket(ORIGIN).add("key")
    (path,) = written(directory)
    begun = read_record(path)
    assert begun is not None
    assert (begun.origin, begun.key, begun.upload_id) == (ORIGIN, "key", "")
    await record.name("17ab")
    named = read_record(path)
    assert named is not None
    assert named.upload_id == "17ab"
    assert await files.upload_ids() == {"17ab"}
    assert await files.take(path.name) is None
    await record.erase()
    assert written(directory) == []


async def test_what_is_left_can_be_taken_by_anybody(files: RecordFiles, directory: Path) -> None:
    record = await files.of_bucket(ORIGIN).add("key")
    record.leave()
    (name,) = await files.names()
    taken = await files.take(name)
    assert taken is not None
    assert taken.upload is not None
    assert taken.upload.key == "key"
    assert await files.take(name) is None
    taken.leave()
    await record.erase()
    assert written(directory) == []


async def test_nothing_is_listed_where_nothing_was_written(files: RecordFiles) -> None:
    assert await files.names() == []
    assert await files.upload_ids() == set()
    assert await files.take("x.jsonl") is None


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 10])
async def test_a_full_disk_is_told_once_and_stops_nothing(
    files: RecordFiles, directory: Path, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    with full_disk(room):
        for _ in range(3):
            record = await files.of_bucket(ORIGIN).add("key")
            await record.name("17ab")
            await record.erase()
    assert written(directory) == []
    (line,) = caplog.messages
    assert line.startswith(f"{directory} cannot be written, a kill may leave multipart uploads")
    await (await files.of_bucket(ORIGIN).add("key")).erase()
    assert caplog.messages[1:] == [f"{directory} can be written again"]


async def test_a_disk_that_fills_up_before_the_name(
    files: RecordFiles, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = await files.of_bucket(ORIGIN).add("key")
    (path,) = written(directory)
    with full_disk(path.stat().st_size + 4):
        await record.name("17ab")
    begun = read_record(path)
    assert begun is not None
    assert begun.upload_id == ""
    assert len(caplog.messages) == 1
    await record.erase()
    assert written(directory) == []


async def test_a_directory_that_cannot_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "log").touch()
    files = RecordFiles(tmp_path / "log" / "uploads")
    for _ in range(2):
        record = await files.of_bucket(ORIGIN).add("key")
        assert isinstance(record, Unrecorded)
    (line,) = caplog.messages
    assert line.endswith(": Not a directory")
    with pytest.raises(NotADirectoryError):
        await files.names()
    files.close()


@asynccontextmanager
async def frozen(files: RecordFiles) -> AsyncIterator[None]:
    """The disk does not answer within this context."""
    thaw = threading.Event()
    files.begin(thaw.wait)
    try:
        yield
    finally:
        thaw.set()
        await settled(files)


async def test_a_cancelled_wait_leaves_nothing(files: RecordFiles, directory: Path) -> None:
    async with frozen(files):
        adding = asyncio.create_task(files.add(ORIGIN, "key"))
        await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
    assert written(directory) == []
    assert open_files(directory) == []


async def test_a_cancelled_erasure_erases(files: RecordFiles, directory: Path) -> None:
    record = await files.add(ORIGIN, "key")
    async with frozen(files):
        erasing = asyncio.create_task(record.erase())
        await asyncio.sleep(0)
        erasing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await erasing
    assert written(directory) == []


async def test_a_cancelled_take_leaves_the_record(files: RecordFiles) -> None:
    (await files.add(ORIGIN, "key")).leave()
    (name,) = await files.names()
    async with frozen(files):
        taking = asyncio.create_task(files.take(name))
        await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
    taken = await files.take(name)
    assert taken is not None
    await taken.erase()


async def test_a_frozen_disk_holds_up_no_upload(
    files: RecordFiles,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = await files.add(ORIGIN, "held")
    monkeypatch.setattr(records, "_PATIENCE_S", 0.05)
    async with frozen(files):
        assert isinstance(await files.add(ORIGIN, "key"), Unrecorded)
        waited = files._work.qsize()
        for _ in range(100):  # none of which waits, in either sense
            assert isinstance(await files.add(ORIGIN, "key"), Unrecorded)
        assert files._work.qsize() == waited
        await held.name("17ab")
        await held.erase()
        monkeypatch.undo()
    assert written(directory) == []
    (line,) = caplog.messages
    assert line.endswith(": the disk does not answer")


FROZEN_FOR_GOOD = """
import asyncio, sys, threading
from pathlib import Path
from cos_ftp_server.vfs.records import RecordFiles

async def main():
    files = RecordFiles(Path(sys.argv[1]))
    files.begin(threading.Event().wait)
    files.close()

asyncio.run(main())
"""


def test_a_frozen_disk_holds_up_no_end_of_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FROZEN_FOR_GOOD, str(tmp_path)]
    assert subprocess.run(command, timeout=20, check=False).returncode == 0


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_has_gone_meanwhile_does_not_end_the_thread(directory: Path) -> None:
    thaw = threading.Event()

    async def begin() -> RecordFiles:
        opened = RecordFiles(directory)
        opened.begin(thaw.wait)
        adding = asyncio.create_task(opened.add(ORIGIN, "key"))
        await asyncio.sleep(0)
        adding.cancel()
        return opened

    files = asyncio.run(begin())
    thaw.set()
    assert asyncio.run(files.names()) == []
    files.close()
    files._thread.join()
    assert open_files(directory) == []
