"""When an upload becomes the file, and when it must not."""

import asyncio
from collections.abc import Callable

import pytest

from cos_ftp_server.errors import ErrorKind
from cos_ftp_server.vfs.base import VirtualPath
from tests.doubles.ftp_client import RawClient, reset, until
from tests.doubles.loop_clock import LoopClock
from tests.doubles.memory_fs import (
    FailsInCommitFileSystem,
    FailsInWriteFileSystem,
    HangsInCommitFileSystem,
    HangsInWaitFileSystem,
    MemoryFileSystem,
    TightWindowFileSystem,
)
from tests.server.conftest import Login, Servers

A = VirtualPath("/a")
CONTENT = bytes(range(256)) * 4000


async def begin(client: RawClient, command: str = "STOR a") -> asyncio.StreamWriter:
    """Send half of a file."""
    _, writer = await client.open_data()
    await client.expect(command, 150)
    writer.write(b"half")
    await writer.drain()
    return writer


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "small", "large"])
async def test_receipt(client: RawClient, file_system: MemoryFileSystem, content: bytes) -> None:
    reply = await client.store("a", content)
    assert reply.code == 226
    assert f"{len(content)} bytes, CRC64" in reply.text
    assert file_system.files == {A: content}


async def test_windows_that_must_be_waited_for(log_in: Login) -> None:
    file_system = TightWindowFileSystem()
    async with log_in(file_system) as client:
        assert (await client.store("a", CONTENT[:20_000])).code == 226
        assert file_system.files == {A: CONTENT[:20_000]}
        assert (await client.fetch("RETR a"))[0] == CONTENT[:20_000]


@pytest.mark.parametrize("file_system_type", [MemoryFileSystem, TightWindowFileSystem])
async def test_ascii_is_converted(
    log_in: Login, file_system_type: Callable[[], MemoryFileSystem]
) -> None:
    file_system = file_system_type()
    async with log_in(file_system) as client:
        await client.expect("TYPE A", 200)
        assert (await client.store("a", b"one\r\ntwo\rthree\nfour\r")).code == 226
        assert file_system.files == {A: b"one\ntwo\rthree\nfour\r"}
        assert (await client.fetch("RETR a"))[0] == b"one\r\ntwo\rthree\r\nfour\r"


async def test_reset_data_connection_stores_nothing(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"old")
    reset(await begin(client))
    assert (await client.reply()).code == 426
    assert file_system.files == {A: b"old"}
    assert file_system.open_writers == 0
    assert (await client.store("a", b"new")).code == 226


def _close(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("kill", [reset, _close], ids=["rst", "fin"])
@pytest.mark.parametrize("order", ["control first", "data first"])
async def test_killed_client_stores_nothing(
    serve: Servers,
    file_system: MemoryFileSystem,
    kill: Callable[[asyncio.StreamWriter], None],
    order: str,
) -> None:
    file_system.put("/a", b"old")
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        data = await begin(client)
        sockets = [client.writer, data] if order == "control first" else [data, client.writer]
        for writer in sockets:
            kill(writer)
        await until(lambda: not server.session_count)
    assert file_system.files == {A: b"old"}
    assert file_system.open_writers == 0


async def test_lost_control_connection_aborts_while_data_still_flows(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    await begin(client)
    client.writer.write_eof()
    await until(lambda: not file_system.open_writers)
    assert not file_system.files


async def test_lost_control_connection_aborts_a_commit(log_in: Login) -> None:
    file_system = HangsInCommitFileSystem()
    async with log_in(file_system) as client:
        (await begin(client)).write_eof()
        await file_system.reached.wait()
        client.writer.close()
        await until(lambda: not file_system.open_writers)
    assert not file_system.files


@pytest.mark.parametrize(("announced", "code"), [(4, 226), (3, 226), (5, 426)])
async def test_announced_size_must_be_reached(
    client: RawClient, file_system: MemoryFileSystem, announced: int, code: int
) -> None:
    assert "fewer bytes" in (await client.expect(f"ALLO {announced}", 202)).text
    assert (await client.store("a", b"1234")).code == code
    assert file_system.size_hints == [announced]
    assert bool(file_system.files) is (code == 226)
    assert (await client.store("b", b"12")).code == 226


async def test_a_size_announced_for_text_promises_nothing(client: RawClient) -> None:
    await client.expect("TYPE A", 200)
    assert "fewer bytes" not in (await client.expect("ALLO 5", 202)).text
    assert (await client.store("a", b"1234")).code == 226


async def test_stalled_upload_is_given_up(
    log_in: Login, file_system: MemoryFileSystem, clock: LoopClock
) -> None:
    async with log_in(file_system, data_stall_timeout_seconds=60.0) as client:
        await begin(client)
        await clock.advance(80)
        assert (await client.reply()).code == 426
    assert not file_system.files
    assert file_system.open_writers == 0


async def test_slow_store_is_not_the_clients_stall(log_in: Login, clock: LoopClock) -> None:
    file_system = HangsInCommitFileSystem()
    async with log_in(
        file_system, data_stall_timeout_seconds=60.0, finalise_keepalive_seconds=1000.0
    ) as client:
        (await begin(client)).write_eof()
        await file_system.reached.wait()
        await clock.advance(300)
        file_system.release.set()
        assert (await client.reply()).code == 226


async def test_slow_commit_keeps_the_client_waiting(log_in: Login) -> None:
    file_system = HangsInCommitFileSystem()
    async with log_in(file_system, finalise_keepalive_seconds=0.02) as client:
        (await begin(client)).write_eof()
        for _ in range(3):
            assert (await client.line()).startswith("226-")
        client.send("NOOP")
        assert (await client.line()).startswith("226-")
        file_system.release.set()
        while (line := await client.line()).startswith("226-"):
            pass
        assert line.startswith("226 Transfer complete: 4 bytes")
        assert (await client.reply()).code == 200


async def test_last_bytes_that_wait_for_memory_keep_the_client_waiting(log_in: Login) -> None:
    """In TYPE A they are handed over when the data has ended."""
    file_system = HangsInWaitFileSystem()
    async with log_in(file_system, finalise_keepalive_seconds=0.02) as client:
        await client.expect("TYPE A", 200)
        writer = await begin(client)
        writer.write(b", and the other half")
        writer.write_eof()
        for _ in range(3):
            assert (await client.line()).startswith("226-")
        file_system.release.set()
        while (line := await client.line()).startswith("226-"):
            pass
        assert line.startswith("226 Transfer complete: 24 bytes")


async def test_last_bytes_that_fail_at_once_are_told(log_in: Login) -> None:
    file_system = FailsInWriteFileSystem()
    file_system.release.set()
    async with log_in(file_system) as client:
        await client.expect("TYPE A", 200)
        assert (await client.store("a", bytes(2000))).text == "552 File too large."
        await client.expect("NOOP", 200)


async def test_quick_commit_that_fails_is_told(log_in: Login) -> None:
    file_system = FailsInCommitFileSystem(ErrorKind.TOO_LARGE, temporary=False)
    file_system.release.set()
    async with log_in(file_system) as client:
        reply = await client.store("a", b"x")
        assert reply.code == 552
        assert "secret" not in reply.text
        await client.expect("NOOP", 200)


async def test_late_failure_closes_without_a_last_line(
    log_in: Login, caplog: pytest.LogCaptureFixture
) -> None:
    file_system = FailsInCommitFileSystem()
    async with log_in(file_system, finalise_keepalive_seconds=0.02) as client:
        (await begin(client)).write_eof()
        assert (await client.line()).startswith("226-")
        client.send("NOOP")
        file_system.release.set()
        assert all(line.startswith("226-") for line in await client.lines_until_closed())
    assert "secret-bucket-key" in caplog.text
    assert file_system.open_writers == 0


# lftp, which repeats what fails for now, with half of the file


async def test_lftp_is_told_that_a_failure_is_for_good(log_in: Login) -> None:
    file_system = FailsInCommitFileSystem()  # for now
    file_system.release.set()
    async with log_in(file_system) as client:
        assert (await client.store("a", b"x")).code == 451
        await client.expect("CLNT lftp/4.9.2", 200)
        assert (await client.store("a", b"x")).code == 550


async def test_lftp_is_told_so_of_a_data_connection_that_is_lost(client: RawClient) -> None:
    await client.expect("CLNT lftp/4.9.2", 200)
    reset(await begin(client))
    assert (await client.reply()).code == 550


async def test_lftp_may_not_try_again_what_broke_off_just_now(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    """Having lost the control connection it asks for the size, and sends a part of the file."""
    file_system.put("/a", b"old")
    file_system.interrupted.add(VirtualPath("/a"))
    await client.expect("SIZE a", 213)
    assert (await client.store("a", b"new")).code == 226
    await client.expect("CLNT lftp/4.9.2", 200)
    await client.expect("SIZE b", 550)
    assert (await client.store("a", b"new")).code == 226  # as whoever begins
    await client.expect("SIZE a", 550)  # else it would take that much for sent
    await client.expect("EPSV", 229)
    await client.expect("STOR a", 550)
    await client.expect("PWD", 257)  # another lftp, which has lost nothing
    await client.expect("SIZE a", 213)
    assert (await client.store("a", b"new")).code == 226


async def test_lftp_may_be_trying_again_after_a_failure_in_the_same_session(
    log_in: Login,
) -> None:
    """As after 425, when it has sent something that never came."""
    file_system = FailsInCommitFileSystem()
    file_system.release.set()
    file_system.interrupted.add(VirtualPath("/a"))
    file_system.put("/a", b"old")
    async with log_in(file_system) as client:
        await client.expect("CLNT lftp/4.9.2", 200)
        await client.expect("PWD", 257)
        await client.expect("SIZE a", 213)
        assert (await client.store("a", b"x")).code == 550
        await client.expect("SIZE a", 550)


async def test_lftp_may_go_on_when_it_is_not_known_that_anything_broke_off(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"old")
    await client.expect("CLNT lftp/4.9.2", 200)
    await client.expect("SIZE a", 213)
    assert (await client.store("a", b"new")).code == 226


async def test_lftp_waits_without_the_beginning_of_a_success(log_in: Login) -> None:
    """So that what fails late can be told, and is not taken for a connection that was lost."""
    file_system = FailsInCommitFileSystem()
    async with log_in(file_system, finalise_keepalive_seconds=0.02) as client:
        await client.expect("CLNT lftp/4.9.2", 200)
        (await begin(client)).write_eof()
        for _ in range(3):
            assert (await client.line()).startswith("150 ")
        file_system.release.set()
        while (line := await client.line()).startswith("150 "):
            pass
        assert line.startswith("550 ")
        await client.expect("NOOP", 200)


async def test_abort_of_a_commit_that_has_been_announced_closes(log_in: Login) -> None:
    file_system = HangsInCommitFileSystem()
    async with log_in(file_system, finalise_keepalive_seconds=0.02) as client:
        (await begin(client)).write_eof()
        assert (await client.line()).startswith("226-")
        client.send("ABOR")
        assert all(line.startswith("226-") for line in await client.lines_until_closed())
    assert not file_system.files


@pytest.mark.parametrize("argument", ["", " report"])
async def test_unique_names(
    client: RawClient, file_system: MemoryFileSystem, argument: str
) -> None:
    for _ in range(2):
        _, writer = await client.open_data()
        name = (await client.expect(f"STOU{argument}", 150)).text.removeprefix("150 FILE: ")
        writer.write(b"x")
        writer.write_eof()
        assert f"(unique file name:{name})" in (await client.reply()).text
        assert file_system.files[VirtualPath(f"/{name}")] == b"x"
    assert len(file_system.files) == 2


async def test_refused_before_data(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.add_directory("/d")
    assert (await client.store("d", b"x")).code == 550
    assert (await client.store("x" * 2000, b"x")).code == 553
    await client.expect("REST 3", 350)
    assert (await client.store("a", b"x")).code == 554
    assert (await client.store("a", b"x")).code == 226
