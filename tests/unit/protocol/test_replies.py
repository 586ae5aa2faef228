"""The reply table, and that nothing put into a reply can become a second one."""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server import protocol
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.replies import Reply

TABLE = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}
MOMENT = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
SOURCE = Path(replies.__file__)

any_text = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize("name", TABLE)
def test_a_default_reply_is_one_plain_line(name: str) -> None:
    reply = TABLE[name]
    assert 100 <= reply.code <= 559
    assert reply.code % 100 // 10 <= 5
    assert len(reply.lines) == 1
    assert re.fullmatch(r"[ -~]+", reply.text)
    assert reply.encode() == f"{reply.code} {reply.text}\r\n".encode()


def test_every_default_reply_names_its_rfc() -> None:
    lines = [line for line in SOURCE.read_text().splitlines() if re.match("[A-Z0-9_]+ = Re", line)]
    assert len(lines) == len(TABLE)
    assert [line for line in lines if not re.search(r"# RFC \d+ ", line)] == []


def test_reply_codes_live_in_one_module() -> None:
    codes = {reply.code for reply in TABLE.values()} | {211, 212, 213, 214, 227, 229, 257}
    for path in Path(next(iter(protocol.__path__))).glob("*.py"):
        if path != SOURCE:
            found = [
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, int | str)
                and (node.value in codes or re.match(r"[1-5]\d\d[ -]", str(node.value)))
            ]
            assert found == [], path


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (replies.opening_data(), "150 Opening data connection."),
        (replies.opening_data(0), "150 Opening BINARY mode data connection (0 bytes)."),
        (replies.opening_unique("a.1"), "150 FILE: a.1"),
        (
            replies.transfer_complete(9, 11051210869376104954, 0.04567),
            "226 Transfer complete: 9 bytes, CRC64 11051210869376104954, 0.046 seconds.",
        ),
        (
            replies.transfer_complete(1, 2, 3, "a.1"),
            "226 Transfer complete: 1 bytes, CRC64 2, 3.000 seconds (unique file name:a.1).",
        ),
        (replies.listing_cut(10), "226 Listing cut: only the first 10 entries were sent."),
        (replies.passive("10.0.0.255", 1025), "227 Entering Passive Mode (10,0,0,255,4,1)."),
        (replies.extended_passive(6446), "229 Entering Extended Passive Mode (|||6446|)"),
        (replies.features(["SIZE", "UTF8"]), "211-Features:\r\n SIZE\r\n UTF8\r\n211 End"),
        (replies.status(["a", " b"]), "211-Status:\r\n a\r\n b\r\n211 End"),
        (
            replies.path_status(["226 trap"], is_directory=True),
            "212-Status:\r\n 226 trap\r\n212 End",
        ),
        (replies.path_status([], is_directory=False), "213-Status:\r\n213 End"),
        (replies.help_text("a"), "214 a"),
        (replies.file_size(12), "213 12"),
        (replies.modification_time(MOMENT), "213 20240203040506"),
        (replies.facts("type=dir; /a"), "250-Listing:\r\n type=dir; /a\r\n250 End"),
        (replies.mlst_options(["type", "size"]), "200 MLST OPTS type;size;"),
        (replies.mlst_options([]), "200 MLST OPTS"),
        (replies.working_directory('/a"b'), '257 "/a""b" is the current directory.'),
        (replies.path_created("/é"), '257 "/é" created.'),
        (replies.rest_accepted(5), "350 Restarting at 5."),
        (replies.closing("x"), "421 x"),
        (replies.aborted("x"), "426 x"),
        (replies.file_busy("x"), "450 x"),
        (replies.local_error("x"), "451 x"),
        (replies.file_unavailable("x"), "550 x"),
        (replies.preceded(replies.file_unavailable("x."), "y."), "550 y. x."),
        (replies.service_ready("hello"), "220 hello"),
        (replies.service_ready("a\nb\nc"), "220-a\r\n b\r\n220 c"),
        (replies.service_ready(""), "220 COS FTP Server ready."),
    ],
)
def test_replies_with_a_part_that_varies(reply: Reply, expected: str) -> None:
    assert reply.encode() == f"{expected}\r\n".encode()


def test_continuation_lines_and_the_last_one_make_one_reply() -> None:
    reply = replies.STORING
    assert reply.encode_continuation() == b"226-Data received, waiting for the store.\r\n"


@pytest.mark.parametrize(
    ("code", "positive"), [(150, True), (226, True), (350, True), (421, False), (550, False)]
)
def test_classes(code: int, positive: bool) -> None:
    assert Reply.of(code, "x").is_positive is positive


def test_a_reply_has_a_line() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        Reply.of(200)


@given(st.integers(100, 599), st.lists(any_text, min_size=1, max_size=6))
def test_no_text_can_end_a_reply_or_begin_another(code: int, lines: list[str]) -> None:
    encoded = Reply.of(code, *lines).encode()
    assert encoded.endswith(b"\r\n")
    sent = encoded[:-2].split(b"\r\n")
    assert len(sent) == len(lines)
    assert not re.search(rb"[\x00-\x1f\x7f]", b"".join(sent))
    assert b"\xff" not in encoded  # Telnet's IAC
    assert sent[-1].startswith(b"%d " % code)
    if len(sent) > 1:
        assert sent[0].startswith(b"%d-" % code)
    assert all(line.startswith(b" ") for line in sent[1:-1])
    encoded.decode()


@given(any_text)
def test_quoted_paths_can_be_read_back(path: str) -> None:
    text = replies.path_created(path).text
    quoted = text.removesuffix(" created.")
    assert quoted[1:-1].replace('""', '"') == path


def test_an_error_is_a_reply() -> None:
    error = ProtocolError(replies.TIMEOUT)
    assert error.reply is replies.TIMEOUT
    assert str(error) == "421 Timeout."
