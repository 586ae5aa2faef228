"""The one budget of memory that all transfers of a server share.

An upload receives into a `PartBuffer`, and that same memory is the request body. A buffer
reserves a part's worth of addresses but is granted, and touches, memory only as data
arrives, so that a small upload costs 64 KiB however large a part may become.

When the budget is used up, whoever asks waits, its socket stays unread and TCP holds the
client back. All take turns in order of asking, each for as much as its client fills soon: the rest
of a part for swift clients, a granule for slow ones. A reserve is kept for finishers: the few
waiters that lack least are given all that their part needs to be sent, which sets their memory free
again. So uploads never wait for each other in a circle; only clients that stop sending can hold
memory, and those are timed out elsewhere.
"""

import asyncio
import mmap
import time
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cos_ftp_server.vfs.warm import WarmMemory

__all__ = ["GRANULE", "BufferPool", "PartBuffer"]

GRANULE = 64 * 1024
"""Bytes: the least that is granted at a time; also what a small upload costs."""

_LARGEST_GRANT = 1024 * 1024
"""Bytes. While there is enough, a buffer is granted as much again as it holds, up to this: few
grants for a fast client, and no more idle memory than filled memory for a slow one."""

_SWIFT_S = 1.0
"""When memory is short, a client that at its pace so far fills its part within so many seconds is
granted the rest of it at once, and waits once for a part; others get a granule at a time. To wait
for every granule cost 500 swift uploads at once three times as much CPU. With 4 seconds, 450 slow
ones (50 kB/s) among 50 others held so much idle memory that all had a third less (simulated)."""

_SHARE = 2
"""A new part is at most one in so many of the free bytes: the more parts there are, the smaller.
With 2, eight uploads that fill all slots still have parts as large as one upload alone has."""


class PartBuffer:
    """Memory for one part, at most `capacity` bytes. `release` it exactly once.

    `needed` is how many bytes it must have before it may be sent, by default all. It begins as a
    small buffer; what that holds is copied, once, when more is granted.
    """

    __slots__ = (
        "_began",
        "_lent",
        "_memory",
        "_pool",
        "capacity",
        "filled",
        "finishing",
        "granted",
        "needed",
    )

    def __init__(self, pool: "BufferPool", capacity: int, needed: int | None = None) -> None:
        self._pool = pool
        self._memory: mmap.mmap | None = None
        self._lent: memoryview | None = None  # until `release`
        self._began = 0.0
        self.capacity = capacity
        self.needed = capacity if needed is None else min(needed, capacity)
        self.granted = 0
        self.finishing = 0  # of `granted`, what it has as a finisher
        self.filled = 0

    def window(self) -> memoryview:
        """Return the granted memory that is still free."""
        if self._memory is None:
            return memoryview(b"")
        return memoryview(self._memory)[self.filled : self.granted]

    def contents(self) -> memoryview:
        """Return what has been filled, as the one body of a request. `release` takes it back."""
        if self._memory is None:
            return memoryview(b"")
        if self._lent is None or len(self._lent) != self.filled:
            self._lent = memoryview(self._memory)[: self.filled]
        return self._lent

    @property
    def is_full(self) -> bool:
        """Whether the part has all the bytes that it can take."""
        return self.filled == self.capacity

    @property
    def lacking(self) -> int:
        """Bytes yet to be granted until it may be sent: whole granules."""
        granules = max(0, -(-(self.needed - self.granted) // GRANULE))
        return min(granules * GRANULE, self.capacity - self.granted)

    async def grow(self) -> None:
        """Return when the window has become larger. The buffer must not be full."""
        await self._pool.acquire(self, self._step())

    def grow_now(self) -> bool:
        """Enlarge the window if that needs no waiting; say whether it did."""
        return self._pool.acquire_now(self, self._step())

    def take(self, count: int) -> None:
        """Accept a grant of `count` bytes, and see to it that the memory is there. For the pool.

        That must be done when it is granted: the pool's warm memory might be cold a moment later.
        """
        self.granted += count
        if self._memory is None:
            self._memory = self._pool.memory(self, min(self.capacity, GRANULE))
        if self.granted > len(self._memory):
            small, filled = self._memory, self.filled
            self._memory = self._pool.memory(self, self.capacity)
            self._memory[:filled] = memoryview(small)[:filled]
            self._pool.keep(small, GRANULE)

    def release(self, *, reusable: bool) -> None:
        """Give everything back. Not `reusable`: somebody may still be reading the memory.

        That unmaps it: the pool counts it as free from now on, while an error that is kept
        somewhere keeps all frames that it came through, and they have the contents.
        """
        lent, self._lent = self._lent, None
        if lent is not None:
            with suppress(BufferError):  # a thread computes its MD5; soon it will have ended
                lent.release()
        memory, self._memory = self._memory, None
        self._pool.recycle(self, memory if reusable else None)
        self.granted = self.finishing = self.filled = 0

    def _step(self) -> int:
        if self.granted == 0:
            self._began = self._pool.clock()
        if not self._pool.is_pressed:
            wanted = max(GRANULE, self.granted)
        elif self._is_swift():
            wanted = max(GRANULE, self.lacking)
        else:
            wanted = GRANULE
        return min(wanted, _LARGEST_GRANT, self.capacity - self.granted)

    def _is_swift(self) -> bool:
        """Whether what its part needs will soon be there, by all the time that it took so far."""
        elapsed = self._pool.clock() - self._began
        return elapsed * (self.needed - self.filled) < _SWIFT_S * self.filled


@dataclass(slots=True, eq=False)
class _Waiter:
    buffer: PartBuffer
    count: int
    lacking: int
    number: int
    granted: asyncio.Future[None]


class _Line:
    """Those who wait for memory: in order of asking, and in order of what their parts lack."""

    def __init__(self) -> None:
        self._waiters: OrderedDict[int, _Waiter] = OrderedDict()
        self._nearest: list[tuple[int, int]] = []  # what is lacking, number of the waiter
        self._asked = 0

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def first(self) -> _Waiter:
        """Who has waited longest."""
        return next(iter(self._waiters.values()))

    @property
    def nearest(self) -> _Waiter | None:
        """Who lacks least, of several who has waited longest; none whose part may be sent as is."""
        return self._waiters[self._nearest[0][1]] if self._nearest else None

    def add(self, buffer: PartBuffer, count: int) -> _Waiter:
        """Let a buffer wait for `count` bytes."""
        self._asked += 1
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(buffer, count, buffer.lacking, self._asked, granted)
        self._waiters[waiter.number] = waiter
        if waiter.lacking:
            insort(self._nearest, (waiter.lacking, waiter.number))
        return waiter

    def discard(self, waiter: _Waiter) -> None:
        """Let it wait no longer, if it still does."""
        if self._waiters.pop(waiter.number, None) and waiter.lacking:
            del self._nearest[bisect_left(self._nearest, (waiter.lacking, waiter.number))]


class BufferPool:
    """`total` bytes for all transfers, a quarter of them in reserve.

    Half of the reserve is for finishers, half for uploads that begin. No part may need more than
    the former; `smallest_part` is the least that the store accepts as one. `clock` tells seconds.
    """

    def __init__(
        self, total: int, *, smallest_part: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.reserve = max(total // 4, 2 * smallest_part)
        if self.reserve > total // 2:
            raise ValueError(f"{total} bytes are too few for parts of {smallest_part} bytes")
        self.clock = clock
        self.used = 0
        self._smallest_part = smallest_part
        self._finishing = 0  # of `used`, what was granted to finishers as such
        self._waiting = _Line()
        self._warm = WarmMemory()

    @property
    def is_pressed(self) -> bool:
        """Whether somebody waits for memory, or soon will."""
        return bool(self._waiting) or self.used > (self.total - self.reserve) * 3 // 4

    def size_of_part(self, planned: int) -> int:
        """Return `planned`, halved until that is a fair share of what is free.

        So many uploads have small parts from the beginning, instead of large ones that must end
        early, and the memory of one part is just right for the next.
        """
        fair = max((self.total - self.reserve - self.used) // _SHARE, self._smallest_part)
        while planned > fair and planned // 2 >= self._smallest_part:
            planned //= 2
        return planned

    # For uploads: memory that is waited for.

    def acquire_now(self, buffer: PartBuffer, count: int) -> bool:
        """Grant `count` bytes to `buffer` unless somebody must wait.

        A buffer's first bytes come before those who wait for more, and out of half of the
        reserve: small uploads go on while large ones wait for a store that hangs.
        """
        if buffer.granted == 0:
            if count > self._unused(self.reserve // 2):
                return False
        elif self._waiting or count > self._unused(self.reserve):
            return False
        self._grant(buffer, count)
        return True

    async def acquire(self, buffer: PartBuffer, count: int) -> None:
        """Grant `count` bytes to `buffer` in order of asking; all that it lacks to a finisher."""
        if self.acquire_now(buffer, count):
            return
        waiter = self._waiting.add(buffer, min(count, buffer.lacking or GRANULE))
        self._serve_waiters()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            self._waiting.discard(waiter)
            self._serve_waiters()  # it may have been first, and asked for much
            raise  # if it was granted just now, `release` will give that back

    def _unused(self, kept: int) -> int:
        """Return how many bytes can be granted without touching the last `kept` ones."""
        return max(0, self.total - kept - self.used + self._finishing)

    def _grant(self, buffer: PartBuffer, count: int) -> None:
        self.used += count
        buffer.take(count)
        self._cool_down()

    def _serve_waiters(self) -> None:
        while self._waiting and (first := self._waiting.first).count <= self._unused(self.reserve):
            self._serve(first, first.count)
        while (nearest := self._waiting.nearest) and self._can_finish(nearest.lacking):
            nearest.buffer.finishing = nearest.lacking
            self._finishing += nearest.lacking
            self._serve(nearest, nearest.lacking)

    def _can_finish(self, lacking: int) -> bool:
        return self._finishing + lacking <= self.reserve // 2

    def _serve(self, waiter: _Waiter, count: int) -> None:
        self._waiting.discard(waiter)
        self._grant(waiter.buffer, count)
        if not waiter.granted.cancelled():  # if it is, `release` will give this back
            waiter.granted.set_result(None)

    # For downloads: memory that is nice to have.

    def try_take(self, count: int) -> mmap.mmap | None:
        """Return `count` bytes for reading ahead; half of the budget is kept for uploads."""
        if self._waiting or self.used + count > self.total // 2:
            return None
        self.used += count
        memory, _ = self._warm.take(count, count)
        self._cool_down()
        return memory

    def give_back(self, memory: mmap.mmap) -> None:
        """Take back what `try_take` has given."""
        self.used -= len(memory)
        self.keep(memory, len(memory))
        self._serve_waiters()

    # The memory itself.

    def memory(self, buffer: PartBuffer, size: int) -> mmap.mmap:
        """Return memory of `size` bytes; all that is resident of it is granted to `buffer`."""
        unused = 0 if self._waiting else self._unused(self.reserve)
        memory, resident = self._warm.take(size, buffer.granted + unused)
        extra = max(0, resident - buffer.granted)
        self.used += extra
        buffer.granted += extra
        return memory

    def keep(self, memory: mmap.mmap, resident: int) -> None:
        """Keep memory for the next upload, as long as nobody needs the room."""
        self._warm.keep(memory, resident)
        self._cool_down()

    def recycle(self, buffer: PartBuffer, memory: mmap.mmap | None) -> None:
        """Take back what a buffer was granted, and its memory unless somebody may still read it."""
        self.used -= buffer.granted
        self._finishing -= buffer.finishing
        if memory is not None:
            self.keep(memory, buffer.granted)
        self._serve_waiters()

    def _cool_down(self) -> None:
        """Unmap warm memory until what is used has room beside it, and half of the reserve."""
        self._warm.cool_down(max(self.total - self.reserve // 2 - self.used, 0))
