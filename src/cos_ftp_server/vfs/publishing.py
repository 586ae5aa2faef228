"""The moment at which an upload becomes the file, and how that is taken back.

Owns the order of things at the end of an upload: what must be known before a file is replaced,
what is compared with what, what an unclear answer means. It must not know where the bytes came
from.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cos_ftp_server.cos.channel import was_not_begun
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import Confirmation
from cos_ftp_server.vfs.concurrency import all_ended, dismiss
from cos_ftp_server.vfs.names import Target
from cos_ftp_server.vfs.recent import RecentChanges

__all__ = ["MissingCrc", "Publication"]

_log = logging.getLogger(__name__)

_ATTEMPTS = 4
"""How often a body is sent again after a wrong checksum, or a complete settled."""

_QUICK_MD5_BYTES = 32 * 1024
"""Measured: 0.04 ms, as long as it takes to have a thread do it. A part of 8 MiB takes 10 ms, which
is too long for the event loop."""

_PAUSE_S = 0.2  # doubled each time, with full jitter


class MissingCrc:
    """Warns once that a store tells no CRC64, so that only sizes can be compared."""

    def __init__(self) -> None:
        self._has_warned = False

    def note(self) -> None:
        """Take note of an answer without a CRC64."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning("the store tells no CRC64: only the sizes of files are compared")


class Publication:
    """The end of one upload to `key`. Call `put` or `complete` once, and `take_back` if it fails.

    `target` is the look at the name, which may still be under way. `continues` is the ETag of the
    file that this one is made of, "" for none: if that is not so any more, CHANGED is raised.
    """

    def __init__(
        self,
        client: CosClient,
        key: str,
        options: ObjectOptions,
        target: asyncio.Future[Target],
        missing_crc: MissingCrc,
        recent: RecentChanges,
        *,
        may_replace: bool,
        continues: str | None = None,
    ) -> None:
        self._client = client
        self._key = key
        self._options = options
        self._target = target
        self._missing_crc = missing_crc
        self._recent = recent
        self._may_replace = may_replace
        self._continues = continues
        self._holds_turn = False
        self._is_created = False
        self._can_look = True
        self._was_deleted = False  # by this server, whatever the look at the name has seen
        self._creating: asyncio.Task[Stored] | None = None  # a PUT that replaces nothing
        self._replacing: asyncio.Task[Stored] | None = None  # a PUT that may
        self._completing: asyncio.Task[Stored] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the old file may be gone, or is: only the outcome can tell."""
        tasks = (self._replacing, self._completing)
        return self._is_created or any(task and not _has_failed(task) for task in tasks)

    async def put(self, body: memoryview, crc: int, confirm: Confirmation) -> Stored:
        """Store a file that is a single object.

        As long as it is not known that there is a file, the store is told to replace none. Such
        an object may come before the confirmation, and before the name is known to be possible,
        since it can be taken away again: a client that sends a small file waits for one round
        trip. A file that is there is replaced after the confirmation.
        """
        if self._replaces():
            await confirm()
        elif stored := await self._create(body, crc, confirm):
            return stored
        md5 = await _md5(body)  # checked by the store before it replaces anything, as CRC64 is not
        send = partial(self._send, body, crc, forbid=not self._may_replace, md5=md5)
        await self._take_turn_to_replace()
        self._replacing = asyncio.create_task(self._use_turn(send, len(body), crc))
        return await asyncio.shield(self._replacing)

    async def _create(self, body: memoryview, crc: int, confirm: Confirmation) -> Stored | None:
        """Store a file that replaces none; return None if there is one that may be replaced.

        It is sent while it is confirmed and its name looked at. Until it is certain, or taken
        back, nobody else may make a file of it or replace it.
        """
        self._creating = asyncio.create_task(self._send_new(body, crc))
        await confirm()
        await all_ended(self._creating, self._target)
        try:
            stored = self._creating.result()
        except StorageError as error:
            if error.kind is not ErrorKind.EXISTS:
                raise
            if self._continues is not None:
                raise self._error(ErrorKind.CHANGED) from error
            if not self._may_replace:
                raise
            self._end_turn()
            return None
        if refusal := self._target.result().refusal():
            raise refusal
        self._is_created = True
        self._note(stored, len(body), crc)
        self._end_turn()
        return stored

    async def _take_turn(self) -> None:
        """Wait until nobody else replaces the file or makes a new one."""
        await self._recent.turns.take(self._key)
        self._holds_turn = True

    def _end_turn(self) -> None:
        if self._holds_turn:
            self._holds_turn = False
            self._recent.turns.give_back(self._key)

    def _replaces(self) -> bool:
        """Whether it is known that there is a file."""
        if self._continues is not None:
            return bool(self._continues)
        if self._recent.find(self._key) is not None:
            return True
        target = self._target
        return target.done() and not target.cancelled() and bool(target.result().etag)

    async def _send_new(self, body: memoryview, crc: int) -> Stored:
        """PUT where no file may be, in turn; raise EXISTS only for a file of somebody else.

        Hence a look after each try of which it is unclear what has become of it. What certainly was
        not begun has been tried often enough, and a store that cannot even be looked at is down.
        """
        await self._take_turn()
        self._was_deleted = self._recent.is_deleted(self._key)
        for attempt in range(_ATTEMPTS):
            try:
                return await self._send(body, crc, forbid=True)
            except StorageError as error:
                if attempt and error.kind is ErrorKind.EXISTS:
                    if there := await self._look(len(body), crc):
                        return there
                    raise
                may_retry = error.temporary and not was_not_begun(error) and self._can_look
                if not may_retry or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_pause(attempt))
        raise self._error(ErrorKind.UNAVAILABLE)

    async def _send(self, body: memoryview, crc: int, *, forbid: bool, md5: bytes = b"") -> Stored:
        """PUT until the store acknowledges the checksum that was computed on arrival."""
        is_wrong = False
        try:
            for _ in range(_ATTEMPTS):
                stored = await self._client.put_object(
                    self._key,
                    body,
                    options=self._options,
                    forbid_overwrite=forbid and not is_wrong,  # a wrong one is our own
                    md5=md5,
                )
                if await self._agrees(stored, len(body), crc):
                    return stored
                is_wrong = True
            raise self._error(ErrorKind.INTEGRITY)
        except StorageError as error:
            if is_wrong:
                await self._client.delete_object(self._key)
            elif error.temporary and (there := await self._look(len(body), crc)):
                return there
            raise

    async def _take_turn_to_replace(self) -> None:
        """Take the turn, and make sure that the file is still the same.

        Of two sessions that append to it at the same time, neither has seen what the other
        brings; and who renames or deletes must see it.
        """
        await self._take_turn()
        await self.check_continued()

    async def _use_turn(
        self, publish: Callable[[], Coroutine[Any, Any, Stored]], size: int, crc: int | None
    ) -> Stored:
        """Replace the file, once this has begun whatever becomes of who waits for it."""
        try:
            stored = await publish()
            self._note(stored, size, crc)
            return stored
        finally:
            self._end_turn()

    def _note(self, stored: Stored, size: int, crc: int | None) -> None:
        """Let everybody here know of the new file, before anybody else has a turn."""
        self._recent.wrote(
            ObjectMeta(
                key=self._key,
                size=size,
                etag=stored.etag,
                modified=datetime.now(UTC).replace(microsecond=0),
                crc64=crc,
                options=self._options,
            )
        )

    async def check_continued(self) -> None:
        """Raise CHANGED if the file that this one was made of has been replaced or deleted."""
        if self._continues is None:
            return
        try:
            etag = (await self._client.head_object(self._key)).etag
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            etag = ""
        if etag != self._continues:
            raise self._error(ErrorKind.CHANGED)

    async def complete(
        self,
        upload_id: str,
        parts: Sequence[CompletedPart],
        size: int,
        crc: int | None,
    ) -> Stored:
        """Make the parts the file, which is confirmed. Once begun, that goes on to its outcome.

        Without a `crc`, the size is all that can be compared.
        """
        if refusal := (await self._target).refusal():
            raise refusal
        complete = partial(self._complete, upload_id, parts, size, crc)
        await self._take_turn_to_replace()
        self._completing = asyncio.create_task(self._use_turn(complete, size, crc))
        return await asyncio.shield(self._completing)

    async def _complete(
        self, upload_id: str, parts: Sequence[CompletedPart], size: int, crc: int | None
    ) -> Stored:
        """Complete, and compare."""
        stored = await self._settle(upload_id, parts, size, crc)
        if not await self._agrees(stored, size, crc):
            await self._client.delete_object(self._key)
            raise self._error(ErrorKind.INTEGRITY)
        return stored

    async def _settle(
        self, upload_id: str, parts: Sequence[CompletedPart], size: int, crc: int | None
    ) -> Stored:
        """Complete, and when the answer does not say what happened, look at what is there."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self._client.complete_multipart(
                    self._key, upload_id, parts, forbid_overwrite=not self._may_replace
                )
            except StorageError as error:
                is_gone = error.kind is ErrorKind.NO_UPLOAD
                is_taken = error.kind is ErrorKind.EXISTS and attempt > 0  # by us, perhaps
                if not (error.temporary or is_gone or is_taken or error.kind is ErrorKind.CONFLICT):
                    raise
                if there := await self._look(size, crc):
                    return there
                if is_gone and attempt:  # by an earlier try, perhaps: nobody can tell
                    raise self._error(ErrorKind.UNAVAILABLE) from error
                if is_gone or is_taken or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_pause(attempt))
        raise self._error(ErrorKind.UNAVAILABLE)

    async def _agrees(self, stored: Stored, size: int, crc: int | None) -> bool:
        """Whether the store has what was sent; where a CRC64 is unknown, the size must do."""
        told = stored.crc64
        if told is None or crc is None:
            meta = await self._client.head_object(self._key)
            told = meta.crc64
            if told is None:
                self._missing_crc.note()
            if meta.size != size:
                _log.error("%r: sent %d bytes, stored %d", self._key, size, meta.size)
                return False
        if None not in (told, crc) and told != crc:
            _log.error("%r: sent CRC64 %d, stored %d", self._key, crc, told)
            return await self._look(size, crc) is not None  # the object counts, not the answer
        return True

    async def _look(self, size: int, crc: int | None) -> Stored | None:
        """Return the object if it is, beyond doubt, what was sent."""
        try:
            meta = await self._client.head_object(self._key)
        except StorageError as error:
            self._can_look = error.kind is ErrorKind.NOT_FOUND
            _log.warning("cannot tell whether %r was stored: %s", self._key, error)
            return None
        if crc is None or meta.size != size or meta.crc64 != crc:
            return None
        return Stored(etag=meta.etag, crc64=meta.crc64)

    async def take_back(self) -> None:
        """End what must not count; return when nothing is under way any more. Never raises.

        A new object is let through and deleted, if it is still the same. A PUT that replaces a file
        is cut; when that comes too late, the whole new file is there, as after a complete.
        """
        try:
            if self._replacing is not None:
                await dismiss(self._replacing)
            if self._completing is not None:
                await asyncio.wait((self._completing,))
                if not _has_failed(self._completing):
                    _log.warning("%r was complete when its upload was broken off", self._key)
            if self._creating is not None and not self._holds_turn:
                await dismiss(self._creating)  # it has ended, or not yet begun
            elif self._creating is not None:
                await all_ended(self._creating, self._target)
                if not _has_failed(self._creating):
                    await self._delete_new(self._creating.result())
        finally:
            self._end_turn()

    async def _delete_new(self, stored: Stored) -> None:
        if self._recent.find(self._key) is not None:
            return
        is_looked_at = not self._target.cancelled() and not self._was_deleted
        found = self._target.result().etag if is_looked_at else ""
        try:
            meta = await self._client.head_object(self._key)
            if meta.etag == stored.etag and found in ("", stored.etag):
                await self._client.delete_object(self._key)
                self._recent.deleted(self._key)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                _log.error("%r was stored but not acknowledged, and stays: %s", self._key, error)

    def _error(self, kind: ErrorKind) -> StorageError:
        return StorageError(kind, operation="upload", key=self._key, temporary=True)


def _pause(attempt: int) -> float:
    return _PAUSE_S * (1 << attempt) * random.random()  # noqa: S311 - jitter


def _has_failed(task: asyncio.Task[Stored]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _md5(body: memoryview) -> bytes:
    compute = partial(hashlib.md5, body, usedforsecurity=False)
    is_quick = len(body) <= _QUICK_MD5_BYTES
    return (compute() if is_quick else await asyncio.to_thread(compute)).digest()
