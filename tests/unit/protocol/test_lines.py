"""Bytes to lines: chunking never matters, Telnet goes, names stay, memory is bounded."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol.commands import Command, loggable, parse_command
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.lines import NEED_DATA, LineBuffer, LineTooLong
from cos_ftp_server.protocol.replies import Reply

LIMIT = 20
TOO_LONG = "too long"


def take(buffer: LineBuffer) -> list[bytes | str]:
    """Take all that is complete."""
    taken: list[bytes | str] = []
    while True:
        try:
            line = buffer.next_line()
        except LineTooLong:
            taken.append(TOO_LONG)
            continue
        if line is NEED_DATA:
            return taken
        taken.append(line)


def feed(chunks: Iterable[bytes]) -> list[bytes | str]:
    """Take after every chunk, as a server does."""
    buffer = LineBuffer(LIMIT)
    taken = []
    for chunk in chunks:
        buffer.receive_data(chunk)
        taken += take(buffer)
        assert len(buffer._pending) <= LIMIT + 1 + 2
    return taken


def in_bytes(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


CASES: list[tuple[bytes, list[bytes | str]]] = [
    (b"", []),
    (b"\r\n", [b""]),
    (b"NOOP\r\n", [b"NOOP"]),
    (b"NOOP\n", [b"NOOP"]),
    (b"NOOP\r\r\n", [b"NOOP\r"]),
    (b"A\rB\r\n", [b"A\rB"]),
    (b"A\r\nB\nC\r\n", [b"A", b"B", b"C"]),
    # Telnet: what clients send in front of ABOR, and what is left of it after an urgent read.
    (b"\xff\xf4\xff\xf2ABOR\r\n", [b"ABOR"]),
    (b"\xff\xf4\xffABOR\r\n", [b"ABOR"]),
    (b"\xff\xf4\xf2ABOR\r\n", [b"ABOR"]),
    (b"\xf2ABOR\r\n", [b"ABOR"]),
    (b"\xf4\xf2ABOR\r\nQUIT\r\n", [b"ABOR", b"QUIT"]),
    (b"A\r\n\xf2ABOR\r\n", [b"A", b"ABOR"]),
    (b"\xff\xfd\x06NOOP\r\n", [b"NOOP"]),
    (b"\xff\xfb\nNOOP\r\n", [b"NOOP"]),
    (b"\xff\xfc\xffNOOP\r\n", [b"NOOP"]),
    (b"\xff\xfaNO\xff\xf0OP\r\n", [b"NOOP"]),
    (b"MKD \xff\xff\r\n", [b"MKD \xff"]),
    (b"MKD \xff\xff\xff\xf4a\r\n", [b"MKD \xffa"]),
    (b"MKD a\xff\r\n", [b"MKD a"]),
    (b"MKD \xf4\x8f\xbf\xbf\xf2\r\n", [b"MKD \xf4\x8f\xbf\xbf\xf2"]),
    (b"MKD \xe5\x90\x8d\r\n", [b"MKD \xe5\x90\x8d"]),
    # The limit does not count the line end.
    (b"x" * LIMIT + b"\r\nNOOP\r\n", [b"x" * LIMIT, b"NOOP"]),
    (b"x" * LIMIT + b"\nNOOP\r\n", [b"x" * LIMIT, b"NOOP"]),
    (b"x" * (LIMIT + 1) + b"\nNOOP\r\n", [TOO_LONG, b"NOOP"]),
    (b"x" * (LIMIT + 1) + b"\r\nNOOP\r\n", [TOO_LONG, b"NOOP"]),
    (b"x" * (LIMIT + 2) + b"\r\nNOOP\r\n", [TOO_LONG, b"NOOP"]),
    (b"A\r\n" + b"x" * 100 + b"\r\nB\r\n", [b"A", TOO_LONG, b"B"]),
    (b"x" * 100 + b"\n" + b"y" * 100 + b"\nB\n", [TOO_LONG, TOO_LONG, b"B"]),
    (b"\xf2" * 100 + b"\nB\n", [TOO_LONG, b"B"]),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_lines_whole_in_bytes_and_with_a_rest(data: bytes, expected: list[bytes | str]) -> None:
    assert feed([data]) == expected
    assert feed(in_bytes(data)) == expected
    assert feed([data + b"QU", b"IT\r\n"]) == [*expected, b"QUIT"]


telnet_like = st.lists(
    st.sampled_from([b"\xff", b"\xf2", b"\xf4", b"\xfd", b"\r", b"\n", b"ab ", b"\x80", b"x" * 9]),
    max_size=30,
).map(b"".join)


@given(st.lists(st.binary(max_size=40) | telnet_like, max_size=10))
def test_chunking_never_matters(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    assert feed(chunks) == feed([data]) == feed(in_bytes(data))


@given(st.lists(st.binary(max_size=40) | telnet_like, max_size=10))
def test_taking_late_changes_nothing(chunks: list[bytes]) -> None:
    buffer = LineBuffer(LIMIT)
    for chunk in chunks:
        buffer.receive_data(chunk)
    assert take(buffer) == feed(chunks)


def test_an_endless_line_is_reported_once_and_never_held() -> None:
    buffer = LineBuffer(LIMIT)
    for _ in range(1000):
        buffer.receive_data(b"x" * 1000)
        assert len(buffer._pending) <= LIMIT + 2
    assert take(buffer) == [TOO_LONG]
    buffer.receive_data(b"x" * 1000)
    assert not buffer.has_pending
    assert take(buffer) == []
    buffer.receive_data(b"x\nNOOP\n")
    assert take(buffer) == [b"NOOP"]


def test_the_error_is_a_reply_of_its_own() -> None:
    assert LineTooLong().reply.text == "Command line too long."


fuzzed_line = st.one_of(
    st.binary(max_size=60),
    st.tuples(
        st.sampled_from([b"RETR", b"pass", b"Noop", b"AUTH", b"STAT", b"ZZZ", b"pa\xc3\x9f"]),
        st.sampled_from([b"", b" ", b"  "]),
        st.binary(max_size=30) | st.text(max_size=10).map(str.encode),
    ).map(b"".join),
)


def parsed(line: bytes) -> Command | Reply:
    try:
        return parse_command(line)
    except ProtocolError as error:
        return error.reply


@given(st.lists(fuzzed_line, max_size=8).map(b"\r\n".join))
def test_any_bytes_become_commands_or_refusals_and_nothing_else(data: bytes) -> None:
    buffer = LineBuffer(LIMIT)
    buffer.receive_data(data + b"\n")
    for line in take(buffer):
        if isinstance(line, str):
            continue
        assert loggable(line).isprintable() or not line.isascii()
        outcome = parsed(line)
        if isinstance(outcome, Command):
            assert not any(character < " " for character in outcome.argument)
        else:
            assert not outcome.is_positive
