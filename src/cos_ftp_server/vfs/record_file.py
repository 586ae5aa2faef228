"""What is written down of one multipart upload: the lines, the file, and the lock on it.

Everything here blocks. It must not know who waits, or what becomes of the upload.
"""

import errno
import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = [
    "ENDING",
    "BegunUpload",
    "LockedFile",
    "format_begin",
    "format_name",
    "parse_record",
    "read_record",
]

ENDING = ".jsonl"

_MAX_BYTES = 64 * 1024
"""Of a file; with the longest key, all of it escaped, it has less than a tenth."""

_CLOSED = -1

_TRIES = 8
"""Names for a new file: a sweep may take one for left behind before it is locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunUpload:
    """What a file tells. `origin` is the bucket's; `upload_id` is "" as long as none is known."""

    origin: str
    key: str
    begun: datetime  # aware, UTC: just before COS was asked to begin it
    upload_id: str = ""


def format_begin(upload: BegunUpload) -> bytes:
    """Return the line that is written before the upload is begun."""
    fields = {"bucket": upload.origin, "key": upload.key, "begun": upload.begun.isoformat()}
    return json.dumps(fields).encode() + b"\n"


def format_name(upload_id: str) -> bytes:
    """Return the line that is added once the UploadId is known."""
    return json.dumps({"upload_id": upload_id}).encode() + b"\n"


def parse_record(content: bytes) -> BegunUpload | None:
    """Return what a file tells; None if its upload was not begun. Raises ValueError.

    A last line without its end was being written when the process died, and does not count.
    """
    fields: dict[str, object] = {}
    for line in content.split(b"\n")[:-1]:
        try:
            found = json.loads(line)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        if not isinstance(found, dict):
            raise ValueError("a line is no object")
        fields |= found
    if not fields:
        return None
    origin, key = _text(fields, "bucket"), _text(fields, "key")
    upload_id = _text(fields, "upload_id") if "upload_id" in fields else ""
    return BegunUpload(origin=origin, key=key, begun=_moment(fields), upload_id=upload_id)


def _text(fields: dict[str, object], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{name} is missing or no text")
    text.encode()  # or ValueError: half of a surrogate pair is valid JSON, and can be no name
    return text


def _moment(fields: dict[str, object]) -> datetime:
    moment = datetime.fromisoformat(_text(fields, "begun"))
    if moment.tzinfo is None:
        raise ValueError("begun has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("begun is out of range") from error


class LockedFile:
    """An open file, ours until it is closed or the process ends. Methods raise OSError."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, directory: Path, line: bytes) -> "LockedFile":
        """Create a file in `directory`, which is made when missing, that begins with `line`."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for _ in range(_TRIES):
            path = directory / f"{secrets.token_hex(8)}{ENDING}"
            file = cls(path, os.open(path, flags, 0o600))
            try:
                if file._lock():
                    file.append(line)
                    return file
            except OSError:
                file.erase()
                raise
            file.close()
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    @classmethod
    def take(cls, path: Path) -> "LockedFile | None":
        """Lock a file that was left behind; None if somebody holds it, or if it has gone."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            file = cls(path, os.open(path, flags))
        except FileNotFoundError:
            return None
        try:
            if file._lock():
                return file
        except OSError:
            file.close()
            raise
        file.close()
        return None

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # Whoever had it before may have removed it.
        return os.fstat(self._descriptor).st_nlink > 0

    def read(self) -> BegunUpload | None:
        """Return what the file tells; see parse_record."""
        return parse_record(os.pread(self._descriptor, _MAX_BYTES, 0))

    def append(self, line: bytes) -> None:
        """Add a line."""
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def erase(self) -> None:
        """Remove the file and close it."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Leave the file to whoever takes it; again is not an error."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            os.close(descriptor)


def read_record(path: Path) -> BegunUpload | None:
    """Return what a file tells, whoever holds it; see parse_record. Raises OSError."""
    with path.open("rb") as file:
        return parse_record(file.read(_MAX_BYTES))
