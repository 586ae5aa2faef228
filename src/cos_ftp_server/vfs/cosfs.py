"""A bucket (or a prefix of one) as a file system: the `FileSystem` that FTP sessions use."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import (
    FileInfo,
    FileKind,
    Rename,
    VirtualPath,
)
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.creation import CreationRules
from cos_ftp_server.vfs.listing import file_info, list_pages
from cos_ftp_server.vfs.names import Names
from cos_ftp_server.vfs.opening import OpenReader, OpenWriter
from cos_ftp_server.vfs.paths import (
    ROOT,
    check_name,
    directory_key,
    file_key,
    name_of,
)
from cos_ftp_server.vfs.renaming import DirectoryRename, FileRename
from cos_ftp_server.vfs.tree import Tree
from cos_ftp_server.vfs.upload import UploadEngine

__all__ = ["CosFileSystem"]

_ANY_FILE = CreationRules()


class CosFileSystem:
    """One account's tree. `prefix` is "" or ends with "/"; the account never sees above it.

    `state` is shared by all accounts of a bucket, so that each sees at once what others do.
    """

    def __init__(
        self,
        engine: UploadEngine,
        cleanups: Cleanups,
        *,
        prefix: str = "",
        rules: CreationRules = _ANY_FILE,
        state: BucketState | None = None,
    ) -> None:
        self._engine = engine
        self._client: CosClient = engine.client
        self._prefix = prefix
        self._state = BucketState() if state is None else state
        self._names = Names(engine.client, self._state, prefix)
        self._tree = Tree(
            client=engine.client,
            names=self._names,
            state=self._state,
            rules=rules,
            records=engine.records,
            cleanups=cleanups,
            prefix=prefix,
        )

    # Looking

    async def stat(self, path: VirtualPath) -> FileInfo:
        """Return what `path` is. The requests run side by side."""
        if path == ROOT:
            return FileInfo("/", FileKind.DIRECTORY, 0, None)
        as_file = asyncio.create_task(self.stat_file(path))
        as_directory = asyncio.create_task(self._names.is_directory(path))
        try:
            try:
                return await as_file
            except StorageError as error:
                if error.kind is not ErrorKind.NOT_FOUND or not await as_directory:
                    raise
            return FileInfo(name_of(path), FileKind.DIRECTORY, 0, None)
        finally:
            as_directory.cancel()
            await asyncio.gather(as_file, as_directory, return_exceptions=True)

    async def stat_file(self, path: VirtualPath) -> FileInfo:
        """Return the file at `path`."""
        return file_info(name_of(path), await self._names.head_file(path))

    async def check_directory(self, path: VirtualPath) -> None:
        """Return if `path` is a directory."""
        await self._names.check_directory(path)

    async def list_directory(self, path: VirtualPath) -> AsyncGenerator[Sequence[FileInfo], None]:
        """Yield the entries of `path`, page by page."""
        key = directory_key(path, self._prefix)
        asked_at = self._state.now()
        pages = list_pages(self._client, self._state, key)
        try:
            first = True
            async for page in pages:
                if first and not page:
                    await self._check_listable(path)
                first = False
                self._names.directories.add(path, asked_at)
                yield page
        finally:
            await pages.aclose()

    async def _check_listable(self, path: VirtualPath) -> None:
        """Tell an empty directory from none; its marker is not among the entries."""
        if await self._names.is_directory(path):
            return
        kind = ErrorKind.NOT_FOUND
        if await self._names.is_file(path):
            kind = ErrorKind.NOT_DIRECTORY
        raise StorageError(kind, operation="list", key=path)

    # Files

    def open_reader(self, path: VirtualPath, offset: int = 0) -> OpenReader:
        """Open a file for reading."""
        return OpenReader(self._tree, self._engine, path, offset)

    def open_writer(
        self, path: VirtualPath, *, offset: int | None = 0, size_hint: int | None = None
    ) -> OpenWriter:
        """Begin a new file, or the replacement or continuation of one."""
        return OpenWriter(self._tree, self._engine, path, offset, size_hint)

    def is_interrupted(self, path: VirtualPath) -> bool:
        """Whether an upload of it is under way, or broke off within the last hour."""
        return self._state.attempts.is_interrupted(file_key(path, self._prefix))

    def has_broken_off(self, path: VirtualPath) -> bool:
        """Whether the file is not the whole one that was sent last, within the last hour."""
        return self._state.attempts.has_broken_off(file_key(path, self._prefix))

    async def delete_file(self, path: VirtualPath) -> None:
        """Delete a file; the directory that held it stays."""
        key = file_key(path, self._prefix)
        await self._tree.delete(key, path, partial(self._names.head_file, path))

    # Directories

    async def make_directory(self, path: VirtualPath) -> None:
        """Create a directory: a zero-byte object whose key ends with "/"."""
        check_name(path, self._prefix, is_directory=True)
        if path == ROOT:
            raise StorageError(ErrorKind.EXISTS, operation="mkdir", key=path)
        with self._state.claiming(directory_key(path, self._prefix)):
            await self._tree.check_no_name(path)
            await self._tree.put_marker(path)

    async def remove_directory(self, path: VirtualPath) -> None:
        """Remove an empty directory."""
        if path == ROOT:
            raise StorageError(ErrorKind.DENIED, operation="rmdir", key=path)
        key = directory_key(path, self._prefix)
        await self._tree.delete(key, path, partial(self._check_empty, path, key))

    async def _check_empty(self, path: VirtualPath, key: str) -> None:
        """Return if `path` is a directory with nothing in it; then it has a marker."""
        if await self._names.has_entries(key, besides=key):
            raise StorageError(ErrorKind.NOT_EMPTY, operation="rmdir", key=path)
        try:
            await self._client.head_object(key)
        except StorageError as error:
            if error.kind is ErrorKind.NOT_FOUND and await self._names.is_file(path):
                raise StorageError(ErrorKind.NOT_DIRECTORY, operation="rmdir", key=path) from error
            raise

    # Renaming

    async def prepare_rename(self, source: VirtualPath) -> Rename:
        """Look `source` up; see `FileSystem.prepare_rename`."""
        if source == ROOT:
            raise StorageError(ErrorKind.DENIED, operation="rename", key=source)
        try:
            return FileRename(self._tree, source, await self._names.head_file(source))
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND or not await self._names.is_directory(source):
                raise
        return DirectoryRename(self._tree, source)
