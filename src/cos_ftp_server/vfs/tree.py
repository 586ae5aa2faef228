"""One account's part of a bucket, and what changes to files and directories have in common.

Owns that a directory outlives its last entry. It must not know how files are read or written.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass

from cos_ftp_server.cos.channel import was_not_begun
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.bucket import BucketState, store_time
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.concurrency import dismiss, ready, together
from cos_ftp_server.vfs.creation import CreationRules
from cos_ftp_server.vfs.multipart import UploadRecords
from cos_ftp_server.vfs.names import Names, Target
from cos_ftp_server.vfs.paths import ROOT, directory_key, file_key, parent_of

__all__ = ["Tree", "is_open"]

_MADE_ONCE = frozenset({"delete object", "delete objects", "put object"})
"""The client's names of what it can be told to make once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All that a change needs. `prefix` is "" or ends with "/"."""

    client: CosClient
    names: Names
    state: BucketState
    rules: CreationRules
    records: UploadRecords
    cleanups: Cleanups
    prefix: str

    async def check_free(self, path: VirtualPath) -> None:
        """Refuse a file that this account must not replace, while nothing has happened yet.

        That the store is told as well closes the gap until the end; alone it would not do, as
        it ignores that in buckets that have ever had versioning (COS: PUT Object).
        """
        if not self.rules.may_replace and await self.names.is_file(path):
            raise StorageError(ErrorKind.EXISTS, operation="create", key=path)

    def begin_look(self, path: VirtualPath) -> asyncio.Future[Target]:
        """Return what `look_at_target` finds: known at once, as in most cases, or under way."""
        known = self.names.known_target(path)
        return asyncio.create_task(self.look_at_target(path)) if known is None else ready(known)

    async def look_at_target(self, path: VirtualPath) -> Target:
        """Look what is at `path`. Keys that may write but not list cannot see: they may create.

        Any other look that fails is an obstacle itself: there may be a directory.
        """
        key = file_key(path, self.prefix)
        try:
            return await self.names.look_at_target(path)
        except StorageError as error:
            _log.warning("name not checked: %s", error)
            is_blind = error.kind is ErrorKind.DENIED
            return Target(key, obstacle=None if is_blind else error, is_blind=is_blind)

    async def delete(
        self, key: str, path: VirtualPath, first: Callable[[], Coroutine[None, None, object]]
    ) -> None:
        """Delete one object once `first` has succeeded; the directory that it lies in survives.

        It counts as deleted from the start, so that of two sessions that delete the last two
        files at the same time at least one sees an empty directory, and that a file of that name
        which is stored meanwhile is noticed, and stays. Raises CHANGED then, and if somebody else
        is about to delete it: of those who claim a file by renaming it, one must be the first.
        """
        if self.state.under_way.is_deleting(key):
            raise _changed(key)
        directory = parent_of(path)
        with self.state.under_way.deleting(key) as written:
            surviving = asyncio.create_task(self._survives(directory, besides=key))
            try:
                await first()  # to its end, whatever becomes of the look: nobody may act before
                if not await surviving:
                    await self.put_marker(directory)
            finally:
                await dismiss(surviving)
            async with self.state.turns.turn(key):
                await RetryPolicy().run(lambda _: self._delete_unless(written, key), is_open)
                if not written:  # else something lies in that directory by now
                    self.state.deleted(key)

    async def _delete_unless(self, written: Collection[str], key: str) -> None:
        """Delete what has not been stored anew."""
        if written:
            raise _changed(key)
        await self.client.delete_object(key, once=True)

    async def keep_directory(self, path: VirtualPath, *, besides: str) -> None:
        """Make sure that `path` exists without the object `besides`."""
        if not await self._survives(path, besides=besides):
            await self.put_marker(path)

    async def _survives(self, path: VirtualPath, *, besides: str) -> bool:
        """Whether it is sure to; keys that may not list do not know, and a marker does no harm."""
        key = directory_key(path, self.prefix)
        try:
            return path == ROOT or await self.names.has_entries(key, besides=besides)
        except StorageError as error:
            if error.kind is not ErrorKind.DENIED:
                raise
            return False

    async def check_no_name(self, path: VirtualPath) -> None:
        """Return if a new directory may be made at `path`, which the caller is claiming already.

        So whatever is made before is found, and whatever comes later is refused. Raises EXISTS and
        NOT_DIRECTORY.
        """
        is_file, is_directory, below_file = await together(
            self.names.is_file(path),
            self.names.is_directory(path),
            self.names.has_file_above(path),
        )
        if is_file or is_directory:
            raise StorageError(ErrorKind.EXISTS, operation="create", key=path)
        if below_file:
            raise StorageError(ErrorKind.NOT_DIRECTORY, operation="create", key=path)

    async def put_marker(self, path: VirtualPath) -> None:
        """Store the object that makes `path` a directory, whatever lies in it."""
        key = directory_key(path, self.prefix)
        async with self.state.turns.turn(key):  # somebody may be about to delete it
            stored = await self.client.put_object(key, b"", options=self.rules.marker_options())
            self.state.wrote(ObjectMeta(key=key, size=0, etag=stored.etag, modified=store_time()))


def _changed(key: str) -> StorageError:
    return StorageError(ErrorKind.CHANGED, operation="delete", key=key, temporary=True)


def is_open(error: StorageError) -> bool:
    """Whether it is open what a request has done that the client was told to make only once.

    Only that is left to try again: all else the client has tried as often as it makes sense.
    """
    return error.operation in _MADE_ONCE and error.temporary and not was_not_begun(error)
