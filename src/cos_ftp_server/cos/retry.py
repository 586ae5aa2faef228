"""How often, how long and when a failed request is tried again; the only place that does.

Knows `StorageError.temporary` and nothing of HTTP.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cos_ftp_server.errors import StorageError

__all__ = ["RetryPolicy", "is_temporary"]

_logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def is_temporary(error: StorageError) -> bool:
    """Return whether the same request may succeed later."""
    return error.temporary


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Capped exponential back-off with full jitter: each delay is uniform in 0 … base·2ⁿ seconds.

    Trying ends after `max_tries` attempts, or when the next one would begin more than `budget_s`
    seconds after the first. https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    max_tries: int = 5
    base_s: float = 0.2
    cap_s: float = 5.0
    budget_s: float = 90.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform

    async def run(
        self,
        attempt: Callable[[int], Awaitable[_Result]],
        may_retry: Callable[[StorageError], bool] = is_temporary,
    ) -> _Result:
        """Return what `attempt(number)` returns, number counting from 1.

        Raises the last StorageError when it is not to be retried or trying has ended.
        """
        began = self.clock()
        number = 1
        while True:
            try:
                return await attempt(number)
            except StorageError as error:
                delay = self.uniform(0.0, min(self.cap_s, self.base_s * 2.0 ** (number - 1)))
                if (
                    number >= self.max_tries
                    or not may_retry(error)
                    or self.clock() - began + delay > self.budget_s
                ):
                    raise
                _logger.warning("try %d of %d: %s", number, self.max_tries, error)
            await self.sleep(delay)
            number += 1
