"""Logging in and out, order of replies, limits and the end of sessions."""

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from cos_ftp_server.protocol.commands import COMMANDS, Permission
from cos_ftp_server.server.control import ControlConnection
from cos_ftp_server.server.handlers import HANDLERS, OVERTAKING
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient, reset, until
from tests.doubles.loop_clock import LoopClock
from tests.doubles.memory_fs import (
    FailsInStatFileSystem,
    HangsInCommitFileSystem,
    HoldsTheLoopFileSystem,
    MemoryFileSystem,
)
from tests.server.conftest import Login, Servers


def test_every_implemented_command_has_a_handler() -> None:
    verbs = {row.canonical for row in COMMANDS.values() if row.implemented}
    assert verbs == set(HANDLERS)
    assert set(HANDLERS) >= OVERTAKING


async def test_greets_with_the_banner(serve: Servers, file_system: MemoryFileSystem) -> None:
    server = await serve(file_system, banner="Hello there")
    async with RawClient(server.addresses[0]) as client:
        assert (await client.reply()).text == "220 Hello there"


def option_at_the_server(client: RawClient, level: int, option: int) -> int:
    """Return an option of the server's end of a control connection."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # no socket, or not connected
            sock = socket.socket(fileno=int(name))
            try:
                if sock.getpeername() == client.name:
                    return sock.getsockopt(level, option)
            finally:
                sock.detach()
    raise LookupError("the server has no such client")


@pytest.mark.parametrize(
    ("level", "option"),
    [
        (socket.SOL_SOCKET, socket.SO_OOBINLINE),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    ],
)
async def test_options_of_control_connections(client: RawClient, level: int, option: int) -> None:
    assert option_at_the_server(client, level, option) == 1


async def test_commands_before_login(serve: Servers, file_system: MemoryFileSystem) -> None:
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.reply()
        for line, code in (
            ("OPTS UTF8 ON", 200),
            ("FEAT", 211),
            ("SYST", 215),
            ("NOOP", 200),
            ("STAT", 211),
            ("STAT /", 530),
            ("HELP", 214),
            ("CLNT x", 200),
            ("PWD", 530),
            ("PASV", 530),
            ("RETR a", 530),
            ("PASS early", 503),
            ("ABOR", 225),
        ):
            await client.expect(line, code)


async def test_login_is_throttled_and_then_refused(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    server = await serve(file_system, max_login_failures=3, login_failure_delay_seconds=0.05)
    loop = asyncio.get_running_loop()
    async with RawClient(server.addresses[0]) as client:
        await client.reply()
        texts = []
        for user in (USER, "nobody"):
            await client.expect(f"USER {user}", 331)
            started = loop.time()
            texts.append((await client.expect("PASS wrong", 530)).text)
            assert loop.time() - started >= 0.045
        assert texts[0] == texts[1]
        await client.expect(f"USER {USER}", 331)
        await client.expect("PASS wrong", 421)
        assert await client.at_eof()


async def test_password_with_spaces_and_quotes_is_taken_whole(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.reply()
        await client.expect(f"USER {USER}", 331)
        await client.expect(f"PASS {PASSWORD} ", 530)


async def test_new_user_ends_the_login(client: RawClient) -> None:
    await client.expect("MKD d", 257)
    await client.expect("CWD d", 250)
    await client.expect(f"USER {USER}", 331)
    await client.expect("PWD", 530)
    await client.expect(f"PASS {PASSWORD}", 230)
    assert '"/"' in (await client.expect("PWD", 257)).text
    await client.expect("REIN", 220)
    await client.expect("PWD", 530)


async def test_password_is_never_logged(
    client: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await client.expect(f"USER {USER}", 331)
        await client.expect(f"PASS {PASSWORD}", 230)
        await client.expect(f"pasS {PASSWORD}", 503)
        await client.expect(f"PAS {PASSWORD}", 500)
    assert "PASS ***" in caplog.text
    assert PASSWORD not in caplog.text


async def test_permissions(log_in: Login, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"content")
    async with log_in(file_system, Permission.READ) as client:
        assert (await client.fetch("RETR a"))[0] == b"content"
        for line in ("STOR b", "DELE a", "MKD d", "RMD d", "RNFR a", "STOU"):
            await client.expect(line, 550)
    async with log_in(file_system, Permission.WRITE) as client:
        assert (await client.store("b", b"x")).code == 226
        for line in ("RETR a", "LIST", "SIZE a", "STAT /", "DELE a"):
            await client.expect(line, 550)


async def test_pipelined_commands_are_answered_in_order(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    client.send("MKD a", "CWD a", "PWD", "CDUP", "RMD a", "NOOP", "BOGUS", "SYST")
    codes = [(await client.reply()).code for _ in range(8)]
    assert codes == [257, 250, 257, 250, 250, 200, 500, 215]


async def test_many_more_pipelined_commands_than_are_queued(client: RawClient) -> None:
    client.send(*["NOOP"] * 20_000, "SYST")
    for _ in range(20_000):
        assert await client.line() == "200 OK."
    assert (await client.reply()).code == 215


async def test_commands_after_a_transfer_wait_for_it(
    log_in: Login, file_system: MemoryFileSystem
) -> None:
    async with log_in(file_system) as client:
        _, writer = await client.open_data()
        client.send("STOR a", "SIZE a", "NOOP", "QUIT")
        assert (await client.reply()).code == 150
        writer.write(b"12345")
        writer.write_eof()
        replies = [(await client.reply()).lines[-1] for _ in range(4)]
        assert [reply[:3] for reply in replies] == ["226", "213", "200", "221"]
        assert await client.at_eof()


async def test_status_and_keep_alive_during_a_transfer(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    _, writer = await client.open_data()
    await client.expect("STOR a", 150)
    await client.expect("NOOP", 200)
    for command in ("STAT", "STAT missing"):
        assert "STOR in progress" in (await client.expect(command, 211)).text
    writer.write_eof()
    assert (await client.reply()).code == 226
    assert "in progress" not in (await client.expect("STAT", 211)).text


async def test_quit_during_a_transfer_lets_it_finish(
    client: RawClient, file_system: MemoryFileSystem
) -> None:
    _, writer = await client.open_data()
    await client.expect("STOR a", 150)
    client.send("QUIT")
    writer.write(b"x")
    writer.write_eof()
    assert (await client.reply()).code == 226
    assert (await client.reply()).code == 221
    assert await client.at_eof()
    assert file_system.files


async def test_overlong_line_is_refused_and_skipped(client: RawClient) -> None:
    client.send("RETR " + "x" * 9000, "NOOP")
    assert (await client.reply()).code == 500
    assert (await client.reply()).code == 200


async def test_endless_line_is_cut_off(client: RawClient) -> None:
    client.writer.write(b"x" * 1_000_000)
    assert (await client.reply()).code == 500
    with pytest.raises((EOFError, ConnectionResetError)):
        await client.reply()


async def test_another_protocol_is_cut_off(serve: Servers, file_system: MemoryFileSystem) -> None:
    server = await serve(file_system)
    async with RawClient(server.addresses[0]) as client:
        await client.reply()
        client.send("POST / HTTP/1.1", *["Header: value"] * 30, f"USER {USER}")
        codes = [line[:3] for line in await client.lines_until_closed()]
        assert codes == ["500"] * 19 + ["421"]


async def test_bytes_that_are_no_utf8(client: RawClient) -> None:
    client.writer.write(b"SIZE \xd6\xd0\r\nNOOP\r\n")
    assert (await client.reply()).code == 501
    assert (await client.reply()).code == 200


async def test_unexpected_error_is_answered_logged_and_survived(
    log_in: Login, caplog: pytest.LogCaptureFixture
) -> None:
    async with log_in(FailsInStatFileSystem()) as client:
        reply = await client.expect("SIZE a", 451)
        assert "bug" not in reply.text
        await client.expect("NOOP", 200)
    assert "ZeroDivisionError" in caplog.text


async def test_idle_session_is_closed(
    log_in: Login, file_system: MemoryFileSystem, clock: LoopClock
) -> None:
    async with log_in(file_system, idle_timeout_seconds=300.0) as client:
        await clock.advance(290)
        await client.expect("NOOP", 200)
        await clock.advance(290)
        await client.expect("NOOP", 200)
        await clock.advance(310)
        assert (await client.reply()).code == 421
        assert await client.at_eof()


async def test_transfer_stops_the_idle_clock(log_in: Login, clock: LoopClock) -> None:
    file_system = HangsInCommitFileSystem()
    async with log_in(
        file_system, idle_timeout_seconds=300.0, finalise_keepalive_seconds=1000.0
    ) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write_eof()
        await file_system.reached.wait()
        await clock.advance(900)
        file_system.release.set()
        assert (await client.reply()).code == 226
        await client.expect("NOOP", 200)


@pytest.mark.parametrize("turns", range(5))
async def test_idle_clock_begins_with_the_end_of_a_transfer(
    log_in: Login, clock: LoopClock, turns: int
) -> None:
    """The timer is due before anybody had a turn to see that the transfer has ended."""

    def hold() -> None:
        clock.skip(11)
        after_turns(turns, clock.run_due)

    async with log_in(HoldsTheLoopFileSystem(hold), idle_timeout_seconds=10.0) as client:
        assert (await client.store("a", b"x")).code == 226
        await client.expect("NOOP", 200)


def after_turns(turns: int, action: Callable[[], None]) -> None:
    """Call `action` when the event loop has had so many turns."""
    loop = asyncio.get_running_loop()
    if turns:
        loop.call_soon(after_turns, turns - 1, action)
    else:
        action()


async def test_login_must_come_in_time(
    serve: Servers, file_system: MemoryFileSystem, clock: LoopClock
) -> None:
    server = await serve(file_system, login_timeout_seconds=60.0, idle_timeout_seconds=300.0)
    async with RawClient(server.addresses[0]) as client:
        await client.reply()
        await clock.advance(25)
        await client.expect("NOOP", 200)
        await clock.advance(25)
        await client.expect(f"USER {USER}", 331)
        await clock.advance(15)
        assert (await client.reply()).code == 421
        assert await client.at_eof()


async def test_time_for_the_login_is_counted_on_the_clock_of_the_event_loop(
    log_in: Login, file_system: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which any loop may choose for itself."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + 1000)
    async with log_in(file_system, login_timeout_seconds=30.0) as client:
        await client.expect("REIN", 220)
        await client.expect("NOOP", 200)


async def test_client_that_reads_no_replies_is_cut_off(
    log_in: Login, serve: Servers, file_system: MemoryFileSystem, clock: LoopClock
) -> None:
    async with log_in(file_system, idle_timeout_seconds=300.0) as client:
        client.send(*["FEAT"] * 300_000)  # the client's stream reads 128 KiB ahead, then stops
        while serve.started[0].session_count:
            await clock.advance(1)  # too little to matter as long as commands are served
            await asyncio.sleep(0)


async def test_too_many_connections(serve: Servers, file_system: MemoryFileSystem) -> None:
    server = await serve(file_system, max_connections=2)
    async with RawClient(server.addresses[0]) as first, RawClient(server.addresses[0]) as second:
        await first.reply()
        await second.reply()
        async with RawClient(server.addresses[0]) as third:
            assert (await third.reply()).code == 421
            assert await third.at_eof()
        await second.expect("QUIT", 221)
        assert await second.at_eof()
        async with RawClient(server.addresses[0]) as fourth:
            assert (await fourth.reply()).code == 220


async def test_too_many_logins(serve: Servers, file_system: MemoryFileSystem) -> None:
    server = await serve(file_system, max_logins=1)
    async with RawClient(server.addresses[0]) as first, RawClient(server.addresses[0]) as second:
        await first.login()
        await second.reply()
        await second.expect(f"USER {USER}", 331)
        await second.expect(f"PASS {PASSWORD}", 421)
        assert await second.at_eof()
        await first.expect("REIN", 220)
        async with RawClient(server.addresses[0]) as third:
            await third.login()


async def test_client_that_vanishes_gives_everything_back(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    server = await serve(file_system, max_connections=1, max_logins=1)
    for _ in range(3):
        async with RawClient(server.addresses[0]) as client:
            await client.login()
            await client.passive_port()
            reset(client.writer)
        await until(lambda: not server.session_count)
    async with RawClient(server.addresses[0]) as client:
        await client.login()
        assert server.session_count == 1


async def test_drain_says_goodbye_and_waits_for_transfers(
    log_in: Login, serve: Servers, file_system: MemoryFileSystem
) -> None:
    async with log_in(file_system) as busy:
        (server,) = serve.started
        async with RawClient(server.addresses[0]) as idle:
            await idle.login()
            _, writer = await busy.open_data()
            await busy.expect("STOR a", 150)
            address = server.addresses[0]
            draining = asyncio.create_task(server.drain())
            assert (await idle.reply()).code == 421
            assert await idle.at_eof()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
            assert not draining.done()
            writer.write(b"rest")
            writer.write_eof()
            assert (await busy.reply()).code == 226
            assert (await busy.reply()).code == 421
            await draining
    assert list(file_system.files.values()) == [b"rest"]


async def test_drain_is_bounded_and_close_aborts_the_rest(
    log_in: Login, serve: Servers, file_system: MemoryFileSystem
) -> None:
    async with log_in(file_system, shutdown_grace_seconds=0.05) as client:
        _, writer = await client.open_data()
        await client.expect("STOR a", 150)
        writer.write(b"half")
        await serve.started[0].drain()
        await serve.started[0].aclose()
        assert (await client.reply()).code == 421
        assert await client.at_eof()
    assert not file_system.files
    assert file_system.open_writers == 0


async def test_client_that_connects_while_the_server_stops(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    server = await serve(file_system)
    for turns in range(5):
        server = await serve(file_system)
        async with RawClient(server.addresses[0]) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.drain()
            lines = await client.lines_until_closed()
        assert [line[:3] for line in lines] in ([], ["421"], ["220", "421"])


@pytest.mark.parametrize("seed", range(4))
async def test_every_command_gets_exactly_one_final_reply(
    log_in: Login, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    chosen = random.Random(seed)
    verbs = sorted(verb for verb in COMMANDS if verb != "QUIT")
    arguments = [
        "",
        " ",
        " a",
        " /",
        " ..",
        " -la",
        " *",
        " 1",
        " A",
        " I",
        ' "',
        " é",
        " |1|",
        "\t",
    ]
    lines = [chosen.choice(verbs) + chosen.choice(arguments) for _ in range(400)]
    file_system = MemoryFileSystem()
    async with log_in(
        file_system, data_connect_timeout_seconds=0.001, max_login_failures=1000
    ) as client:
        for number, line in enumerate(lines):
            client.send(line)
            if number % 10 == 9:  # not so many bad ones in a row that it is cut off
                client.send("NOOP", f"USER {USER}", f"PASS {PASSWORD}")
        finals = 0
        while finals < len(lines) + 3 * (len(lines) // 10):
            finals += (await client.reply()).code >= 200
        client.send("SYST")
        assert (await client.reply()).code == 215
    assert "unexpectedly" not in caplog.text
    assert file_system.open_writers == file_system.open_readers == 0


async def test_two_servers_in_one_process(serve: Servers) -> None:
    one, two = MemoryFileSystem(), MemoryFileSystem()
    first, second = await serve(one), await serve(two)
    async with RawClient(first.addresses[0]) as a, RawClient(second.addresses[0]) as b:
        await asyncio.gather(a.login(), b.login())
        await asyncio.gather(a.store("f", b"1"), b.store("f", b"2"))
    assert list(one.files.values()) == [b"1"]
    assert list(two.files.values()) == [b"2"]


async def test_start_that_fails_listens_nowhere(
    serve: Servers, file_system: MemoryFileSystem
) -> None:
    port = (await serve(file_system)).addresses[0][1]
    with pytest.raises(OSError, match="in use"):
        await serve(file_system, hosts=("127.0.0.2", "127.0.0.1"), port=port)
    assert serve.started[1].addresses == ()


async def test_long_lines_are_answered_one_by_one(client: RawClient) -> None:
    for _ in range(3):
        client.writer.write((b"X" * 8300 + b"\r\n") * 4)
        for _ in range(4):
            assert (await client.reply()).code == 500
    await client.expect("NOOP", 200)


async def test_a_session_that_is_cancelled_before_it_begins_closes_its_socket(
    serve: Servers, file_system: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(file_system)
    connected = ControlConnection.connection_made

    def close(control: ControlConnection, transport: asyncio.BaseTransport) -> None:
        connected(control, transport)
        closing = server.aclose()
        closing.send(None)  # its first step, which cancels the session
        closing.close()

    monkeypatch.setattr(ControlConnection, "connection_made", close)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
