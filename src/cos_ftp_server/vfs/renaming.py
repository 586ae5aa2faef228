"""Renames: what may get which name, and that the old one goes only when the new one is there.

COS cannot rename, so objects are copied, and then deleted. It must not know how a tree is moved.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Collection
from functools import partial

from cos_ftp_server.cos.types import ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.bucket import store_time
from cos_ftp_server.vfs.concurrency import dismiss
from cos_ftp_server.vfs.copying import copy_object, find_own_copy
from cos_ftp_server.vfs.moving import TreeMove
from cos_ftp_server.vfs.names import Target
from cos_ftp_server.vfs.paths import (
    ROOT,
    check_name,
    directory_key,
    file_key,
    name_of,
    parent_of,
)
from cos_ftp_server.vfs.tree import Tree

__all__ = ["DirectoryRename", "FileRename"]

_log = logging.getLogger(__name__)

_LONG_COPY_S = 1.0
"""From here on the source is looked at again before it is deleted. Most copies take less, and a
round trip more would be felt."""


class FileRename:
    """The rename of the file `source`, which is the object `meta`; implements `Rename`."""

    def __init__(self, tree: Tree, source: VirtualPath, meta: ObjectMeta) -> None:
        self._tree = tree
        self.source = source
        self._meta = meta
        self._is_copied = False

    async def to(self, target: VirtualPath) -> None:
        """Copy, and then delete the source. Once begun, it goes on to its end."""
        check_name(target, self._tree.prefix)
        if target.startswith(f"{self.source}/"):
            raise StorageError(ErrorKind.NOT_DIRECTORY, operation="rename", key=target)
        if target != self.source:
            await self._tree.cleanups.see_through(self._move(target), may_break_off=lambda: False)

    async def _move(self, target: VirtualPath) -> None:
        await self._tree.check_free(target)
        try:
            await self._tree.delete(self._meta.key, self.source, partial(self._copy, target))
        except StorageError as error:
            if self._is_copied:
                error.aftermath = "Renamed, but the file is still at the old name."
            raise

    async def _copy(self, target: VirtualPath) -> None:
        """Copy the file while the target's name is looked at."""
        tree, meta = self._tree, self._meta
        key = file_key(target, tree.prefix)
        options = tree.rules.renamed_options(meta.options, name_of(self.source), name_of(target))
        begun = time.monotonic()
        # Who appends to the target must see that it is replaced.
        async with tree.state.turns.turn(key):
            if (obstacle := tree.state.obstacle(key)) and not await tree.names.is_file(target):
                raise StorageError(obstacle, operation="rename", key=key)
            with tree.state.under_way.making(key):
                await self._copy_in_turn(target, key, options)
        if time.monotonic() - begun > _LONG_COPY_S:
            await self._check_unchanged()

    async def _copy_in_turn(self, target: VirtualPath, key: str, options: ObjectOptions) -> None:
        tree, meta = self._tree, self._meta
        look = asyncio.create_task(tree.look_at_target(target))
        try:
            stored, is_new = await self._copy_object(key, options, look)
            refusal = (await look).refusal(own=stored.etag)
        finally:
            await dismiss(look)
        if is_new and refusal:
            await self._take_away(key, refusal)
            raise refusal
        self._is_copied = True
        tree.state.wrote(
            ObjectMeta(
                key=key,
                size=meta.size,
                etag=stored.etag,
                modified=store_time(),
                crc64=meta.crc64,
            )
        )

    async def _take_away(self, key: str, refusal: StorageError) -> None:
        """Delete the new copy, which has no place there."""
        try:
            await self._tree.client.delete_object(key)
        except StorageError as error:
            _log.error("%r has no place there, and stays: %s", key, error)
            refusal.aftermath = "There is a copy at the new name."
        else:
            self._tree.state.deleted(key)  # which the look may have seen

    async def _check_unchanged(self) -> None:
        """Raise CHANGED if somebody else has replaced the source meanwhile: it must stay.

        What this server itself stores is known without asking.
        """
        meta = await self._tree.client.head_object(self._meta.key)
        if meta.etag != self._meta.etag:
            raise StorageError(
                ErrorKind.CHANGED, operation="rename", key=self._meta.key, temporary=True
            )

    async def _copy_object(
        self, key: str, options: ObjectOptions, look: Awaitable[Target]
    ) -> tuple[Stored, bool]:
        """Copy, and say whether the copy has replaced nothing.

        A file that is in the way where none may be is the copy itself, of a try without an answer.
        """
        tree, meta = self._tree, self._meta
        try:
            return await copy_object(tree, meta, key, options=options, may_replace=False), True
        except StorageError as error:
            if error.kind is not ErrorKind.EXISTS:
                raise
            may_be_there = tree.rules.may_replace and (await look).obstacle is None
            may_be_own = not may_be_there and tree.state.find(key) is None
            if may_be_own and (there := await find_own_copy(tree.client, meta, key)):
                return Stored(etag=there.etag, crc64=there.crc64), True
            if not tree.rules.may_replace:
                raise
        return await copy_object(tree, meta, key, options=options), False


class DirectoryRename:
    """The rename of the directory `source`; implements `Rename`."""

    def __init__(self, tree: Tree, source: VirtualPath) -> None:
        self._tree = tree
        self.source = source

    async def to(self, target: VirtualPath) -> None:
        """Move the whole tree to a name that is not taken.

        When the caller is cancelled before all objects are copied, all is undone; later on, the
        move goes on to its end.
        """
        tree = self._tree
        check_name(target, tree.prefix, is_directory=True)
        if target == self.source:
            return
        if target == ROOT or target.startswith(f"{self.source}/"):
            raise StorageError(ErrorKind.BAD_NAME, operation="rename", key=target)
        old, new = directory_key(self.source, tree.prefix), directory_key(target, tree.prefix)
        move = TreeMove(tree, old, new)
        with tree.state.claiming(new):
            await tree.check_no_name(target)
            await tree.cleanups.see_through(
                self._move(move, old, new), may_break_off=lambda: move.may_break_off
            )

    async def _move(self, move: TreeMove, old: str, new: str) -> None:
        """Move, however long the caller waits."""
        under_way = self._tree.state.under_way
        with under_way.making(new), under_way.making(old), under_way.noting(old) as written:
            try:
                await self._empty(move, old, written)
                await self._keep_parent(old)
            except BaseException:
                self._tree.state.lost_entry(old)
                raise

    async def _empty(self, move: TreeMove, old: str, written: Collection[str]) -> None:
        is_gone = False
        try:
            await move.run()
            is_gone = not written
        finally:
            self._tree.state.emptied(old, is_gone=is_gone)

    async def _keep_parent(self, old: str) -> None:
        tree = self._tree
        try:
            await tree.keep_directory(parent_of(self.source), besides=old)
        except StorageError as error:
            error.aftermath = "Renamed, but the directory above is gone if nothing else was in it."
            raise
