"""A rename that takes long: the client is kept waiting, and learns how it ended."""

import asyncio

import pytest

from cos_ftp_server.errors import ErrorKind, StorageError
from tests.doubles.ftp_client import RawClient
from tests.doubles.loop_clock import LoopClock
from tests.doubles.memory_fs import HangsInRenameFileSystem, MemoryFileSystem
from tests.server.conftest import Login, Servers

QUICK = {"finalise_keepalive_seconds": 0.02}


def failure() -> StorageError:
    return StorageError(
        ErrorKind.DENIED, operation="x", key="secret", aftermath="Nothing was renamed."
    )


@pytest.fixture
def slow() -> HangsInRenameFileSystem:
    files = HangsInRenameFileSystem()
    files.put("/d/f", b"content")
    return files


async def begin(client: RawClient) -> None:
    await client.expect("RNFR d", 350)
    client.send("RNTO e")
    assert (await client.line()).startswith("250-")


async def rest_of(client: RawClient) -> str:
    """Return the line that ends a reply which has begun."""
    while (line := await client.line())[3] == "-":
        pass
    return line


async def test_the_client_is_kept_waiting(
    log_in: Login, slow: HangsInRenameFileSystem, clock: LoopClock
) -> None:
    async with log_in(slow, finalise_keepalive_seconds=100.0, idle_timeout_seconds=300.0) as client:
        await client.expect("RNFR d", 350)
        client.send("RNTO e")
        await slow.reached.wait()
        await clock.advance(510)  # for longer than a session may be idle
        for _ in range(5):
            assert await client.line() == "250-Renaming, this takes a while."
        slow.release.set()
        assert await rest_of(client) == "250 Renamed."
        assert list(slow.files) == ["/e/f"]
        await client.expect("NOOP", 200)


async def test_commands_wait_for_the_end(log_in: Login, slow: HangsInRenameFileSystem) -> None:
    async with log_in(slow, **QUICK) as client:
        await begin(client)
        client.send("NOOP", "ABOR", "QUIT")
        assert (await client.line()).startswith("250-")
        slow.release.set()
        assert await rest_of(client) == "250 Renamed."
        assert [(await client.reply()).code for _ in range(3)] == [200, 225, 221]


async def test_a_quick_failure_says_what_is_where(log_in: Login) -> None:
    files = HangsInRenameFileSystem(failure())
    files.put("/d/f", b"")
    files.release.set()
    async with log_in(files) as client:
        await client.expect("RNFR d", 350)
        reply = await client.command("RNTO e")
        assert reply.text == "550 Nothing was renamed. Permission denied."
        await client.expect("NOOP", 200)


async def test_a_late_failure_is_explained_and_has_no_end(
    log_in: Login, slow: HangsInRenameFileSystem
) -> None:
    slow.error = failure()
    async with log_in(slow, **QUICK) as client:
        await begin(client)
        client.send("NOOP")
        slow.release.set()
        lines = await client.lines_until_closed()
    assert lines[-1] == "250-Failed: Nothing was renamed. Permission denied."
    assert all(line.startswith("250-") for line in lines)


async def test_a_client_that_goes_away_stops_nothing(
    log_in: Login, slow: HangsInRenameFileSystem
) -> None:
    async with log_in(slow, **QUICK) as client:
        await begin(client)
        client.writer.transport.abort()
        slow.release.set()
        async with asyncio.timeout(10):
            while "/e/f" not in slow.files:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)


async def test_a_stop_does_not_end_a_reply_that_was_begun(
    serve: Servers, slow: HangsInRenameFileSystem
) -> None:
    server = await serve(slow, finalise_keepalive_seconds=0.02)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        await begin(client)
        await server.aclose()
        assert all(line.startswith("250-") for line in await client.lines_until_closed())


async def test_a_stop_before_the_first_line_is_told(
    serve: Servers, slow: HangsInRenameFileSystem
) -> None:
    server = await serve(slow)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        await client.expect("RNFR d", 350)
        client.send("RNTO e")
        await slow.reached.wait()
        await server.aclose()
        assert (await client.reply()).code == 421


async def test_a_short_rename_needs_no_such_lines(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    file_system.put("/a", b"")
    await client.expect("RNFR a", 350)
    assert (await client.expect("RNTO b", 250)).lines == ("250 Renamed.",)
