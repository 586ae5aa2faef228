"""The command table, row by row, and how a line becomes a command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import (
    COMMANDS,
    Argument,
    CommandSpec,
    Permission,
    loggable,
    parse_command,
)
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.replies import Reply

ROWS = list(COMMANDS.values())
LIVE = [row for row in ROWS if row.implemented]


def refusal(line: bytes) -> Reply:
    with pytest.raises(ProtocolError) as caught:
        parse_command(line)
    return caught.value.reply


def by_verb(row: CommandSpec) -> str:
    return row.verb


def words(text: str) -> set[str]:
    return set(text.split())


def verbs(rows: list[CommandSpec]) -> set[str]:
    return {row.verb for row in rows}


@pytest.mark.parametrize("row", ROWS, ids=by_verb)
def test_a_row_is_complete(row: CommandSpec) -> None:
    assert COMMANDS[row.verb] is row
    assert row.verb == row.verb.upper()
    assert row.help
    assert row.help.isascii()
    assert row.rfc.startswith(("RFC ", "draft-", "common extension"))
    assert COMMANDS[row.canonical].canonical == row.canonical
    if row.permission or row.opens_data:
        assert row.needs_login
    if row.opens_data:
        assert row.permission
        assert not row.during_transfer


@pytest.mark.parametrize("row", LIVE, ids=by_verb)
def test_the_argument_rule_holds(row: CommandSpec) -> None:
    bare, with_argument = row.verb.encode(), row.verb.lower().encode() + b" x"
    for line in (bare, bare + b" "):
        if row.argument is Argument.REQUIRED:
            assert refusal(line) is replies.ARGUMENT_REQUIRED
        else:
            assert parse_command(line).argument == ""
    if row.argument is Argument.NONE:
        assert refusal(with_argument) is replies.NO_ARGUMENT_ALLOWED
        assert parse_command(bare + b"   ").argument == ""
    else:
        command = parse_command(with_argument)
        assert (command.verb, command.argument, command.spec) == (row.verb, "x", row)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.implemented], ids=by_verb)
def test_known_but_not_implemented(row: CommandSpec) -> None:
    assert refusal(row.verb.encode()) is replies.NOT_IMPLEMENTED
    assert refusal(row.verb.encode() + b" x") is replies.NOT_IMPLEMENTED


def test_the_verbs_that_work() -> None:
    assert verbs(LIVE) == words(
        "USER PASS ACCT QUIT REIN NOOP PWD CWD CDUP XPWD XCWD XCUP MKD XMKD RMD XRMD PASV EPSV "
        "PORT EPRT TYPE MODE STRU LIST NLST MLSD MLST STAT STOR APPE STOU REST RETR DELE RNFR RNTO "
        "SIZE MDTM ABOR FEAT OPTS SYST HELP ALLO SITE CLNT"
    )


def test_rules_that_span_rows() -> None:
    assert verbs([row for row in LIVE if not row.needs_login]) == words(
        "USER PASS ACCT QUIT REIN NOOP FEAT OPTS SYST HELP STAT CLNT ABOR"
    )
    assert verbs([row for row in ROWS if row.during_transfer]) == words("ABOR HELP NOOP QUIT STAT")
    assert verbs([row for row in ROWS if row.keeps_restart]) == words("REST PASV EPSV PORT EPRT")
    assert verbs([row for row in ROWS if row.keeps_rename]) == {"RNFR"}
    assert verbs([row for row in LIVE if row.opens_data]) == words(
        "LIST NLST MLSD RETR STOR APPE STOU"
    )


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (Permission.READ, "LIST NLST MLSD MLST SIZE MDTM RETR"),
        (Permission.WRITE, "STOR APPE STOU MKD XMKD RNFR RNTO"),
        (Permission.DELETE, ""),
        (Permission.WRITE | Permission.DELETE, "STOR APPE STOU MKD XMKD RNFR RNTO DELE RMD XRMD"),
    ],
)
def test_what_an_account_may_do(permission: Permission, expected: str) -> None:
    allowed = [row for row in LIVE if row.permission and row.permission in permission]
    assert verbs(allowed) == words(expected)


@pytest.mark.parametrize(
    ("alias", "verb"),
    [("XPWD", "PWD"), ("XCWD", "CWD"), ("XCUP", "CDUP"), ("XMKD", "MKD"), ("XRMD", "RMD")],
)
def test_an_old_name_is_the_same_command(alias: str, verb: str) -> None:
    row = COMMANDS[alias]
    assert row.canonical == verb
    assert (row.argument, row.permission) == (COMMANDS[verb].argument, COMMANDS[verb].permission)


@pytest.mark.parametrize(
    ("line", "argument"),
    [
        (b"RETR a b", "a b"),
        (b"RETR  a", " a"),
        (b"RETR a  ", "a  "),
        (b"RETR  ", " "),
        ("rEtR 名前".encode(), "名前"),
        ("RETR a\u3000b\u0085".encode(), "a\u3000b\u0085"),
        (b'PASS "a b" ', '"a b" '),
    ],
)
def test_spaces_belong_to_the_argument(line: bytes, argument: str) -> None:
    assert parse_command(line).argument == argument


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"", replies.UNKNOWN_COMMAND),
        (b" RETR a", replies.UNKNOWN_COMMAND),
        (b"RETRIEVE a", replies.UNKNOWN_COMMAND),
        ("paß x".encode(), replies.UNKNOWN_COMMAND),
        (b"RETR \xff", replies.NOT_UTF8),
        (b"RETR \xc0\xaf", replies.NOT_UTF8),
        (b"RETR a\0b", replies.CONTROL_CHARACTER),
        (b"RETR a\rb", replies.CONTROL_CHARACTER),
        (b"RETR a\nb", replies.CONTROL_CHARACTER),
        (b"RETR a\tb", replies.CONTROL_CHARACTER),
        (b"RETR a\x7f", replies.CONTROL_CHARACTER),
        (b"RETR\ta", replies.CONTROL_CHARACTER),
    ],
)
def test_lines_that_are_refused(line: bytes, reply: Reply) -> None:
    assert refusal(line) is reply


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"pass s3cret", "PASS ***"),
        (b"PASS", "PASS"),
        (b"ACCT s3cret", "ACCT ***"),
        (b"ADAT s3cret", "ADAT ***"),
        (b"PASS s3cret\xff\0", "PASS ***"),
        (b"PASSs3cret", "(unknown)"),
        (b"s3cret", "(unknown)"),
        (b"PSAS s3cret", "(unknown)"),
        (b"retr  a\0\n", "RETR  a??"),
        (b"RETR \xff", "RETR \\xff"),
        (b"", "(unknown)"),
    ],
)
def test_a_log_shows_commands_but_no_secrets(line: bytes, shown: str) -> None:
    assert loggable(line) == shown


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_a_password_shows_nowhere_in_the_command(password: str) -> None:
    command = parse_command(f"PASS {password}".encode())
    assert command.argument == password
    assert command.loggable == "PASS ***"
    assert repr(command) == "Command(verb='PASS', loggable='PASS ***')"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
def test_any_name_without_controls_arrives_as_it_was_sent(name: str) -> None:
    command = parse_command(b"STOR " + name.encode())
    assert command.argument == name
    assert command.loggable == f"STOR {name}"
