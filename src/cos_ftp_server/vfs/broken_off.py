"""Files whose replacement broke off a while ago, so that nobody resumes it behind the old one.

Nothing is kept of an upload that breaks off, and the file of that name is as it was. Clients that
resume take its size for what they have sent. It must not know how an upload ends.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["BrokenOff"]

_LIFETIME_S = 3600.0
"""As long as a client may try again by itself."""

_MOST = 10_000
"""Files remembered: about 2 MiB. Beyond, the oldest is forgotten early."""


class BrokenOff:
    """Object keys at which the last upload of a whole file broke off, within the last hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def add(self, key: str) -> None:
        """Remember that what is at `key` is not what was sent last."""
        self._until[key] = self._clock() + _LIFETIME_S
        self._until.move_to_end(key)
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def discard(self, key: str) -> None:
        """Forget that: something else has happened there."""
        self._until.pop(key, None)

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0.0) > self._clock()
