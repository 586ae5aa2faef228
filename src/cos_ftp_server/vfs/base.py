"""The file system that FTP sees: two small protocols and the values they exchange.

Everything here is asynchronous and raises `StorageError`, nothing else. It knows no FTP.
"""

import enum
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, NewType, Protocol, TypeAlias

__all__ = [
    "Confirmation",
    "FileInfo",
    "FileKind",
    "FileSystem",
    "ObjectReader",
    "ObjectWriter",
    "Receipt",
    "Rename",
    "VirtualPath",
]

VirtualPath = NewType("VirtualPath", str)
"""An absolute, canonical path: "/" or "/a/b", never "", ".", ".." or an empty component.
Only `paths.resolve` makes one."""


class FileKind(enum.Enum):
    """What a name stands for."""

    FILE = "file"
    DIRECTORY = "dir"


class FileInfo(NamedTuple):
    """One entry. `size` in bytes (0 for a directory); `modified` is aware UTC, None if unknown.

    A tuple, because listings make thousands of them: a frozen dataclass takes twice the time.
    """

    name: str
    kind: FileKind
    size: int
    modified: datetime | None

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.kind is FileKind.DIRECTORY


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the store has acknowledged: the file's bytes, and their CRC-64/XZ.

    It was computed on arrival, or, for bytes that the store copied itself, told by it; None if not.
    """

    size: int
    crc64: int | None


Confirmation: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Says whether a file is really wanted, by returning or raising."""


class ObjectReader(Protocol):
    """A file opened for reading at some offset. Use as `async with fs.open_reader(...)`."""

    info: FileInfo
    offset: int
    """Where reading began; `info.size - offset` bytes will come."""

    async def read(self) -> bytes | memoryview:
        """Return the next chunk, at most about 1 MiB, b"" at the end.

        Its memory is the reader's, and used again from the next call on.
        Raises StorageError(CHANGED) when the object was replaced while it was read, so that a
        reader never sees a mixture; other kinds when the store fails for good.
        """
        ...


class ObjectWriter(Protocol):
    """A file being written. Use as `async with fs.open_writer(...)`.

    Leaving the context without `commit` aborts. Data is received straight into the writer's
    memory: fill `window()`, then `advance(n)`.
    Nothing is visible at the path before `commit` returns, and a path that held a file keeps it.
    """

    received: int
    """Bytes taken so far."""

    kept: int
    """Bytes of the old file that come before them."""

    @property
    def is_publishing(self) -> bool:
        """Whether the old file may be gone at any moment: only the outcome of `commit` tells."""
        ...

    @property
    def is_overtaken(self) -> bool:
        """Whether something else was stored at the path since, so that a part is not wanted."""
        ...

    def window(self) -> memoryview:
        """Return free memory to receive into; empty when the writer must be waited for."""
        ...

    def advance(self, count: int) -> None:
        """Say that the first `count` bytes of the window have been filled."""
        ...

    async def wait(self) -> None:
        """Return when `window()` is not empty. Raises StorageError if the upload has failed."""
        ...

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Copy `data` in, waiting for room as needed: for data that had to be converted first."""
        ...

    async def commit(
        self, confirm: Confirmation = ..., is_wanted: Callable[[], bool] = ...
    ) -> Receipt:
        """Make what was received the file, and return once the store has acknowledged all of it.

        Size and checksum have then been compared. `confirm` is called at once and has returned
        before a file is replaced, and before `commit` returns; it raises to prevent that.
        `is_wanted` is asked last, right before a file is replaced; CHANGED is raised if it is not.
        Raises what `confirm` raises, and StorageError; the path is then as it was before.
        """
        ...

    def note_interruption(self) -> None:
        """Say that what was committed is only a part, which its client may be about to repeat."""
        ...


class Rename(Protocol):
    """A file or directory that has been looked up, about to get another name."""

    @property
    def source(self) -> VirtualPath:
        """What it is called now."""
        ...

    async def to(self, target: VirtualPath) -> None:
        """Move to `target`; a file there is replaced, a directory never.

        Raises IS_DIRECTORY or EXISTS (target), NOT_DIRECTORY, BAD_NAME, CHANGED. After an error
        every file can still be read under its old name.
        """
        ...


class FileSystem(Protocol):
    """A bucket seen as a tree of files and directories. One instance serves many sessions."""

    async def stat(self, path: VirtualPath) -> FileInfo:
        """Return what `path` is: file or directory. Raises NOT_FOUND."""
        ...

    async def stat_file(self, path: VirtualPath) -> FileInfo:
        """Return the file at `path` with one request. Raises NOT_FOUND (also for a directory)."""
        ...

    async def check_directory(self, path: VirtualPath) -> None:
        """Return if `path` is a directory. Raises NOT_FOUND or NOT_DIRECTORY."""
        ...

    def list_directory(self, path: VirtualPath) -> AsyncGenerator[Sequence[FileInfo], None]:
        """Yield the entries of `path` in name order, page by page; the next page is prefetched.

        Raises NOT_FOUND or NOT_DIRECTORY before the first page. An iterator that is not
        exhausted must be closed with `aclose()`.
        """
        ...

    def open_reader(
        self, path: VirtualPath, offset: int = 0
    ) -> AbstractAsyncContextManager[ObjectReader]:
        """Open a file for reading. Raises NOT_FOUND, IS_DIRECTORY, BAD_RANGE (offset > size), …"""
        ...

    def open_writer(
        self, path: VirtualPath, *, offset: int | None = 0, size_hint: int | None = None
    ) -> AbstractAsyncContextManager[ObjectWriter]:
        """Begin a new file, or the replacement of one. `size_hint`: bytes announced, if any.

        The new file begins with the first `offset` bytes of the one that is there, or with all of
        it for None (then there need not be one); what lay behind them is not kept. If that file
        has changed until the end, `commit` raises CHANGED.

        Raises BAD_NAME, and BAD_RANGE for an `offset` beyond the end, or of no file. IS_DIRECTORY
        and NOT_DIRECTORY may also surface in `wait` and `commit`, because names are checked while
        data arrives.
        """
        ...

    def is_interrupted(self, path: VirtualPath) -> bool:
        """Whether an upload of it is under way, or broke off so lately that it may be repeated."""
        ...

    def has_broken_off(self, path: VirtualPath) -> bool:
        """Whether the upload of a whole file broke off lately, so that what is there is older.

        Not so if a part of it was kept.
        """
        ...

    async def delete_file(self, path: VirtualPath) -> None:
        """Delete a file; the directory that held it stays. Raises NOT_FOUND, IS_DIRECTORY."""
        ...

    async def make_directory(self, path: VirtualPath) -> None:
        """Create a directory. Raises EXISTS, NOT_DIRECTORY, BAD_NAME."""
        ...

    async def remove_directory(self, path: VirtualPath) -> None:
        """Remove an empty directory. Raises NOT_FOUND, NOT_DIRECTORY, NOT_EMPTY, DENIED (root)."""
        ...

    async def prepare_rename(self, source: VirtualPath) -> "Rename":
        """Look up the file or directory to rename. Raises NOT_FOUND, DENIED (root)."""
        ...
