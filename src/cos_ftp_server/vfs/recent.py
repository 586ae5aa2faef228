"""What this server wrote and deleted a moment ago, laid over listings that may lag behind.

COS documents listings as eventually consistent. Within one server a client must see what it has
just done, so changes are remembered for a short time, bounded in number, per bucket. Here too
those who are about to replace the same object wait for each other.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from weakref import WeakValueDictionary

from cos_ftp_server.cos.types import ObjectMeta

__all__ = ["RecentChanges"]

_LIFETIME_S = 10.0
_MOST = 20_000
"""Changes remembered: about 6 MiB. Beyond, the oldest is forgotten early."""


class RecentChanges:
    """Object keys by the directory prefix that holds them: what is there now, or is gone.

    A key that ends with "/" stands for a directory: its marker, or that something lies in it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expires: OrderedDict[str, float] = OrderedDict()
        self._by_prefix: dict[str, dict[str, ObjectMeta | None]] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def wrote(self, meta: ObjectMeta) -> None:
        """Remember an object (or a directory marker), and that its directories exist."""
        self._remember(meta.key, meta)
        directory = _prefix_of(meta.key)
        while directory:
            if self.find(directory) is None:
                marker = ObjectMeta(key=directory, size=0, etag="", modified=meta.modified)
                self._remember(directory, marker)
            directory = _prefix_of(directory)

    def deleted(self, key: str) -> ObjectMeta | None:
        """Remember that `key` is gone, or about to go; return what was known to be there."""
        former = self.find(key)
        self._remember(key, None)
        return former

    def undelete(self, key: str, former: ObjectMeta | None) -> None:
        """Know again what was known before `deleted`, which has turned out to be untrue."""
        if former is not None:
            self._remember(key, former)
        elif self._expires.pop(key, None) is not None:
            self._drop(key)

    def find(self, key: str) -> ObjectMeta | None:
        """Return the object if it was written lately and not deleted since."""
        self._expire()
        return self._by_prefix.get(_prefix_of(key), {}).get(key)

    def is_deleted(self, key: str) -> bool:
        """Whether `key` was deleted lately and not written since."""
        self._expire()
        return self._by_prefix.get(_prefix_of(key), {}).get(key, key) is None

    def below(self, prefix: str) -> Mapping[str, ObjectMeta | None]:
        """Return the changes to the entries directly in the directory `prefix`, by key."""
        self._expire()
        return self._by_prefix.get(prefix, {})

    def turn(self, key: str) -> asyncio.Lock:
        """Return what to hold while `key` is replaced by what was made of it, or is deleted."""
        return self._turns.setdefault(key, asyncio.Lock())

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

    def _remember(self, key: str, meta: ObjectMeta | None) -> None:
        self._expires[key] = self._clock() + _LIFETIME_S
        self._expires.move_to_end(key)
        self._by_prefix.setdefault(_prefix_of(key), {})[key] = meta
        if len(self._expires) > _MOST:
            self._drop(self._expires.popitem(last=False)[0])

    def _expire(self) -> None:
        now = self._clock()
        while self._expires:
            key, expires = next(iter(self._expires.items()))
            if expires > now:
                return
            del self._expires[key]
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
