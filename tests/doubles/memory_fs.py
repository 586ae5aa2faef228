"""A file system in a dictionary, and variants of it that misbehave in one way each."""

import asyncio
import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from cos_ftp_server.crc64 import crc64
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import (
    Confirmation,
    FileInfo,
    FileKind,
    ObjectReader,
    ObjectWriter,
    Receipt,
    Rename,
    VirtualPath,
)
from cos_ftp_server.vfs.paths import ROOT, check_name, name_of, parent_of

__all__ = [
    "FailsInCommitFileSystem",
    "FailsInStatFileSystem",
    "FailsInWriteFileSystem",
    "HangsInCommitFileSystem",
    "HangsInRenameFileSystem",
    "HangsInStatFileSystem",
    "HangsInWaitFileSystem",
    "HoldsTheLoopFileSystem",
    "MemoryFileSystem",
    "MemoryReader",
    "MemoryWriter",
    "SlowReaderFileSystem",
    "Stage",
    "StagedFileSystem",
    "TightWindowFileSystem",
]

MODIFIED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def _fail(kind: ErrorKind, path: VirtualPath, *, temporary: bool = False) -> StorageError:
    return StorageError(kind, operation="memory", key=path, temporary=temporary)


async def no_doubt() -> None:
    pass


class MemoryReader:
    """Reads a bytes object in chunks."""

    def __init__(self, info: FileInfo, content: bytes, offset: int, chunk_bytes: int) -> None:
        self.info = info
        self.offset = offset
        self._content = content
        self._position = offset
        self._chunk_bytes = chunk_bytes

    async def read(self) -> bytes:
        chunk = self._content[self._position : self._position + self._chunk_bytes]
        self._position += len(chunk)
        return chunk


class MemoryWriter:
    """Collects windows of `window_bytes`; publishes at `commit`."""

    def __init__(
        self, publish: Callable[[bytes], None], window_bytes: int, beginning: bytes = b""
    ) -> None:
        self.received = 0
        self.kept = len(beginning)
        self._publish = publish
        self._content = bytearray(beginning)
        self._buffer = bytearray(window_bytes)
        self._filled = 0

    def window(self) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def advance(self, count: int) -> None:
        self._filled += count
        self.received += count

    async def wait(self) -> None:
        self._flush()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._flush()
        self._content += data
        self.received += len(data)

    @property
    def is_publishing(self) -> bool:
        return False

    @property
    def is_overtaken(self) -> bool:
        return False

    async def commit(
        self, confirm: Confirmation = no_doubt, is_wanted: Callable[[], bool] = lambda: True
    ) -> Receipt:
        self._flush()
        await confirm()
        content = bytes(self._content)
        self._publish(content)
        return Receipt(len(content), crc64(content))

    def note_interruption(self) -> None:
        pass

    def _flush(self) -> None:
        self._content += memoryview(self._buffer)[: self._filled]
        self._filled = 0


class MemoryFileSystem:
    """Files and directories by path. `open_writers` counts writers neither committed nor left."""

    def __init__(self, *, window_bytes: int = 64 * 1024, chunk_bytes: int = 1024 * 1024) -> None:
        self.files: dict[VirtualPath, bytes] = {}
        self.directories: set[VirtualPath] = {ROOT}
        self.page_entries = 1000
        self.open_writers = 0
        self.open_readers = 0
        self.broken_off: set[VirtualPath] = set()
        self.interrupted: set[VirtualPath] = set()
        self.size_hints: list[int | None] = []
        self.writer_opened = asyncio.Event()
        self._window_bytes = window_bytes
        self._chunk_bytes = chunk_bytes

    def put(self, path: str, content: bytes) -> None:
        """Create a file and the directories above it."""
        target = VirtualPath(path)
        self.files[target] = content
        self.add_directory(parent_of(target))

    def add_directory(self, path: str) -> None:
        """Create a directory and those above it."""
        target = VirtualPath(path)
        while target not in self.directories:
            self.directories.add(target)
            target = parent_of(target)

    async def stat(self, path: VirtualPath) -> FileInfo:
        if path in self.directories:
            return FileInfo(name_of(path), FileKind.DIRECTORY, 0, MODIFIED)
        return await self.stat_file(path)

    async def stat_file(self, path: VirtualPath) -> FileInfo:
        if path not in self.files:
            raise _fail(ErrorKind.NOT_FOUND, path)
        return FileInfo(name_of(path), FileKind.FILE, len(self.files[path]), MODIFIED)

    async def check_directory(self, path: VirtualPath) -> None:
        if path in self.files:
            raise _fail(ErrorKind.NOT_DIRECTORY, path)
        if path not in self.directories:
            raise _fail(ErrorKind.NOT_FOUND, path)

    async def list_directory(self, path: VirtualPath) -> AsyncGenerator[Sequence[FileInfo], None]:
        await self.check_directory(path)
        children = sorted(
            child
            for child in (*self.files, *self.directories)
            if child != ROOT and parent_of(child) == path
        )
        for start in range(0, len(children), self.page_entries):
            yield [await self.stat(child) for child in children[start : start + self.page_entries]]

    @asynccontextmanager
    async def _reader(self, path: VirtualPath, offset: int) -> AsyncIterator[ObjectReader]:
        if path in self.directories:
            raise _fail(ErrorKind.IS_DIRECTORY, path)
        info = await self.stat_file(path)
        if offset > info.size:
            raise _fail(ErrorKind.BAD_RANGE, path)
        self.open_readers += 1
        try:
            yield self.make_reader(info, self.files[path], offset)
        finally:
            self.open_readers -= 1

    def make_reader(self, info: FileInfo, content: bytes, offset: int) -> ObjectReader:
        return MemoryReader(info, content, offset, self._chunk_bytes)

    def open_reader(
        self, path: VirtualPath, offset: int = 0
    ) -> AbstractAsyncContextManager[ObjectReader]:
        return self._reader(path, offset)

    @asynccontextmanager
    async def _writer(self, path: VirtualPath, beginning: bytes) -> AsyncIterator[ObjectWriter]:
        check_name(path)
        if path in self.directories:
            raise _fail(ErrorKind.IS_DIRECTORY, path)
        self.open_writers += 1
        self.writer_opened.set()
        try:
            yield self.make_writer(path, beginning)
        finally:
            self.open_writers -= 1

    def make_writer(self, path: VirtualPath, beginning: bytes) -> ObjectWriter:
        return MemoryWriter(lambda content: self.put(path, content), self._window_bytes, beginning)

    def is_interrupted(self, path: VirtualPath) -> bool:
        return path in self.interrupted

    def has_broken_off(self, path: VirtualPath) -> bool:
        return path in self.broken_off

    def open_writer(
        self, path: VirtualPath, *, offset: int | None = 0, size_hint: int | None = None
    ) -> AbstractAsyncContextManager[ObjectWriter]:
        self.size_hints.append(size_hint)
        old = self.files.get(path, b"")
        if offset is not None and offset > len(old):
            raise _fail(ErrorKind.BAD_RANGE, path)
        return self._writer(path, old[:offset])

    async def delete_file(self, path: VirtualPath) -> None:
        if path in self.directories:
            raise _fail(ErrorKind.IS_DIRECTORY, path)
        await self.stat_file(path)
        del self.files[path]

    async def make_directory(self, path: VirtualPath) -> None:
        check_name(path)
        if path in self.directories or path in self.files:
            raise _fail(ErrorKind.EXISTS, path)
        self.add_directory(path)

    async def remove_directory(self, path: VirtualPath) -> None:
        await self.check_directory(path)
        if path == ROOT:
            raise _fail(ErrorKind.DENIED, path)
        if any(parent_of(child) == path for child in (*self.files, *self.directories)):
            raise _fail(ErrorKind.NOT_EMPTY, path)
        self.directories.remove(path)

    async def prepare_rename(self, source: VirtualPath) -> Rename:
        await self.stat(source)
        return _MemoryRename(self, source)


class _MemoryRename:
    def __init__(self, file_system: MemoryFileSystem, source: VirtualPath) -> None:
        self._fs = file_system
        self.source = source

    async def to(self, target: VirtualPath) -> None:
        files, directories, source = self._fs.files, self._fs.directories, self.source
        if target in directories:
            raise _fail(ErrorKind.EXISTS, target)
        if source in files:
            self._fs.put(target, files.pop(source))
            return
        for path in [path for path in files if path.startswith(source + "/")]:
            self._fs.put(target + path[len(source) :], files.pop(path))
        for path in {path for path in directories if (path + "/").startswith(source + "/")}:
            directories.remove(path)
            self._fs.add_directory(target + path[len(source) :])


class HangsInRenameFileSystem(MemoryFileSystem):
    """Renames wait for `release`, and then fail with `error` if there is one."""

    def __init__(self, error: StorageError | None = None) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.release = asyncio.Event()
        self.error = error

    async def prepare_rename(self, source: VirtualPath) -> Rename:
        await self.stat(source)
        return _HangingRename(self, source)


class _HangingRename(_MemoryRename):
    def __init__(self, file_system: HangsInRenameFileSystem, source: VirtualPath) -> None:
        super().__init__(file_system, source)
        self._hanging = file_system

    async def to(self, target: VirtualPath) -> None:
        self._hanging.reached.set()
        await self._hanging.release.wait()
        if self._hanging.error is not None:
            raise self._hanging.error
        await super().to(target)


class TightWindowFileSystem(MemoryFileSystem):
    """Writers that must be waited for after every few bytes, readers that give little."""

    def __init__(self) -> None:
        super().__init__(window_bytes=7, chunk_bytes=5)


class _HangingCommitWriter(MemoryWriter):
    def __init__(
        self, publish: Callable[[bytes], None], reached: asyncio.Event, release: asyncio.Event
    ) -> None:
        super().__init__(publish, 64 * 1024)
        self._reached = reached
        self._release = release

    async def commit(
        self, confirm: Confirmation = no_doubt, is_wanted: Callable[[], bool] = lambda: True
    ) -> Receipt:
        self._reached.set()
        await self._release.wait()
        return await super().commit(confirm, is_wanted)


class HangsInCommitFileSystem(MemoryFileSystem):
    """Commits wait for `release`; `reached` tells that one does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.release = asyncio.Event()

    def make_writer(self, path: VirtualPath, beginning: bytes) -> ObjectWriter:
        return _HangingCommitWriter(
            lambda content: self._publish(path, content), self.reached, self.release
        )

    def _publish(self, path: VirtualPath, content: bytes) -> None:
        self.put(path, content)


class FailsInCommitFileSystem(HangsInCommitFileSystem):
    """Commits fail with `error` once released."""

    def __init__(self, kind: ErrorKind = ErrorKind.UNAVAILABLE, *, temporary: bool = True) -> None:
        super().__init__()
        self.error = _fail(kind, VirtualPath("/secret-bucket-key"), temporary=temporary)

    def _publish(self, path: VirtualPath, content: bytes) -> None:
        raise self.error


class _FailingWriter(MemoryWriter):
    """Fails when its first window is full."""

    def __init__(self, error: StorageError, window_bytes: int) -> None:
        super().__init__(lambda _: None, window_bytes)
        self._error = error

    async def wait(self) -> None:
        raise self._error


class FailsInWriteFileSystem(MemoryFileSystem):
    """Uploads of more than 1,000 bytes fail. `failed` tells it; to be left, they need `release`."""

    def __init__(self, kind: ErrorKind = ErrorKind.TOO_LARGE, *, temporary: bool = False) -> None:
        super().__init__()
        self.error = _fail(kind, VirtualPath("/a"), temporary=temporary)
        self.failed = asyncio.Event()
        self.release = asyncio.Event()

    def make_writer(self, path: VirtualPath, beginning: bytes) -> ObjectWriter:
        return _FailingWriter(self.error, 1000)

    @asynccontextmanager
    async def _writer(self, path: VirtualPath, beginning: bytes) -> AsyncIterator[ObjectWriter]:
        async with super()._writer(path, beginning) as writer:
            try:
                yield writer
            finally:
                self.failed.set()
                await self.release.wait()


class Stage(enum.Enum):
    """How far an upload has come."""

    ARRIVING = enum.auto()
    ENDED = enum.auto()
    CONFIRMING = enum.auto()
    CONFIRMED = enum.auto()
    PUBLISHING = enum.auto()
    PUBLISHED = enum.auto()
    RETURNED = enum.auto()


class _StagedWriter(MemoryWriter):
    def __init__(self, publish: Callable[[bytes], None], enter: Callable[[Stage], None]) -> None:
        super().__init__(publish, 64 * 1024)
        self._enter = enter
        self._is_publishing = False

    @property
    def is_publishing(self) -> bool:
        return self._is_publishing

    def advance(self, count: int) -> None:
        super().advance(count)
        self._enter(Stage.ARRIVING)

    async def commit(
        self, confirm: Confirmation = no_doubt, is_wanted: Callable[[], bool] = lambda: True
    ) -> Receipt:
        await self._stay(Stage.ENDED)
        self._enter(Stage.CONFIRMING)
        await confirm()
        await self._stay(Stage.CONFIRMED)
        self._is_publishing = True
        await self._stay(Stage.PUBLISHING)
        receipt = await super().commit()
        await self._stay(Stage.PUBLISHED)
        self._enter(Stage.RETURNED)
        return receipt

    async def _stay(self, stage: Stage) -> None:
        self._enter(stage)
        for _ in range(StagedFileSystem.TURNS):
            await asyncio.sleep(0)


class StagedFileSystem(MemoryFileSystem):
    """Uploads take `TURNS` of the event loop for each stage of a commit; `stage` is the latest."""

    TURNS = 100

    def __init__(self) -> None:
        super().__init__()
        self.stage: Stage | None = None

    def make_writer(self, path: VirtualPath, beginning: bytes) -> ObjectWriter:
        return _StagedWriter(lambda content: self.put(path, content), self._enter)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage


class FailsInStatFileSystem(MemoryFileSystem):
    """`stat_file` has a bug: it raises what no caller expects."""

    async def stat_file(self, path: VirtualPath) -> FileInfo:
        raise ZeroDivisionError("a bug")


class _HangingWaitWriter(MemoryWriter):
    def __init__(
        self, publish: Callable[[bytes], None], reached: asyncio.Event, release: asyncio.Event
    ) -> None:
        super().__init__(publish, 7)
        self._reached = reached
        self._release = release

    async def wait(self) -> None:
        self._reached.set()
        await self._release.wait()
        await super().wait()


class HangsInWaitFileSystem(MemoryFileSystem):
    """Writers have memory for 7 bytes, and the next after `release`; `reached` tells one waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.release = asyncio.Event()

    def make_writer(self, path: VirtualPath, beginning: bytes) -> ObjectWriter:
        return _HangingWaitWriter(
            lambda content: self.put(path, content), self.reached, self.release
        )


class HangsInStatFileSystem(MemoryFileSystem):
    """`stat` never returns."""

    async def stat(self, path: VirtualPath) -> FileInfo:
        await asyncio.Event().wait()
        return await super().stat(path)


class HoldsTheLoopFileSystem(MemoryFileSystem):
    """Publishing takes the time of `hold`, in which the event loop does nothing else."""

    def __init__(self, hold: Callable[[], None]) -> None:
        super().__init__()
        self._hold = hold

    def put(self, path: str, content: bytes) -> None:
        self._hold()
        super().put(path, content)


class _WaitingReader(MemoryReader):
    def __init__(self, info: FileInfo, content: bytes, offset: int, release: asyncio.Event) -> None:
        super().__init__(info, content, offset, 1024)
        self._release = release

    async def read(self) -> bytes:
        if self._position > self.offset:
            await self._release.wait()
        return await super().read()


class SlowReaderFileSystem(MemoryFileSystem):
    """Readers give 1 KiB and then wait for `release`."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()

    def make_reader(self, info: FileInfo, content: bytes, offset: int) -> ObjectReader:
        return _WaitingReader(info, content, offset, self.release)


class EndsEarlyFileSystem(MemoryFileSystem):
    """Readers leave out the last byte."""

    def make_reader(self, info: FileInfo, content: bytes, offset: int) -> ObjectReader:
        return super().make_reader(info, content[:-1], offset)
