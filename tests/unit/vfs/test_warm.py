"""Memory that is kept warm: what was used last comes first, and no more is kept than may be."""

from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.vfs.warm import WarmMemory

KIB = 1024


def test_what_was_used_last_is_used_next() -> None:
    warm = WarmMemory()
    (first, _), (second, _) = warm.take(64 * KIB, 0), warm.take(64 * KIB, 0)
    warm.keep(first, 64 * KIB)
    warm.keep(second, 64 * KIB)
    assert warm.take(64 * KIB, 64 * KIB) == (second, 64 * KIB)
    assert warm.take(64 * KIB, 64 * KIB) == (first, 64 * KIB)
    assert warm.bytes == 0
    assert warm.take(64 * KIB, 64 * KIB)[1] == 0


def test_only_memory_of_the_size_that_is_asked_for() -> None:
    warm = WarmMemory()
    warm.keep(warm.take(128 * KIB, 0)[0], 128 * KIB)
    memory, resident = warm.take(64 * KIB, 128 * KIB)
    assert (len(memory), resident, warm.bytes) == (64 * KIB, 0, 128 * KIB)


def test_memory_of_which_too_much_is_resident_stays() -> None:
    warm = WarmMemory()
    warm.keep(warm.take(128 * KIB, 0)[0], 100 * KIB)
    assert warm.take(128 * KIB, 100 * KIB - 1)[1] == 0
    assert warm.bytes == 100 * KIB
    assert warm.take(128 * KIB, 100 * KIB)[1] == 100 * KIB


def test_the_largest_goes_first_and_of_those_the_oldest() -> None:
    warm = WarmMemory()
    old, new, small = (warm.take(size * KIB, 0)[0] for size in (128, 128, 64))
    for memory in (old, new, small):
        warm.keep(memory, len(memory))
    warm.cool_down(200 * KIB)
    assert warm.bytes == 192 * KIB
    assert warm.take(128 * KIB, 128 * KIB)[0] is new
    assert warm.take(64 * KIB, 64 * KIB)[0] is small


@given(st.lists(st.tuples(st.sampled_from([4, 64, 256]), st.integers(0, 4))), st.integers(0, 2000))
def test_no_more_is_kept_than_may_be(kept: list[tuple[int, int]], most: int) -> None:
    warm = WarmMemory()
    for size, quarters in kept:
        warm.keep(warm.take(size * KIB, 0)[0], size * KIB * quarters // 4)
    warm.cool_down(most * KIB)
    assert 0 <= warm.bytes <= most * KIB
