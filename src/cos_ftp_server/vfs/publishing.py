"""The moment at which an upload becomes the file, and how that is taken back.

Owns the order of things at the end of an upload: what must be known before a file is replaced,
whose turn it is, what is taken back. It must not know where the bytes came from, nor how it is
made sure that the store has them.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.types import CompletedPart, ObjectMeta, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import Confirmation
from cos_ftp_server.vfs.bucket import BucketState, store_time
from cos_ftp_server.vfs.concurrency import all_ended, dismiss, ready
from cos_ftp_server.vfs.delivery import Delivery
from cos_ftp_server.vfs.names import Target

__all__ = ["Publication"]

_log = logging.getLogger(__name__)

_QUICK_MD5_BYTES = 32 * 1024
"""Measured: 0.04 ms, as long as it takes to have a thread do it. A part of 8 MiB takes 10 ms, which
is too long for the event loop."""


_PUT_PATIENCE_S = 10.0
"""How long a PUT that replaces a file is waited for when its client is gone. One that is cut may
still be carried out, over what somebody else has stored meanwhile."""

_TAKE_BACK = RetryPolicy(max_tries=10, base_s=0.5, cap_s=10.0)
"""Beyond the client's own tries. A store that is away for longer keeps the object, and the log
says so; others wait for their turn that long."""


class Publication:
    """The end of one upload. Call `put` or `complete` once, and `take_back` if it fails.

    `delivery` brings the object to its key. `target` is the look at the name, which may still be
    under way; `look` takes another one when that is too long ago to be believed. `continues` is the
    ETag of the file that this one is made of, "" for none: if that is not so any more, CHANGED is
    raised.
    """

    def __init__(
        self,
        delivery: Delivery,
        target: asyncio.Future[Target],
        look: Callable[[], Awaitable[Target]],
        state: BucketState,
        *,
        may_replace: bool,
        continues: str | None = None,
    ) -> None:
        self._delivery = delivery
        self._client = delivery.client
        self._key = delivery.key
        self._target = target
        self._look = look
        self._looked_at = state.now()
        self._state = state
        self._may_replace = may_replace
        self._continues = continues
        self._holds_turn = False
        self._has_place = False
        self._is_confirmed = False
        self._is_created = False
        self._sent: tuple[int, int] | None = None  # size and CRC64 of a new object
        self._creating: asyncio.Task[Stored] | None = None  # a PUT that replaces nothing
        self._replacing: asyncio.Task[Stored] | None = None  # a PUT that may
        self._completing: asyncio.Task[Stored] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the old file may be gone, or is: only the outcome can tell."""
        tasks = (self._replacing, self._completing)
        return self._is_created or any(task and not _has_failed(task) for task in tasks)

    async def put(
        self, body: memoryview, crc: int, confirm: Confirmation, is_wanted: Callable[[], bool]
    ) -> Stored:
        """Store a file that is a single object.

        Where it is known that there is no file, and that one may be, the object may come before the
        confirmation: it can be taken away again, and a client that sends a small file waits for
        one round trip. Everywhere else it comes after both; it is no matter of trust in the
        store's promise to replace nothing, which is void in buckets that ever had versioning.
        """
        await self._renew_look()
        replaces = self._replaces()
        if not replaces and not self._is_known_free():
            await confirm()
            self._is_confirmed = True
            await all_ended(self._target)
            replaces = self._replaces()
        if not replaces:
            if refusal := self._target.result().refusal():
                raise refusal
            if stored := await self._create(body, crc, confirm):
                return stored
        elif not self._is_confirmed:
            await confirm()
        md5 = await _md5(body)  # checked by the store before it replaces anything, as CRC64 is not
        send = partial(self._delivery.send, body, crc, forbid=not self._may_replace, md5=md5)
        await self._take_turn_to_replace(is_wanted)
        self._replacing = asyncio.create_task(self._use_turn(send, len(body), crc))
        return await asyncio.shield(self._replacing)

    async def _create(self, body: memoryview, crc: int, confirm: Confirmation) -> Stored | None:
        """Store a file that replaces none; return None if there is one that may be replaced.

        Until it is confirmed, or taken back, nobody else here may see it, make a file of it or
        replace it.
        """
        self._sent = len(body), crc
        self._creating = asyncio.create_task(self._send_in_turn(body, crc))
        if not self._is_confirmed:
            await confirm()
            self._is_confirmed = True
        try:
            await all_ended(self._creating)
        except asyncio.CancelledError:
            self._is_confirmed = False  # its client has aborted it, or is gone after all
            raise
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
        self._is_created = True
        self._note(stored, len(body), crc)
        self._end_turn()
        return stored

    async def _send_in_turn(self, body: memoryview, crc: int) -> Stored:
        await self._take_turn()
        if self._state.find(self._key) is not None or self._replaces():
            # Whoever had the turn before has stored it, or a look since then has found it.
            raise self._error(ErrorKind.EXISTS, temporary=False)
        self._take_place(is_new=True)
        if not self._is_confirmed:
            self._state.under_way.hide(self._key)
        return await self._delivery.send_new(body, crc)

    async def _take_turn(self) -> None:
        """Wait until nobody else replaces the file or makes a new one."""
        await self._state.turns.take(self._key)
        self._holds_turn = True
        await self._renew_look()

    def _take_place(self, *, is_new: bool) -> None:
        """Let others know that a file may be there from now on.

        Raises IS_DIRECTORY or NOT_DIRECTORY if a new one has no place here any more.
        """
        if is_new and (obstacle := self._state.obstacle(self._key)):
            raise self._error(obstacle, temporary=False)
        self._state.under_way.begin_making(self._key)
        self._has_place = True

    def _end_turn(self) -> None:
        if self._holds_turn:
            self._holds_turn = False
            self._state.under_way.show(self._key)
            self._state.turns.give_back(self._key)
        if self._has_place:
            self._has_place = False
            self._state.under_way.end_making(self._key)

    async def _renew_look(self) -> None:
        """Look at the name again if what others have done since the last look may be forgotten.

        Raises IS_DIRECTORY or NOT_DIRECTORY if no file may be there any more.
        """
        if self._continues or self._looked_at > self._state.complete_since:
            return
        self._looked_at = self._state.now()
        target = await self._look()
        self._target = ready(target)
        if refusal := target.refusal():
            raise refusal

    def _is_known_free(self) -> bool:
        """Whether it is known already that there is no file, if none is known."""
        if not self._target.done():
            return False
        target = self._target.result()
        return not target.is_blind and not target.etag

    def _replaces(self) -> bool:
        """Whether it is known that there is a file."""
        if self._continues is not None:
            return bool(self._continues)
        target = self._target
        found = target.result().etag if target.done() and not target.cancelled() else ""
        return bool(self._state.etag(self._key, listed=found))

    async def _take_turn_to_replace(self, is_wanted: Callable[[], bool]) -> None:
        """Take the turn, and make sure that the file is still the same, or may be any.

        Of two sessions that append to it at the same time, neither has seen what the other
        brings; and who renames or deletes must see it.
        """
        await self._take_turn()
        self._take_place(is_new=not self._replaces())
        await self.check_continued()
        if not is_wanted():
            raise self._error(ErrorKind.CHANGED)

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
        self._state.wrote(
            ObjectMeta(
                key=self._key,
                size=size,
                etag=stored.etag,
                modified=store_time(),
                crc64=crc,
                options=self._delivery.options,
            )
        )

    async def check_continued(self) -> None:
        """Raise CHANGED if the file that this one was made of has been replaced or deleted."""
        if self._continues is None:
            return
        there = await self._client.find_object(self._key)
        if (there.etag if there else "") != self._continues:
            raise self._error(ErrorKind.CHANGED)

    async def complete(
        self,
        upload_id: str,
        parts: Sequence[CompletedPart],
        size: int,
        crc: int | None,
        is_wanted: Callable[[], bool],
    ) -> Stored:
        """Make the parts the file, which is confirmed. Once begun, that goes on to its outcome.

        Without a `crc`, the size is all that can be compared.
        """
        if refusal := (await self._target).refusal():
            raise refusal
        complete = partial(
            self._delivery.complete,
            upload_id,
            parts,
            size,
            crc,
            forbid=not self._may_replace,
        )
        await self._take_turn_to_replace(is_wanted)
        self._completing = asyncio.create_task(self._use_turn(complete, size, crc))
        return await asyncio.shield(self._completing)

    async def take_back(self) -> None:
        """End what must not count; return when nothing is under way any more. Never raises.

        A new object is let through and deleted, if it is still the same. A PUT that replaces a file
        is waited for, as a complete is, but not for ever: then the whole new file is there.
        """
        try:
            if self._replacing is not None:
                await asyncio.wait((self._replacing,), timeout=_PUT_PATIENCE_S)
                await self._give_up()
            if self._completing is not None:
                await asyncio.wait((self._completing,))
                if not _has_failed(self._completing):
                    _log.warning("%r was complete when its upload was broken off", self._key)
            if self._creating is not None and not self._holds_turn:
                await dismiss(self._creating)  # it has ended, or not yet begun
            elif self._creating is not None:
                await all_ended(self._creating)
                # What is whole may stay if it is unclear whether it came: somebody else may have
                # stored the same meanwhile, and been told so.
                if not _has_failed(self._creating) or (
                    not self._is_confirmed and self._may_have_come(self._creating)
                ):
                    await self._delete_new(self._creating)
        except asyncio.CancelledError:
            await self._give_up()
            raise
        finally:
            self._end_turn()

    async def _give_up(self) -> None:
        """End what is under way, whatever it has done by then, and say that nobody knows."""
        tasks = (self._creating, self._replacing, self._completing)
        for task in tasks:
            if task is not None and not task.done():
                await dismiss(task)
                _log.error("%r may be stored although its upload was broken off", self._key)

    def _may_have_come(self, creating: asyncio.Task[Stored]) -> bool:
        """Whether the store may have the object, or may yet get it, although this has failed."""
        if creating.cancelled() or self._delivery.is_unclear:
            return True
        return not isinstance(creating.exception(), StorageError)

    async def _delete_new(self, creating: asyncio.Task[Stored]) -> None:
        """Delete the new object, even if the store is away for a while: nobody else would."""
        try:
            await _TAKE_BACK.run(lambda _: self._delete_if_ours(creating))
        except StorageError as error:
            _log.error("%r was stored but not acknowledged, and stays: %s", self._key, error)
        except asyncio.CancelledError:
            _log.error("%r may have been stored but not acknowledged, and stays", self._key)
            raise

    async def _delete_if_ours(self, creating: asyncio.Task[Stored]) -> None:
        meta = await self._client.find_object(self._key)
        if meta is None:
            return
        if _has_failed(creating):  # and what has come of it is not known
            is_ours = (meta.size, meta.crc64) == self._sent
            if self._sent and meta.crc64 is None and meta.size == self._sent[0]:
                _log.error("%r may have been stored but not acknowledged, and stays", self._key)
        else:
            is_ours = meta.etag == creating.result().etag
        if is_ours:
            await self._client.delete_object(self._key)
            self._state.taken_back(self._key)

    def _error(self, kind: ErrorKind, *, temporary: bool = True) -> StorageError:
        return StorageError(kind, operation="upload", key=self._key, temporary=temporary)


def _has_failed(task: asyncio.Task[Stored]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _md5(body: memoryview) -> bytes:
    compute = partial(hashlib.md5, body, usedforsecurity=False)
    is_quick = len(body) <= _QUICK_MD5_BYTES
    return (compute() if is_quick else await asyncio.to_thread(compute)).digest()
