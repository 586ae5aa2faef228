import logging
import threading
from pathlib import Path

import pytest

from cos_ftp_server.logs import FILE_NAME, BatchHandler, LogFiles, SessionLogger, logging_to

LOGGER = logging.getLogger("cos_ftp_server.test")


def test_lines_go_to_stderr_and_to_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "made" / "log"
    with logging_to("INFO", LogFiles(directory=directory)):
        LOGGER.info("100 %")
        LOGGER.debug("not this")
        session = SessionLogger(LOGGER, session=7, peer="192.0.2.1")
        session.warning("hello %s", "world")
        session.user = "bob%s\n"
        session.warning("again")
    shown = capsys.readouterr().err
    assert (directory / FILE_NAME).read_text() == shown
    lines = [line.split(" ", 2)[2] for line in shown.splitlines()]
    assert lines == [
        "INFO    100 %",
        "WARNING session=7 peer=192.0.2.1 hello world",
        r"WARNING session=7 peer=192.0.2.1 user='bob%s\n' again",
    ]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers), threading.active_count()
    with logging_to("DEBUG", LogFiles(directory=tmp_path, when="D", backups=3)):
        assert root.level == logging.DEBUG
    assert (root.level, root.handlers, threading.active_count()) == before


def test_a_directory_that_cannot_be_made_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match="file"),
        logging_to("INFO", LogFiles(directory=tmp_path / "file" / "log")),
    ):
        pass


class StuckWriter(logging.Handler):
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go = threading.Event()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.reached.set()
        self.go.wait(10)
        self.texts.append(record.getMessage())


def test_a_slow_log_drops_lines_and_counts_them() -> None:
    writer = StuckWriter()
    handler = BatchHandler([writer], most_lines=2)

    def log(text: str) -> None:
        handler.handle(logging.LogRecord("test", logging.INFO, "", 0, "%s", (text,), None))

    log("a")
    assert writer.reached.wait(10)
    for text in "bcde":
        log(text)
    writer.go.set()
    handler.close()
    assert writer.texts == [
        "a",
        "b",
        "c",
        "2 log lines were dropped: the log is written too slowly",
    ]


def test_a_line_is_written_without_waiting_for_the_end() -> None:
    writer = StuckWriter()
    handler = BatchHandler([writer])
    handler.handle(logging.LogRecord("test", logging.INFO, "", 0, "now", None, None))
    assert writer.reached.wait(10)
    writer.go.set()
    handler.close()


def test_an_exception_keeps_its_traceback() -> None:
    writer = StuckWriter()
    writer.go.set()
    handler = BatchHandler([writer])
    try:
        raise ValueError("why")
    except ValueError as error:
        record = logging.LogRecord("test", logging.ERROR, "", 0, "failed", None, None)
        record.exc_info = (ValueError, error, error.__traceback__)
        handler.handle(record)
    handler.close()
    assert "ValueError: why" in logging.Formatter().format(record)
