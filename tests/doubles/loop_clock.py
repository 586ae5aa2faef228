"""The event loop's clock, which a test puts forward instead of waiting."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context

import pytest

__all__ = ["LoopClock"]

_TURNS = 3
"""Turns of the loop in which a timer's action wakes a task, which sets its next timer."""


class _Timer:
    """What `call_later` returns: a timer of the real loop, which may be due before its time."""

    def __init__(
        self, when: float, action: Callable[[], None], handle: asyncio.Handle, context: Context
    ) -> None:
        self._when = when
        self._action = action
        self._handle = handle
        self._context = context

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self._handle.cancel()

    def cancelled(self) -> bool:
        return self._handle.cancelled()

    def bring_forward(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle.cancel()
        self._handle = loop.call_soon(self._action, context=self._context)


class LoopClock:
    """Time passes as ever, and besides as `advance` says; no timer can tell the difference.

    A time-out of minutes that a test jumps over cannot come early on a slow machine, as one of
    milliseconds that a test waits for can.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._real_time = self._loop.time
        self._real_call_later = self._loop.call_later
        self._ahead = 0.0
        self._timers: set[_Timer] = set()
        monkeypatch.setattr(self._loop, "time", self._time)
        monkeypatch.setattr(self._loop, "call_later", self._call_later)

    def skip(self, seconds: float) -> None:
        """Let `seconds` pass in which the loop has no turn, and does not see what is due."""
        self._ahead += seconds

    def run_due(self) -> None:
        """Let the loop do in its next turn what is due."""
        for timer in self._waiting():
            if timer.when() <= self._time():
                timer.bring_forward(self._loop)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: what is due meanwhile is done in its order, each at its time."""
        end = self._time() + seconds
        while (left := end - self._time()) > 0:
            due = min(map(_Timer.when, self._waiting()), default=end)
            self.skip(min(left, max(0.0, due - self._time())))
            self.run_due()
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _waiting(self) -> list[_Timer]:
        """Return what is not done and not cancelled, what is due first at the beginning."""
        self._timers = {timer for timer in self._timers if not timer.cancelled()}
        return sorted(self._timers, key=_Timer.when)

    def _time(self) -> float:
        return self._real_time() + self._ahead

    def _call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> _Timer:
        def act() -> None:
            self._timers.discard(timer)
            callback(*args)

        context = context or copy_context()
        handle = self._real_call_later(delay, act, context=context)
        timer = _Timer(self._time() + delay, act, handle, context)
        self._timers.add(timer)
        return timer
