"""What survives: the death of the process, a second process, large buckets."""

import asyncio
import hashlib
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from qcloud_cos import CosClientError, CosServiceError

from cos_ftp_server.emulator import Emulator

from .support import BUCKET, RawClient, Sdk, make_config, make_sdk

MIB = 1024**2
TESTS = Path(__file__).parent.parent


@asynccontextmanager
async def store_process(directory: Path) -> AsyncIterator[tuple[Process, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulator.run_emulator", str(directory), cwd=TESTS, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        yield process, int(await process.stdout.readline())
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def content_of(key: str) -> bytes:
    size = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 300_000
    return random.Random(key).randbytes(size)


class Acknowledged(dict[str, str]):
    """What the store has acknowledged: the last content of each key."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = asyncio.Event()

    def add(self, key: str, version: str) -> None:
        self[key] = version
        if len(self) >= 35:
            self.enough.set()


async def put_until_killed(sdk: Sdk, worker: int, acknowledged: Acknowledged) -> None:
    """Write and overwrite objects; note what was acknowledged last for each key."""
    number = 0
    while True:
        number += 1
        key, version = f"{worker}/{number % 7}", f"{worker}/{number}"
        try:
            await sdk("put_object", Key=key, Body=content_of(version))
        except (CosClientError, CosServiceError):
            return
        acknowledged.add(key, version)


async def upload_until_killed(sdk: Sdk, acknowledged: Acknowledged) -> None:
    number = 0
    while True:
        number += 1
        key = f"parts/{number}"
        data = content_of(key)
        try:
            upload = (await sdk("create_multipart_upload", Key=key))["UploadId"]
            part = await sdk("upload_part", Key=key, UploadId=upload, PartNumber=1, Body=data)
            parts = {"Part": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            await sdk("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload=parts)
        except (CosClientError, CosServiceError):
            return
        acknowledged.add(key, key)


async def test_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    acknowledged = Acknowledged()
    async with store_process(tmp_path) as (process, port):
        workers = [
            asyncio.create_task(put_until_killed(make_sdk(port), worker, acknowledged))
            for worker in range(4)
        ]
        workers.append(asyncio.create_task(upload_until_killed(make_sdk(port), acknowledged)))
        await acknowledged.enough.wait()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await asyncio.gather(*workers)

    async with Emulator(make_config(tmp_path)) as restarted:
        names = await restarted.object_names(BUCKET)
        assert set(acknowledged) <= set(names)
        for key in names:
            found = await restarted.object_bytes(BUCKET, key)
            assert found in [content_of(version) for version in possible(key, acknowledged)]
        assert stray_files(tmp_path) == set()


def possible(key: str, acknowledged: Acknowledged) -> list[str]:
    """Return the contents that a key may have: a write under way may have taken place, whole."""
    worker, _, slot = key.partition("/")
    if worker == "parts":
        return [key]
    if key not in acknowledged:
        return [f"{worker}/{int(slot) or 7}"]
    last = int(acknowledged[key].partition("/")[2])
    return [f"{worker}/{last}", f"{worker}/{last + 7}"]


def stray_files(directory: Path) -> set[str]:
    """Return the blobs that no row names; and fail if a row names one that is not there."""
    with sqlite3.connect(directory / "index.sqlite3") as connection:
        named = {str(blob) for (blob,) in connection.execute("SELECT id FROM blobs")}
    connection.close()
    there = {path.name for path in (directory / "blobs").iterdir()}
    assert named <= there
    return there - named


async def test_left_over_blobs_are_swept(tmp_path: Path) -> None:
    async with Emulator(make_config(tmp_path)) as emulator:
        await make_sdk(emulator.port)("put_object", Key="k", Body=b"x" * MIB)
    (tmp_path / "blobs" / "99").write_bytes(b"half an upload")
    (tmp_path / "blobs" / "odd").write_bytes(b"")
    async with Emulator(make_config(tmp_path)) as emulator:
        assert stray_files(tmp_path) == set()
        assert await emulator.object_bytes(BUCKET, "k") == b"x" * MIB


async def test_directory_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    async with Emulator(make_config(tmp_path)):
        with pytest.raises(OSError, match="in use"):
            await Emulator(make_config(tmp_path)).start()
    async with Emulator(make_config(tmp_path)):
        pass


async def test_taken_port_is_an_error_and_frees_the_directory(tmp_path: Path) -> None:
    async with Emulator(make_config(tmp_path / "a")) as first:
        with pytest.raises(OSError, match="Address already in use"):
            await Emulator(make_config(tmp_path / "b", port=first.port)).start()
    async with Emulator(make_config(tmp_path / "b")):
        pass


async def test_flushing_store_works_alike(tmp_path: Path) -> None:
    async with Emulator(make_config(tmp_path, fsync=True)) as emulator:
        sdk = make_sdk(emulator.port)
        source = {"Bucket": BUCKET, "Key": "a", "Region": "ap-guangzhou"}
        for size in (10, MIB):
            await sdk("put_object", Key="a", Body=b"x" * size)
            await sdk("copy_object", Key="b", CopySource=source)
            assert await emulator.object_bytes(BUCKET, "b") == b"x" * size


async def test_reader_keeps_what_it_has_opened(
    emulator: Emulator, sdk: Sdk, tmp_path: Path
) -> None:
    old, new = b"o" * 32 * MIB, b"n" * MIB  # more than sockets take in advance
    await sdk("put_object", Key="k", Body=old)
    response = await sdk("get_object", Key="k")
    await sdk("put_object", Key="k", Body=new)
    assert await asyncio.to_thread(response["Body"].get_raw_stream().read) == old
    assert await sdk.read("k") == new
    await emulator.aclose()
    assert len(list((tmp_path / "store" / "blobs").iterdir())) == 1


async def test_large_bucket_is_listed_in_constant_memory(tmp_path: Path) -> None:
    async with Emulator(make_config(tmp_path)) as emulator:
        await emulator.load(BUCKET, [("model", b"")])
    await asyncio.to_thread(multiply, tmp_path / "index.sqlite3", 199_999)
    async with store_process(tmp_path) as (process, port):
        raw = RawClient(port)
        groups = await raw("GET", params={"delimiter": "/"})
        assert groups.body.count(b"<CommonPrefixes>") == 4
        marker, total = "", 0
        memory: list[int] = []
        while True:
            body = (await raw("GET", params={"marker": marker})).body
            total += body.count(b"<Key>")
            memory.append(resident_bytes(process.pid))
            if b"<NextMarker>" not in body:
                break
            marker = body.partition(b"<NextMarker>")[2].partition(b"<")[0].decode()
    assert total == 200_000
    # The first pages warm SQLite's page cache (2 MB per connection) and the allocator.
    assert memory[-1] - memory[20] < 16 * MIB


def multiply(index: Path, count: int) -> None:
    """Give the bucket so many copies of the object `model`, in four directories."""
    with sqlite3.connect(index) as connection:
        connection.execute(
            "WITH RECURSIVE numbers(n) AS"
            " (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT ?)"
            " INSERT INTO objects SELECT bucket, CAST(printf('%d/%06d', n % 4, n) AS BLOB), size,"
            " etag, modified, storage_class, crc, headers, appendable, small, pieces"
            " FROM numbers, objects WHERE key = CAST('model' AS BLOB)",
            (count,),
        )
    connection.close()


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
