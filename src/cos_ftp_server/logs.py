"""Logging: lines for people on stderr and in files, never at the price of a blocked event loop.

Owns handlers, format and session context. It must not know what is logged.
"""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import QueueHandler, QueueListener, TimedRotatingFileHandler
from pathlib import Path
from queue import Full, Queue
from typing import Any

__all__ = ["LogFiles", "SessionLogger", "logging_to"]

FILE_NAME = "cos-ftp-server.log"

_FORMAT = "%(asctime)s %(levelname)-7s %(context)s%(message)s"

_QUEUE_LINES = 10_000
"""Lines that may wait for a slow disk or terminal: a few MiB at most."""


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
    handler = _BoundedQueueHandler(Queue(_QUEUE_LINES))
    listener = QueueListener(handler.queue, *writers)
    root = logging.getLogger()
    level_before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level_before)
        listener.stop()
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


class _BoundedQueueHandler(QueueHandler):
    """Never waits: what finds the queue full is dropped, and later counted in a line."""

    queue: Queue[logging.LogRecord]

    def __init__(self, lines: Queue[logging.LogRecord]) -> None:
        super().__init__(lines)
        self._dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                text = f"{self._dropped} log lines were dropped: the log is written too slowly"
                self.queue.put_nowait(
                    logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)
                )
                self._dropped = 0
            self.queue.put_nowait(record)
        except Full:
            self._dropped += 1
