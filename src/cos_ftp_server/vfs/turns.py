"""Whose turn it is to replace an object, or to delete it: one at a time for each key.

It must not know what is done in a turn.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Turns"]


class Turns:
    """Turns for any number of keys, in the order of asking; nothing is kept of one that is free."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by the key that is taken

    def is_taken(self, key: str) -> bool:
        """Whether somebody has the turn; if not, `take` does not wait."""
        return key in self._waiting

    async def take(self, key: str) -> None:
        """Return once it is the caller's turn, who must `give_back` it."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return
        given = asyncio.get_running_loop().create_future()
        waiting.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # it was the caller's turn already
                self.give_back(key)
            raise

    def give_back(self, key: str) -> None:
        """Let the next one have the turn."""
        waiting = self._waiting[key]
        while waiting:
            given = waiting.popleft()
            if not given.cancelled():
                given.set_result(None)
                return
        del self._waiting[key]

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Have the turn as long as the context lasts."""
        await self.take(key)
        try:
            yield
        finally:
            self.give_back(key)
