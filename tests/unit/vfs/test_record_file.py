"""What is written down of one upload, and whose it is."""

import fcntl
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cos_ftp_server.vfs.record_file import (
    BegunUpload,
    LockedFile,
    format_begin,
    format_name,
    parse_record,
    read_record,
)

MOMENT = datetime(2026, 5, 4, 3, 2, 1, 500, tzinfo=UTC)
UPLOAD = BegunUpload(origin="http://127.0.0.1:1/b-1", key="a/ü", begun=MOMENT, upload_id="17ab")
LINE = format_begin(UPLOAD)

uploads = st.builds(
    BegunUpload,
    origin=st.text(min_size=1),
    key=st.text(min_size=1),
    begun=st.datetimes(timezones=st.just(UTC)),
    upload_id=st.text(),
)


def content(upload: BegunUpload) -> bytes:
    return format_begin(upload) + (format_name(upload.upload_id) if upload.upload_id else b"")


@given(uploads)
def test_what_is_written_is_read(upload: BegunUpload) -> None:
    assert parse_record(content(upload)) == upload


@given(uploads, st.data())
def test_a_record_may_end_anywhere(upload: BegunUpload, data: st.DataObject) -> None:
    """The process may die at any byte: what is read is true as far as it goes."""
    whole = content(upload)
    begin = len(format_begin(upload))
    count = data.draw(st.integers(0, len(whole) - 1))
    read = parse_record(whole[:count])
    if count < begin:
        assert read is None
    else:
        assert read is not None
        assert (read.key, read.begun, read.upload_id) == (upload.key, upload.begun, "")


@given(st.binary())
@example(b"[" * 10_000 + b"\n")
def test_whatever_is_found_is_read_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert parse_record(data) is None


@pytest.mark.parametrize(
    "data",
    [
        b"[]\n",
        b"\xff\n",
        b"not JSON\n",
        b'{"bucket": "b"}\n',
        b'{"upload_id": "u"}\n',
        b'{"bucket": "b", "key": 1, "begun": "2026-05-04T03:02:01+00:00"}\n',
        b'{"bucket": "b", "key": "", "begun": "2026-05-04T03:02:01+00:00"}\n',
        b'{"bucket": "b", "key": "k", "begun": "2026-05-04T03:02:01"}\n',
        b'{"bucket": "b", "key": "k", "begun": "0001-01-01T00:00:00+23:00"}\n',
        b'{"bucket": "b", "key": "k", "begun": "today"}\n',
        b'{"bucket": "b", "key": "\\ud800", "begun": "2026-05-04T03:02:01+00:00"}\n',
        b'{"bucket": "\\udfff", "key": "k", "begun": "2026-05-04T03:02:01+00:00"}\n',
        LINE + b'{"upload_id": "\\ud800"}\n',
        LINE + b'{"upload_id": null}\n',
        LINE + b"\n",
    ],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - many texts
        parse_record(data)


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = LockedFile.create(tmp_path / "made" / "here", LINE)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert not os.get_inheritable(file._descriptor)
    file.close()


def test_a_file_is_taken_only_when_nobody_holds_it(tmp_path: Path) -> None:
    file = LockedFile.create(tmp_path, LINE)
    file.append(format_name("17ab"))
    assert LockedFile.take(file.path) is None
    assert read_record(file.path) == UPLOAD
    file.close()
    file.close()
    taken = LockedFile.take(file.path)
    assert taken is not None
    assert taken.read() == UPLOAD
    assert LockedFile.take(file.path) is None
    taken.erase()
    assert LockedFile.take(file.path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_erased_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps at once: one opens the file before, and locks it after the other has erased it."""
    file = LockedFile.create(tmp_path, LINE)
    lock = fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        file.erase()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    assert LockedFile.take(file.path) is None


def test_a_new_file_that_a_sweep_takes_first_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there before it is locked, and looks like one of a process that has died."""
    lock = fcntl.flock
    swept: list[LockedFile] = []

    def lock_late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        (path,) = tmp_path.iterdir()
        taken = LockedFile.take(path)
        assert taken is not None
        assert taken.read() is None
        swept.append(taken)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    file = LockedFile.create(tmp_path, LINE)
    swept[0].erase()
    assert [path for path in tmp_path.iterdir()] == [file.path]
    assert read_record(file.path) == BegunUpload(origin=UPLOAD.origin, key=UPLOAD.key, begun=MOMENT)
    file.close()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(LINE)
    link = tmp_path / "x.jsonl"
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        LockedFile.take(link)


def test_time_is_read_as_utc() -> None:
    there = MOMENT + timedelta(hours=8)
    line = LINE.replace(MOMENT.isoformat().encode(), there.isoformat().encode())
    read = parse_record(line.replace(b"+00:00", b"+08:00"))
    assert read is not None
    assert read.begun == MOMENT
    assert read.begun.tzinfo is UTC
