"""What was written and deleted a moment ago, to be laid over listings that may lag behind.

COS documents listings as eventually consistent. Within one server a client must see what it has
just done, so changes are remembered for a short time, bounded in number. It must not know who has
made them, nor what is under way.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.vfs.paths import prefix_of

__all__ = ["LIFETIME_S", "Change", "RecentChanges"]

LIFETIME_S = 10.0
"""How long a change is remembered; so nothing that was seen before may be believed for longer."""

_MOST = 20_000
"""Changes remembered: 10 to 13 MiB with keys of 40 bytes, measured. Beyond, the oldest is forgotten
early."""


@dataclass(slots=True)
class Change:
    """What is at a key now, None if nothing is, and how long that is worth knowing."""

    meta: ObjectMeta | None
    expires: float


class RecentChanges:
    """Object keys, and the directory prefixes that hold them: what is there now, or is gone.

    A key that ends with "/" stands for a directory: its marker, or that something lies in it; then
    it has no ETag.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changes: OrderedDict[str, Change] = OrderedDict()  # the oldest first
        self._by_prefix: dict[str, dict[str, ObjectMeta | None]] = {}
        self.forgotten = -math.inf
        """When the last change was made that is not remembered, though it may matter."""

    def remember(self, key: str, meta: ObjectMeta | None) -> None:
        """Remember what is at `key` from now on."""
        now = self._clock()
        self._expire(now)
        self._changes[key] = Change(meta, now + LIFETIME_S)
        self._changes.move_to_end(key)
        self._by_prefix.setdefault(prefix_of(key), {})[key] = meta
        if len(self._changes) > _MOST:
            oldest, change = self._changes.popitem(last=False)
            self.forgotten = max(self.forgotten, change.expires - LIFETIME_S)
            self._drop(oldest)

    def forget(self, key: str) -> None:
        """Take it that nothing is known of `key`."""
        if self._changes.pop(key, None) is not None:
            self._drop(key)

    def find(self, key: str) -> Change | None:
        """Return the last change at `key`, None if there was none lately."""
        change = self._changes.get(key)
        return change if change and change.expires > self._clock() else None

    def below(self, prefix: str) -> Mapping[str, ObjectMeta | None]:
        """Return the changes to the entries directly in the directory `prefix`, by key."""
        self._expire(self._clock())
        return self._by_prefix.get(prefix, {})

    def written_below(self, prefix: str) -> set[str]:
        """Return the keys of objects written below `prefix` ("…/"), at any depth, or its marker."""
        self._expire(self._clock())
        return {
            key
            for directory, changes in self._by_prefix.items()
            if directory.startswith(prefix) or prefix in changes
            for key, meta in changes.items()
            if meta is not None and meta.etag and key.startswith(prefix)
        }

    def unmarked_below(self, prefix: str) -> set[str]:
        """Return the directories below `prefix` ("…/") that exist, without a marker being known."""
        return {
            key
            for directory, changes in self._by_prefix.items()
            if directory.startswith(prefix)
            for key, meta in changes.items()
            if key.endswith("/") and meta is not None and not meta.etag
        }

    def _expire(self, now: float) -> None:
        """Forget what is too old to be told."""
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
