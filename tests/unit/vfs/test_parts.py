"""The part ladder: any size within 10,000 parts, cheap at its start."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cos_ftp_server.vfs.parts import PartLadder

MIB = 1024**2
GIB = 1024**3
TIB = 1024**4


@pytest.mark.parametrize("max_file", [1, 200 * GIB, 5 * TIB, 48 * TIB])
@pytest.mark.parametrize("first", [MIB, 8 * MIB, 5 * GIB])
def test_the_largest_file_fits(first: int, max_file: int) -> None:
    ladder = PartLadder(first=first, max_file=max_file)
    sizes = [ladder.size(number) for number in range(1, 10_001)]
    assert sizes[0] == first
    assert sum(sizes) >= max_file
    assert sizes == sorted(sizes)
    assert max(sizes) <= 5 * GIB


def test_the_default_needs_no_large_parts_for_the_default_maximum() -> None:
    ladder = PartLadder(first=8 * MIB, max_file=200 * GIB, max_part=32 * MIB)
    assert ladder.size(1000) == 8 * MIB
    assert ladder.capacity_after(0) >= 200 * GIB


def test_parts_may_end_early_while_the_largest_file_is_still_to_come() -> None:
    """Else uploads that share too little memory would wait for each other for ever."""
    ladder = PartLadder(first=8 * MIB, max_file=200 * GIB, max_part=32 * MIB)
    assert all(ladder.may_end_early(number, number * MIB) for number in range(1, 3000))


@settings(max_examples=20, deadline=None)
@given(first=st.integers(MIB, 64 * MIB), max_file=st.integers(1, 48 * TIB))
def test_capacity_is_the_sum_of_what_follows(first: int, max_file: int) -> None:
    ladder = PartLadder(first=first, max_file=max_file)
    assert ladder.capacity_after(0) - ladder.capacity_after(1) == ladder.size(1)
    assert ladder.capacity_after(10_000) == 0
    assert ladder.may_end_early(1, max_file)


def test_a_part_may_not_end_early_when_the_rest_would_not_fit() -> None:
    tight = PartLadder(first=5 * GIB, max_file=10_000 * 5 * GIB)
    assert tight.may_end_early(1, 5 * GIB)
    assert not tight.may_end_early(1, MIB)
