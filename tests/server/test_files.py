"""Directories, names, facts and the small commands."""

import logging

import pytest

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.logs.session import SessionContext
from cos_ftp_server.server.outcome import reply_to
from tests.doubles.ftp_client import RawClient
from tests.doubles.memory_fs import MemoryFileSystem
from tests.server.conftest import Login


async def test_working_directory(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.add_directory('/a/b "c"')
    await client.expect('CWD a/b "c"', 250)
    assert '"/a/b ""c"""' in (await client.expect("XPWD", 257)).text
    await client.expect("CDUP", 250)
    assert '"/a"' in (await client.expect("PWD", 257)).text
    await client.expect("CWD ../../..", 250)
    assert '"/"' in (await client.expect("PWD", 257)).text
    await client.expect("CDUP", 250)
    await client.expect("CWD missing", 550)


async def test_directories(client: RawClient, file_system: MemoryFileSystem) -> None:
    assert '"/d"' in (await client.expect("MKD d", 257)).text
    await client.expect("MKD d", 550)
    file_system.put("/d/f", b"x")
    await client.expect("RMD d", 550)
    await client.expect("DELE d", 550)
    await client.expect("DELE d/f", 250)
    await client.expect("RMD d", 250)
    await client.expect("RMD d", 550)
    await client.expect("RMD /", 550)


async def test_what_clients_ask_for_in_vain_is_no_cause_for_a_warning(
    client: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    for line in ("RMD /", "RMD missing", "DELE missing", "RNFR missing", "CWD missing"):
        await client.expect(line, 550)
    assert [line for line in caplog.records if line.levelno > logging.INFO] == []


async def test_rename(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"content")
    await client.expect("RNTO b", 503)
    await client.expect("RNFR missing", 550)
    await client.expect("RNTO b", 503)
    await client.expect("RNFR a", 350)
    await client.expect("NOOP", 200)
    await client.expect("RNTO b", 503)
    await client.expect("RNFR a", 350)
    await client.expect("RNTO d/b", 250)
    await client.expect("RNTO again", 503)
    assert list(file_system.files) == ["/d/b"]
    await client.expect("RNFR d", 350)
    await client.expect("RNTO e", 250)
    assert list(file_system.files) == ["/e/b"]


async def test_size_and_time(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/a", b"12345")
    for transfer_type in ("I", "A"):
        await client.expect(f"TYPE {transfer_type}", 200)
        assert (await client.expect("SIZE a", 213)).text == "213 5"
    assert (await client.expect("MDTM a", 213)).text == "213 20260504030201"
    await client.expect("SIZE /", 550)
    await client.expect("MDTM missing", 550)


async def test_mlst(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/d/a", b"12345")
    facts = (await client.expect("MLST d/a", 250)).lines[1]
    assert facts.startswith(" type=file;size=5;")
    assert facts.endswith("; /d/a")
    assert (await client.expect("OPTS MLST size;unknown;", 200)).text == "200 MLST OPTS size;"
    assert (await client.expect("MLST d/a", 250)).lines[1] == " size=5; /d/a"
    assert "size*;modify;" in (await client.expect("FEAT", 211)).text
    await client.expect("MLST missing", 550)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("TYPE L 8", 200),
        ("TYPE E", 504),
        ("MODE S", 200),
        ("MODE B", 504),
        ("STRU F", 200),
        ("STRU R", 504),
        ("REST x", 501),
        ("ALLO x", 501),
        ("ACCT x", 202),
        ("SITE HELP", 214),
        ("SITE CHMOD 644 a", 200),
        ("SITE EXEC rm", 504),
        ("HELP STOR", 214),
        ("HELP BOGUS", 502),
        ("OPTS UTF8 ON", 200),
        ("OPTS UTF8 OFF", 501),
        ("OPTS BOGUS", 501),
        ("APPE", 501),
        ("NOOP x", 501),
        ("SIZE", 501),
        ("SIZE a\x01b", 501),
        ("BOGUS", 500),
        ("noop", 200),
    ],
)
async def test_small_commands(client: RawClient, line: str, code: int) -> None:
    await client.expect(line, code)


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_failure_has_replies(kind: ErrorKind) -> None:
    for temporary in (True, False):
        error = StorageError(
            kind, operation="x", key="secret", temporary=temporary, detail="secret"
        )
        reply = reply_to(error)
        assert reply is not None
        is_busy = kind in (ErrorKind.CHANGED, ErrorKind.CONFLICT)
        assert reply.code // 100 == (4 if temporary or is_busy else 5)
        assert "secret" not in reply.text


async def test_outage_is_temporary_and_logged(
    log_in: Login, file_system: MemoryFileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    class Outage(MemoryFileSystem):
        async def check_directory(self, path: object) -> None:
            raise StorageError(
                ErrorKind.UNAVAILABLE,
                operation="HEAD",
                key="the/key",
                temporary=True,
                status=503,
                code="SlowDown",
                request_id="NWQx",
            )

    async with log_in(Outage()) as client:
        reply = await client.expect("CWD d", 451)
    assert "key" not in reply.text
    for expected in ("the/key", "SlowDown", "NWQx"):
        assert expected in caplog.text
    assert vars(caplog.records[-1])["session"] == SessionContext(1, "127.0.0.1", "user")
    assert "Traceback" not in caplog.text
