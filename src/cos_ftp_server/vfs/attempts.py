"""Uploads that are under way or have broken off, since clients try them again.

Nothing is kept of an upload that breaks off, and the file of that name is as it was. Clients that
resume take its size for what they have sent, sometimes before the server hears that they have lost
the connection. It must not know how an upload ends.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Attempt", "Attempts"]

_LIFETIME_S = 3600.0
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


def _forget(_key: str, _is_whole: bool) -> None:
    """Write nothing down."""


class Attempts:
    """Those under way that were not overtaken, and where one broke off within the last hour.

    `write_down` is called with the key, and whether `has_broken_off`, each time that an upload
    breaks off, and when something else is stored there.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        write_down: Callable[[str, bool], None] = _forget,
    ) -> None:
        self._clock = clock
        self._write_down = write_down
        self._under_way: dict[str, set[Attempt]] = {}
        self._broken_off: OrderedDict[str, tuple[float, bool]] = OrderedDict()  # when, is_whole

    def begin(self, key: str, *, is_whole: bool) -> Attempt:
        """Take note of an upload, of which `settle`, `end` or `break_off` must tell the end."""
        attempt = Attempt(key, is_whole=is_whole)
        self._under_way.setdefault(key, set()).add(attempt)
        return attempt

    def settle(self, key: str) -> None:
        """Take note that something was stored at `key`, or deleted there: it may be resumed."""
        if key in self._broken_off:
            moment, is_whole = self._broken_off[key]
            if is_whole:
                self._broken_off[key] = moment, False
                self._write_down(key, False)
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
        self._write_down(key, is_whole)

    def recall(self, key: str, *, is_whole: bool, seconds_ago: float = 0.0) -> None:
        """Take note of what was written down. Of what happened at one key, the last comes last."""
        self._broken_off[key] = self._clock() - max(0.0, seconds_ago), is_whole
        self._broken_off.move_to_end(key)
        if len(self._broken_off) > _MOST:
            self._broken_off.popitem(last=False)

    def is_whole_under_way(self, key: str) -> bool:
        """Whether somebody sends a whole file that is to be at `key`."""
        return any(attempt.is_whole for attempt in self._under_way.get(key, ()))

    def has_broken_off(self, key: str) -> bool:
        """Whether what is at `key` is not the whole file that was sent last."""
        moment, is_whole = self._broken_off.get(key, (0.0, False))
        return is_whole and self._clock() - moment < _LIFETIME_S

    def is_interrupted(self, key: str) -> bool:
        """Whether an upload is under way, or its client may be trying again.

        That somebody else has stored something there meanwhile makes it no better.
        """
        if key in self._under_way:
            return True
        moment, _ = self._broken_off.get(key, (None, False))
        return moment is not None and self._clock() - moment < _LIFETIME_S
