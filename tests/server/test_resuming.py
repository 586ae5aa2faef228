"""APPE, REST before STOR, and uploads that are kept although they broke off."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.vfs.base import VirtualPath
from tests.doubles.ftp_client import RawClient, reset, until
from tests.doubles.loop_clock import LoopClock
from tests.doubles.memory_fs import (
    FailsInCommitFileSystem,
    HangsInCommitFileSystem,
    HangsInWaitFileSystem,
    MemoryFileSystem,
)
from tests.server.conftest import Login, Servers

A = VirtualPath("/a")


async def begin(client: RawClient, command: str = "STOR a") -> asyncio.StreamWriter:
    """Send half of a file, and return when the server has it."""
    _, writer = await client.open_data()
    await client.expect(command, 150)
    writer.write(b"half")
    await writer.drain()
    while "4 bytes" not in (await client.command("STAT")).text:
        pass
    return writer


async def test_appe(client: RawClient, file_system: MemoryFileSystem) -> None:
    assert (await client.store("a", b"one", verb="APPE")).code == 226
    reply = await client.store("a", b"two", verb="APPE")
    assert reply.code == 226
    assert "6 bytes, CRC64" in reply.text
    assert file_system.files == {A: b"onetwo"}


@pytest.mark.parametrize(("offset", "result"), [(0, b"XY"), (2, b"01XY"), (5, b"01234XY")])
async def test_rest_and_stor(
    client: RawClient, file_system: MemoryFileSystem, offset: int, result: bytes
) -> None:
    file_system.put("/a", b"01234")
    await client.expect(f"REST {offset}", 350)
    assert (await client.store("a", b"XY")).code == 226
    assert file_system.files == {A: result}


async def test_the_size_of_an_old_file_is_not_that_of_what_was_sent_last(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    """Not 550, which curl takes for a missing file when it downloads."""
    file_system.put("/a", b"01234")
    file_system.broken_off = {A, VirtualPath("/absent")}
    await client.expect("SIZE a", 554)
    await client.expect("SIZE absent", 550)


async def test_who_only_reads_is_told_the_size_of_what_is_there(
    log_in: Login, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"01234")
    file_system.broken_off = file_system.interrupted = {A}
    async with log_in(file_system, Permission.READ) as client:
        for name in ("curl", "lftp/4.9.2"):
            await client.expect(f"CLNT {name}", 200)
            assert (await client.expect("SIZE a", 213)).text == "213 5"


async def test_rest_beyond_the_end(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"01234")
    for name in ("a", "absent"):
        await client.expect("REST 6", 350)
        reply = await client.store(name, b"XY")
        assert (reply.code, reply.text) == (554, "554 Restart offset beyond the end of the file.")
    assert file_system.files == {A: b"01234"}


async def test_rest_holds_for_one_upload(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"01234")
    await client.expect("REST 2", 350)
    await client.store("a", b"X")
    await client.store("a", b"Y")
    assert file_system.files == {A: b"Y"}


@pytest.mark.parametrize(("verb", "code"), [("APPE", 503), ("STOU", 504)])
async def test_rest_means_nothing_to_others(
    client: RawClient, file_system: MemoryFileSystem, verb: str, code: int
) -> None:
    file_system.put("/a", b"01234")
    await client.expect("REST 2", 350)
    assert (await client.store("a", b"X", verb)).code == code
    assert file_system.files == {A: b"01234"}


@pytest.mark.parametrize(("announced", "code"), [(2, 226), (7, 226), (3, 426), (6, 426)])
async def test_who_resumes_may_announce_the_rest_or_the_whole(
    client: RawClient, file_system: MemoryFileSystem, announced: int, code: int
) -> None:
    file_system.put("/a", b"01234")
    await client.expect(f"ALLO {announced}", 202)
    assert (await client.store("a", b"XY", verb="APPE")).code == code
    assert file_system.files == {A: b"01234XY" if code == 226 else b"01234"}


async def test_a_broken_append_changes_nothing(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"01234")
    reset(await begin(client, "APPE a"))
    assert (await client.reply()).code == 426
    assert file_system.files == {A: b"01234"}


# interrupted_upload = keep


@pytest.mark.parametrize("type_code", ["I", "A"])
async def test_a_reset_upload_is_kept(
    log_in: Login, file_system: MemoryFileSystem, type_code: str
) -> None:
    file_system.put("/a", b"an older file")
    async with log_in(file_system, keep_interrupted=True) as client:
        await client.expect(f"TYPE {type_code}", 200)
        reset(await begin(client))
        reply = await client.reply()
        assert reply.code == 426
        assert reply.text.endswith("4 bytes are stored.")
        assert file_system.files == {A: b"half"}
        await client.expect("TYPE I", 200)
        await client.expect("REST 4", 350)
        assert (await client.store("a", b" and half")).code == 226
    assert file_system.files == {A: b"half and half"}


async def test_an_aborted_upload_is_kept(log_in: Login, file_system: MemoryFileSystem) -> None:
    async with log_in(file_system, keep_interrupted=True) as client:
        data = await begin(client)
        reply = await client.command("ABOR")
        assert reply.code == 426
        assert reply.text == "426 Transfer aborted. 4 bytes are stored."
        assert (await client.reply()).code == 226
        data.close()
    assert file_system.files == {A: b"half"}


ASCII_BUFFER = 64 * 1024
LINES = b"two lines\r\nand a CR\r"


@pytest.mark.parametrize("content", [LINES, LINES * ASCII_BUFFER], ids=["whole", "part"])
async def test_an_upload_in_type_a_that_is_aborted_while_it_waits_is_kept_without_a_hole(
    log_in: Login, content: bytes
) -> None:
    """The client may have sent the end of its data by then, or not yet."""
    file_system = HangsInWaitFileSystem()
    async with log_in(file_system, keep_interrupted=True) as client:
        await client.expect("TYPE A", 200)
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(content)
        writer.write_eof()
        await file_system.reached.wait()
        file_system.reached.clear()
        client.send("ABOR")
        async with asyncio.timeout(10):
            await file_system.reached.wait()  # for what is to be kept
        file_system.release.set()
        reply = await client.reply()
        assert (await client.reply()).code == 226
    kept = content[:ASCII_BUFFER].replace(b"\r\n", b"\n")
    assert reply.text == f"426 Transfer aborted. {len(kept)} bytes are stored."
    assert file_system.files == {A: kept}


async def test_a_stalled_upload_is_kept(
    log_in: Login, file_system: MemoryFileSystem, clock: LoopClock
) -> None:
    async with log_in(
        file_system, keep_interrupted=True, data_stall_timeout_seconds=60.0
    ) as client:
        await begin(client)
        await clock.advance(80)
        assert (await client.reply()).code == 426
    assert file_system.files == {A: b"half"}


async def test_a_short_upload_is_kept(log_in: Login, file_system: MemoryFileSystem) -> None:
    async with log_in(file_system, keep_interrupted=True) as client:
        await client.expect("ALLO 5", 202)
        reply = await client.store("a", b"half")
        assert reply.code == 426
        assert reply.text.endswith("4 bytes are stored.")
    assert file_system.files == {A: b"half"}


@pytest.mark.parametrize("kill", [reset, asyncio.StreamWriter.close], ids=["rst", "fin"])
@pytest.mark.parametrize("order", ["control first", "data first"])
async def test_what_a_killed_client_sent_is_kept(
    serve: Servers,
    file_system: MemoryFileSystem,
    kill: Callable[[asyncio.StreamWriter], None],
    order: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the log says that it was interrupted, as nobody hears of it."""
    caplog.set_level(logging.INFO)
    server = await serve(file_system, keep_interrupted=True)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        data = await begin(client)
        sockets = [client.writer, data] if order == "control first" else [data, client.writer]
        for writer in sockets:
            kill(writer)
        await until(lambda: not server.session_count)
    assert file_system.files == {A: b"half"}
    assert file_system.open_writers == 0
    assert "outcome=426" in caplog.text
    assert "4 bytes are stored" in caplog.text


async def test_a_client_that_was_killed_before_its_first_byte_replaces_nothing(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"old")
    server = await serve(file_system, keep_interrupted=True)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        _, data = await client.open_data()
        await client.expect("STOR a", 150)
        data.close()
        client.writer.close()
        await until(lambda: not server.session_count)
    assert file_system.files == {A: b"old"}


async def test_what_a_client_that_hangs_up_sent_is_kept_while_the_store_takes_its_time(
    serve: Servers,
) -> None:
    """The client resets the data connection, sends ABOR, and is gone: all at once, as some do."""
    file_system = HangsInCommitFileSystem()
    server = await serve(file_system, keep_interrupted=True)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        reset(await begin(client))
        await file_system.reached.wait()
        client.send("ABOR")
        client.writer.close()
        file_system.release.set()
        await until(lambda: not server.session_count)
    assert file_system.files == {A: b"half"}


async def test_what_ended_cleanly_is_kept_when_the_client_is_gone_before_the_reply(
    serve: Servers,
) -> None:
    file_system = HangsInCommitFileSystem()
    server = await serve(file_system, keep_interrupted=True)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        (await begin(client)).close()
        await file_system.reached.wait()
        client.writer.close()
        for _ in range(100):  # the server notices
            await asyncio.sleep(0)
        file_system.release.set()
        await until(lambda: not server.session_count)
    assert file_system.files == {A: b"half"}


async def test_nothing_received_is_not_kept(log_in: Login, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"old")
    async with log_in(file_system, keep_interrupted=True) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        reset(writer)
        reply = await client.reply()
        assert (reply.code, reply.text) == (426, "426 Data connection lost, transfer aborted.")
    assert file_system.files == {A: b"old"}


async def test_a_failure_to_keep_is_told(log_in: Login) -> None:
    file_system = FailsInCommitFileSystem()
    file_system.release.set()
    async with log_in(file_system, keep_interrupted=True) as client:
        reset(await begin(client))
        assert (await client.reply()).code == 451
    assert not file_system.files


async def test_a_server_that_stops_keeps_nothing(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    server = await serve(file_system, keep_interrupted=True, shutdown_grace_seconds=0)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        await begin(client)
        await server.drain()
        await server.aclose()
    assert not file_system.files
