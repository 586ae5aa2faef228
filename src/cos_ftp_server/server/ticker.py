"""Something that is done again and again while something else lasts. It must not know what."""

import asyncio
from collections.abc import Callable

__all__ = ["Ticker"]


class Ticker:
    """A context within which the event loop calls `action` every `seconds`.

    A class, because a generator as context costs 0.7 µs more, and every upload has two of them.
    """

    __slots__ = ("_action", "_seconds", "_timer")

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action

    def __enter__(self) -> None:
        self._schedule()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._tick)

    def _tick(self) -> None:
        self._schedule()
        self._action()
