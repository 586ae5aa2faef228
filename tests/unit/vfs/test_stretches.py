"""What a few listed entries tell about the names around them."""

from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.vfs.stretches import Stretches
from tests.doubles.clock import Clock

KEYS = st.text(alphabet="ab-/.0", min_size=1, max_size=4).filter(
    lambda key: not key.startswith("/") and not key.endswith("/") and "//" not in key
)


def test_names_behind_the_last_entry_are_known_to_be_free() -> None:
    stretches = Stretches(Clock())
    assert stretches.find("d/", "d/img_0001", since=-1) is None
    stretch = stretches.add("d/", "d/img_0001", None, {}, 0.0)
    assert stretches.find("d/", "d/img_0002", since=-1) is stretch
    assert stretches.find("d/", "d/img_0000", since=-1) is None
    assert stretches.find("e/", "e/img_0002", since=-1) is None


def test_what_was_not_listed_is_not_known() -> None:
    stretches = Stretches(Clock())
    stretches.add("", "b", "b-7", {"b-1": '"1"', "b-7": '"7"'}, 0.0)
    assert stretches.find("", "b", since=-1) is None, "b/ sorts behind b-7"
    assert stretches.find("", "b-1", since=-1)
    assert stretches.find("", "b-7", since=-1) is None, "b-7/ may come"
    assert stretches.find("", "b-8", since=-1) is None


def test_only_what_was_asked_for_lately_counts() -> None:
    stretches = Stretches(Clock())
    stretches.add("", "a", None, {}, 5.0)
    assert stretches.find("", "b", since=4.9)
    assert stretches.find("", "b", since=5.0) is None


def test_a_newer_look_counts() -> None:
    stretches = Stretches(Clock())
    stretches.add("", "a", None, {}, 0.0)
    newer = stretches.add("", "a", None, {"a": '"1"'}, 0.0)
    assert stretches.find("", "a", since=-1) is newer


def test_there_are_never_many() -> None:
    clock = Clock()
    stretches = Stretches(clock)
    for number in range(10_000):
        clock.now += 0.01
        stretches.add(f"{number % 50}/", f"{number % 50}/{number:05d}", None, {}, clock.now)
        assert stretches.count <= 256


@given(
    keys=st.sets(KEYS),
    asked=KEYS,
    following=KEYS,
    most=st.integers(1, 5),
)
def test_it_tells_what_a_look_would(keys: set[str], asked: str, following: str, most: int) -> None:
    """Of files and directories in one directory, from the listing of a few of them."""
    listed = sorted({key if "/" not in key else key[: key.index("/") + 1] for key in keys})
    page = [name for name in listed if name >= asked][:most]
    is_last = page[-1:] == listed[-1:] or not [name for name in listed if name >= asked]
    stretches = Stretches(Clock())
    last = None if is_last else page[-1]
    stretches.add("", asked, last, dict.fromkeys(page, '"e"'), 0.0)
    if found := stretches.find("", following, since=-1):
        assert (following in found.entries) == (following in listed)
        assert (f"{following}/" in found.entries) == (f"{following}/" in listed)
