"""Log files: when a new one begins, which old ones go, and what happens when a disk fails."""

import logging
import os
import time
from pathlib import Path

import pytest

from cos_ftp_server.logs.files import LogFile
from tests.doubles.clock import Clock

NOON = time.mktime((2026, 5, 4, 12, 0, 0, 0, 0, -1))
DAY, HOUR, MINUTE = 86400, 3600, 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON)
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "log"


def content(directory: Path) -> dict[str, str]:
    return {entry.name: entry.read_text() for entry in directory.iterdir()}


def test_directories_are_made_and_lines_appended(path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        file = LogFile(path)
        file.write(text)
        file.close()
    assert content(path.parent) == {"log": "one\ntwo\n"}
    assert path.stat().st_mode & 0o007 == 0  # names of users and files are nobody else's business


@pytest.mark.parametrize(
    ("when", "period_s", "ending"),
    [
        ("S", 1, "2026-05-04_12-00-00"),
        ("M", MINUTE, "2026-05-04_12-00"),
        ("H", HOUR, "2026-05-04_12"),
        ("D", DAY, "2026-05-04"),
    ],
)
def test_each_period_has_its_file(
    clock: Clock, path: Path, when: str, period_s: int, ending: str
) -> None:
    file = LogFile(path, when)
    file.write(b"one\n")
    clock.now += period_s / 2.5
    file.write(b"two\n")
    clock.now += period_s
    file.write(b"three\n")
    file.close()
    assert content(path.parent) == {"log": "three\n", f"log.{ending}": "one\ntwo\n"}


def test_without_a_period_there_is_one_file(clock: Clock, path: Path) -> None:
    file = LogFile(path)
    file.write(b"one\n")
    clock.now += 1000 * DAY
    file.write(b"two\n")
    file.close()
    assert content(path.parent) == {"log": "one\ntwo\n"}


def test_a_restart_does_not_forget_when_the_file_began(clock: Clock, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("yesterday\n")
    os.utime(path, (NOON - DAY, NOON - DAY))
    file = LogFile(path, "D")
    file.write(b"today\n")
    file.close()
    assert content(path.parent) == {"log": "today\n", "log.2026-05-03": "yesterday\n"}


def test_old_files_are_removed_and_nothing_else(clock: Clock, path: Path) -> None:
    path.parent.mkdir()
    for name in ("log.2026-05-01", "log.2026-05-02_10", "log.note", "logs.2026-01-01", "other"):
        path.with_name(name).write_text(name)
    file = LogFile(path, "D", backups=2)
    file.write(b"one\n")
    clock.now += DAY
    file.write(b"two\n")
    assert set(content(path.parent)) == {
        *("log", "log.2026-05-04", "log.2026-05-02_10"),
        *("log.note", "logs.2026-01-01", "other"),
    }
    file.close()


def test_a_clock_that_is_set_back_costs_no_line(
    clock: Clock, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = LogFile(path, "D")
    file.write(b"one\n")
    clock.now += DAY
    file.write(b"two\n")
    clock.now -= DAY
    file.write(b"three\n")
    clock.now += DAY
    file.write(b"four\n")
    file.close()
    written = content(path.parent)
    assert sorted("".join(written.values()).splitlines()) == ["four", "one", "three", "two"]
    assert "goes on in the next period: there is a log.2026-05-04 already" in caplog.text


def test_a_rotation_that_fails_is_told_and_the_file_goes_on(
    clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    file = LogFile(path, "D")
    file.write(b"one\n")
    clock.now += DAY
    monkeypatch.setattr(Path, "rename", refuses)
    for text in (b"two\n", b"three\n"):
        file.write(text)
    monkeypatch.undo()
    file.close()
    assert content(path.parent) == {"log": "one\ntwo\nthree\n"}
    assert [line.levelno for line in caplog.records] == [logging.WARNING]
    assert "Permission denied" in caplog.text


@pytest.mark.parametrize("is_renamed", [True, False], ids=["renamed", "deleted"])
def test_a_file_that_is_taken_away_is_begun_anew(path: Path, is_renamed: bool) -> None:
    file = LogFile(path)
    file.write(b"one\n")
    if is_renamed:
        path.rename(path.with_name("archived"))
    else:
        path.unlink()
    file.write(b"two\n")
    file.close()
    assert path.read_text() == "two\n"


def test_a_directory_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    obstacle = tmp_path / "file"
    obstacle.touch()
    file = LogFile(obstacle / "log")
    for _ in range(2):
        with pytest.raises(OSError, match="file"):
            file.write(b"one\n")
    obstacle.unlink()
    file.write(b"two\n")
    file.close()
    assert (obstacle / "log").read_text() == "two\n"


class SmallDisk:
    """Takes `room` bytes of what is written to `path`, and then no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.room = 1 << 30
        self._path = path
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if not os.path.samestat(os.fstat(descriptor), self._path.stat()):
            return self._write(descriptor, data)
        if not self.room:
            raise OSError(28, "No space left on device")
        count = self._write(descriptor, data[: self.room])
        self.room -= count
        return count


def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, disk = LogFile(path), SmallDisk(monkeypatch, path)
    file.write(b"one\n")
    disk.room = 2
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            file.write(b"lost\n")
    disk.room = 100
    file.write(b"two\n")
    file.close()
    assert path.read_text() == "one\nlo\ntwo\n"


def test_dev_full_fails_and_nothing_breaks(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    file = LogFile(tmp_path / "log", "D", 3)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            file.write(b"one\n")
    file.close()
