"""A file from being opened to being closed, however that comes about.

Owns what is asked before the first byte moves, and that whatever was not committed is aborted. It
must not know how bytes are moved.
"""

from functools import partial

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.concurrency import ready
from cos_ftp_server.vfs.download import Download, ObjectRange
from cos_ftp_server.vfs.listing import file_info
from cos_ftp_server.vfs.names import Target, check_visible
from cos_ftp_server.vfs.paths import check_name, file_key, name_of
from cos_ftp_server.vfs.resume import Beginning
from cos_ftp_server.vfs.tree import Tree
from cos_ftp_server.vfs.upload import Upload, UploadEngine, too_large

__all__ = ["OpenReader", "OpenWriter"]


class OpenReader:
    """The context in which the file at `path` is read; see `FileSystem.open_reader`."""

    _download: Download  # as soon as it is entered

    def __init__(self, tree: Tree, engine: UploadEngine, path: VirtualPath, offset: int) -> None:
        self._tree = tree
        self._engine = engine
        self._path = path
        self._offset = offset

    async def __aenter__(self) -> Download:
        client, key = self._tree.client, file_key(self._path, self._tree.prefix)
        opened = ObjectRange(client, key, self._offset, None)
        with self._tree.state.under_way.watch(key) as watch:
            meta = await self._open(opened)
        damaged = self._tree.state.damaged
        try:
            check_visible(key, watch)
            if self._offset and damaged.has(key, meta.etag):
                raise StorageError(ErrorKind.DAMAGED, operation="resume", key=key)
        except StorageError:
            await opened.aclose()
            raise
        info = file_info(name_of(self._path), meta)
        self._download = Download(client, self._engine.pool, info, meta, opened, damaged)
        return self._download

    async def _open(self, opened: ObjectRange) -> ObjectMeta:
        try:
            return await opened.open()
        except StorageError as error:
            if error.kind is not ErrorKind.BAD_RANGE:
                raise
            # The end itself is a good place to resume from: the client has it all.
            meta = await self._tree.names.head_file(self._path)
            if self._offset != meta.size:
                raise
            opened.end = self._offset
            return meta

    async def __aexit__(self, *_: object) -> None:
        if not self._download.is_closed:
            await self._tree.cleanups.run(self._download.aclose())


class OpenWriter:
    """The context in which the file at `path` is written; see `FileSystem.open_writer`."""

    _upload: Upload  # as soon as it is entered

    def __init__(
        self,
        tree: Tree,
        engine: UploadEngine,
        path: VirtualPath,
        offset: int | None,
        size_hint: int | None,
    ) -> None:
        self._tree = tree
        self._engine = engine
        self._path = path
        self._offset = offset
        self._size_hint = size_hint

    async def __aenter__(self) -> Upload:
        self._upload = await self._begin()
        try:
            await self._upload.take_beginning()
        except BaseException:
            await self.__aexit__()
            raise
        return self._upload

    async def __aexit__(self, *_: object) -> None:
        if not self._upload.committed:
            await self._tree.cleanups.run(self._upload.abort())

    async def _begin(self) -> Upload:
        tree, path = self._tree, self._path
        check_name(path, tree.prefix)
        key = file_key(path, tree.prefix)
        largest = self._engine.ladder.max_file
        if self._size_hint is not None and self._size_hint > largest:
            raise too_large(key, largest)
        await tree.check_free(path)
        beginning = None if self._offset == 0 else await self._find_beginning()
        options = tree.rules.file_options(name_of(path))
        if beginning:
            options = tree.rules.continued_options(beginning.meta.options)
        return Upload(
            self._engine,
            key,
            options,
            ready(Target(key, beginning.meta.etag)) if beginning else tree.begin_look(path),
            partial(tree.look_at_target, path),
            tree.state,
            may_replace=tree.rules.may_replace,
            appends=self._offset is None,
            beginning=beginning,
        )

    async def _find_beginning(self) -> Beginning | None:
        """Return what is kept of the file that is there, None if there is nothing to keep."""
        offset = self._offset
        try:
            meta = await self._tree.names.head_file(self._path)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            if offset is None:
                return None
            raise _beyond_end(self._path, offset, 0) from error
        attempts = self._tree.state.attempts
        if attempts.has_broken_off(meta.key):
            raise StorageError(ErrorKind.NOT_RESUMABLE, operation="resume", key=meta.key)
        if attempts.is_whole_under_way(meta.key):  # its client may have lost the connection
            raise StorageError(ErrorKind.CONFLICT, operation="resume", key=meta.key, temporary=True)
        size = meta.size if offset is None else offset
        if size > meta.size:
            raise _beyond_end(self._path, size, meta.size)
        return Beginning(meta, size)


def _beyond_end(path: VirtualPath, offset: int, size: int) -> StorageError:
    detail = f"{offset} of {size} bytes"
    return StorageError(ErrorKind.BAD_RANGE, operation="resume", key=path, detail=detail)
