"""FEAT and HELP say what is true; the small arguments are read strictly."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import COMMANDS
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.features import (
    MAX_OFFSET,
    Option,
    TransferType,
    check_mode,
    check_structure,
    check_utf8_option,
    feature_lines,
    help_reply,
    parse_allo,
    parse_opts,
    parse_rest,
    parse_type,
)
from cos_ftp_server.protocol.listing import MLST_FACTS
from cos_ftp_server.protocol.replies import Reply


def refusal(function: Callable[[str], object], argument: str) -> Reply:
    with pytest.raises(ProtocolError) as caught:
        function(argument)
    return caught.value.reply


def test_features() -> None:
    assert feature_lines(("type", "size")) == (
        "CLNT",
        "EPRT",
        "EPSV",
        "MDTM",
        "MLST type*;size*;modify;perm;unix.mode;",
        "REST STREAM",
        "SIZE",
        "TVFS",
        "UTF8",
    )


def test_a_feature_named_after_a_verb_is_implemented() -> None:
    for line in feature_lines(MLST_FACTS):
        row = COMMANDS.get(line.split()[0])
        assert row is None or row.implemented


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_of_a_verb(verb: str) -> None:
    row = COMMANDS[verb]
    reply = help_reply(f" {verb.lower()} ")
    if row.implemented:
        assert reply.lines == (f"{verb} {row.help} ({row.rfc})",)
    else:
        assert reply is replies.NOT_IMPLEMENTED


def test_help_of_what_nobody_knows() -> None:
    assert help_reply("ZZZ") is replies.NOT_IMPLEMENTED


def test_help_names_all_that_works() -> None:
    reply = help_reply("")
    named = " ".join(reply.lines[1:-1]).split()
    assert named == sorted(row.verb for row in COMMANDS.values() if row.implemented)
    assert max(map(len, reply.lines)) <= 72


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("A", TransferType.ASCII),
        ("a n", TransferType.ASCII),
        ("I", TransferType.BINARY),
        ("i ", TransferType.BINARY),
        ("L 8", TransferType.BINARY),
        ("l8", TransferType.BINARY),
    ],
)
def test_type(argument: str, expected: TransferType) -> None:
    assert parse_type(argument) is expected


@pytest.mark.parametrize(
    ("function", "argument", "reply"),
    [
        (parse_type, "E", replies.BAD_PARAMETER),
        (parse_type, "A T", replies.BAD_PARAMETER),
        (parse_type, "A C", replies.BAD_PARAMETER),
        (parse_type, "L 7", replies.BAD_PARAMETER),
        (parse_type, "L36", replies.BAD_PARAMETER),
        (parse_type, "L", replies.SYNTAX_ERROR),
        (parse_type, "X", replies.SYNTAX_ERROR),
        (parse_type, "A X", replies.SYNTAX_ERROR),
        (parse_type, "A N N", replies.SYNTAX_ERROR),
        (parse_type, "I N", replies.SYNTAX_ERROR),
        (parse_type, " ", replies.SYNTAX_ERROR),
        (check_mode, "B", replies.BAD_PARAMETER),
        (check_mode, "c", replies.BAD_PARAMETER),
        (check_mode, "Z", replies.BAD_PARAMETER),
        (check_mode, "X", replies.SYNTAX_ERROR),
        (check_mode, "BC", replies.SYNTAX_ERROR),
        (check_mode, " ", replies.SYNTAX_ERROR),
        (check_structure, "R", replies.BAD_PARAMETER),
        (check_structure, "P", replies.BAD_PARAMETER),
        (check_structure, "X", replies.SYNTAX_ERROR),
        (parse_rest, "-1", replies.SYNTAX_ERROR),
        (parse_rest, "+1", replies.SYNTAX_ERROR),
        (parse_rest, "x", replies.SYNTAX_ERROR),
        (parse_rest, " ", replies.SYNTAX_ERROR),
        (parse_rest, "1 2", replies.SYNTAX_ERROR),
        (parse_rest, "\u0661", replies.SYNTAX_ERROR),
        (parse_rest, str(MAX_OFFSET + 1), replies.SYNTAX_ERROR),
        (parse_rest, "9" * 5000, replies.SYNTAX_ERROR),
        (parse_allo, "x", replies.SYNTAX_ERROR),
        (parse_allo, "1 R", replies.SYNTAX_ERROR),
        (parse_allo, "1 2", replies.SYNTAX_ERROR),
        (parse_opts, "REST", replies.UNKNOWN_OPTION),
        (parse_opts, " ", replies.UNKNOWN_OPTION),
        (check_utf8_option, "off", replies.UTF8_STAYS_ON),
        (check_utf8_option, "NLST", replies.SYNTAX_ERROR),
    ],
)
def test_refused_arguments(function: Callable[[str], object], argument: str, reply: Reply) -> None:
    assert refusal(function, argument) is reply


def test_mode_and_structure() -> None:
    check_mode("S")
    check_mode(" s ")
    check_structure("f")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("0", 0), (" 12 ", 12), ("007", 7), (str(MAX_OFFSET), MAX_OFFSET)],
)
def test_rest(argument: str, expected: int) -> None:
    assert parse_rest(argument) == expected


@pytest.mark.parametrize(
    ("argument", "expected"), [("0", 0), ("12", 12), ("12 R 80", 12), ("12 r 80 ", 12)]
)
def test_allo(argument: str, expected: int) -> None:
    assert parse_allo(argument) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("UTF8 ON", (Option.UTF8, "ON")),
        ("utf8 on", (Option.UTF8, "on")),
        ("UTF-8", (Option.UTF8, "")),
        ("MLST type;size;", (Option.MLST, "type;size;")),
        ("mlst", (Option.MLST, "")),
    ],
)
def test_opts(argument: str, expected: tuple[Option, str]) -> None:
    assert parse_opts(argument) == expected


@pytest.mark.parametrize("value", ["", "ON", "on"])
def test_utf8_is_on(value: str) -> None:
    check_utf8_option(value)


@given(st.text())
def test_nothing_but_a_refusal_comes_out_of_nonsense(argument: str) -> None:
    parsers: tuple[Callable[[str], object], ...] = (
        parse_type,
        check_mode,
        check_structure,
        parse_rest,
        parse_allo,
        parse_opts,
    )
    for function in parsers:
        with suppress(ProtocolError):
            function(argument)
