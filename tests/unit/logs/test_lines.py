"""How lines look, and that no name from outside can make them look like something else."""

import json
import logging
import re
import time
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.logs.lines import (
    JsonFormatter,
    TextFormatter,
    XferlogFormatter,
    is_in_xferlog,
)
from cos_ftp_server.logs.session import SessionContext, SessionLogger, Transfer

FAILURE = StorageError(
    ErrorKind.UNAVAILABLE,
    operation="PutObject",
    key="a/key",
    temporary=True,
    status=503,
    code="SlowDown",
    request_id="NWQx",
)
# What other tools may find in a bucket or send as a name.
NASTY = st.text(st.characters(codec=None), min_size=1)  # lone surrogates included
FORMATTERS = [TextFormatter(), JsonFormatter()]


def record(
    text: object, *arguments: object, session: SessionContext | None = None
) -> logging.LogRecord:
    made = logging.LogRecord("a.logger", logging.WARNING, "", 0, text, arguments, None)
    made.created, made.msecs = 1_777_777_777.25, 250.0
    vars(made)["session"] = session
    return made


TRANSFER = Transfer(
    verb="STOR",
    path="/d/a file",
    bytes=3,
    seconds=0.0314,
    outcome=226,
    reply="Transfer complete.",
    is_binary=True,
)


def transfer(**changes: Any) -> Transfer:
    return replace(TRANSFER, **changes)


def head() -> str:
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_777_777_777))
    return f"{local},250 WARNING "


def test_text_outside_of_a_session() -> None:
    assert TextFormatter().format(record("100 %s", "%")) == head() + "100 %"


def test_text_in_a_session() -> None:
    line = TextFormatter().format(record("hi", session=SessionContext(7, "192.0.2.1")))
    assert line == head() + "session=7 peer=192.0.2.1 hi"
    line = TextFormatter().format(record("hi", session=SessionContext(7, "::1", "bob\n")))
    assert line == head() + r"session=7 peer=::1 user='bob\n' hi"


def test_text_of_a_transfer_names_what_the_store_said() -> None:
    failed = transfer(outcome=451, reply="Store not available.", failure=FAILURE)
    assert TextFormatter().format(record(failed)) == head() + (
        "transfer verb=STOR path='/d/a file' bytes=3 seconds=0.031 outcome=451 "
        "code=SlowDown request_id=NWQx Store not available."
    )


def test_json() -> None:
    fields = json.loads(JsonFormatter().format(record("hi", session=SessionContext(7, "::1"))))
    moment = datetime.fromisoformat(fields.pop("time"))
    assert moment == datetime.fromtimestamp(1_777_777_777.25, UTC)
    assert fields == {
        "level": "WARNING",
        "logger": "a.logger",
        "message": "hi",
        "session": 7,
        "peer": "::1",
        "user": "",
    }


def test_json_of_a_failure() -> None:
    fields = json.loads(JsonFormatter().format(record("STOR a failed: %s", FAILURE)))
    assert fields["message"] == f"STOR a failed: {FAILURE}"
    assert {key: value for key, value in fields.items() if key.startswith("cos_")} == {
        "cos_operation": "PutObject",
        "cos_status": 503,
        "cos_code": "SlowDown",
        "cos_request_id": "NWQx",
    }


def test_json_of_a_transfer() -> None:
    session = SessionContext(7, "192.0.2.1", "bob")
    fields = json.loads(JsonFormatter().format(record(transfer(), session=session)))
    expected = {
        "session": 7,
        "peer": "192.0.2.1",
        "user": "bob",
        "verb": "STOR",
        "path": "/d/a file",
        "bytes": 3,
        "seconds": 0.031,
        "outcome": 226,
        "reply": "Transfer complete.",
    }
    assert expected.items() <= fields.items()
    assert "cos_code" not in fields
    failed = transfer(outcome=451, failure=FAILURE)
    assert json.loads(JsonFormatter().format(record(failed)))["cos_request_id"] == "NWQx"


def raised(text: str) -> logging.LogRecord:
    try:
        raise ValueError(text)
    except ValueError as error:
        made = record("failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    return made


def test_tracebacks() -> None:
    first, *others = TextFormatter().format(raised("why\n2026-01-01 faked")).splitlines()
    assert first == head() + "failed"
    assert all(line.startswith("    ") for line in others)
    assert "ValueError: why" in others[-2]
    assert "ValueError: why" in json.loads(JsonFormatter().format(raised("why")))["traceback"]


@given(NASTY, NASTY, NASTY)
def test_no_name_begins_a_line_or_steers_a_terminal(user: str, path: str, detail: str) -> None:
    session = SessionContext(1, "192.0.2.1", user)
    failure = StorageError(ErrorKind.DENIED, operation="x", key=path, detail=detail)
    for formatter in FORMATTERS:
        for line in (
            formatter.format(record("%s %s", path, failure, session=session)),
            formatter.format(record(transfer(path=path), session=session)),
        ):
            assert line.splitlines() == [line]
            assert {unicodedata.category(c) for c in line}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
            assert not re.search("[\u202a-\u202e\u2066-\u2069]", line)


XFERLOG = re.compile(
    r"(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}) (?P<seconds>[1-9]\d*) "
    r"(?P<host>\S+) (?P<bytes>\d+) (?P<path>\S+) (?P<type>[ab]) _ (?P<direction>[io]) r "
    r"(?P<user>\S+) ftp 0 \* (?P<status>[ci])"
)
"""xferlog(5) of wu-ftpd."""


def xferlog(**changes: Any) -> re.Match[str]:
    session = SessionContext(7, "192.0.2.1", "bob")
    line = XferlogFormatter().format(record(transfer(**changes), session=session))
    found = XFERLOG.fullmatch(line)
    assert found, line
    return found


def test_xferlog() -> None:
    found = xferlog()
    assert datetime.strptime(found["time"], "%a %b %d %H:%M:%S %Y").timestamp() == 1_777_777_777
    assert found.groups()[1:] == (*("1", "192.0.2.1", "3", "/d/a_file", "b", "i", "bob", "c"),)
    assert xferlog(verb="RETR", seconds=61.7).group("direction", "seconds") == ("o", "62")
    assert xferlog(outcome=426, is_binary=False).group("status", "type") == ("i", "a")


@given(NASTY)
def test_no_name_breaks_the_fields_of_xferlog(path: str) -> None:
    xferlog(path=path)


def test_xferlog_has_files_only() -> None:
    lines = [record(transfer(verb=verb)) for verb in ("STOR", "STOU", "APPE", "RETR")]
    assert all(map(is_in_xferlog, lines))
    others = [record(transfer(verb="LIST")), record("transfer verb=STOR"), record("%s", 1)]
    assert not any(map(is_in_xferlog, others))


@pytest.mark.parametrize("formatter", FORMATTERS)
async def test_all_lines_of_a_session_are_its_own(formatter: logging.Formatter) -> None:
    # Also those of layers that know no sessions.
    session = SessionLogger(logging.getLogger("test"), session=9, peer="192.0.2.9")

    def line() -> str:
        return formatter.format(logging.LogRecord("other", logging.INFO, "", 0, "deep", (), None))

    assert "192.0.2.9" not in line()
    session.bind()
    session.user = "bob"
    assert "192.0.2.9" in line()
    assert "bob" in line()
