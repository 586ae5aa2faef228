"""Lines on their way to a slow place: a bounded queue, and a thread that waits for the disk.

It must not know formats or files.
"""

import logging
import threading
from typing import Protocol

__all__ = ["BatchHandler", "Sink"]

_log = logging.getLogger(__name__)

_MAX_WAITING = 4 * 1024**2
"""Characters that may wait for a slow disk or terminal."""

_BATCH_SECONDS = 0.25
"""How long a line may wait for others before it is written: soon enough for a reader."""

_CLOSE_SECONDS = 2.0
"""What a disk or terminal that has frozen may cost at the end."""


class Sink(Protocol):
    """Where lines end up."""

    name: str

    def write(self, data: bytes) -> None:
        """Write all of `data`, or see that all is ready for it when empty. Raises OSError."""
        ...

    def close(self) -> None:
        """Release everything. Raises OSError."""
        ...


class BatchHandler(logging.Handler):
    """Formats each line once, for all that `write_to` has named."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._batches: list[_Batch] = []

    def write_to(self, sink: Sink) -> None:
        """Write to `sink` as well, from now on."""
        self._batches.append(_Batch(sink))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, or drop it, unformatted, when too much waits for each sink."""
        batches = [batch for batch in self._batches if batch.has_room()]
        if not batches:
            return
        try:
            line = self.format(record)
        except Exception:  # a line that cannot be formatted must not stop what it is about
            self.handleError(record)
            return
        for batch in batches:
            batch.add(line)

    def close(self) -> None:
        """Write what is left, unless that takes too long, and end the threads.

        The sink that was named last is closed first, so that those before it hear its complaints.
        """
        while self._batches:
            self._batches[-1].close()
            self._batches.pop()
        super().close()


class _Batch:
    """The lines that wait for one sink, and the thread that writes them, a batch at a time.

    A thread that woke up for each line would take the interpreter from the event loop each time:
    measured, up to a third of the CPU of a small upload. What finds the queue full is dropped,
    and what cannot be written is lost; both are told as soon as that is possible.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: list[str] = []
        # Of the lines and their count. A garbage collection within `add` may log as well.
        self._lock = threading.RLock()
        self._waiting = 0
        self._dropped = 0
        self._lost = 0
        self._is_failing = False
        self._has_lines = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log {sink.name}", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Whether a line may be added; if not, it counts as dropped."""
        with self._lock:
            if self._waiting < _MAX_WAITING:
                return True
            self._dropped += 1
        return False

    def add(self, line: str) -> None:
        """Take a line; `has_room` was asked before."""
        with self._lock:
            is_first = not self._lines
            self._lines.append(line)
            self._waiting += len(line)
        if is_first:
            self._has_lines.set()

    def close(self) -> None:
        """Write what is left, unless that takes too long, and end the thread."""
        self._is_closing.set()
        self._has_lines.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        self._write("")
        while not self._is_closing.is_set():
            self._has_lines.wait()
            self._is_closing.wait(_BATCH_SECONDS)
            self._has_lines.clear()
            self._write_batch()
        self._write_batch()
        try:
            self._sink.close()
        except OSError as error:
            self._complain(error)

    def _write_batch(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
            dropped, self._dropped = self._dropped, 0
            self._waiting = 0
        if lines and not self._write("".join(f"{line}\n" for line in lines)):
            self._lost += len(lines)
        if dropped:
            _log.warning("%d lines were dropped: %s is too slow", dropped, self._sink.name)

    def _write(self, text: str) -> bool:
        try:
            self._sink.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            self._complain(error)
            return False
        if self._is_failing:
            self._is_failing = False
            lost, self._lost = self._lost, 0
            _log.warning("%s can be written again; %d lines are missing", self._sink.name, lost)
        return True

    def _complain(self, error: OSError) -> None:
        """Say so once, wherever lines can still be written."""
        if not self._is_failing:
            self._is_failing = True
            _log.error(
                "%s cannot be written, its lines are lost: %s", self._sink.name, error.strerror
            )
