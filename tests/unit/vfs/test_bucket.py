"""What the accounts of one bucket know: of what was done, and of who is busy where."""

from datetime import UTC, datetime

import pytest

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs import recent as recent_module
from cos_ftp_server.vfs.bucket import BucketState
from tests.doubles.clock import Clock


def meta(key: str) -> ObjectMeta:
    return ObjectMeta(key=key, size=1, etag='"e"', modified=datetime.now(UTC))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> BucketState:
    return BucketState(clock)


def test_a_file_makes_its_directories_exist(state: BucketState) -> None:
    state.wrote(meta("a/b/c"))
    assert set(state.below("a/b/")) == {"a/b/c"}
    assert set(state.below("a/")) == {"a/b/"}
    assert set(state.below("")) == {"a/"}


def test_deleted_then_written_again(state: BucketState) -> None:
    state.deleted("x")
    assert state.is_deleted("x")
    assert state.find("x") is None
    state.wrote(meta("x"))
    assert not state.is_deleted("x")
    assert state.find("x") is not None


def test_a_file_in_a_removed_directory_brings_it_back(state: BucketState) -> None:
    state.deleted("d/")
    state.wrote(meta("d/f"))
    assert not state.is_deleted("d/")


def test_a_directory_is_known_as_long_as_what_lies_in_it(state: BucketState, clock: Clock) -> None:
    state.wrote(meta("a/d/x"))
    clock.now = 9.0
    state.wrote(meta("a/d/y"))
    clock.now = 11.0
    assert state.exists("a/d/", listed=False)
    assert state.exists("a/", listed=False)


def test_what_is_forgotten_early_makes_nothing_credible_that_was_not(
    state: BucketState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_module, "_MOST", 1)
    state.deleted("x")
    clock.now = 5.0
    state.emptied("d/", is_gone=True)
    state.deleted("y")
    assert state.complete_since == 5.0


def test_what_was_done_counts_more_than_what_is_listed(state: BucketState, clock: Clock) -> None:
    state.wrote(meta("d/new"))
    state.deleted("d/old")
    assert state.etag("d/new", listed="") == '"e"'
    assert state.etag("d/old", listed='"o"') == ""
    assert state.etag("d/other", listed='"o"') == '"o"'
    assert state.exists("d/", listed=False)
    assert not state.exists("d/old", listed=True)
    assert state.exists("d/other", listed=True)
    clock.now = 10.0
    assert state.etag("d/new", listed="") == ""
    assert state.etag("d/old", listed='"o"') == '"o"'
    assert not state.exists("d/", listed=False)


def test_what_is_being_deleted_counts_as_gone_until_it_is_written_again(
    state: BucketState,
) -> None:
    state.wrote(meta("x"))
    with state.under_way.deleting("x"):
        assert state.is_deleted("x")
        assert state.find("x") is None
        assert state.etag("x", listed='"o"') == ""
        assert state.exists("x", listed=True)  # as that may fail
        state.wrote(meta("x"))
        assert state.find("x") is not None


@pytest.mark.parametrize(
    ("there", "claimed", "obstacle"),
    [
        ("n/", "n", ErrorKind.IS_DIRECTORY),
        ("n/x", "n", ErrorKind.IS_DIRECTORY),
        ("n", "n/", ErrorKind.EXISTS),
        ("n", "n/x/y", ErrorKind.NOT_DIRECTORY),
        ("n", "n", None),
        ("n", "m/n", None),
    ],
)
def test_a_name_is_of_one_kind(
    state: BucketState, there: str, claimed: str, obstacle: ErrorKind | None
) -> None:
    """Whether it was made a moment ago, is being made, or is being deleted but not gone."""
    with state.claiming(there):
        assert state.obstacle(claimed) is obstacle
    assert state.obstacle(claimed) is None
    state.wrote(meta(there))
    assert state.obstacle(claimed) is obstacle
    with state.under_way.deleting(there):
        assert state.obstacle(claimed) is obstacle
    if obstacle:
        with pytest.raises(StorageError) as caught, state.claiming(claimed):
            pass
        assert caught.value.kind is obstacle


def test_what_broke_off_is_settled_by_what_is_stored_or_deleted(state: BucketState) -> None:
    """Not by an upload of which nothing stays."""
    for settle, is_settled in (
        (state.taken_back, False),
        (state.deleted, True),
        (lambda key: state.wrote(meta(key)), True),
    ):
        state.attempts.break_off(state.attempts.begin("x", is_whole=True))
        settle("x")
        assert state.attempts.has_broken_off("x") is not is_settled
