"""The memory of changes: how long, and how many."""

from datetime import UTC, datetime

import pytest

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.vfs import recent as recent_module
from cos_ftp_server.vfs.recent import RecentChanges
from tests.doubles.clock import Clock


def meta(key: str, etag: str = '"e"') -> ObjectMeta:
    return ObjectMeta(key=key, size=1, etag=etag, modified=datetime.now(UTC))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recent(clock: Clock) -> RecentChanges:
    return RecentChanges(clock)


def test_the_last_change_counts(recent: RecentChanges) -> None:
    assert recent.find("x") is None
    recent.remember("x", None)
    recent.remember("x", there := meta("x"))
    change = recent.find("x")
    assert change is not None
    assert change.meta is there
    recent.forget("x")
    assert recent.find("x") is None
    assert not recent.below("")


def test_nothing_is_remembered_for_long(recent: RecentChanges, clock: Clock) -> None:
    recent.remember("a/b", meta("a/b"))
    recent.remember("c", None)
    clock.now = 10.0
    assert recent.find("a/b") is None
    assert recent.find("c") is None
    assert not recent.below("")
    assert not recent.written_below("a/")


def test_the_number_of_changes_is_bounded(recent: RecentChanges) -> None:
    for number in range(20_100):
        recent.remember(f"k{number}", None)
    assert recent.find("k0") is None
    assert recent.find("k20099") is not None
    assert len(recent.below("")) == 20_000


def test_the_last_change_that_is_not_remembered_is_known(
    recent: RecentChanges, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_module, "_MOST", 1)
    for clock.now in (1.0, 2.0, 3.0):
        recent.remember(f"at {clock.now}", None)
    assert recent.forgotten == 2.0


def test_what_is_below_a_directory(recent: RecentChanges) -> None:
    """At any depth; neither what only begins like it, nor what is gone."""
    for key in ("d/", "d/x", "d/e/y", "d2/z", "x"):
        recent.remember(key, meta(key))
    for key in ("d/e/", "d/e/f/", "d2/"):
        recent.remember(key, meta(key, etag=""))
    recent.remember("d/gone", None)
    assert recent.written_below("d/") == {"d/", "d/x", "d/e/y"}
    assert recent.unmarked_below("d/") == {"d/e/", "d/e/f/"}
    assert set(recent.below("d/")) == {"d/x", "d/e/", "d/gone"}
