"""What the running server writes to its logs, and that no log can stop it."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from cos_ftp_server.emulator import Fault
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient, until
from tests.doubles.server_process import ServerProcess, serving
from tests.gateway.conftest import BUCKET, MIB, Config, Start

LOG, XFERLOG = "cos-ftp-server.log", "xferlog"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) +\S")


async def transfer_files(server: ServerProcess, count: int = 1) -> None:
    """Log in, and send and receive each of `count` files."""
    async with RawClient(server.address) as client:
        await client.login()
        for number in range(count):
            assert (await client.store(f"a file {number}", b"content")).code == 226
            assert (await client.fetch(f"RETR a file {number}"))[0] == b"content"
        await client.expect("QUIT", 221)


async def test_one_line_for_each_transfer(config: Config) -> None:
    async with serving(config.write()) as server:
        await transfer_files(server)
        async with RawClient(server.address) as client:
            await client.login()
            assert (await client.fetch("RETR none"))[1].code == 550
            _, writer = await client.open_data()
            await client.expect("STOR half", 150)
            writer.write(b"half")
            await client.expect("ABOR", 426)
        assert await server.stop() == 0
    form = re.compile(
        r"(?P<head>.*) transfer (?P<what>verb=\w+ path='.*') bytes=(?P<bytes>\d+) "
        r"seconds=\d+\.\d{3} outcome=(?P<outcome>\d+)"
        r"(?: code=(?P<code>\w+) request_id=\S+)? (?P<reply>.+)"
    )
    log = (config.logs / LOG).read_text().splitlines()
    told = [found for line in log if (found := form.fullmatch(line))]
    assert [line.group("what", "outcome", "code") for line in told] == [
        ("verb=STOR path='/a file 0'", "226", None),
        ("verb=RETR path='/a file 0'", "226", None),
        ("verb=RETR path='/none'", "550", "NoSuchKey"),
        ("verb=STOR path='/half'", "426", None),
    ]
    assert [line["bytes"] for line in told[:3]] == ["7", "7", "0"]
    for line, session in zip(told, (1, 1, 2, 2), strict=True):
        assert line["head"].endswith(f" INFO    session={session} peer=127.0.0.1 user='user'")


async def test_who_has_deleted_or_renamed_a_file_is_found(config: Config) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await client.expect("MKD d", 257)
        assert (await client.store("d/file", b"content")).code == 226
        for line, code in (("RNFR d/file", 350), ("RNTO it's", 250), ("DELE it's", 250)):
            await client.expect(line, code)
        await client.expect("DELE it's", 550)
        await client.expect("RMD d", 250)
        assert await server.stop() == 0
        told = [line.partition(" user='user' ")[2] for line in server.log if " path=" in line]
    assert [line.strip() for line in told if not line.startswith("transfer")] == [
        "made directory path='/d'",
        "renamed path='/d/file' to=\"/it's\"",
        'deleted path="/it\'s"',
        "removed directory path='/d'",
    ]


async def test_what_the_store_refused_is_found_by_session_code_and_request_id(
    config: Config, start: Start
) -> None:
    world = await start()
    world.emulator.faults.add(Fault(operation="PutObject", status=503, code="SlowDown"))
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        assert (await client.store("file", b"content")).code == 451
        # Layers that know no sessions log as their session, too.
        for words in (
            ("try 1 of",),
            ("STOR file failed: ",),
            ("transfer verb=STOR", "outcome=451"),
        ):
            line = await server.logged(*words)
            assert "session=1 peer=127.0.0.1 user='user' " in line
            assert re.search(r" code=SlowDown request_id=\S+", line), line


async def test_json(config: Config, start: Start) -> None:
    config.sections["OPTIONAL"]["log_format"] = "json"
    world = await start()
    world.emulator.faults.add(Fault(operation="GetObject", status=403, code="AccessDenied"))
    async with serving(config.write()) as server:
        async with RawClient(server.address) as client:
            await client.login()
            await client.store("file", b"content")
            assert (await client.fetch("RETR file"))[1].code == 550
        assert await server.stop() == 0
    lines = [json.loads(line) for line in (config.logs / LOG).read_text().splitlines()]
    stored, refused = (line for line in lines if "verb" in line)
    stored.pop("time")
    seconds, reply = stored.pop("seconds"), stored.pop("reply")
    assert 0 <= seconds < 60
    assert reply.startswith("Transfer complete: 7 bytes")
    assert stored.pop("message").startswith("transfer verb=STOR path='/file' bytes=7 ")
    assert stored == {
        "level": "INFO",
        "logger": "cos_ftp_server.transfers",
        "session": 1,
        "peer": "127.0.0.1",
        "user": USER,
        "verb": "STOR",
        "path": "/file",
        "bytes": 7,
        "outcome": 226,
    }
    assert (refused["outcome"], refused["cos_code"]) == (550, "AccessDenied")
    assert refused["cos_request_id"]
    assert LINE.match(server.log[0])  # the console is for people in any case


async def test_xferlog(config: Config) -> None:
    config.sections["OPTIONAL"] |= {"xferlog_enable": "true", "log_level": "ERROR"}
    async with serving(config.write()) as server:
        await transfer_files(server)
        assert await server.stop() == 0
    lines = (config.logs / XFERLOG).read_text().splitlines()
    assert [re.sub(r"^.{24} \d+ ", "", line) for line in lines] == [
        "127.0.0.1 7 /a_file_0 b _ i r user ftp 0 * c",
        "127.0.0.1 7 /a_file_0 b _ o r user ftp 0 * c",
    ]
    assert (config.logs / LOG).read_text() == ""


async def test_nothing_that_a_client_sends_begins_a_line(config: Config) -> None:
    config.sections["OPTIONAL"]["log_level"] = "DEBUG"
    faked = "2026-01-01 00:00:00,000 INFO    faked"
    async with serving(config.write()) as server:
        async with RawClient(server.address) as client:
            await client.login()
            for separator in [*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029", "\x1b[2J"]:
                if separator != "\n":
                    client.send(f"SIZE x{separator}{faked}", f"USER x{separator}{faked}", "PASS x")
            client.writer.write(b"SIZE \xff\xfe\r\nFAKED \n" + faked.encode() + b"\r\n")
            client.send("QUIT")
            await client.lines_until_closed()
        assert await server.stop() == 0
    text = (config.logs / LOG).read_text()
    assert faked in text
    for log in (text.splitlines(), server.log):
        assert all(LINE.match(line) and not line.startswith(faked) for line in log)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", "".join(log))


async def test_rotation(config: Config) -> None:
    config.sections["OPTIONAL"] |= {"log_rotate_when": "S", "log_backup_count": 2}
    config.sections["OPTIONAL"] |= {"xferlog_enable": "true"}
    async with serving(config.write()) as server:
        seen: set[str] = set()
        while len(seen) < 8:  # two logs, each with two old files and one that was removed
            await transfer_files(server)
            seen |= {entry.name for entry in config.logs.iterdir()}
        assert await server.stop() == 0
    for name in (LOG, XFERLOG):
        left = sorted(entry.name for entry in config.logs.glob(f"{name}*"))
        assert left[0] == name
        assert len(left) == 3
        ending = re.compile(re.escape(name) + r"\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
        assert all(map(ending.fullmatch, left[1:]))


async def test_log_dir_is_relative_to_where_the_server_was_started(
    config: Config, tmp_path: Path
) -> None:
    config.sections["OPTIONAL"]["log_dir"] = "made/here"
    async with serving(config.write(), wrapper=["env", "--chdir", str(tmp_path)]) as server:
        assert await server.stop() == 0
    assert "ready at ftp://" in (tmp_path / "made" / "here" / LOG).read_text()


# Logs that fail


async def test_a_full_disk_stops_nothing(config: Config) -> None:
    config.logs.mkdir()
    for name in (LOG, XFERLOG):
        (config.logs / name).symlink_to("/dev/full")
    config.sections["OPTIONAL"] |= {"xferlog_enable": "true", "log_rotate_enabled": "false"}
    async with serving(config.write()) as server:
        await transfer_files(server, count=20)
        for name in (LOG, XFERLOG):
            await server.logged(f"{config.logs}/{name} cannot be written", "No space left on")
        assert await server.stop() == 0
    complaints = [line for line in server.log if "cannot be written" in line]
    assert len(complaints) == 2
    assert len([line for line in server.log if "transfer verb=" in line]) == 40


async def test_a_log_dir_that_cannot_be_made_is_a_warning(config: Config) -> None:
    obstacle = config.path.parent / "obstacle"
    obstacle.touch()
    config.sections["OPTIONAL"]["log_dir"] = obstacle / "log"
    async with serving(config.write()) as server:
        await server.logged(f"{obstacle}/log/{LOG} cannot be written, its lines are lost: Not a")
        await transfer_files(server)
        obstacle.unlink()  # when the reason is gone, the log begins
        async with RawClient(server.address) as client:
            await client.login()
        await server.logged("can be written again")
        assert await server.stop() == 0
    assert "user='user' logged in" in (obstacle / "log" / LOG).read_text()


async def test_a_frozen_terminal_stops_nothing(config: Config) -> None:
    config.sections["OPTIONAL"]["log_level"] = "DEBUG"
    nobody_reads, terminal = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cos_ftp_server", "serve", "--config", str(config.write())),
        stdout=asyncio.subprocess.PIPE,
        stderr=terminal,
    )
    try:
        assert process.stdout
        port = int((await process.stdout.readline()).decode().rpartition(":")[2].rstrip("/\n"))
        async with RawClient(("127.0.0.1", port)) as client:
            await client.login()
            for _ in range(2000):
                await client.expect("SIZE " + "x" * 500, 550)
            assert (await client.store("file", b"content")).code == 226
            log = config.logs / LOG
            await until(lambda: "transfer verb=STOR" in log.read_text())
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(nobody_reads)
        os.close(terminal)


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_secret_is_ever_logged(config: Config, form: str, start: Start) -> None:
    config.sections["OPTIONAL"] |= {"log_level": "DEBUG", "log_format": form}
    config.sections["OPTIONAL"] |= {"xferlog_enable": "true", "min_part_size": MIB}
    config.sections["COS_ACCOUNT_0"] |= {"ftp_login_user_password": "pass-s3cr3t"}
    world = await start()
    async with serving(config.write()) as server:
        async with RawClient(server.address) as client:
            await client.reply()
            for password in ("guess-s3cr3t", "pass-s3cr3t"):
                await client.expect(f"USER {USER}", 331)
                await client.expect(f"PASS {password}", 530, 230)
            await client.expect("PAS s3cr3t-typo", 500)
            await client.expect("TYPE I", 200)
            assert (await client.store("large", bytes(3 * MIB))).code == 226
            world.emulator.faults.add(Fault(reset=True, times=3))
            await client.command("SIZE large")
        server.send(signal.SIGHUP)
        await server.logged("reloaded: ")
        assert await server.stop() == 0
    files = (entry for entry in config.logs.rglob("*") if entry.is_file())
    logs = "".join(entry.read_text() for entry in files) + "".join(server.log)
    assert "PASS ***" in logs
    for secret in ("s3cr3t", PASSWORD + "\n", BUCKET.secret_key, "q-signature", "Authorization"):
        assert secret not in logs
