"""Files of which a download broke off for good, so that nobody resumes what he has of them.

What a client got before damage was noticed may be damaged itself, and what it got of a file that
was replaced is of the old one; together with the rest it may have the right size. It must not know
how either is noticed.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["DamagedFiles"]

_LIFETIME_S = 3600.0
"""As long as a client may try again by itself."""

_MOST = 1_000
"""Files remembered. Beyond, the oldest is forgotten early."""


_ANY = "*"
"""Stands for every ETag, of which none looks so."""


class DamagedFiles:
    """Object keys with the ETag of what must not be resumed, within the last hour."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def note(self, key: str, etag: str) -> None:
        """Remember that the last download of this object was damaged."""
        self._noted[key] = etag, self._clock()
        self._noted.move_to_end(key)
        if len(self._noted) > _MOST:
            self._noted.popitem(last=False)

    def note_change(self, key: str) -> None:
        """Remember that this object was replaced or deleted during its last download."""
        self.note(key, _ANY)

    def clear(self, key: str) -> None:
        """Take note that all of it has come as it should."""
        self._noted.pop(key, None)

    def has(self, key: str, etag: str) -> bool:
        """Whether the last download of this object was damaged, or of what it has replaced."""
        noted, moment = self._noted.get(key, ("", 0.0))
        return noted in (etag, _ANY) and self._clock() - moment < _LIFETIME_S
