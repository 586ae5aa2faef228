"""The move of a whole tree: every object is copied, then every object is deleted that has a copy.

Memory does not grow with the tree, since nothing is remembered of single objects. What may be
deleted is asked of the store instead, just before: a source if its copy is there and was made of
what the source is now; a copy, when the move is undone, if it was made of what is at the source
now. So whatever others store meanwhile, at either name, is still there in the end.

A listing only tells where to look, as it may lag behind: what is deleted has been seen by HEAD.
It must not know paths.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import uuid4

from cos_ftp_server.cos.parse_error import classify
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.types import DeleteFailure, ObjectMeta, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.bucket import store_time
from cos_ftp_server.vfs.concurrency import for_each
from cos_ftp_server.vfs.copying import copy_object, find_own_copy, is_copy
from cos_ftp_server.vfs.tree import Tree, is_open

__all__ = ["TreeMove"]

_PAGE = 500
"""Objects that are looked at before they are deleted together. It bounds the time between the two,
to about eight round trips, and what a move keeps in memory, to about 1 MiB."""

_AT_ONCE = 64
"""Requests side by side: with 20 ms of latency as many as COS takes for a bucket outside of
mainland China, 3,000 a second (COS: Specifications and Limits)."""

_OUT_OF_DATE = frozenset(
    {
        ErrorKind.CHANGED,
        ErrorKind.NOT_FOUND,
        ErrorKind.EXISTS,
        ErrorKind.IS_DIRECTORY,
        ErrorKind.NOT_DIRECTORY,
    }
)
"""What copies may fail with because a listing shows what is not there any more: the copy of that
itself, and that of what has its name now, a file or a directory, if both are under way."""

_SETTLE_S = 3.0
"""How long copies under way may take to end when the move has failed. A server that stops has 20
seconds for all, and most of them are for the undo, which may have to wait for copies that come
late."""

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


class TreeMove:
    """One move of all below the key prefix `source` to below `target`; both end with "/".

    There must be nothing at the target.
    """

    def __init__(self, tree: Tree, source: str, target: str) -> None:
        self.may_break_off = True
        """Whether to cancel `run` now makes it undo what it has done."""
        self._is_copied = False
        self._tree = tree
        self._client = tree.client
        self._state = tree.state
        self._source = source
        self._target = target
        self._unlisted: set[str] = set()  # keys; bounded by what `state` remembers
        self._reached = ""  # the last key that may have been copied
        self._has_marker = False  # the source
        self._copied = 0
        self._failure: DeleteFailure | None = None  # the first of those that are counted as left

    async def run(self) -> None:
        """Copy all, and only then delete; what cannot be copied is an error, and all is undone.

        Raises EXISTS if another move has the same target, and other StorageErrors, whose aftermath
        says what is where.
        """
        await self._claim()
        try:
            await self._copy_all()
            if not self._copied:
                raise StorageError(ErrorKind.NOT_FOUND, operation="move", key=self._source)
        except BaseException as error:
            self.may_break_off = False
            is_clean = await self._uninterrupted(self._undo())
            if isinstance(error, StorageError):
                error.aftermath = "Nothing was renamed." if is_clean else _UNDONE_IN_PART
            raise
        self.may_break_off = False
        self._is_copied = True
        await self._uninterrupted(self._delete_sources())

    async def _uninterrupted(self, work: Coroutine[None, None, _Result]) -> _Result:
        """Do what must not end half-way; an operator has to know when it does."""
        try:
            return await work
        except asyncio.CancelledError:
            _log.error("broken off: files are below both %r and %r", self._source, self._target)
            raise

    def _copy_of(self, key: str) -> str:
        return self._target + key[len(self._source) :]

    async def _pages(self) -> AsyncIterator[Mapping[str, ObjectMeta | None]]:
        """Yield the source's keys in order, at most `_PAGE` at a time.

        With them comes what is listed, or None for what this server has stored but is not.
        """
        self._unlisted |= self._state.written_below(self._source)
        unlisted = deque(sorted(self._unlisted))
        marker = ""
        while True:
            page = await self._client.list_objects(self._source, marker=marker, max_keys=_PAGE)
            marker = page.next_marker
            found: dict[str, ObjectMeta | None] = {
                meta.key: meta
                for meta in page.objects
                if not self._state.under_way.is_hidden(meta.key)
            }
            while unlisted and (not marker or unlisted[0] <= marker):
                found.setdefault(unlisted.popleft(), None)
            keys = sorted(found)
            for start in range(0, len(keys), _PAGE):
                yield {key: found[key] for key in keys[start : start + _PAGE]}
            if not marker:
                return

    # Claiming

    async def _claim(self) -> None:
        """Store the target's marker, and make sure that it does not stay if this fails.

        Of two moves to one name at the same time, the store lets only one be the first. Only what
        the marker itself tells proves whose it is: that of another move has the same ETag.
        """
        claim = ("claim", uuid4().hex)
        try:
            await for_each(self._store_claim, (claim,), at_once=1, settle_s=_SETTLE_S)
        except asyncio.CancelledError:
            self.may_break_off = False
            if await self._is_claimed(claim):
                await self._take_marker_away()
            raise

    async def _store_claim(self, claim: tuple[str, str]) -> None:
        options = replace(self._tree.rules.marker_options(), metadata=(claim,))

        async def put(_: int) -> Stored:
            return await self._client.put_object(
                self._target, b"", options=options, forbid_overwrite=True
            )

        etag = ""
        async with self._state.turns.turn(self._target):
            try:
                etag = (await RetryPolicy().run(put, is_open)).etag
            except StorageError as error:
                may_be_own = error.kind is ErrorKind.EXISTS or error.temporary  # of an earlier try
                if not may_be_own or not await self._is_claimed(claim):
                    raise
            marker = ObjectMeta(key=self._target, size=0, etag=etag, modified=store_time())
            self._state.wrote(marker)

    async def _is_claimed(self, claim: tuple[str, str]) -> bool:
        marker = await self._client.find_object(self._target)
        return marker is not None and claim in marker.options.metadata

    async def _take_marker_away(self) -> None:
        async with self._state.turns.turn(self._target):
            await self._client.delete_object(self._target)
            self._state.lost_marker(self._target)
        self._state.emptied(self._target, is_gone=False)
        self._state.lost_entry(self._target)

    # Copying

    async def _copy_all(self) -> None:
        async for page in self._pages():
            self._reached = max(page)
            unsure: list[str] = []
            copy = partial(self._copy_listed, unsure)
            await for_each(copy, page.items(), at_once=_AT_ONCE, settle_s=_SETTLE_S)
            await for_each(self._copy_found, unsure, at_once=_AT_ONCE, settle_s=_SETTLE_S)

    async def _copy_listed(self, unsure: list[str], listed: tuple[str, ObjectMeta | None]) -> None:
        """Copy an object as it is listed; into `unsure` comes its key if that is out of date."""
        key, meta = listed
        is_small = meta is not None and meta.size <= self._client.dialect.max_copy_bytes
        if meta is None or not is_small or self._state.is_deleted(key):
            unsure.append(key)
            return
        try:
            await self._copy_version(meta._replace(options=self._placement(meta)))
        except StorageError as error:
            if error.kind not in _OUT_OF_DATE:
                raise
            unsure.append(key)

    async def _copy_found(self, key: str) -> None:
        """Copy an object as it is now, if there is one."""
        with self._state.under_way.watch(key) as watch:
            meta = await self._client.find_object(key)
        if meta is not None and not watch.was_hidden:
            await self._copy_version(meta)

    def _placement(self, meta: ObjectMeta) -> ObjectOptions:
        """Return what a copy does not inherit, as far as a listing tells it."""
        return ObjectOptions(
            storage_class=meta.options.storage_class,
            server_side_encryption=self._tree.rules.server_side_encryption,
        )

    async def _copy_version(self, source: ObjectMeta) -> None:
        key = self._copy_of(source.key)
        is_marker = key == self._target
        self._state.forget_deletion(key)  # so that what somebody deletes from now on shows
        with self._state.claiming(key):
            async with self._state.turns.turn(key):
                await self._copy_in_turn(source, key, may_replace=is_marker)
            self._state.filled(key, store_time())
        self._copied += 1
        self._has_marker |= is_marker

    async def _copy_in_turn(self, source: ObjectMeta, key: str, *, may_replace: bool) -> None:
        try:
            await copy_object(self._tree, source, key, may_replace=may_replace)
        except StorageError as error:
            is_in_the_way = error.kind is ErrorKind.EXISTS and not self._is_written(key)
            if not is_in_the_way or await find_own_copy(self._client, source, key) is None:
                raise

    # Deleting

    async def _delete_sources(self) -> None:
        left = 0
        previous = ""
        try:
            async for page in self._pages():
                copies = await self._list_copies(previous)
                previous = max(page)
                left += await self._delete_proven(page, self._copy_finder(copies))
        except StorageError as error:
            error.aftermath = "Renamed, but files may still be at the old name."
            raise
        await self._drop_marker()
        if failure := self._failure:
            kind, temporary = classify(200, failure.code, failure.message)
            raise self._error(left, kind, failure.key, temporary, failure.message)
        if left:
            raise self._error(left, ErrorKind.CHANGED, self._source, True, "stored meanwhile")

    async def _drop_marker(self) -> None:
        """Leave the target without a marker, if the source had none. It would do no harm."""
        if self._has_marker or not self._copied:
            return
        under_way, turns = self._state.under_way, self._state.turns
        with under_way.deleting(self._target) as written:
            # Who deletes the last file there meanwhile does not count on it, and stores another.
            async with turns.turn(self._target):
                try:
                    if not await self._tree.names.has_entries(self._target, besides=self._target):
                        return
                    if not written:
                        await self._client.delete_object(self._target)
                except StorageError as error:
                    _log.warning("directory marker left behind: %s", error)
                else:
                    self._state.lost_marker(self._target)

    async def _list_copies(self, previous: str) -> Mapping[str, ObjectMeta]:
        """Return what is listed at the target behind the copy of `previous`, more than a page."""
        marker = self._copy_of(previous) if previous else ""
        page = await self._client.list_objects(self._target, marker=marker)
        return {meta.key: meta for meta in page.objects}

    def _copy_finder(self, copies: Mapping[str, ObjectMeta]) -> "_Proof":
        async def find(source: ObjectMeta, former: ObjectMeta | None) -> ObjectMeta | None:
            """Return the copy of `source`, None if there is none of what it is now."""
            if former is not None and former.etag not in ("", source.etag):
                return None  # this server knows of a newer one
            key = self._copy_of(source.key)
            copy = copies.get(key)
            encryption = source.options.server_side_encryption
            is_encrypted_alike = encryption in ("", self._tree.rules.server_side_encryption)
            if copy is not None and is_copy(copy, source) and is_encrypted_alike:
                return copy
            copy = await self._client.find_object(key)
            if copy is None or not is_copy(copy, source):
                return None
            if encryption and copy.options.server_side_encryption != encryption:
                # A listing does not tell of it, and a copy does not inherit it.
                async with self._state.turns.turn(key):
                    return await self._copy_again(source, key)
            return copy

        return find

    async def _copy_again(self, source: ObjectMeta, key: str) -> ObjectMeta | None:
        """Replace a copy by one with all that the source has, unless it is another file by now."""
        copy = await self._client.find_object(key)
        if copy is None or not is_copy(copy, source):
            return None
        stored = await copy_object(self._tree, source, key)
        return copy._replace(etag=stored.etag)

    async def _delete_proven(self, keys: Collection[str], prove: "_Proof") -> int:
        """Delete those of `keys` that are not needed, as `prove` finds; return how many stay.

        An answer that leaves open what is gone is not followed by the same request: all are looked
        at again, since others may have been stored there by then.
        """
        return await RetryPolicy().run(lambda _: self._try_to_delete(keys, prove), is_open)

    async def _try_to_delete(self, keys: Collection[str], prove: "_Proof") -> int:
        """Make one attempt, once no copy or deletion that got no answer can come late.

        Each counts as deleted from the start, so that one that is stored anew meanwhile is noticed,
        and stays. So does one that is just being replaced.
        """
        await self._state.turns.settled(keys)
        formers = {key: self._state.find(key) for key in keys}
        with self._state.under_way.deleting(*keys) as written:
            return await self._delete_those_that_may_go(formers, written, prove)

    async def _delete_those_that_may_go(
        self, formers: Mapping[str, ObjectMeta | None], written: Collection[str], prove: "_Proof"
    ) -> int:
        twins: dict[str, ObjectMeta] = {}
        gone: set[str] = set()

        async def look(key: str) -> None:
            meta = await self._client.find_object(key)
            if meta is None:
                gone.add(key)
            elif twin := await prove(meta, formers[key]):
                twins[key] = twin

        try:
            await for_each(look, formers, at_once=_AT_ONCE, settle_s=0)
            turns = self._state.turns
            doomed = [key for key in twins if key not in written and not turns.is_taken(key)]
            async with turns.several(doomed):
                doomed = [key for key in doomed if key not in written]  # while it waited
                failed = await self._client.delete_objects(doomed)
            self._failure = self._failure or next(iter(failed), None)
            deleted = set(doomed).difference(failure.key for failure in failed)
            gone |= deleted
        finally:
            for key in gone.difference(written):
                if key.endswith("/"):  # what lies in it may stay: the end of the move will tell
                    self._state.emptying(key)
                else:
                    self._state.deleted(key)
        if self._is_copied:
            for twin in map(twins.__getitem__, deleted):
                # What others have stored or deleted there since is not overwritten.
                if not self._is_written(twin.key) and not self._state.is_deleted(twin.key):
                    self._state.wrote(twin)
        return len(formers) - len(gone)

    # Undoing

    async def _undo(self) -> bool:
        """Take away what was copied; return whether nothing of it is left."""
        left = 0
        try:
            async for page in self._pages():
                keys = [self._copy_of(key) for key in page if key <= self._reached]
                keys = [key for key in keys if key != self._target and not self._is_written(key)]
                left += await self._delete_proven(keys, self._source_finder(page))
                if max(page) >= self._reached:
                    break
            await self._take_marker_away()
        except StorageError as error:
            _log.error("copies left behind below %r: %s", self._target, error)
            return False
        if left:
            _log.error("%d copies left behind below %r: %r", left, self._target, self._failure)
        return not left

    def _source_finder(self, page: Mapping[str, ObjectMeta | None]) -> "_Proof":
        async def find(copy: ObjectMeta, _: ObjectMeta | None) -> ObjectMeta | None:
            """Return what `copy` was made of, None if that is not at the source any more."""
            key = self._source + copy.key[len(self._target) :]
            source = page[key]
            if source is None or not is_copy(copy, source):
                source = await self._client.find_object(key)
            return source if source is not None and is_copy(copy, source) else None

        return find

    # What both need

    def _is_written(self, key: str) -> bool:
        """Whether this server has acknowledged that somebody stored an object there, just now."""
        known = self._state.find(key)
        return known is not None and bool(known.etag)

    def _error(
        self, left: int, kind: ErrorKind, key: str, temporary: bool, detail: str
    ) -> StorageError:
        files = "1 file is" if left == 1 else f"{left} files are"
        return StorageError(
            kind,
            operation="move",
            key=key,
            temporary=temporary,
            detail=detail,
            aftermath=f"Renamed, but {files} still at the old name.",
        )


_Proof = Callable[[ObjectMeta, ObjectMeta | None], Awaitable[ObjectMeta | None]]
"""Of an object, and what this server knew of it before: returns the one that makes it needless."""

_UNDONE_IN_PART = "Nothing was renamed, but there are files at the new name too."
