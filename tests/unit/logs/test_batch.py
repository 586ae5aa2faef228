"""The thread that writes lines: it never holds up who logs, and tells what was lost."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cos_ftp_server.logs import batch
from cos_ftp_server.logs.batch import BatchHandler

WAIT_S = 20


class Disk:
    """A sink that waits, fails or takes what comes, as it is told."""

    name = "the disk"

    def __init__(self) -> None:
        self.text = ""
        self.go = threading.Event()
        self.go.set()
        self.reached = threading.Event()
        self.written = threading.Event()
        self.error: OSError | None = None
        self.failed = threading.Event()
        self.is_closed = False

    def write(self, data: bytes) -> None:
        if not data:
            return
        self.reached.set()
        self.go.wait(WAIT_S)
        if self.error:
            self.failed.set()
            raise self.error
        self.text += data.decode()
        self.written.set()

    def close(self) -> None:
        self.is_closed = True


class Counting(logging.Formatter):
    """Counts the lines that it was asked for."""

    count = 0

    def format(self, record: logging.LogRecord) -> str:
        self.count += 1
        return super().format(record)


@contextmanager
def handling(*disks: Disk, formatter: logging.Formatter | None = None) -> Iterator[BatchHandler]:
    handler = BatchHandler(formatter or logging.Formatter("%(message)s"))
    for disk in disks:
        handler.write_to(disk)
    try:
        yield handler
    finally:
        for disk in disks:
            disk.go.set()
        handler.close()


def log(handler: logging.Handler, text: str, *arguments: object) -> None:
    handler.handle(logging.LogRecord("test", logging.INFO, "", 0, text, arguments, None))


def test_lines_come_in_order_and_the_last_before_the_end() -> None:
    disk = Disk()
    with handling(disk) as handler:
        for number in range(1000):
            log(handler, "line %d", number)
    assert disk.text.splitlines() == [f"line {number}" for number in range(1000)]
    assert disk.is_closed


def test_a_line_is_written_without_waiting_for_the_end() -> None:
    disk = Disk()
    with handling(disk) as handler:
        log(handler, "now")
        assert disk.written.wait(WAIT_S)
        assert disk.text == "now\n"


def test_a_slow_disk_costs_lines_but_no_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batch, "_MAX_WAITING", 100)
    disk = Disk()
    disk.go.clear()
    formatter = Counting()
    with handling(disk, formatter=formatter) as handler:
        log(handler, "first")
        assert disk.reached.wait(WAIT_S)
        for _ in range(1000):
            log(handler, "x" * 10)
    assert formatter.count == 1 + 10  # what is dropped is not formatted
    assert disk.text.splitlines() == ["first", *["x" * 10] * 10]
    assert "990 lines were dropped: the disk is too slow" in caplog.text


def test_a_slow_disk_costs_the_others_no_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batch, "_MAX_WAITING", 1)
    slow, swift = Disk(), Disk()
    slow.go.clear()
    with handling(slow, swift) as handler:
        for text in ("first", "second", "third"):
            swift.written.clear()
            log(handler, text)
            assert slow.reached.wait(WAIT_S)
            assert swift.written.wait(WAIT_S)
    assert swift.text == "first\nsecond\nthird\n"
    assert slow.text == "first\nsecond\n"
    assert "1 lines were dropped" in caplog.text


def test_the_last_sink_is_closed_first() -> None:
    closed = []

    class Named(Disk):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def close(self) -> None:
            closed.append(self.name)

    with handling(Named("console"), Named("file")):
        pass
    assert closed == ["file", "console"]


def test_a_frozen_disk_does_not_keep_the_process_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "_CLOSE_SECONDS", 0.1)
    disk = Disk()
    disk.go.clear()
    handler = BatchHandler(logging.Formatter())
    handler.write_to(disk)
    log(handler, "stuck")
    assert disk.reached.wait(WAIT_S)
    started = time.monotonic()
    handler.close()
    handler.close()  # as logging.shutdown does once more
    assert time.monotonic() - started < WAIT_S / 2
    disk.go.set()
    assert disk.written.wait(WAIT_S)


def test_a_full_disk_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    disk.error = OSError(28, "No space left on device")
    with handling(disk) as handler:
        for _ in range(3):
            disk.failed.clear()
            log(handler, "lost")
            assert disk.failed.wait(WAIT_S)
        disk.error = None
        log(handler, "kept")
        assert disk.written.wait(WAIT_S)
    assert disk.text == "kept\n"
    assert [record.getMessage() for record in caplog.records] == [
        "the disk cannot be written, its lines are lost: No space left on device",
        "the disk can be written again; 3 lines are missing",
    ]


def test_a_line_that_cannot_be_formatted_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    disk = Disk()
    with handling(disk) as handler:
        log(handler, "%d", "no number")
        log(handler, "fine")
    assert disk.text == "fine\n"


def test_characters_that_no_encoding_has() -> None:
    disk = Disk()
    with handling(disk) as handler:
        log(handler, "\udcff")
    assert disk.text == "\\udcff\n"
