"""Rename: COS cannot, so objects are copied, and deleted only when every copy is there."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import DeleteFailure, ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.concurrency import dismiss
from cos_ftp_server.vfs.copying import copy_object
from cos_ftp_server.vfs.multipart import UploadRecords
from cos_ftp_server.vfs.recent import RecentChanges

__all__ = ["rename_tree"]

_PARALLEL_COPIES = 32
_SETTLE_S = 10.0
"""How long copies under way may take to end when the rename has failed."""

_log = logging.getLogger(__name__)


async def rename_tree(
    client: CosClient,
    records: UploadRecords,
    cleanups: Cleanups,
    recent: RecentChanges,
    source: str,
    target: str,
) -> None:
    """Move every object below the key prefix `source` to below `target` (both end with "/").

    Nothing may lie below `target` yet. Deleting begins after the last copy, and only what was
    copied and has not changed since is deleted. When a copy fails, the copies made so far are
    taken away again. Raises CHANGED if a file was replaced meanwhile: then it is at both places,
    the new one at the old.
    """
    move = _TreeMove(client, records, cleanups, recent, source, target)
    try:
        await move.copy_all()
    except BaseException:
        await cleanups.run(move.undo())
        raise
    await move.delete_sources()


class _TreeMove:
    def __init__(
        self,
        client: CosClient,
        records: UploadRecords,
        cleanups: Cleanups,
        recent: RecentChanges,
        source: str,
        target: str,
    ) -> None:
        self._client = client
        self._records = records
        self._cleanups = cleanups
        self._recent = recent
        self._source = source
        self._target = target
        self._slots = asyncio.Semaphore(_PARALLEL_COPIES)
        self._sources: dict[str, ObjectMeta] = {}  # by their keys, once copied
        self._copied: dict[str, str] = {}  # ETags of the copies, by their keys
        self._copying: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def copy_all(self) -> None:
        async for listed in _all_objects(self._client, self._source):
            await self._slots.acquire()
            if self._failure:
                break
            task = asyncio.create_task(self._copy(listed.key))
            self._copying.add(task)
            task.add_done_callback(self._ended)
        while self._copying and not self._failure:
            await asyncio.wait(self._copying, return_when=asyncio.FIRST_EXCEPTION)
        if self._failure:
            raise self._failure

    async def _copy(self, key: str) -> None:
        meta = await self._client.head_object(key)
        target = self._target + key[len(self._source) :]
        stored = await copy_object(
            self._client, self._records, self._cleanups, meta, target, may_replace=False
        )
        self._sources[key] = meta
        self._copied[target] = stored.etag

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._copying.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) and self._failure is None:
            self._failure = error

    async def undo(self) -> None:
        """Take away what was copied. A copy under way may yet succeed: it is waited for."""
        if self._copying:
            _, late = await asyncio.wait(self._copying, timeout=_SETTLE_S)
            await dismiss(*late)
        for failure in await self._delete_unchanged(self._target, self._copied):
            _log.error("copy left behind: %r: %s %s", failure.key, failure.code, failure.message)

    async def delete_sources(self) -> None:
        """Delete what has been copied. Raises StorageError if something of it stays."""
        etags = {key: meta.etag for key, meta in self._sources.items()}
        for meta in self._sources.values():
            if not self._is_replaced(meta.key, meta.etag):
                self._recent.moved(meta, self._target + meta.key[len(self._source) :])
        failures = await self._delete_unchanged(self._source, etags)
        if failures:
            raise StorageError(
                ErrorKind.UNAVAILABLE,
                operation="delete",
                key=failures[0].key,
                code=failures[0].code,
                detail=f"{len(failures)} files are there twice: {failures[0].message}",
            )

    async def _delete_unchanged(self, prefix: str, etags: Mapping[str, str]) -> list[DeleteFailure]:
        """Delete the objects that still have these ETags; return what could not be deleted."""
        changed = {
            meta.key: meta.etag
            async for meta in _all_objects(self._client, prefix)
            if etags.get(meta.key, meta.etag) != meta.etag
        }
        kept = {key for key in etags if key in changed or self._is_replaced(key, etags[key])}
        keys = [key for key in etags if key not in kept]
        failures = [DeleteFailure(key, "", "it was replaced meanwhile") for key in kept]
        batch = self._client.dialect.max_batch
        for start in range(0, len(keys), batch):
            failures += await self._client.delete_objects(keys[start : start + batch])
        return failures

    def _is_replaced(self, key: str, etag: str) -> bool:
        """Whether this server has acknowledged another object of that name."""
        known = self._recent.find(key)
        return known is not None and known.etag != etag


async def _all_objects(client: CosClient, prefix: str) -> AsyncIterator[ObjectMeta]:
    marker = ""
    while True:
        page = await client.list_objects(prefix, marker=marker)
        for meta in page.objects:
            yield meta
        if not page.next_marker:
            return
        marker = page.next_marker
