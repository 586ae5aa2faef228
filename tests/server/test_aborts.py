"""ABOR in all the forms in which clients send it, and what is left after it."""

import asyncio

import pytest

from cos_ftp_server.server.control import ControlConnection
from cos_ftp_server.vfs.base import VirtualPath
from tests.doubles.ftp_client import ABORTS, RawClient, until
from tests.doubles.memory_fs import (
    HangsInCommitFileSystem,
    HangsInStatFileSystem,
    MemoryFileSystem,
    SlowReaderFileSystem,
    Stage,
    StagedFileSystem,
)
from tests.server.conftest import Login

IAC, IP = b"\xff", b"\xf4"


@pytest.mark.parametrize("form", ABORTS)
async def test_abort_of_an_upload(
    client: RawClient, file_system: MemoryFileSystem, form: str
) -> None:
    _, writer = await client.open_data()
    await client.expect("STOR a", 150)
    writer.write(b"half")
    await file_system.writer_opened.wait()
    client.abort(form)
    assert (await client.reply()).code == 426
    assert (await client.reply()).code == 226
    assert not file_system.files
    assert file_system.open_writers == 0
    await client.expect("NOOP", 200)
    assert (await client.store("a", b"whole")).code == 226


@pytest.mark.parametrize("form", ABORTS)
async def test_abort_of_nothing(client: RawClient, form: str) -> None:
    client.abort(form)
    assert (await client.reply()).code == 225
    await client.expect("NOOP", 200)


async def test_abort_of_a_download(log_in: Login) -> None:
    file_system = SlowReaderFileSystem()
    file_system.put("/a", bytes(100_000))
    async with log_in(file_system) as client:
        reader, _ = await client.open_data()
        await client.expect("RETR a", 150)
        await reader.readexactly(1024)
        await client.expect("ABOR", 426)
        assert (await client.reply()).code == 226
        assert file_system.open_readers == 0


async def test_abort_of_a_commit(log_in: Login) -> None:
    file_system = HangsInCommitFileSystem()
    async with log_in(file_system) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write_eof()
        await file_system.reached.wait()
        await client.expect("ABOR", 426)
        assert (await client.reply()).code == 226
    assert not file_system.files
    assert file_system.open_writers == 0


async def test_abort_together_with_the_end_of_data(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    _, writer = await client.open_data()
    await client.expect("STOR a", 150)
    writer.write(b"half")
    await writer.drain()
    client.send("ABOR")
    writer.close()
    assert (await client.reply()).code == 426
    assert (await client.reply()).code == 226
    assert not file_system.files


async def test_abort_while_waiting_for_the_data_connection(client: RawClient) -> None:
    port = await client.passive_port()
    await client.expect("STOR a", 150)
    await client.expect("ABOR", 426)
    assert (await client.reply()).code == 226
    with pytest.raises(ConnectionRefusedError):
        await client.open_data(port)


async def test_abort_overtakes_what_waits_and_loses_nothing(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    await client.open_data()
    await client.expect("STOR a", 150)
    client.send("MKD d", "ABOR", "PWD")
    assert [(await client.reply()).code for _ in range(4)] == [426, 226, 257, 257]
    assert "/d" in file_system.directories


async def test_abort_behind_a_question_to_the_store(log_in: Login) -> None:
    """Nothing is asked while a transfer runs: whoever waits for the store does not see ABOR."""
    file_system = HangsInStatFileSystem()
    async with log_in(file_system) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(b"half")
        await writer.drain()
        client.send("STAT d", "ABOR")
        writer.close()
        assert [(await client.reply()).code for _ in range(3)] == [211, 426, 226]
    assert not file_system.files


@pytest.mark.parametrize(
    ("keeps", "text"),
    [(False, "426 Transfer aborted."), (True, "426 Transfer aborted. 4 bytes are stored.")],
)
async def test_abort_that_waits_while_the_client_reads_no_replies(
    log_in: Login,
    file_system: MemoryFileSystem,
    monkeypatch: pytest.MonkeyPatch,
    keeps: bool,
    text: str,
) -> None:
    """The session hears of it only when the upload has ended."""
    connections: list[ControlConnection] = []
    connected = ControlConnection.connection_made

    def note(control: ControlConnection, transport: asyncio.BaseTransport) -> None:
        connections.append(control)
        connected(control, transport)

    monkeypatch.setattr(ControlConnection, "connection_made", note)
    async with log_in(file_system, keep_interrupted=keeps) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(b"half")
        await writer.drain()
        (control,) = connections
        control.pause_writing()
        await client.expect("NOOP", 200)
        client.send("SIZE a", "ABOR")
        writer.close()
        await until(lambda: file_system.open_writers == 0)
        assert len(control.queue) == 2
        control.resume_writing()
        assert (await client.reply()).text == text
        assert [(await client.reply()).code for _ in range(2)] == [226, 213 if keeps else 550]
    assert list(file_system.files.values()) == [b"half"] * keeps


async def test_telnet_in_the_middle_of_names(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    client.writer.write(b"MKD a" + IAC + IP + b"b\r\n")
    assert (await client.reply()).code == 257
    assert "/ab" in file_system.directories


OUTCOMES = {stage: {(426, 226)} for stage in Stage} | {
    Stage.PUBLISHING: {(226, 226)},
    Stage.PUBLISHED: {(226, 226)},
    Stage.RETURNED: {(226, 225), (226, 226)},
}
"""Replies to an upload and to the ABOR that comes at this stage of it."""


@pytest.mark.parametrize("stage", Stage)
async def test_aborted_at_any_turn_there_is_a_file_exactly_when_226_was_said_for_it(
    log_in: Login, stage: Stage
) -> None:
    file_system = StagedFileSystem()
    async with log_in(file_system) as client:
        for turns in range(12):
            path = VirtualPath(f"/{turns}")
            _, writer = await client.open_data()
            client.send(f"STOR {path}")
            writer.write(b"content")
            if stage is not Stage.ARRIVING:
                writer.write_eof()
            file_system.stage = None
            await until(lambda: file_system.stage is stage)
            for _ in range(turns):
                await asyncio.sleep(0)
            client.abort()
            assert (await client.reply()).code == 150
            outcome = (await client.reply()).code, (await client.reply()).code
            assert outcome in OUTCOMES[stage]
            assert (path in file_system.files) is (outcome[0] == 226)
            assert file_system.open_writers == 0
            await client.expect("NOOP", 200)


async def test_aborted_at_any_turn_of_its_beginning_leaves_nothing(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    for turns in range(12):
        _, writer = await client.open_data()
        client.send("STOR a")
        writer.write(b"content")
        for _ in range(turns):
            await asyncio.sleep(0)
        client.abort()
        codes = [(await client.reply()).code for _ in range(2)]
        if codes[0] == 150:  # it had begun
            codes = [codes[1], (await client.reply()).code]
        assert codes == [426, 226]
        assert not file_system.files
        assert file_system.open_writers == 0
        await client.expect("NOOP", 200)
