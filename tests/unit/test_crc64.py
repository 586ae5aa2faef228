"""CRC-64/XZ against published values, and combining against computing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.crc64 import combine, crc64


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 11051210869376104954),
        (b"hello world", 5981764153023615706),
        (b"[Object Content]", 16749565679157681890),  # COS: PUT Object, sample
        (b"[Object Part]", 4510578591875220731),  # COS: Upload Part, sample
        (bytes(1 << 20), 6947770692288575170),
    ],
)
def test_known_values(data: bytes, expected: int) -> None:
    assert crc64(data) == expected


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_continuing_and_combining_agree_with_computing(first: bytes, second: bytes) -> None:
    whole = crc64(first + second)
    assert crc64(second, crc64(first)) == whole
    assert combine(crc64(first), crc64(second), len(second)) == whole
