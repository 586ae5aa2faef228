"""The store's idea of the time, as far as its refusals tell. Pure but for the local clock."""

import logging
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

__all__ = ["StoreClock"]

_logger = logging.getLogger(__name__)

_MIN_DRIFT_S = 30  # the official node SDK's threshold; below it a 403 has other reasons


class StoreClock:
    """Local time plus an offset that is learnt from refused requests."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.offset_s = 0.0
        """Seconds that the store is ahead of this machine."""

    def now(self) -> float:
        """Return the store's time in Unix seconds."""
        return self._wall() + self.offset_s

    def correct(self, used_offset_s: float, code: str, message: str, date: str) -> bool:
        """Learn from a 403 with the Date header `date` to a request signed with `used_offset_s`.

        Return whether the signature's time was the likely reason, so that one more try is worth
        it. Any 403 may be one: an answer to HEAD says no more than the status.
        """
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return False
        offset_s = theirs - self._wall()
        # COS reports a skew as RequestTimeTooSkewed or as AccessDenied "Request has expired".
        is_named = code == "RequestTimeTooSkewed" or "expired" in message.lower()
        if abs(offset_s - used_offset_s) < (1 if is_named else _MIN_DRIFT_S):
            return False
        self.offset_s = offset_s
        _logger.warning("the store's clock is %+.0f s from this machine's: corrected", offset_s)
        return True
