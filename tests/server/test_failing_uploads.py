"""Uploads that the server ends while the client sends: it must hear why, and so must the log."""

import asyncio
import logging

import pytest

from cos_ftp_server.errors import ErrorKind
from cos_ftp_server.server import data
from tests.doubles.ftp_client import RawClient, reset, until
from tests.doubles.memory_fs import FailsInWriteFileSystem
from tests.server.conftest import Login, Servers

MUCH = bytes(8 * 1024 * 1024)
"""More than the sockets hold between client and server."""


@pytest.fixture
def file_system() -> FailsInWriteFileSystem:
    return FailsInWriteFileSystem()


@pytest.fixture
async def sending(client: RawClient, file_system: FailsInWriteFileSystem) -> asyncio.StreamWriter:
    """A data connection whose upload has failed, of which the client has not heard yet."""
    _, writer = await client.open_data()
    await client.expect("STOR a", 150)
    writer.write(MUCH)
    await file_system.failed.wait()
    return writer


async def is_closed(writer: asyncio.StreamWriter) -> bool:
    """Whether the server closes, however it does that."""
    try:
        async with asyncio.timeout(10):
            while True:
                writer.write(b"more")
                await writer.drain()
    except ConnectionError:
        return True


async def test_a_client_that_reads_no_reply_before_the_end_hears_why(
    client: RawClient, file_system: FailsInWriteFileSystem, sending: asyncio.StreamWriter
) -> None:
    await sending.drain()  # which an RST would end
    file_system.release.set()
    sending.write(MUCH)
    await sending.drain()
    sending.write_eof()
    assert (await client.reply()).text == "552 File too large."
    await client.expect("NOOP", 200)


async def test_the_reply_comes_while_data_does(
    client: RawClient, file_system: FailsInWriteFileSystem, sending: asyncio.StreamWriter
) -> None:
    file_system.release.set()
    assert (await client.reply()).code == 552
    await client.expect("NOOP", 200)
    sending.write(MUCH)
    await sending.drain()


async def test_the_next_data_connection_ends_it(
    client: RawClient, file_system: FailsInWriteFileSystem, sending: asyncio.StreamWriter
) -> None:
    file_system.release.set()
    assert (await client.reply()).code == 552
    assert (await client.store("b", b"small enough")).code == 226
    assert await is_closed(sending)


async def test_it_ends_with_the_session(
    client: RawClient, file_system: FailsInWriteFileSystem, sending: asyncio.StreamWriter
) -> None:
    file_system.release.set()
    assert (await client.reply()).code == 552
    await client.expect("QUIT", 221)
    assert await is_closed(sending)


async def test_it_ends_in_time(
    log_in: Login, file_system: FailsInWriteFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_DISCARD_SECONDS", 0.05)
    file_system.release.set()
    async with log_in(file_system) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(MUCH)
        assert (await client.reply()).code == 552
        assert await is_closed(writer)
        await client.expect("NOOP", 200)


async def test_the_log_says_why_though_the_client_does_not_wait(
    serve: Servers, file_system: FailsInWriteFileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(MUCH)
        await file_system.failed.wait()
    await until(lambda: server.session_count == 0)
    assert any(line.startswith("STOR a failed: ") for line in caplog.messages)
    assert any("outcome=552 File too large." in line for line in caplog.messages)


async def test_what_is_thrown_away_is_not_counted(
    log_in: Login, file_system: FailsInWriteFileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes while the store still removes what was sent to it."""
    caplog.set_level(logging.INFO)
    async with log_in(file_system) as client:
        reader, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(MUCH)
        await file_system.failed.wait()
        writer.write_eof()
        assert await reader.read() == b""  # the server has had all of it
        file_system.release.set()
        assert (await client.reply()).code == 552
        await client.expect("NOOP", 200)
    (line,) = [line for line in caplog.messages if line.startswith("transfer ")]
    assert " bytes=1000 " in line


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("", "426 Control connection lost, transfer aborted."),
        ("ABOR", "426 Transfer aborted."),
        ("stop", "421 Server is shutting down."),
    ],
)
async def test_the_log_tells_who_has_broken_off(
    serve: Servers, command: str, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file_system = FailsInWriteFileSystem(ErrorKind.UNAVAILABLE, temporary=True)
    file_system.release.set()
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(b"few")
        if command == "stop":
            await server.aclose()
        elif command:
            await client.expect(command, 426)
    await until(lambda: server.session_count == 0)
    assert [line for line in caplog.messages if f"outcome={outcome}" in line]


async def test_the_log_tells_of_an_upload_whose_end_the_stopping_server_does_not_wait_for(
    serve: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client is gone, and the store takes its time to remove what came."""
    caplog.set_level(logging.INFO)
    file_system = FailsInWriteFileSystem()
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(b"few")
        reset(client.writer)
        await file_system.failed.wait()
        await server.aclose()
    assert [line for line in caplog.messages if "outcome=421 Server is shutting down." in line]
