"""Work that must be finished although nobody waits for it any more."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Cleanups"]

_log = logging.getLogger(__name__)


_PATIENCE_S = 3.0
"""Seconds. lftp, ncftp and ftplib are usually told to give up after 20; a store that works needs
two round trips."""


class Cleanups:
    """Runs clean-up to its end even when whoever began it is cancelled meanwhile."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Wait for `work`, but not for long: a client must hear of a failure while it listens.

        If it takes longer, or the waiter is cancelled, `work` goes on and `aclose` waits for it.
        """
        task = self._begin(work)
        task.add_done_callback(_log_failure)
        await asyncio.wait((task,), timeout=_PATIENCE_S)

    async def see_through(
        self, work: Coroutine[Any, Any, None], *, may_break_off: Callable[[], bool]
    ) -> None:
        """Wait for `work` however long it takes; raise what it raises.

        When the waiter is cancelled, `work` is told so, by being cancelled itself, if it
        `may_break_off` just then. Either way it ends in peace, as in `run`.
        """
        task = self._begin(work)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            if may_break_off():
                task.cancel()
            await asyncio.wait((task,), timeout=_PATIENCE_S)
            raise

    async def aclose(self, timeout_s: float) -> None:
        """Wait for all that is under way, at most `timeout_s` seconds, then cancel it."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("clean-up failed: %s", error)
