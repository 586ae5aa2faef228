"""What is written down of uploads that broke off."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.vfs import interruption_file
from cos_ftp_server.vfs.interruption_file import Interruption, InterruptionFile

ONE = Interruption(bucket="host/b", key="dir/é\n", moment=12.5, is_whole=True)
TWO = Interruption(bucket="host/b", key="dir/é\n", moment=13.5, is_whole=False)


def test_what_is_appended_is_read_in_its_order(tmp_path: Path) -> None:
    file = InterruptionFile(tmp_path / "log" / "broken-off")
    assert file.read() == []
    file.begin()
    file.append(ONE)
    file.append(TWO)
    assert InterruptionFile(tmp_path / "log" / "broken-off").read() == [ONE, TWO]


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption_file, "_MOST_BYTES", 1000)
    file = InterruptionFile(tmp_path / "broken-off")
    many = [Interruption(bucket="b", key=str(n), moment=n, is_whole=True) for n in range(100)]
    for one in many:
        file.append(one)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2200
    kept = file.read()
    assert kept == many[-len(kept) :]
    assert len(kept) > 10


@given(st.binary())
def test_what_is_no_line_counts_for_nothing(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "broken-off"
    file = InterruptionFile(path)
    file.append(ONE)
    with path.open("ab") as end:
        end.write(junk.replace(b"\n", b"") + b"\n")
    file.append(TWO)
    assert file.read() == [ONE, TWO]


@pytest.mark.parametrize(
    "line",
    [
        {},
        [],
        {"bucket": "b", "key": 1, "moment": 1, "is_whole": True},
        {"bucket": "b", "key": "k", "moment": "1", "is_whole": True},
        {"bucket": "b", "key": "k", "moment": 1, "is_whole": 1},
    ],
)
def test_a_line_that_says_something_else_counts_for_nothing(tmp_path: Path, line: object) -> None:
    path = tmp_path / "broken-off"
    path.write_text(json.dumps(line) + "\n")
    assert InterruptionFile(path).read() == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "broken-off").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        InterruptionFile(tmp_path / "broken-off").append(ONE)


def test_who_does_not_end_was_killed(tmp_path: Path) -> None:
    file = InterruptionFile(tmp_path / "log" / "broken-off")
    assert not file.was_killed()
    file.begin()
    assert file.was_killed()
    file.end()
    file.end()
    assert not file.was_killed()
