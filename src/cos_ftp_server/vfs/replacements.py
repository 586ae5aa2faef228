"""Uploads of whole files, so that nobody resumes one behind the file that it was to replace.

Nothing is kept of an upload that breaks off, and the file of that name is as it was. Clients that
resume take its size for what they have sent, sometimes before the server hears that they have lost
the connection. It must not know how an upload ends.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Replacement", "Replacements"]

_LIFETIME_S = 3600.0
"""As long as a client may try again by itself."""

_RETRY_S = 120.0
"""lftp tries again 30 seconds after it began, and then after half as long again each time."""

_MOST = 10_000
"""Files remembered: about 2 MiB. Beyond, the oldest is forgotten early."""


class Replacement:
    """An upload of a whole file that has begun."""

    __slots__ = ("is_overtaken", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self.is_overtaken = False
        """Whether something else has been stored at the key, or deleted there, since it began."""


class Replacements:
    """Those that are under way, and where the last one broke off within the last hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: dict[str, set[Replacement]] = {}
        self._broken_off: OrderedDict[str, float] = OrderedDict()  # until when

    def begin(self, key: str) -> Replacement:
        """Take note of an upload, of which `settle` or `break_off` must tell the end."""
        replacement = Replacement(key)
        self._under_way.setdefault(key, set()).add(replacement)
        return replacement

    def settle(self, key: str) -> None:
        """Take note that something was stored at `key`, or deleted there."""
        self._broken_off.pop(key, None)
        for replacement in self._under_way.pop(key, ()):
            replacement.is_overtaken = True

    def break_off(self, replacement: Replacement, *, is_begun: bool) -> None:
        """Take note of an upload's end; unless it `is_begun`, no client takes anything for sent."""
        if replacement.is_overtaken:
            return
        key = replacement.key
        others = self._under_way[key]
        others.discard(replacement)
        if not others:
            del self._under_way[key]
        if is_begun:
            self._broken_off[key] = self._clock() + _LIFETIME_S
            self._broken_off.move_to_end(key)
            if len(self._broken_off) > _MOST:
                self._broken_off.popitem(last=False)

    def is_under_way(self, key: str) -> bool:
        """Whether somebody sends a whole file that is to be at `key`."""
        return key in self._under_way

    def is_interrupted(self, key: str) -> bool:
        """Whether one is under way, or broke off so lately that its client may be trying again."""
        age_s = self._clock() - self._broken_off.get(key, -math.inf) + _LIFETIME_S
        return key in self._under_way or age_s < _RETRY_S

    def has_broken_off(self, key: str) -> bool:
        """Whether what is at `key` is not what was sent last."""
        return self._broken_off.get(key, 0.0) > self._clock()
