"""What listings print, that no name can forge a line, and what their arguments mean."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.listing import (
    MLST_FACTS,
    Entry,
    ListArgument,
    compile_glob,
    encode_entries,
    format_mlsx,
    format_name,
    format_unix,
    parse_list_argument,
    parse_mlst_facts,
)
from cos_ftp_server.protocol.text import escape_controls, has_controls
from cos_ftp_server.vfs.base import FileInfo, FileKind

NOW = datetime(2024, 11, 23, 12, 0, 0, tzinfo=UTC)
MOMENT = datetime(2024, 11, 22, 14, 5, 9, tzinfo=UTC)
READ_WRITE = Permission.READ | Permission.WRITE
ALL = READ_WRITE | Permission.DELETE


@dataclass(frozen=True, slots=True)
class Named:
    """The least that can be listed."""

    name: str = "name"
    is_directory: bool = False
    size: int = 0
    modified: datetime | None = MOMENT


any_text = st.text(st.characters(exclude_categories=()), min_size=1)
entries = st.builds(
    Named,
    name=any_text,
    is_directory=st.booleans(),
    size=st.integers(0, 2**63),
    modified=st.none() | st.datetimes(timezones=st.just(UTC)),
)


def test_what_the_file_system_gives_is_an_entry() -> None:
    info: Entry = FileInfo("a", FileKind.DIRECTORY, 0, None)
    assert format_mlsx(info, ("type",), ALL) == "type=dir; a"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            Named("a b", size=1234, modified=MOMENT),
            "-rw-r--r--   1 ftp ftp         1234 Nov 22 14:05 a b",
        ),
        (
            Named("名前", is_directory=True, modified=datetime(2011, 2, 3, tzinfo=UTC)),
            "drwxr-xr-x   1 ftp ftp            0 Feb 03  2011 名前",
        ),
        (
            Named(" x ", size=2**63, modified=None),
            "-rw-r--r--   1 ftp ftp 9223372036854775808 Jan 01  1970  x ",
        ),
        (
            Named("a\r\nb\0\t\x7f"),
            "-rw-r--r--   1 ftp ftp            0 Nov 22 14:05 a??b???",
        ),
    ],
)
def test_unix_lines(entry: Named, expected: str) -> None:
    assert format_unix(entry, NOW) == expected


@pytest.mark.parametrize(
    ("age", "shows_time"),
    [
        (timedelta(0), True),
        (timedelta(days=180, seconds=-1), True),
        (timedelta(days=180), False),
        (timedelta(seconds=-60), True),
        (timedelta(seconds=-61), False),
    ],
)
def test_the_time_of_day_is_shown_for_half_a_year(age: timedelta, shows_time: bool) -> None:
    line = format_unix(Named(modified=NOW - age), NOW)
    assert bool(re.search(r" \d\d:\d\d name", line)) is shows_time
    assert bool(re.search(r"  20\d\d name", line)) is not shows_time


def test_months_are_english() -> None:
    first_days = (datetime(2020, month, 1, tzinfo=UTC) for month in range(1, 13))
    lines = [format_unix(Named(modified=day), NOW) for day in first_days]
    months = " ".join(line.split()[5] for line in lines)
    assert months == "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


@pytest.mark.parametrize(
    ("entry", "facts", "expected"),
    [
        (
            Named("a", size=5),
            MLST_FACTS,
            "type=file;size=5;modify=20241122140509;perm=afwrd;unix.mode=0644; a",
        ),
        (
            Named("d e", is_directory=True),
            MLST_FACTS,
            "type=dir;modify=20241122140509;perm=ecfmldp;unix.mode=0755; d e",
        ),
        (Named("a", modified=None, size=1), ("modify", "size"), "size=1; a"),
        (Named("a\r\nb"), (), " a??b"),
        (Named("a"), ("unix.mode",), "unix.mode=0644; a"),
    ],
)
def test_facts(entry: Named, facts: tuple[str, ...], expected: str) -> None:
    assert format_mlsx(entry, facts, ALL) == expected


@pytest.mark.parametrize(
    ("permission", "file", "directory"),
    [
        (Permission.NONE, "", "e"),
        (Permission.READ, "r", "el"),
        (Permission.WRITE, "afw", "ecfm"),
        (Permission.WRITE | Permission.DELETE, "afwd", "ecfmdp"),
        (Permission.READ | Permission.DELETE, "r", "el"),
        (READ_WRITE, "afwr", "ecfml"),
    ],
)
def test_the_perm_fact_tells_what_the_account_may_do(
    permission: Permission, file: str, directory: str
) -> None:
    assert format_mlsx(Named("a"), ("perm",), permission) == f"perm={file}; a"
    line = format_mlsx(Named("a", is_directory=True), ("perm",), permission)
    assert line == f"perm={directory}; a"


def test_mlst_gives_the_whole_path() -> None:
    assert format_mlsx(Named("b"), ("type",), ALL, "/a/b\n") == "type=file; /a/b?"


def test_names() -> None:
    assert format_name(Named("a\nb")) == "a?b"


def test_a_page() -> None:
    page = [Named("a"), Named("名"), Named("\udc80")]
    assert encode_entries(page, format_name) == "a\r\n名\r\n?\r\n".encode()
    assert encode_entries([], format_name) == b""


@given(st.lists(entries, max_size=5), st.sampled_from([MLST_FACTS, (), ("size", "modify")]))
def test_no_name_can_forge_a_line(page: list[Named], facts: tuple[str, ...]) -> None:
    for formatter in (
        format_name,
        partial(format_unix, now=NOW),
        partial(format_mlsx, facts=facts, permission=ALL),
    ):
        encoded = encode_entries(page, formatter)
        encoded.decode()
        assert encoded.count(b"\r\n") == encoded.count(b"\r") == encoded.count(b"\n") == len(page)
        assert not re.search(rb"[\x00-\x1f\x7f]", encoded.replace(b"\r\n", b""))


@given(any_text)
def test_escaping_changes_control_characters_alone(text: str) -> None:
    escaped = escape_controls(text)
    assert not has_controls(escaped)
    assert len(escaped) == len(text)
    assert has_controls(text) == (escaped != text)


@given(entries)
def test_facts_can_be_read_back(entry: Named) -> None:
    line = format_mlsx(entry, MLST_FACTS, ALL)
    head, _, name = line.partition(" ")
    facts = dict(fact.split("=") for fact in head.split(";")[:-1])
    assert name == escape_controls(entry.name)
    assert facts["type"] == ("dir" if entry.is_directory else "file")
    assert facts.get("size") == (None if entry.is_directory else str(entry.size))
    if entry.modified:
        read = datetime.strptime(facts["modify"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        assert read == entry.modified.replace(microsecond=0)
    else:
        assert "modify" not in facts


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("", ()),
        ("type;size;", ("type", "size")),
        ("size;TYPE", ("type", "size")),
        ("type;unique;UNIX.mode;unix.uid;", ("type", "unix.mode")),
        (";;", ()),
    ],
)
def test_selecting_facts(argument: str, expected: tuple[str, ...]) -> None:
    assert parse_mlst_facts(argument) == expected


def test_facts_have_no_spaces() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_mlst_facts("type; size;")
    assert caught.value.reply is replies.SYNTAX_ERROR


@pytest.mark.parametrize(
    ("argument", "options", "path"),
    [
        ("", "", ""),
        ("dir", "", "dir"),
        ("-a", "a", ""),
        ("-la", "la", ""),
        ("-CF", "CF", ""),
        ("-lrt dir", "lrt", "dir"),
        ("-a ./sub", "a", "./sub"),
        ("-l -a dir -x", "la", "dir -x"),
        ("-l  dir ", "l", " dir "),
        ("-", "", "-"),
        ("--", "", "--"),
        ("--help", "", "--help"),
        ("-a.txt", "", "-a.txt"),
        ("-a/b", "", "-a/b"),
        ("-é", "", "-é"),
        ("-l -", "l", "-"),
        (" -l", "", " -l"),
    ],
)
def test_options_of_list(argument: str, options: str, path: str) -> None:
    assert parse_list_argument(argument) == ListArgument(options, path, argument)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["", "a", ".a", "a\nb"], []),
        ("*.txt", ["a.txt", ".txt"], ["a.txtx", "a.TXT", "atxt"]),
        ("a?c", ["abc", "a名c"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x", "abx"]),
        ("[!a-c]x", ["dx"], ["ax", "x"]),
        ("[", ["["], ["a"]),
        ("a[b", ["a[b"], ["ab"]),
        ("[]]", ["]"], ["[]]"]),
        ("[z-a]", [], ["z", "a", "-"]),
        ("*{a,b}", ["x{a,b}"], ["a"]),
        ("**", ["", "ab"], []),
        ("*.(a|b)+$", ["x.(a|b)+$"], ["x.a"]),
        ("\\*", ["\\", "\\a"], ["*"]),
    ],
)
def test_globs(pattern: str, matching: list[str], others: list[str]) -> None:
    matches = compile_glob(pattern)
    assert matches
    assert [name for name in matching if not matches(name)] == []
    assert [name for name in others if matches(name)] == []


@pytest.mark.parametrize("pattern", ["", "a", "a{b,c}", "a]", "*" + "a" * 128])
def test_what_is_no_glob(pattern: str) -> None:
    assert compile_glob(pattern) is None


@given(st.text(alphabet="ab*?[]!-\\^&~|{}.\n", max_size=20), st.text(alphabet="ab*?[]!-\n"))
def test_any_pattern_compiles(pattern: str, name: str) -> None:
    matches = compile_glob(pattern)
    if matches:
        assert matches(name) in (True, False)


@pytest.mark.parametrize(
    "pattern", ["*a" * 60 + "b", "*" * 120 + "b", "*" + "a" * 120 + "b*", "*[ab]" * 24 + "c"]
)
def test_no_pattern_takes_exponential_time(pattern: str) -> None:
    matches = compile_glob(pattern)
    assert matches
    start = time.process_time()
    assert not matches("a" * 850)
    # Quadratic work is well under a millisecond; backtracking would outlast the universe.
    assert time.process_time() - start < 1
