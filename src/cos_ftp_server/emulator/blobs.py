"""The files that hold content too large for the index.

Owns names, writing, reading and removal of blob files. A blob is written once and never changed,
and counts only once the index names it: whatever else lies in the directory is left over from
a process that was killed, and is swept at the next start. So there are no temporary names. Knows
nothing of objects, keys or HTTP; blocking, to be called off the event loop.
"""

import hashlib
import itertools
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from cos_ftp_server.crc64 import crc64

__all__ = ["BlobFiles", "BlobReader", "BlobSink", "Piece"]

log = logging.getLogger(__name__)

READ_BYTES = 256 * 1024  # one hop to a thread (about 60 µs) costs little against reading this


@dataclass(frozen=True, slots=True)
class Piece:
    """One blob file of an object's content, and its length in bytes."""

    blob: int
    size: int


class BlobFiles:
    """A directory of blob files, named by their number; safe to use from several threads."""

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        self._directory = directory
        self._fsync = fsync
        self._ids = itertools.count(1)
        self._pins: Counter[int] = Counter()
        self._doomed: set[int] = set()
        # Held while a reader looks up an object and pins its blobs, so that none of them is
        # removed in between.
        self.lock = threading.Lock()

    def open(self, is_live: Callable[[int], bool], first_free: int) -> None:
        """Make the directory, sweep what is not live, and number new blobs from `first_free`."""
        self._directory.mkdir(exist_ok=True)
        self._ids = itertools.count(first_free)
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if not (entry.name.isdecimal() and is_live(int(entry.name))):
                    log.info("removing the left-over blob %s", entry.name)
                    Path(entry.path).unlink()

    def create(self) -> "BlobSink":
        """Return a new blob to write; its file is made by the first write."""
        return BlobSink(self, next(self._ids), fsync=self._fsync)

    def duplicate(self, blob: int) -> int:
        """Return a new blob of the same content. Blobs never change, so they can share it."""
        copy = next(self._ids)
        try:
            os.link(self.path(blob), self.path(copy))
        except OSError:  # a file system without hard links
            shutil.copyfile(self.path(blob), self.path(copy))
            if self._fsync:
                with self.path(copy).open("rb") as file:
                    os.fsync(file.fileno())
        self.sync_directory()
        return copy

    def path(self, blob: int) -> Path:
        """Return where a blob is."""
        return self._directory / str(blob)

    def pin(self, pieces: Iterable[Piece]) -> None:
        """Keep blobs from removal until `unpin`; the caller holds `lock`."""
        self._pins.update(piece.blob for piece in pieces)

    def unpin(self, pieces: Iterable[Piece]) -> None:
        """Let go of blobs; those discarded meanwhile are removed now."""
        with self.lock:
            freed = []
            for piece in pieces:
                self._pins[piece.blob] -= 1
                if not self._pins[piece.blob]:
                    del self._pins[piece.blob]
                    freed.append(piece.blob)
            dead = self._doomed.intersection(freed)
            self._doomed -= dead
        self._unlink(dead)

    def discard(self, blobs: Sequence[int]) -> None:
        """Remove blobs that the index names no more, as soon as nobody reads them."""
        with self.lock:
            pinned = {blob for blob in blobs if blob in self._pins}
            self._doomed |= pinned
        self._unlink(blob for blob in blobs if blob not in pinned)

    def sync_directory(self) -> None:
        """Make new names last through a loss of power, if that is asked for."""
        if self._fsync:
            descriptor = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _unlink(self, blobs: Iterable[int]) -> None:
        for blob in blobs:
            try:
                self.path(blob).unlink(missing_ok=True)
            except OSError as error:  # it is swept at the next start
                log.warning("cannot remove blob %d: %s", blob, error)


class BlobSink:
    """A blob being written, with the digests of what was written so far.

    Its methods may be called in one thread while another one is still at work in here: `discard`
    is asked for whenever an upload breaks off.
    """

    def __init__(self, files: BlobFiles, blob: int, *, fsync: bool) -> None:
        self.blob = blob
        self.size = 0
        self.crc = 0
        self._files = files
        self._fsync = fsync
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._file: FileIO | None = None
        self._is_discarded = False
        self._lock = threading.Lock()

    @property
    def md5(self) -> bytes:
        """The MD5 of what was written."""
        return self._md5.digest()

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append bytes; does nothing once the blob has been discarded."""
        with self._lock:
            if self._is_discarded:
                return
            if self._file is None:
                self._file = FileIO(self._files.path(self.blob), "x")
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[self._file.write(view) :]
                self._md5.update(chunk)
                self.crc = crc64(chunk, self.crc)
                self.size += len(chunk)

    def finish(self, chunks: Sequence[bytes]) -> None:
        """Append the last bytes and close the blob: it is with the system, or on disk (`fsync`)."""
        self.write(chunks)
        with self._lock:
            if self._file is not None:
                if self._fsync:
                    os.fsync(self._file.fileno())
                self._file.close()
        self._files.sync_directory()

    def discard(self) -> None:
        """Close and remove the blob."""
        with self._lock:
            self._is_discarded = True
            if self._file is not None:
                self._file.close()
        self._files.discard([self.blob])


class BlobReader:
    """Reads a range of the concatenation of blobs, which somebody else keeps pinned."""

    def __init__(self, files: BlobFiles, pieces: Sequence[Piece], start: int, size: int) -> None:
        self._files = files
        self._pieces = pieces
        self._position = start  # from the beginning of the piece at `_index`
        self._left = size
        self._index = 0
        self._descriptor = -1
        # `close` may be asked for while `read` still runs in another thread.
        self._lock = threading.Lock()

    def read(self) -> bytes:
        """Return the next bytes, b"" at the end and once closed.

        Raises:
            OSError: a blob cannot be read or is shorter than the index says.
        """
        with self._lock:
            while self._left and self._position >= self._pieces[self._index].size:
                self._position -= self._pieces[self._index].size
                self._index += 1
                self._close_file()
            if not self._left:
                return b""
            piece = self._pieces[self._index]
            if self._descriptor < 0:
                self._descriptor = os.open(self._files.path(piece.blob), os.O_RDONLY)
            wanted = min(READ_BYTES, self._left, piece.size - self._position)
            data = os.pread(self._descriptor, wanted, self._position)
            if len(data) < wanted:
                raise OSError(f"blob {piece.blob} is shorter than {piece.size} bytes")
            self._position += wanted
            self._left -= wanted
            return data

    def close(self) -> None:
        """Close the files; there is nothing more to read."""
        with self._lock:
            self._left = 0
            self._close_file()

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
