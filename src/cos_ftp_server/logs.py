"""Logging: lines for people on stderr and in files, never at the price of a blocked event loop.

Owns handlers, format and session context. It must not know what is logged.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import Any

__all__ = ["BatchHandler", "LogFiles", "SessionLogger", "logging_to"]

FILE_NAME = "cos-ftp-server.log"

_FORMAT = "%(asctime)s %(levelname)-7s %(context)s%(message)s"

_BATCH_LINES = 10_000
"""Lines that may wait for a slow disk or terminal: a few MiB at most."""

_BATCH_SECONDS = 0.05
"""How long a line may wait for others before it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFiles:
    """Where log files go. `when` is S, M, H or D; "" never begins a new one. 0 backups: all."""

    directory: Path
    when: str = ""
    backups: int = 0


class SessionLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the session in front of every line; `user` is set at login."""

    def __init__(self, logger: logging.Logger, *, session: int, peer: str) -> None:
        super().__init__(logger)
        self.session = session
        self.peer = peer
        self.user = ""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """See logging.LoggerAdapter."""
        user = f"user={self.user!r} " if self.user else ""
        kwargs["extra"] = {"context": f"session={self.session} peer={self.peer} {user}"}
        return msg, kwargs


@contextmanager
def logging_to(level: str, files: LogFiles | None = None) -> Iterator[None]:
    """Log to stderr, and to `files` if given, within this context.

    A thread writes; when it cannot keep up, lines are dropped and counted. Raises OSError if
    the file cannot be opened.
    """
    formatter = logging.Formatter(_FORMAT, defaults={"context": ""})
    writers: list[logging.Handler] = [logging.StreamHandler()]
    if files is not None:
        writers.append(_open_file(files))
    for writer in writers:
        writer.setFormatter(formatter)
    handler = BatchHandler(writers)
    root = logging.getLogger()
    level_before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level_before)
        handler.close()
        for writer in writers:
            writer.close()


def _open_file(files: LogFiles) -> logging.Handler:
    files.directory.mkdir(parents=True, exist_ok=True)
    path = files.directory / FILE_NAME
    if not files.when:
        return logging.FileHandler(path, encoding="utf-8")
    return TimedRotatingFileHandler(
        path, when=files.when, backupCount=files.backups, encoding="utf-8"
    )


class BatchHandler(logging.Handler):
    """Hands lines to a thread that writes them, a batch at a time, and never waits for it.

    A thread that woke up for each line would take the interpreter from the event loop each time:
    measured, up to a third of the CPU of a small upload. What finds the batch full is dropped,
    and how much is told when there is room.
    """

    def __init__(self, writers: Sequence[logging.Handler], most_lines: int = _BATCH_LINES) -> None:
        super().__init__()
        self._writers = writers
        self._most_lines = most_lines
        self._batch: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._has_lines = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line; its arguments may change from now on."""
        if len(self._batch) >= self._most_lines:
            self._dropped += 1
            return
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        self._batch.append(record)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._is_closing.set()
        self._has_lines.set()
        self._thread.join()
        super().close()

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._has_lines.wait()
            self._is_closing.wait(_BATCH_SECONDS)
            self._has_lines.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        while self._batch:
            self._pass_on(self._batch.popleft())
        if self._dropped:
            text = f"{self._dropped} log lines were dropped: the log is written too slowly"
            self._dropped = 0
            self._pass_on(
                logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
            )

    def _pass_on(self, record: logging.LogRecord) -> None:
        for writer in self._writers:
            writer.handle(record)
