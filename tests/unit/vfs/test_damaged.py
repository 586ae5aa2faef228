"""Which files may not be resumed as they came damaged."""

from cos_ftp_server.vfs.damaged import DamagedFiles
from tests.doubles.clock import Clock


def test_one_that_came_damaged_counts_until_it_has_come_whole() -> None:
    damaged = DamagedFiles()
    damaged.note("f", "etag")
    assert damaged.has("f", "etag")
    assert not damaged.has("f", "another")
    assert not damaged.has("g", "etag")
    damaged.clear("f")
    assert not damaged.has("f", "etag")


def test_it_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    damaged = DamagedFiles(clock)
    damaged.note("f", "etag")
    clock.now += 3599
    assert damaged.has("f", "etag")
    clock.now += 1
    assert not damaged.has("f", "etag")


def test_there_are_never_many() -> None:
    damaged = DamagedFiles()
    for number in range(1_001):
        damaged.note(f"f{number}", "etag")
    assert not damaged.has("f0", "etag")
    assert damaged.has("f1", "etag")
