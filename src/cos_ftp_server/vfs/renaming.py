"""Rename: COS cannot, so objects are copied, and deleted only when every copy is there."""

import asyncio
import logging
from collections.abc import AsyncIterator

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import DeleteFailure, ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.copying import copy_object

__all__ = ["rename_tree"]

_PARALLEL_COPIES = 32
_SETTLE_S = 10.0
"""How long copies under way may take to end when the rename has failed."""

_log = logging.getLogger(__name__)


async def rename_tree(client: CosClient, cleanups: Cleanups, source: str, target: str) -> None:
    """Move every object below the key prefix `source` to below `target` (both end with "/").

    Nothing may lie below `target` yet. Deleting begins after the last copy, and only what was
    copied is deleted. When a copy fails, the copies made so far are taken away again.
    """
    move = _TreeMove(client, source, target)
    try:
        await move.copy_all()
    except BaseException:
        await cleanups.run(move.undo())
        raise
    await move.delete_sources()


class _TreeMove:
    def __init__(self, client: CosClient, source: str, target: str) -> None:
        self._client = client
        self._source = source
        self._target = target
        self._slots = asyncio.Semaphore(_PARALLEL_COPIES)
        self._keys: list[str] = []
        self._copies: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def copy_all(self) -> None:
        async for listed in _all_objects(self._client, self._source):
            await self._slots.acquire()
            if self._failure:
                break
            self._keys.append(listed.key)
            task = asyncio.create_task(self._copy(listed.key))
            self._copies.add(task)
            task.add_done_callback(self._copied)
        while self._copies and not self._failure:
            await asyncio.wait(self._copies, return_when=asyncio.FIRST_EXCEPTION)
        if self._failure:
            raise self._failure

    async def _copy(self, key: str) -> None:
        meta = await self._client.head_object(key)
        await copy_object(self._client, meta, self._renamed(key))

    def _copied(self, task: asyncio.Task[None]) -> None:
        self._copies.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) and self._failure is None:
            self._failure = error

    async def undo(self) -> None:
        """Take away what was copied. A copy under way may yet succeed: it is waited for."""
        if self._copies:
            _, late = await asyncio.wait(self._copies, timeout=_SETTLE_S)
            for task in late:
                task.cancel()
        copies = [self._renamed(key) for key in self._keys]
        for failure in await _delete(self._client, copies):
            _log.error("copy left behind: %r: %s %s", failure.key, failure.code, failure.message)

    async def delete_sources(self) -> None:
        """Delete what has been copied. Raises StorageError if something of it stays."""
        failures = await _delete(self._client, self._keys)
        if failures:
            raise StorageError(
                ErrorKind.UNAVAILABLE,
                operation="delete",
                key=failures[0].key,
                code=failures[0].code,
                detail=f"{len(failures)} files are there twice: {failures[0].message}",
            )

    def _renamed(self, key: str) -> str:
        return self._target + key[len(self._source) :]


async def _all_objects(client: CosClient, prefix: str) -> AsyncIterator[ObjectMeta]:
    marker = ""
    while True:
        page = await client.list_objects(prefix, marker=marker)
        for meta in page.objects:
            yield meta
        if not page.next_marker:
            return
        marker = page.next_marker


async def _delete(client: CosClient, keys: list[str]) -> list[DeleteFailure]:
    failures: list[DeleteFailure] = []
    for start in range(0, len(keys), client.dialect.max_batch):
        failures += await client.delete_objects(keys[start : start + client.dialect.max_batch])
    return failures
