"""Where the lines of a process go."""

import json
import logging
import threading
from pathlib import Path

import pytest

from cos_ftp_server.logs import (
    FILE_NAME,
    XFERLOG_NAME,
    LogFiles,
    SessionLogger,
    Transfer,
    logging_to,
)

LOGGER = logging.getLogger("cos_ftp_server.test")
TRANSFER = Transfer(
    verb="RETR",
    path="/f",
    bytes=1,
    seconds=1.0,
    outcome=226,
    reply="Transfer complete.",
    is_binary=True,
)


def test_lines_go_to_stderr_and_to_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "made" / "log"
    with logging_to("INFO", LogFiles(directory=directory)):
        LOGGER.info("100 %")
        LOGGER.debug("not this")
        session = SessionLogger(LOGGER, session=7, peer="192.0.2.1")
        session.warning("hello %s", "world")
    shown = capfd.readouterr().err
    assert (directory / FILE_NAME).read_text() == shown
    lines = [line.split(" ", 2)[2] for line in shown.splitlines()]
    assert lines == ["INFO    100 %", "WARNING session=7 peer=192.0.2.1 hello world"]


def test_json_is_for_the_file_and_text_for_people(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with logging_to("INFO", LogFiles(directory=tmp_path, is_json=True)):
        LOGGER.info("hello")
    assert json.loads((tmp_path / FILE_NAME).read_text())["message"] == "hello"
    assert capfd.readouterr().err.endswith(" INFO    hello\n")


def test_the_level_can_change(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to("WARNING", LogFiles(directory=tmp_path)) as logs:
        LOGGER.info("one")
        logs.set_level("DEBUG")
        LOGGER.debug("two")
        logs.set_level("ERROR")
        LOGGER.warning("three")
    for text in (capfd.readouterr().err, (tmp_path / FILE_NAME).read_text()):
        assert text.endswith("DEBUG   two\n")
        assert text.count("\n") == 1


def test_the_xferlog_is_complete_at_any_level(tmp_path: Path) -> None:
    session = SessionLogger(LOGGER, session=7, peer="192.0.2.1")
    session.user = "bob"
    with logging_to("ERROR", LogFiles(directory=tmp_path, has_xferlog=True)) as logs:
        session.transfer(TRANSFER)
        session.warning("not this")
        logs.set_level("INFO")
        session.transfer(TRANSFER)
    assert (tmp_path / XFERLOG_NAME).read_text().count(" o r bob ftp 0 * c\n") == 2
    assert (tmp_path / FILE_NAME).read_text().count("transfer verb=RETR path='/f'") == 1


def test_without_being_asked_there_is_no_xferlog(tmp_path: Path) -> None:
    with logging_to("INFO", LogFiles(directory=tmp_path)):
        SessionLogger(LOGGER, session=7, peer="192.0.2.1").transfer(TRANSFER)
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE_NAME]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    def state() -> object:
        root, transfers = logging.getLogger(), logging.getLogger("cos_ftp_server.transfers")
        return root.level, list(root.handlers), transfers.level, threading.active_count()

    before = state()
    files = LogFiles(directory=tmp_path, when="D", backups=3, has_xferlog=True)
    with logging_to("DEBUG", files):
        assert logging.getLogger().level == logging.DEBUG
    assert state() == before


def test_a_directory_that_cannot_be_made_is_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with logging_to("ERROR", LogFiles(directory=tmp_path / "file" / "log")):
        LOGGER.error("shown nevertheless")
    # The level is for what goes on; where the log itself is lost, that is said in any case.
    shown = capfd.readouterr().err
    assert "shown nevertheless" in shown
    assert f"{tmp_path}/file/log/{FILE_NAME} cannot be written, its lines are lost: Not a" in shown
