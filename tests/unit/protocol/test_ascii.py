"""TYPE A: chunks never matter, nothing is doubled, nothing is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol.ascii import AsciiDecoder, AsciiEncoder

line_ends = st.lists(
    st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n"]), max_size=6).map(b"".join), max_size=8
)


def decode(chunks: list[bytes]) -> bytes:
    decoder = AsciiDecoder()
    return b"".join([*map(decoder.convert, chunks), decoder.finish()])


def encode(chunks: list[bytes]) -> bytes:
    return b"".join(map(AsciiEncoder().convert, chunks))


@pytest.mark.parametrize(
    ("wire", "stored"),
    [
        ([b"a\r\nb\r\n"], b"a\nb\n"),
        ([b"a\r", b"\nb"], b"a\nb"),
        ([b"a\r", b"b"], b"a\rb"),
        ([b"a\r"], b"a\r"),
        ([b"a\r", b"", b"\n"], b"a\n"),
        ([b"\r", b"\r", b"\n"], b"\r\n"),
        ([b"a\nb"], b"a\nb"),
        ([], b""),
    ],
)
def test_storing(wire: list[bytes], stored: bytes) -> None:
    assert decode(wire) == stored


@pytest.mark.parametrize(
    ("stored", "wire"),
    [
        ([b"a\nb\n"], b"a\r\nb\r\n"),
        ([b"a\r\nb"], b"a\r\nb"),
        ([b"a\r", b"\nb"], b"a\r\nb"),
        ([b"a\r", b"", b"\nb"], b"a\r\nb"),
        ([b"a", b"\nb"], b"a\r\nb"),
        ([b"\n", b"\n"], b"\r\n\r\n"),
        ([b"a\rb\r"], b"a\rb\r"),
        ([], b""),
    ],
)
def test_retrieving(stored: list[bytes], wire: bytes) -> None:
    assert encode(stored) == wire


@given(line_ends)
def test_chunks_never_matter(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert decode(chunks) == whole.replace(b"\r\n", b"\n")
    assert encode(chunks) == re.sub(rb"(?<!\r)\n", b"\r\n", whole)


@given(line_ends)
def test_what_has_unix_line_ends_comes_back(chunks: list[bytes]) -> None:
    stored = b"".join(chunks).replace(b"\r", b"")
    assert decode([encode([stored])]) == stored


def test_any_buffer_will_do() -> None:
    assert AsciiEncoder().convert(memoryview(b"a\n")) == b"a\r\n"
    assert AsciiDecoder().convert(bytearray(b"a\r\n")) == b"a\n"


def test_a_decoder_gives_back_what_it_held_only_once() -> None:
    decoder = AsciiDecoder()
    decoder.convert(b"\r")
    assert (decoder.finish(), decoder.finish()) == (b"\r", b"")
