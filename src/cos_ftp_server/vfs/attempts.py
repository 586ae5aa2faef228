"""Uploads that are under way or have broken off, since clients try them again.

Nothing is kept of an upload that breaks off, and the file of that name is as it was. Clients that
resume take its size for what they have sent, sometimes before the server hears that they have lost
the connection. It must not know how an upload ends.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

__all__ = ["LIFETIME_S", "Attempt", "Attempts", "Journal", "Unwritten"]

LIFETIME_S = 3600.0
"""As long as a client may try again by itself: lftp waits 5 minutes for a connection that is dead,
and up to 10 from one try to the next."""

_MOST = 10_000
"""Files remembered: 2 MiB with short names, 10 MiB with the longest. Beyond, the oldest is
forgotten early."""


class Attempt:
    """An upload that has begun, of a whole file or of what comes behind a part of one."""

    __slots__ = ("is_overtaken", "is_whole", "key")

    def __init__(self, key: str, *, is_whole: bool) -> None:
        self.key = key
        self.is_whole = is_whole
        self.is_overtaken = False
        """Whether something has been stored at the key, or deleted there, since it began."""


class Journal(Protocol):
    """Where that is written down which the next process must know. No method blocks or raises."""

    def note_begin(self) -> None:
        """Write down that there are uploads."""
        ...

    def note_change(self, key: str, *, is_whole: bool) -> None:
        """Write down that an upload broke off, or was made up for; see `has_broken_off`."""
        ...


class Unwritten:
    """Writes nothing down: what broke off is forgotten with this process."""

    def note_begin(self) -> None:
        """See Journal."""

    def note_change(self, key: str, *, is_whole: bool) -> None:
        """See Journal."""


_UNWRITTEN = Unwritten()


class Attempts:
    """Those under way that were not overtaken, and where one broke off within the last hour."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, journal: Journal = _UNWRITTEN
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._under_way: dict[str, set[Attempt]] = {}
        self._broken_off: OrderedDict[str, tuple[float, bool]] = OrderedDict()  # when, is_whole
        self._any_until = clock()

    def begin(self, key: str, *, is_whole: bool) -> Attempt:
        """Take note of an upload, of which `settle`, `end` or `break_off` must tell the end."""
        self._journal.note_begin()
        attempt = Attempt(key, is_whole=is_whole)
        self._under_way.setdefault(key, set()).add(attempt)
        return attempt

    def settle(self, key: str) -> None:
        """Take note that something was stored at `key`, or deleted there: it may be resumed."""
        if key in self._broken_off:
            moment, is_whole = self._broken_off[key]
            if is_whole:
                self._broken_off[key] = moment, False
                self._journal.note_change(key, is_whole=False)
        for attempt in self._under_way.pop(key, ()):
            attempt.is_overtaken = True

    def end(self, attempt: Attempt) -> None:
        """Take note that an upload is over, and its client content."""
        others = self._under_way.get(attempt.key, set())
        others.discard(attempt)
        if not others:
            self._under_way.pop(attempt.key, None)

    def break_off(self, attempt: Attempt) -> None:
        """Take note of an upload's end. What its client has sent may be more than what came."""
        self.end(attempt)
        key = attempt.key
        is_whole = (attempt.is_whole and not attempt.is_overtaken) or self.has_broken_off(key)
        self.recall(key, is_whole=is_whole)
        self._journal.note_change(key, is_whole=is_whole)

    def recall(self, key: str, *, is_whole: bool, seconds_ago: float = 0.0) -> None:
        """Take note of what was written down. Of what happened at one key, the last comes last."""
        self._broken_off[key] = self._clock() - max(0.0, seconds_ago), is_whole
        self._broken_off.move_to_end(key)
        if len(self._broken_off) > _MOST:
            self._broken_off.popitem(last=False)

    def suspect_all(self) -> None:
        """Take it for an hour that any upload may have broken off: nobody could write it down."""
        self._any_until = self._clock() + LIFETIME_S

    def is_whole_under_way(self, key: str) -> bool:
        """Whether somebody sends a whole file that is to be at `key`."""
        return any(attempt.is_whole for attempt in self._under_way.get(key, ()))

    def has_broken_off(self, key: str) -> bool:
        """Whether what is at `key` is not the whole file that was sent last."""
        moment, is_whole = self._broken_off.get(key, (0.0, False))
        return is_whole and self._clock() - moment < LIFETIME_S

    def is_interrupted(self, key: str) -> bool:
        """Whether an upload is under way, or its client may be trying again.

        That somebody else has stored something there meanwhile makes it no better.
        """
        if key in self._under_way or self._clock() < self._any_until:
            return True
        moment, _ = self._broken_off.get(key, (None, False))
        return moment is not None and self._clock() - moment < LIFETIME_S
