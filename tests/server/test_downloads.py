"""RETR: offsets, sizes, and clients that leave early or do not read."""

import logging

import pytest

from tests.doubles.ftp_client import RawClient, reset, until
from tests.doubles.loop_clock import LoopClock
from tests.doubles.memory_fs import (
    EndsEarlyFileSystem,
    MemoryFileSystem,
    SlowReaderFileSystem,
)
from tests.server.conftest import Login

CONTENT = bytes(range(256)) * 1000


@pytest.mark.parametrize("offset", [0, 1, 255_999, 256_000])
async def test_restart(client: RawClient, file_system: MemoryFileSystem, offset: int) -> None:
    file_system.put("/a", CONTENT)
    await client.expect(f"REST {offset}", 350)
    reader, _ = await client.open_data()
    opening = await client.expect("RETR a", 150)
    assert f"({len(CONTENT) - offset} bytes)" in opening.text
    assert await reader.read() == CONTENT[offset:]
    assert (await client.reply()).code == 226


async def test_restart_beyond_the_end(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"12345")
    await client.expect("REST 6", 350)
    assert (await client.fetch("RETR a"))[1].code == 554


@pytest.mark.parametrize("between", ["NOOP", "TYPE I", "PWD", "SIZE a"])
async def test_stale_restart_is_dropped_but_replaces_no_file(
    client: RawClient, file_system: MemoryFileSystem, between: str
) -> None:
    """A client that counts on it would replace the file by its end."""
    file_system.put("/a", b"12345")
    await client.expect("REST 3", 350)
    await client.command(between)
    assert (await client.fetch("RETR a"))[0] == b"12345"
    await client.expect("REST 3", 350)
    await client.command(between)
    assert (await client.store("a", b"XY")).code == 503
    assert file_system.files == {"/a": b"12345"}
    assert (await client.store("a", b"XY")).code == 226
    assert file_system.files == {"/a": b"XY"}


async def test_restart_counts_bytes_as_they_are_stored(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"12345")
    await client.expect("TYPE A", 200)
    await client.expect("REST 3", 501)
    assert file_system.files == {"/a": b"12345"}


async def test_restart_holds_for_one_transfer(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"12345")
    await client.expect("REST 3", 350)
    assert (await client.fetch("RETR a"))[0] == b"45"
    assert (await client.fetch("RETR a"))[0] == b"12345"


async def test_restart_is_not_lost_to_what_is_sent_ahead(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"12345")
    reader, _ = await client.open_data()
    client.send("REST 3", "RETR a", "NOOP")
    assert await reader.read() == b"45"


async def test_ascii_has_no_offsets_and_tells_no_size(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"1\n2\n")
    await client.expect("TYPE A", 200)
    await client.expect("REST 3", 501)
    await client.expect("REST 0", 350)
    reader, _ = await client.open_data()
    assert "bytes" not in (await client.expect("RETR a", 150)).text
    assert await reader.read() == b"1\r\n2\r\n"


@pytest.mark.parametrize(("path", "code"), [("missing", 550), ("d", 550), ("/", 550)])
async def test_refused_before_data(
    client: RawClient, file_system: MemoryFileSystem, path: str, code: int
) -> None:
    file_system.add_directory("/d")
    assert (await client.fetch(f"RETR {path}"))[1].code == code


async def test_client_that_closes_early_gets_426(
    log_in: Login, caplog: pytest.LogCaptureFixture
) -> None:
    """Which is no cause for a warning: it may have all that it wants."""
    file_system = MemoryFileSystem()
    file_system.put("/a", bytes(64 * 1024 * 1024))
    async with log_in(file_system) as client:
        reader, writer = await client.open_data()
        await client.expect("RETR a", 150)
        await reader.readexactly(1000)
        reset(writer)
        assert (await client.reply()).code == 426
        assert file_system.open_readers == 0
        await client.expect("NOOP", 200)
    assert [line for line in caplog.records if line.levelno > logging.INFO] == []


async def test_client_that_closes_after_everything_was_sent_gets_226(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"small")
    reader, writer = await client.open_data()
    await client.expect("RETR a", 150)
    await reader.readexactly(2)
    writer.close()
    assert (await client.reply()).code == 226


async def test_client_that_does_not_read_is_given_up(
    log_in: Login, caplog: pytest.LogCaptureFixture, clock: LoopClock
) -> None:
    file_system = MemoryFileSystem()
    file_system.put("/a", bytes(64 * 1024 * 1024))
    async with log_in(file_system, data_stall_timeout_seconds=60.0) as client:
        await client.open_data()  # whose stream reads 128 KiB ahead and then stops
        await client.expect("RETR a", 150)
        while file_system.open_readers:
            await clock.advance(1)  # too little to matter as long as anything moves
        assert (await client.reply()).code == 426
    assert "RETR a failed: data connection timed out" in caplog.messages


async def test_slow_store_is_not_the_clients_stall(log_in: Login, clock: LoopClock) -> None:
    file_system = SlowReaderFileSystem()
    file_system.put("/a", CONTENT)
    async with log_in(file_system, data_stall_timeout_seconds=60.0) as client:
        reader, _ = await client.open_data()
        await client.expect("RETR a", 150)
        await reader.readexactly(1)
        await clock.advance(300)
        file_system.release.set()
        assert await reader.read() == CONTENT[1:]
        assert (await client.reply()).code == 226


async def test_killed_client_ends_the_download(log_in: Login) -> None:
    file_system = SlowReaderFileSystem()
    file_system.put("/a", CONTENT)
    async with log_in(file_system) as client:
        reader, _ = await client.open_data()
        await client.expect("RETR a", 150)
        await reader.readexactly(1)
        client.writer.close()
        await until(lambda: not file_system.open_readers)


@pytest.mark.parametrize("offset", [0, len(CONTENT) - 1])
async def test_a_file_of_which_some_is_missing_is_no_success(log_in: Login, offset: int) -> None:
    file_system = EndsEarlyFileSystem()
    file_system.put("/a", CONTENT)
    async with log_in(file_system) as client:
        await client.expect(f"REST {offset}", 350)
        await client.open_data()
        await client.expect("RETR a", 150)
        assert (await client.reply()).code == 451
