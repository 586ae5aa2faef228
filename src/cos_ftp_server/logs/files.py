"""A log file that begins anew with each period, and the console; both may fail at any time.

The standard library's rotating handler stays broken after a rotation that failed on a full disk.
It must not know what is written.
"""

import logging
import os
import re
import time
from pathlib import Path

__all__ = ["Console", "LogFile"]

_log = logging.getLogger(__name__)

_PERIODS = {"S": "%Y-%m-%d_%H-%M-%S", "M": "%Y-%m-%d_%H-%M", "H": "%Y-%m-%d_%H", "D": "%Y-%m-%d"}
"""A period is over when the local time looks different in this form, which also ends the name of
its file: as the standard library names them."""

_ENDING = re.compile(r"\d{4}-\d{2}-\d{2}(_\d{2}(-\d{2}){0,2})?")

_STDERR = 2
_NEWLINE = ord("\n")


class Console:
    """The standard error stream, past the buffers of `sys.stderr`: a thread that a frozen terminal
    holds up there would hold their lock when the process ends.
    """

    name = "the console"

    def write(self, data: bytes) -> None:
        """Write all of `data`. Blocks; raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(_STDERR, rest) :]

    def close(self) -> None:
        """Keep the stream open: it is not ours."""


class LogFile:
    """Appends to `path`; `when` is S, M, H or D, or "" for one file for ever.

    At the end of a period the file gets the period as an ending and a new one is begun;
    `backups` of them are kept, 0 keeps all. A file that somebody moves away is begun anew, too.
    """

    def __init__(self, path: Path, when: str = "", backups: int = 0) -> None:
        self.name = str(path)
        self._path = path
        self._form = _PERIODS[when] if when else ""
        self._backups = backups
        self._descriptor: int | None = None
        self._period = ""
        self._is_torn = False

    def write(self, data: bytes) -> None:
        """Write all of `data`, whole lines. Blocks; raises OSError, and may be called again."""
        descriptor = self._current()
        # What a full disk has cut off gets its end, so that the next line is read as one.
        rest = memoryview(b"\n" + data if data and self._is_torn else data)
        while rest:
            count = os.write(descriptor, rest)
            self._is_torn = rest[count - 1] != _NEWLINE
            rest = rest[count:]

    def close(self) -> None:
        """Close the file; `write` opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _current(self) -> int:
        """Return the descriptor of this period's file."""
        if self._descriptor is not None and self._is_moved(self._descriptor):
            self.close()
        if self._descriptor is None:
            self._descriptor = self._open()
        period = self._period_of(time.time())
        if period == self._period:
            return self._descriptor
        ended, self._period = self._period, period
        try:
            self._put_aside(ended)
        except OSError as error:
            _log.warning("%s goes on in the next period: %s", self.name, error.strerror)
            return self._descriptor
        self.close()
        self._descriptor = self._open()
        return self._descriptor

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o640)
        self._is_torn = False
        found = os.fstat(descriptor)
        self._period = self._period_of(found.st_mtime if found.st_size else time.time())
        return descriptor

    def _is_moved(self, descriptor: int) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return True

    def _period_of(self, moment: float) -> str:
        return time.strftime(self._form, time.localtime(moment)) if self._form else ""

    def _put_aside(self, period: str) -> None:
        """Rename the file, and remove the oldest ones. Raises OSError."""
        target = self._path.with_name(f"{self._path.name}.{period}")
        if target.exists():  # the clock was set back
            raise FileExistsError(0, f"there is a {target.name} already")
        self._path.rename(target)
        if not self._backups:
            return
        prefix = f"{self._path.name}."
        old = sorted(
            entry.name
            for entry in os.scandir(self._path.parent)
            if entry.name.startswith(prefix) and _ENDING.fullmatch(entry.name.removeprefix(prefix))
        )
        for name in old[: -self._backups]:
            self._path.with_name(name).unlink(missing_ok=True)
