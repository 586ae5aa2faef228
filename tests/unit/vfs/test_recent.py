"""What this server just did, remembered for listings that lag."""

from datetime import UTC, datetime

import pytest

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.vfs import recent as recent_module
from cos_ftp_server.vfs.recent import RecentChanges
from tests.doubles.clock import Clock


def meta(key: str) -> ObjectMeta:
    return ObjectMeta(key=key, size=1, etag='"e"', modified=datetime.now(UTC))


def test_a_file_makes_its_directories_exist() -> None:
    recent = RecentChanges()
    recent.wrote(meta("a/b/c"))
    assert set(recent.below("a/b/")) == {"a/b/c"}
    assert set(recent.below("a/")) == {"a/b/"}
    assert set(recent.below("")) == {"a/"}


def test_deleted_then_written_again() -> None:
    recent = RecentChanges()
    recent.deleted("x")
    assert recent.is_deleted("x")
    assert recent.find("x") is None
    recent.wrote(meta("x"))
    assert not recent.is_deleted("x")
    assert recent.find("x") is not None


def test_a_file_in_a_removed_directory_brings_it_back() -> None:
    recent = RecentChanges()
    recent.deleted("d/")
    recent.wrote(meta("d/f"))
    assert not recent.is_deleted("d/")


def test_nothing_is_remembered_for_long() -> None:
    clock = Clock()
    recent = RecentChanges(clock)
    recent.wrote(meta("a/b"))
    recent.deleted("c")
    clock.now = 10.0
    assert recent.find("a/b") is None
    assert not recent.is_deleted("c")
    assert not recent.below("")


def test_a_directory_is_known_as_long_as_what_lies_in_it() -> None:
    clock = Clock()
    recent = RecentChanges(clock)
    recent.wrote(meta("a/d/x"))
    clock.now = 9.0
    recent.wrote(meta("a/d/y"))
    clock.now = 11.0
    assert recent.exists("a/d/", listed=False)
    assert recent.exists("a/", listed=False)


def test_what_is_forgotten_early_makes_nothing_credible_that_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent_module, "_MOST", 1)
    clock = Clock()
    recent = RecentChanges(clock)
    recent.deleted("x")
    clock.now = 5.0
    recent.emptied("d/", datetime.now(UTC), is_gone=True)
    recent.deleted("y")
    assert recent.complete_since == 5.0


def test_the_number_of_changes_is_bounded() -> None:
    recent = RecentChanges()
    for number in range(20_100):
        recent.deleted(f"k{number}")
    assert not recent.is_deleted("k0")
    assert recent.is_deleted("k20099")
    assert len(recent.below("")) == 20_000


def test_what_was_done_counts_more_than_what_is_listed() -> None:
    clock = Clock()
    recent = RecentChanges(clock)
    recent.wrote(meta("d/new"))
    recent.deleted("d/old")
    assert recent.etag("d/new", listed="") == '"e"'
    assert recent.etag("d/old", listed='"o"') == ""
    assert recent.etag("d/other", listed='"o"') == '"o"'
    assert recent.exists("d/", listed=False)
    assert not recent.exists("d/old", listed=True)
    assert recent.exists("d/other", listed=True)
    clock.now = 10.0
    assert recent.etag("d/new", listed="") == ""
    assert recent.etag("d/old", listed='"o"') == '"o"'
    assert not recent.exists("d/", listed=False)
