import logging
import threading
from pathlib import Path
from queue import Queue

import pytest

from cos_ftp_server.logs import FILE_NAME, LogFiles, SessionLogger, _BoundedQueueHandler, logging_to

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


def test_a_slow_log_drops_lines_and_counts_them() -> None:
    lines: Queue[logging.LogRecord] = Queue(2)
    handler = _BoundedQueueHandler(lines)

    def log(text: str) -> None:
        handler.handle(logging.LogRecord("test", logging.INFO, "", 0, text, None, None))

    for text in "abcd":
        log(text)
    assert [lines.get_nowait().getMessage() for _ in range(2)] == ["a", "b"]
    log("e")
    told = [lines.get_nowait().getMessage() for _ in range(2)]
    assert told == ["2 log lines were dropped: the log is written too slowly", "e"]
