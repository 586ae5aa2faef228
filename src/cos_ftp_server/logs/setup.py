"""Where the lines of this process go: to the console, and to the files that are configured."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cos_ftp_server.logs.batch import BatchHandler
from cos_ftp_server.logs.files import Console, LogFile
from cos_ftp_server.logs.lines import (
    JsonFormatter,
    TextFormatter,
    XferlogFormatter,
    is_in_xferlog,
)
from cos_ftp_server.logs.session import transfer_logger

__all__ = ["FILE_NAME", "XFERLOG_NAME", "LogFiles", "Logs", "logging_to"]

FILE_NAME = "cos-ftp-server.log"
XFERLOG_NAME = "xferlog"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFiles:
    """Which log files there are. `when` is S, M, H or D; "" never begins a new one. 0 backups: all.

    `has_xferlog`: also one line per transferred file in the format of wu-ftpd.
    """

    directory: Path
    when: str = ""
    backups: int = 0
    is_json: bool = False
    has_xferlog: bool = False


class Logs:
    """The logging that is set up."""

    def __init__(self, by_level: tuple[logging.Handler, ...]) -> None:
        self._by_level = by_level

    def set_level(self, level: str) -> None:
        """Log what is at least as important as `level`; the xferlog is complete at any level."""
        for handler in self._by_level:
            handler.setLevel(level)
        logging.getLogger().setLevel(level)


@contextmanager
def logging_to(level: str, files: LogFiles | None = None) -> Iterator[Logs]:
    """Log to stderr as text, and to `files` if given, within this context.

    Never raises for a file that cannot be written: that is said on stderr and tried again.
    """
    root = logging.getLogger()
    before = root.level, transfer_logger.level
    with ExitStack() as stack:

        def add(formatter: logging.Formatter) -> BatchHandler:
            handler = BatchHandler(formatter)
            root.addHandler(handler)
            # Closed first, so that it can still complain to those before it.
            stack.callback(root.removeHandler, handler)
            stack.callback(handler.close)
            return handler

        by_level = [add(TextFormatter())]
        by_level[0].write_to(Console())
        stack.callback(root.setLevel, before[0])
        stack.callback(transfer_logger.setLevel, before[1])
        if files is not None:
            if files.is_json:
                by_level.append(add(JsonFormatter()))
            by_level[-1].write_to(_file(files, FILE_NAME))
            if files.has_xferlog:
                xferlog = add(XferlogFormatter())
                xferlog.addFilter(is_in_xferlog)
                xferlog.write_to(_file(files, XFERLOG_NAME))
                transfer_logger.setLevel(logging.INFO)
        logs = Logs(tuple(by_level))
        logs.set_level(level)
        yield logs


def _file(files: LogFiles, name: str) -> LogFile:
    return LogFile(files.directory / name, files.when, files.backups)
