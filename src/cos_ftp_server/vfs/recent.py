"""What this server wrote and deleted a moment ago, laid over listings that may lag behind.

COS documents listings as eventually consistent. Within one server a client must see what it has
just done, so changes are remembered for a short time, bounded in number, per bucket.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind
from cos_ftp_server.vfs.paths import prefixes_above
from cos_ftp_server.vfs.turns import Turns
from cos_ftp_server.vfs.under_way import UnderWay

__all__ = ["LIFETIME_S", "RecentChanges"]

LIFETIME_S = 10.0
"""How long a change is remembered; so nothing that was seen before may be believed for longer."""

_MOST = 20_000
"""Changes remembered: about 6 MiB. Beyond, the oldest is forgotten early."""


@dataclass(slots=True)
class _Change:
    """What is at a key now, None if nothing is, and how long that is worth knowing."""

    meta: ObjectMeta | None
    expires: float


class RecentChanges:
    """Object keys, and the directory prefixes that hold them: what is there now, or is gone.

    A key that ends with "/" stands for a directory: its marker, or that something lies in it.
    Those who are about to change an object wait for each other by its key in `turns`; whoever makes
    something new says so in `under_way`, once there is no `obstacle`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.turns = Turns()
        self.under_way = UnderWay()
        self._clock = clock
        self._changes: OrderedDict[str, _Change] = OrderedDict()  # the oldest first
        self._by_prefix: dict[str, dict[str, ObjectMeta | None]] = {}

    def wrote(self, meta: ObjectMeta) -> None:
        """Remember an object (or a directory marker), and that its directories exist."""
        self._remember(meta.key, meta)
        for directory in prefixes_above(meta.key):
            if self.find(directory) is None:
                self.unmark(directory, meta.modified)

    def deleted(self, key: str) -> ObjectMeta | None:
        """Remember that `key` is gone, or about to go; return what was known to be there."""
        former = self.find(key)
        self._remember(key, None)
        return former

    def undelete(self, key: str, former: ObjectMeta | None) -> None:
        """Know again what was known before `deleted`, which has turned out to be untrue."""
        if former is not None:
            self._remember(key, former)
        elif self._changes.pop(key, None) is not None:
            self._drop(key)

    def unmark(self, directory: str, modified: datetime) -> None:
        """Remember that a directory is there, or may be, if without a marker."""
        self._remember(directory, ObjectMeta(key=directory, size=0, etag="", modified=modified))

    def removed(self, directory: str) -> None:
        """Remember that a directory is gone with all below it; not where somebody has written."""
        kept = self.written_below(directory)
        kept.update([prefix for key in kept for prefix in prefixes_above(key)])
        below = [
            key
            for prefix, changes in self._by_prefix.items()
            if prefix.startswith(directory)
            for key, meta in changes.items()
            if meta is not None and key.endswith("/")
        ]
        for key in {*below, directory}.difference(kept):
            self._remember(key, None)

    def find(self, key: str) -> ObjectMeta | None:
        """Return the object if it was written lately and not deleted since."""
        change = self._changes.get(key)
        return change.meta if change and change.expires > self._clock() else None

    def is_deleted(self, key: str) -> bool:
        """Whether `key` was deleted lately and not written since."""
        change = self._current(key)
        return change is not None and change.meta is None

    def etag(self, key: str, *, listed: str) -> str:
        """Return the ETag of what is at `key`, "" for nothing: as listed, unless known better."""
        if (change := self._current(key)) is None:
            return listed
        return change.meta.etag if change.meta else ""

    def exists(self, key: str, *, listed: bool) -> bool:
        """Whether there is anything at `key`: as listed, unless known better."""
        change = self._current(key)
        return listed if change is None else change.meta is not None

    def obstacle(self, key: str) -> ErrorKind | None:
        """Say why nothing has a place at `key`, as far as this server knows, if it has none.

        A file has none where there is a directory, nor a directory where there is a file, nor
        either below a file: if that was made lately, or is being made, or has not yet gone. What
        is there already has its place.
        """
        if self.find(key) is not None:
            return None
        if key.endswith("/"):
            if self._may_be_there(key[:-1]):
                return ErrorKind.EXISTS
        elif self._may_be_there(f"{key}/"):
            return ErrorKind.IS_DIRECTORY
        for directory in prefixes_above(key):
            if self._may_be_there(directory[:-1]):
                return ErrorKind.NOT_DIRECTORY
        return None

    def _may_be_there(self, key: str) -> bool:
        return self.under_way.may_be_there(key) or self.find(key) is not None

    def below(self, prefix: str) -> Mapping[str, ObjectMeta | None]:
        """Return the changes to the entries directly in the directory `prefix`, by key."""
        self._expire()
        return self._by_prefix.get(prefix, {})

    def written_below(self, prefix: str) -> set[str]:
        """Return the keys of objects written below `prefix` ("…/"), at any depth, or its marker."""
        self._expire()
        return {
            key
            for directory, changes in self._by_prefix.items()
            if directory.startswith(prefix) or prefix in changes
            for key, meta in changes.items()
            if meta is not None and meta.etag and key.startswith(prefix)
        }

    def _current(self, key: str) -> _Change | None:
        change = self._changes.get(key)
        return change if change and change.expires > self._clock() else None

    def _remember(self, key: str, meta: ObjectMeta | None) -> None:
        self._expire()
        self._changes[key] = _Change(meta, self._clock() + LIFETIME_S)
        self._changes.move_to_end(key)
        self._by_prefix.setdefault(_prefix_of(key), {})[key] = meta
        if len(self._changes) > _MOST:
            self._drop(self._changes.popitem(last=False)[0])

    def _expire(self) -> None:
        """Forget what is too old to be told."""
        now = self._clock()
        while self._changes:
            key = next(iter(self._changes))
            if self._changes[key].expires > now:
                return
            del self._changes[key]
            self._drop(key)

    def _drop(self, key: str) -> None:
        prefix = _prefix_of(key)
        changes = self._by_prefix[prefix]
        del changes[key]
        if not changes:
            del self._by_prefix[prefix]


def _prefix_of(key: str) -> str:
    """Return the directory prefix that holds `key`: "a/" for "a/b" and for "a/b/"."""
    return key[: key.rstrip("/").rfind("/") + 1]
