"""Whose turn it is to replace an object, or to delete it: one at a time for each key.

A turn outlasts a request that was sent and got no answer, which may still be carried out. It must
not know what is done in a turn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

__all__ = ["LATE_S", "Turns"]

_log = logging.getLogger(__name__)

LATE_S = 10.0
"""How long (seconds) what got no answer may still be carried out. A store promises no bound; but
what its front end has not passed on by then, it will hardly pass on any more."""


class _Turn:
    __slots__ = ("is_over", "lasts_until", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.lasts_until = 0.0  # on the loop's clock, whoever gives it back before
        self.is_over = False  # it was given back, and lasts


class Turns:
    """Turns for any number of keys, in the order of asking; nothing is kept of one that is free."""

    def __init__(self, late_s: float = LATE_S) -> None:
        self._late_s = late_s
        self._turns: dict[str, _Turn] = {}  # by the key that is taken

    def is_taken(self, key: str) -> bool:
        """Whether somebody has the turn, or is about to."""
        turn = self._turns.get(key)
        if turn is None:
            return False
        return not turn.is_over or not all(given.cancelled() for given in turn.waiting)

    async def take(self, key: str) -> None:
        """Return once it is the caller's turn, who must `give_back` it."""
        turn = self._turns.get(key)
        if turn is None:
            self._turns[key] = _Turn()
            return
        loop = asyncio.get_running_loop()
        if turn.is_over:
            rest_s = turn.lasts_until - loop.time()
            _log.info("%r: waiting %.1f s, as a request got no answer", key, rest_s)
        given = loop.create_future()
        turn.waiting.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # it was the caller's turn already
                self.give_back(key)
            raise

    def give_back(self, key: str) -> None:
        """Let the next one have the turn, at once unless it was made to last."""
        turn = self._turns[key]
        if turn.lasts_until and self._lasts(turn, key):
            return
        while turn.waiting:
            given = turn.waiting.popleft()
            if not given.cancelled():
                given.set_result(None)
                return
        del self._turns[key]

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Have the turn as long as the context lasts."""
        await self.take(key)
        try:
            yield
        finally:
            self.give_back(key)

    @asynccontextmanager
    async def several(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Have the turns of all `keys` as long as the context lasts.

        They are taken in the order of the keys, so that two who want several never wait for each
        other in a circle.
        """
        async with AsyncExitStack() as held:
            for key in sorted(keys):
                await held.enter_async_context(self.turn(key))
            yield

    # What may come late

    def make_last(self, key: str) -> None:
        """Let the next one wait until what was sent for `key` and got no answer cannot come late.

        Who has the turn may go on, and give it back whenever he likes. If nobody has it, nobody
        minds.
        """
        if turn := self._turns.get(key):
            turn.lasts_until = asyncio.get_running_loop().time() + self._late_s

    async def settled(self, keys: Iterable[str]) -> None:
        """Return once nothing can come late any more at those of `keys` that nobody has."""
        for key in keys:
            if (turn := self._turns.get(key)) is not None and turn.is_over:
                async with self.turn(key):
                    pass

    def _lasts(self, turn: _Turn, key: str) -> bool:
        """Whether the turn lasts beyond its end; then it will be given back again."""
        loop = asyncio.get_running_loop()
        rest_s = turn.lasts_until - loop.time()
        if rest_s <= 0:
            turn.lasts_until = 0.0
            turn.is_over = False
            return False
        turn.is_over = True
        loop.call_at(turn.lasts_until, self.give_back, key)
        return True
