"""HTTP answers, fed whole and in pieces."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cos_ftp_server.cos.answer import Answer
from cos_ftp_server.cos.http_error import HttpError, Trouble

LENGTH = (
    b'HTTP/1.1 200 OK\r\nETag: "e"\r\nX-Twice: 1\r\nx-twice: 2\r\nContent-Length: 5\r\n\r\nhello'
)
CHUNKS = b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Late: 1\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\nhello"
INTERIM = b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\n" + LENGTH
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
OLD = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"

CASES = {
    "length": (LENGTH, 200, b"hello", True),
    "chunked": (CHUNKED, 200, b"hello", True),
    "interim": (INTERIM, 200, b"hello", True),
    "no content": (NO_CONTENT, 204, b"", True),
    "closing": (CLOSING, 200, b"", False),
    "old": (OLD, 200, b"hello", False),
}


HEADS = {
    "no length": (b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n", True),
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True),
    "closing": (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n", False),
    "old": (b"HTTP/1.0 200 OK\r\n\r\n", False),
    "old and kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
        True,
    ),
}


def fed(data: bytes, size: int, *, has_body: bool = True) -> Answer:
    answer = Answer(has_body=has_body)
    for start in range(0, len(data), size):
        answer.feed(memoryview(data)[start : start + size])
    return answer


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(("data", "status", "body", "keeps_alive"), CASES.values(), ids=CASES)
def test_complete(size: int, data: bytes, status: int, body: bytes, keeps_alive: bool) -> None:
    answer = fed(data, size)
    assert answer.is_complete
    assert answer.status == status
    assert answer.keeps_alive is keeps_alive
    assert answer.held == len(body)
    assert answer.take_all() == body
    assert answer.held == 0
    assert "x-early" not in answer.headers
    assert "x-late" not in answer.headers


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(("data", "keeps_alive"), HEADS.values(), ids=HEADS)
def test_answers_to_head(size: int, data: bytes, keeps_alive: bool) -> None:
    answer = fed(data, size, has_body=False)
    assert answer.is_complete
    assert answer.keeps_alive is keeps_alive


@pytest.mark.parametrize(("data", "status", "body", "keeps_alive"), CASES.values(), ids=CASES)
def test_what_comes_behind_it_ends_the_connection(
    data: bytes, status: int, body: bytes, keeps_alive: bool
) -> None:
    together, one_by_one = fed(data + LENGTH, 1000), fed(data + LENGTH, 1)
    for answer in (together, one_by_one):
        assert answer.is_complete
        assert not answer.keeps_alive
        assert (answer.status, answer.take_all()) == (status, body)


def test_headers_are_in_lower_case_and_the_first_of_a_name_counts() -> None:
    assert fed(LENGTH, 1000).headers == {"etag": '"e"', "x-twice": "1", "content-length": "5"}


def test_an_answer_to_head_has_no_body() -> None:
    head = LENGTH.removesuffix(b"hello")
    answer = fed(head, 1, has_body=False)
    assert (answer.is_complete, answer.keeps_alive, answer.held) == (True, True, 0)
    assert not fed(LENGTH, 1000, has_body=False).keeps_alive


def test_a_body_that_the_end_of_the_connection_ends() -> None:
    answer = fed(TO_THE_END, 3)
    assert not answer.is_complete
    answer.end()
    assert (answer.is_complete, answer.keeps_alive, answer.take_all()) == (True, False, b"hello")


@pytest.mark.parametrize("data", [LENGTH, CHUNKED])
def test_an_end_that_comes_early_completes_nothing(data: bytes) -> None:
    for length in range(len(data)):
        answer = fed(data[:length], 1000)
        answer.end()
        assert not answer.is_complete


def test_a_body_may_go_another_way() -> None:
    answer = fed(LENGTH.removesuffix(b"llo"), 1000)
    assert (answer.take(1), answer.take(9), answer.take(9)) == (b"h", b"e", b"")
    assert answer.left == 3
    answer.bypass()
    answer.count(2)
    assert not answer.is_complete
    answer.count(1)
    assert answer.is_complete


@pytest.mark.parametrize(
    "data",
    [
        b"220 FTP here\r\n",
        b"<html>",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-cos-meta-a: b\r\n" * 5000,
    ],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        fed(data, 1000)
    assert caught.value.trouble is Trouble.NO_HTTP


@given(st.binary(max_size=300), st.integers(1, 100))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 100)
def test_any_bytes_are_an_answer_or_none(data: bytes, size: int) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n"):
        try:
            answer = fed(prefix + data, size)
        except HttpError as error:
            assert error.trouble is Trouble.NO_HTTP  # noqa: PT017 - either is right
        else:
            assert answer.held >= 0
