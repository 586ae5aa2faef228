"""Which uploads broke off within the last hour, in a file that outlives this process.

A client that tries again after the server has been stopped or killed must be told no less than
before. The file has a line of JSON for each change; the last one for a key counts. Another one is
there from a process's first upload to its end: who is killed leaves it. Everything here blocks. It
must not know what is refused to whom.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Interruption", "InterruptionFile"]

_MOST_BYTES = 4 * 1024 * 1024
"""Of the file; then it is put aside, and the one that was put aside before is gone. Both together
have more lines than files are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """An upload that broke off. `moment` is in seconds since 1970."""

    bucket: str
    key: str
    moment: float
    is_whole: bool
    """Whether what is at the key is not the whole file that was sent last."""


class InterruptionFile:
    """The file at `path`, and others with longer names. Methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_name(f"{path.name}.old")
        self._running = path.with_name(f"{path.name}.running")

    def was_killed(self) -> bool:
        """Whether a process has begun uploads, and had no time to `end`."""
        return self._running.exists()

    def begin(self) -> None:
        """Take note that there are uploads that may break off. The directory is made for it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._running.touch(mode=0o600)

    def end(self) -> None:
        """Take note that all that broke off has been appended, and nothing more will."""
        self._running.unlink(missing_ok=True)

    def append(self, interruption: Interruption) -> None:
        """Add a line."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            # Behind a line that a full disk has cut short, it must be a line of its own.
            os.write(descriptor, b"\n" + json.dumps(asdict(interruption)).encode() + b"\n")
            is_full = os.fstat(descriptor).st_size >= _MOST_BYTES
        finally:
            os.close(descriptor)
        if is_full:
            self._path.replace(self._aside)

    def read(self) -> list[Interruption]:
        """Return what the lines tell, in their order; what is no such line counts for nothing."""
        return [
            interruption
            for path in (self._aside, self._path)
            for line in _lines(path)
            if (interruption := _parse(line)) is not None
        ]


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file.read(2 * _MOST_BYTES).split(b"\n")
    except FileNotFoundError:
        return


def _parse(line: bytes) -> Interruption | None:
    try:
        match json.loads(line):
            case {
                "bucket": str(bucket),
                "key": str(key),
                "moment": int() | float() as moment,
                "is_whole": bool(is_whole),
            }:
                return Interruption(bucket=bucket, key=key, moment=float(moment), is_whole=is_whole)
    except (ValueError, RecursionError, OverflowError):
        pass
    return None
