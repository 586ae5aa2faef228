"""A bucket (or a prefix of one) as a file system: the `FileSystem` that FTP sessions use."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import (
    FileInfo,
    FileKind,
    ObjectReader,
    ObjectWriter,
    Rename,
    VirtualPath,
)
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.concurrency import together
from cos_ftp_server.vfs.copying import copy_object
from cos_ftp_server.vfs.creation import CreationRules
from cos_ftp_server.vfs.download import Download, ObjectRange
from cos_ftp_server.vfs.listing import file_info, list_pages
from cos_ftp_server.vfs.names import Names, Target
from cos_ftp_server.vfs.paths import (
    ROOT,
    check_name,
    directory_key,
    file_key,
    name_of,
    parent_of,
)
from cos_ftp_server.vfs.recent import RecentChanges
from cos_ftp_server.vfs.renaming import rename_tree
from cos_ftp_server.vfs.resume import Beginning
from cos_ftp_server.vfs.upload import Upload, UploadEngine, too_large

__all__ = ["CosFileSystem"]

_log = logging.getLogger(__name__)

_ANY_FILE = CreationRules()


class CosFileSystem:
    """One account's tree. `prefix` is "" or ends with "/"; the account never sees above it.

    `recent` is shared by all accounts of a bucket, so that each sees at once what others do.
    """

    def __init__(
        self,
        engine: UploadEngine,
        cleanups: Cleanups,
        *,
        prefix: str = "",
        rules: CreationRules = _ANY_FILE,
        recent: RecentChanges | None = None,
    ) -> None:
        self._engine = engine
        self._client: CosClient = engine.client
        self._cleanups = cleanups
        self._prefix = prefix
        self._rules = rules
        self._recent = RecentChanges() if recent is None else recent
        self._names = Names(engine.client, self._recent, prefix)

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
        pages = list_pages(self._client, self._recent, key)
        try:
            first = True
            async for page in pages:
                if first and not page:
                    await self._check_listable(path)
                first = False
                self._names.known.add(path)
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

    @asynccontextmanager
    async def open_reader(self, path: VirtualPath, offset: int = 0) -> AsyncIterator[ObjectReader]:
        """Open a file for reading."""
        key = file_key(path, self._prefix)
        opened = ObjectRange(self._client, key, offset, None)
        try:
            meta = await opened.open()
        except StorageError as error:
            if error.kind is not ErrorKind.BAD_RANGE:
                raise
            # The end itself is a good place to resume from: the client has it all.
            meta = await self._client.head_object(key)
            if offset != meta.size:
                raise
            opened.end = offset
        except asyncio.CancelledError:
            await opened.aclose()
            raise
        info = file_info(name_of(path), meta)
        download = Download(self._client, self._engine.pool, info, meta, opened)
        try:
            yield download
        finally:
            await self._cleanups.run(download.aclose())

    @asynccontextmanager
    async def open_writer(
        self, path: VirtualPath, *, offset: int | None = 0, size_hint: int | None = None
    ) -> AsyncIterator[ObjectWriter]:
        """Begin a new file, or the replacement or continuation of one."""
        check_name(path, self._prefix)
        key = file_key(path, self._prefix)
        if size_hint is not None and size_hint > self._engine.ladder.max_file:
            raise too_large(key, self._engine.ladder.max_file)
        await self._check_free(path)
        beginning = None if offset == 0 else await self._find_beginning(path, offset)
        options = self._rules.file_options(name_of(path))
        if beginning:
            options = self._rules.continued_options(beginning.meta.options)
        target = asyncio.create_task(self._look_at_target(path))
        upload = Upload(
            self._engine,
            key,
            options,
            target,
            self._recent,
            # What is appended to nothing must not take the place of what somebody else began.
            may_replace=self._rules.may_replace and (offset == 0 or beginning is not None),
            beginning=beginning,
        )
        try:
            await upload.take_beginning()
            yield upload
        finally:
            if not upload.committed:
                await self._cleanups.run(upload.abort())

    async def _find_beginning(self, path: VirtualPath, offset: int | None) -> Beginning | None:
        """Return what is kept of the file at `path`, None if there is nothing to keep."""
        try:
            meta = await self._names.head_file(path)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            if offset is None:
                return None
            raise _beyond_end(path, offset, 0) from error
        size = meta.size if offset is None else offset
        if size > meta.size:
            raise _beyond_end(path, size, meta.size)
        return Beginning(meta, size)

    async def _check_free(self, path: VirtualPath) -> None:
        """Refuse a file that this account must not replace, while nothing has happened yet.

        That the store is told as well closes the gap until the end; alone it would not do, as
        it ignores that in buckets that have ever had versioning (COS: PUT Object).
        """
        if not self._rules.may_replace and await self._names.is_file(path):
            raise StorageError(ErrorKind.EXISTS, operation="create", key=path)

    async def _look_at_target(self, path: VirtualPath) -> Target:
        """Look what is at `path`. Keys that may write but not list cannot see: they may create."""
        try:
            return await self._names.look_at_target(path)
        except StorageError as error:
            _log.warning("name not checked: %s", error)
            return Target(file_key(path, self._prefix))

    async def delete_file(self, path: VirtualPath) -> None:
        """Delete a file; the directory that held it stays."""
        await self._delete(file_key(path, self._prefix), path, self._names.head_file(path))

    async def _delete(
        self, key: str, path: VirtualPath, first: Coroutine[None, None, object]
    ) -> None:
        """Delete one object once `first` has succeeded; the directory that it lies in survives.

        It counts as deleted from the start, so that of two sessions that delete the last two
        files at the same time at least one sees an empty directory, and that a file of that name
        which is stored meanwhile is noticed, and stays.
        """
        former = self._recent.deleted(key)
        directory = parent_of(path)
        try:
            kept, _ = await together(self._survives(directory, besides=key), first)
            if not kept:
                await self._put_marker(directory_key(directory, self._prefix))
            if self._recent.find(key) is not None:
                raise StorageError(ErrorKind.CHANGED, operation="delete", key=key, temporary=True)
            await self._client.delete_object(key)
        except BaseException:
            if self._recent.is_deleted(key):
                self._recent.undelete(key, former)
            raise

    async def _survives(self, directory: VirtualPath, *, besides: str) -> bool:
        """Whether `directory` exists without the object `besides`."""
        key = directory_key(directory, self._prefix)
        return directory == ROOT or await self._names.has_entries(key, besides=besides)

    async def _put_marker(self, key: str) -> None:
        options = self._rules.marker_options()
        stored = await self._client.put_object(key, b"", options=options)
        now = datetime.now(UTC).replace(microsecond=0)
        self._recent.wrote(ObjectMeta(key=key, size=0, etag=stored.etag, modified=now))

    # Directories

    async def make_directory(self, path: VirtualPath) -> None:
        """Create a directory: a zero-byte object whose key ends with "/"."""
        check_name(path, self._prefix, is_directory=True)
        if path == ROOT:
            raise StorageError(ErrorKind.EXISTS, operation="mkdir", key=path)
        is_file, is_directory, below_file = await together(
            self._names.is_file(path),
            self._names.is_directory(path),
            self._names.has_file_above(path),
        )
        if is_file or is_directory:
            raise StorageError(ErrorKind.EXISTS, operation="mkdir", key=path)
        if below_file:
            raise StorageError(ErrorKind.NOT_DIRECTORY, operation="mkdir", key=path)
        await self._put_marker(directory_key(path, self._prefix))
        self._names.known.add(path)

    async def remove_directory(self, path: VirtualPath) -> None:
        """Remove an empty directory."""
        if path == ROOT:
            raise StorageError(ErrorKind.DENIED, operation="rmdir", key=path)
        key = directory_key(path, self._prefix)
        self._names.known.discard(path)
        await self._delete(key, path, self._check_empty(path, key))
        self._names.known.discard(path)

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
            return _FileRename(self, source, await self._names.head_file(source))
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND or not await self._names.is_directory(source):
                raise
        return _DirectoryRename(self, source)

    async def rename_file(self, source: VirtualPath, meta: ObjectMeta, target: VirtualPath) -> None:
        """Copy, and then delete the source."""
        check_name(target, self._prefix)
        if target != source:
            await self._check_free(target)
            await self._delete(meta.key, source, self._copy(source, meta, target))

    async def _copy(self, source: VirtualPath, meta: ObjectMeta, target: VirtualPath) -> None:
        """Copy a file while the target's name is looked at."""
        key = file_key(target, self._prefix)
        rules = self._rules
        options = rules.renamed_options(meta.options, name_of(source), name_of(target))
        found, (stored, is_new) = await together(
            self._look_at_target(target), self._copy_object(meta, key, options)
        )
        if is_new and (refusal := found.refusal()):
            await self._client.delete_object(key)
            raise refusal
        now = datetime.now(UTC).replace(microsecond=0)
        self._recent.wrote(
            ObjectMeta(key=key, size=meta.size, etag=stored.etag, modified=now, crc64=meta.crc64)
        )

    async def _copy_object(
        self, meta: ObjectMeta, key: str, options: ObjectOptions
    ) -> tuple[Stored, bool]:
        """Copy, and say whether the copy has replaced nothing."""

        async def copy(*, may_replace: bool) -> Stored:
            return await copy_object(
                self._client,
                self._engine.records,
                self._cleanups,
                meta,
                key,
                options=options,
                may_replace=may_replace,
            )

        try:
            return await copy(may_replace=False), True
        except StorageError as error:
            if error.kind is not ErrorKind.EXISTS or not self._rules.may_replace:
                raise
        return await copy(may_replace=True), False

    async def rename_directory(self, source: VirtualPath, target: VirtualPath) -> None:
        """Move a whole tree to a name that is not taken."""
        check_name(target, self._prefix, is_directory=True)
        if target == source:
            return
        if target == ROOT or target.startswith(f"{source}/"):
            raise StorageError(ErrorKind.BAD_NAME, operation="rename", key=target)
        is_file, is_directory, below_file = await together(
            self._names.is_file(target),
            self._names.is_directory(target),
            self._names.has_file_above(target),
        )
        if is_file or is_directory:
            raise StorageError(ErrorKind.EXISTS, operation="rename", key=target)
        if below_file:
            raise StorageError(ErrorKind.NOT_DIRECTORY, operation="rename", key=target)
        old, new = directory_key(source, self._prefix), directory_key(target, self._prefix)
        await rename_tree(
            self._client, self._engine.records, self._cleanups, self._recent, old, new
        )
        self._names.known.discard(source)
        self._recent.deleted(old)
        now = datetime.now(UTC).replace(microsecond=0)
        self._recent.wrote(ObjectMeta(key=new, size=0, etag="", modified=now))
        if not await self._survives(parent_of(source), besides=old):
            await self._put_marker(directory_key(parent_of(source), self._prefix))


def _beyond_end(path: VirtualPath, offset: int, size: int) -> StorageError:
    detail = f"{offset} of {size} bytes"
    return StorageError(ErrorKind.BAD_RANGE, operation="resume", key=path, detail=detail)


class _FileRename:
    def __init__(self, fs: CosFileSystem, source: VirtualPath, meta: ObjectMeta) -> None:
        self._fs = fs
        self._source = source
        self._meta = meta

    async def to(self, target: VirtualPath) -> None:
        await self._fs.rename_file(self._source, self._meta, target)


class _DirectoryRename:
    def __init__(self, fs: CosFileSystem, source: VirtualPath) -> None:
        self._fs = fs
        self._source = source

    async def to(self, target: VirtualPath) -> None:
        await self._fs.rename_directory(self._source, target)
