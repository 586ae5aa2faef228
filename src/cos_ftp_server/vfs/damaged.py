"""Files that have come damaged from the store, so that nobody resumes what he has of them.

What a client got before the damage was noticed may be damaged itself, and together with the rest
has the right size. It must not know how damage is noticed.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["DamagedFiles"]

_LIFETIME_S = 3600.0
"""As long as a client may try again by itself."""

_MOST = 1_000
"""Files remembered. Beyond, the oldest is forgotten early."""


class DamagedFiles:
    """Object keys with the ETag of what came damaged, within the last hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def note(self, key: str, etag: str) -> None:
        """Remember that the last download of this object was damaged."""
        self._noted[key] = etag, self._clock()
        self._noted.move_to_end(key)
        if len(self._noted) > _MOST:
            self._noted.popitem(last=False)

    def clear(self, key: str) -> None:
        """Take note that all of it has come as it should."""
        self._noted.pop(key, None)

    def has(self, key: str, etag: str) -> bool:
        """Whether the last download of this object was damaged."""
        noted, moment = self._noted.get(key, ("", 0.0))
        return noted == etag and self._clock() - moment < _LIFETIME_S
