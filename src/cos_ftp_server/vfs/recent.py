"""What this server wrote and deleted a moment ago, laid over listings that may lag behind.

COS documents listings as eventually consistent. Within one server a client must see what it has
just done, so changes are remembered for a short time, bounded in number, per bucket.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.attempts import Attempts
from cos_ftp_server.vfs.paths import prefix_of, prefixes_above
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


_GONE = _Change(None, math.inf)


class RecentChanges:
    """Object keys, and the directory prefixes that hold them: what is there now, or is gone.

    A key that ends with "/" stands for a directory: its marker, or that something lies in it.
    Those who are about to change an object wait for each other by its key in `turns`; whoever makes
    something new says so in `under_way`, once there is no `obstacle`. Uploads are in `attempts`,
    where what broke off is remembered for longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.turns = Turns()
        self.under_way = UnderWay()
        self.attempts = Attempts(clock)
        self._clock = clock
        self._changes: OrderedDict[str, _Change] = OrderedDict()  # the oldest first
        self._by_prefix: dict[str, dict[str, ObjectMeta | None]] = {}
        self._forgotten = -math.inf  # when the last change was made that is not remembered

    def now(self) -> float:
        """Return the time (seconds) on the clock that all that is known here goes by."""
        return self._clock()

    @property
    def complete_since(self) -> float:
        """From when on all is known that has been done; an older look at the store counts no more.

        Of a directory that was moved away, not all that is gone is known.
        """
        return max(self._clock() - LIFETIME_S, self._forgotten)

    def wrote(self, meta: ObjectMeta) -> None:
        """Remember an object (or a directory marker), and that its directories exist."""
        self.under_way.wrote(meta.key)
        self.attempts.settle(meta.key)
        self._remember(meta.key, meta)
        self.filled(meta.key, meta.modified)

    def filled(self, key: str, modified: datetime) -> None:
        """Remember that the directories which hold `key` exist, with or without a marker."""
        for directory in prefixes_above(key):
            there = self.find(directory)
            if there is None or not there.etag:  # it is to be known as long as what lies in it
                self._note_directory(directory, modified)

    def taken_back(self, key: str) -> None:
        """Remember that a new object is gone again: that its upload broke off stays known."""
        self._remember(key, None)

    def deleted(self, key: str) -> None:
        """Remember that `key` is gone."""
        self.attempts.settle(key)
        self._remember(key, None)

    def forget_deletion(self, key: str) -> None:
        """Take it that there may be something at `key` again."""
        if self.is_deleted(key):
            self._forget(key)

    def lost_marker(self, directory: str, modified: datetime) -> None:
        """Remember that the marker of a directory is gone, which may be there all the same."""
        if any(self.below(directory).values()):
            self._note_directory(directory, modified)
        else:
            self._forget(directory)

    def emptying(self, directory: str, modified: datetime) -> None:
        """Remember that a directory has lost its marker, and counts as there until `emptied`."""
        self._note_directory(directory, modified)

    def emptied(self, directory: str, modified: datetime, *, is_gone: bool) -> None:
        """Remember that all has been taken away from a directory and from those below it.

        Those in which something was written stay, and what has been written as a marker. Unless it
        `is_gone`, there may be more in it than is known here.
        """
        known = [
            key
            for prefix, changes in self._by_prefix.items()
            if prefix.startswith(directory)
            for key, meta in changes.items()
            if key.endswith("/") and meta is not None and not meta.etag
        ]
        for key in sorted({*known, directory}, key=len, reverse=True):
            there = self.find(key)
            if there is None or not there.etag:
                self.lost_marker(key, modified)
                if is_gone and self.find(key) is None:
                    self._remember(key, None)
        self._forgotten = self._clock()

    def lost_entry(self, key: str, modified: datetime) -> None:
        """Take it that the directories above `key` may be gone with it.

        Those stay that have a marker, or something else that is known.
        """
        for directory in prefixes_above(key):
            if (there := self.find(directory)) is not None and not there.etag:
                self.lost_marker(directory, modified)

    def find(self, key: str) -> ObjectMeta | None:
        """Return the object if it was written lately and not deleted since."""
        change = self._current(key)
        return change.meta if change else None

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
        """Say why nothing new has a place at `key`, as far as this server knows, if it has none.

        A file has none where there is a directory, nor a directory where there is a file, nor
        either below a file: if that was made lately, or is being made, or has not yet gone.
        """
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

    @contextmanager
    def claiming(self, key: str) -> Iterator[None]:
        """While it lasts, `key` may come to be a file, or a directory ("…/").

        Raises EXISTS, IS_DIRECTORY or NOT_DIRECTORY for what has been made since the caller looked
        at the store, is being made, or is being deleted but not gone.
        """
        if obstacle := self.obstacle(key):
            raise StorageError(obstacle, operation="create", key=key)
        with self.under_way.making(key):
            yield

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
        if self.under_way.counts_as_deleted(key):
            return _GONE
        change = self._changes.get(key)
        return change if change and change.expires > self._clock() else None

    def _remember(self, key: str, meta: ObjectMeta | None) -> None:
        self._expire()
        self._changes[key] = _Change(meta, self._clock() + LIFETIME_S)
        self._changes.move_to_end(key)
        self._by_prefix.setdefault(prefix_of(key), {})[key] = meta
        if len(self._changes) > _MOST:
            oldest, change = self._changes.popitem(last=False)
            self._forgotten = max(self._forgotten, change.expires - LIFETIME_S)
            self._drop(oldest)

    def _note_directory(self, directory: str, modified: datetime) -> None:
        self._remember(directory, ObjectMeta(key=directory, size=0, etag="", modified=modified))

    def _forget(self, key: str) -> None:
        if self._changes.pop(key, None) is not None:
            self._drop(key)

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
        prefix = prefix_of(key)
        changes = self._by_prefix[prefix]
        del changes[key]
        if not changes:
            del self._by_prefix[prefix]
