"""The one budget of memory that all transfers of a server share.

An upload receives into a `PartBuffer`, and that same memory is the request body. A buffer
reserves a part's worth of addresses but is granted, and touches, memory only as data
arrives, so that a small upload costs 64 KiB however large a part may become.

When the budget is used up, whoever asks waits, its socket stays unread and TCP holds the
client back. A reserve is kept for finishers: the few waiters that lack least are sure to get all
that their part needs to be sent, which sets their memory free again. So uploads never wait for
each other in a circle; only clients that stop sending can hold memory, and those are timed out
elsewhere.
"""

import asyncio
import mmap
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["GRANULE", "BufferPool", "PartBuffer"]

GRANULE = 64 * 1024
"""Bytes: the least that is granted at a time; also what a small upload costs."""

_LARGEST_GRANT = 1024 * 1024
"""Bytes. A buffer is granted as much again as it holds, up to this: few grants for a fast
client, and no more idle memory than filled memory for a slow one."""


@dataclass(slots=True, eq=False)
class _Waiter:
    buffer: "PartBuffer"
    count: int
    granted: asyncio.Future[None]


@dataclass(slots=True)
class _Entitlement:
    """Bytes of the reserve that are promised to a finisher, and what it has taken of them."""

    bytes: int
    taken: int = 0


class PartBuffer:
    """Memory for one part, at most `capacity` bytes. `release` it exactly once.

    `needed` is how many bytes it must have before it may be sent, by default all. It begins as a
    small buffer; what that holds is copied, once, when more is granted.
    """

    __slots__ = ("_memory", "_pool", "_touched", "capacity", "filled", "granted", "needed")

    def __init__(self, pool: "BufferPool", capacity: int, needed: int | None = None) -> None:
        self._pool = pool
        self._memory: bytearray | mmap.mmap | None = None
        self._touched = 0
        self.capacity = capacity
        self.needed = capacity if needed is None else min(needed, capacity)
        self.granted = 0
        self.filled = 0

    def window(self) -> memoryview:
        """Return the granted memory that is still free."""
        if self._memory is None:
            return memoryview(b"")
        return memoryview(self._memory)[self.filled : self.granted]

    def contents(self) -> memoryview:
        """Return what has been filled."""
        if self._memory is None:
            return memoryview(b"")
        return memoryview(self._memory)[: self.filled]

    @property
    def is_full(self) -> bool:
        """Whether the part has all the bytes that it can take."""
        return self.filled == self.capacity

    async def grow(self) -> None:
        """Return when the window has become larger. The buffer must not be full."""
        await self._pool.acquire(self, self._step())
        self._place()

    def grow_now(self) -> bool:
        """Enlarge the window if that needs no waiting; say whether it did."""
        if not self._pool.acquire_now(self, self._step()):
            return False
        self._place()
        return True

    def release(self, *, reusable: bool) -> None:
        """Give everything back. Not `reusable`: somebody may still be reading the memory."""
        memory, self._memory = self._memory, None
        self._pool.recycle(memory, self, reusable=reusable)
        self.granted = self.filled = 0

    def _step(self) -> int:
        wanted = min(max(GRANULE, self.granted), _LARGEST_GRANT)
        if self._pool.is_pressed:
            wanted = GRANULE
        return min(wanted, self.capacity - self.granted)

    def _place(self) -> None:
        """Make sure that the memory behind the granted bytes is there."""
        if self._memory is None and self.granted <= GRANULE:
            self._memory = self._pool.small()
        elif self._memory is None or self.granted > len(self._memory):
            small, filled = self._memory, self.contents()
            self._memory, self._touched = self._pool.large(self)
            self._memory[: self.filled] = filled
            self.granted = max(self.granted, self._touched)
            if isinstance(small, bytearray):
                self._pool.keep_small(small)

    @property
    def touched(self) -> int:
        """How many bytes of the memory are resident."""
        return max(self._touched, self.filled)


class BufferPool:
    """`total` bytes for all transfers, a quarter of them in reserve.

    Half of the reserve is for finishers, half for uploads that begin. No part may need more than
    the former; `smallest_part` is the least that the store accepts as one.
    """

    def __init__(self, total: int, *, smallest_part: int) -> None:
        self.total = total
        self.reserve = max(total // 4, 2 * smallest_part)
        if self.reserve > total // 2:
            raise ValueError(f"{total} bytes are too few for parts of {smallest_part} bytes")
        self.used = 0
        self._finishers: dict[PartBuffer, _Entitlement] = {}
        self._finishing = 0  # of `used`, what was granted to finishers as such
        self._warm: dict[int, list[tuple[mmap.mmap, int]]] = {}
        self._warm_bytes = 0
        self._small: list[bytearray] = []
        self._waiting: deque[_Waiter] = deque()

    @property
    def is_pressed(self) -> bool:
        """Whether somebody waits for memory, or soon will."""
        return bool(self._waiting) or self.used > (self.total - self.reserve) * 3 // 4

    # For uploads: memory that is waited for.

    def acquire_now(self, buffer: PartBuffer, count: int) -> bool:
        """Grant `count` bytes to `buffer` unless somebody must wait.

        A buffer's first bytes come before those who wait for more, and out of half of the
        reserve: small uploads go on while large ones wait for a store that hangs.
        """
        if buffer.granted == 0:
            if not self._is_free(count, self.reserve // 2):
                return False
        elif self._waiting or not self._is_free(count, self.reserve):
            return False
        self._grant(buffer, count)
        return True

    async def acquire(self, buffer: PartBuffer, count: int) -> None:
        """Grant `count` bytes to `buffer`, in order of asking, when there are that many."""
        if self.acquire_now(buffer, count):
            return
        waiter = _Waiter(buffer, min(count, GRANULE), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._serve_waiters()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            raise  # if it was granted just now, `release` gives that back too

    def _is_free(self, count: int, kept: int) -> bool:
        """Whether `count` bytes can be granted without touching the last `kept` ones."""
        return self.used - self._finishing + count <= self.total - kept

    def _grant(self, buffer: PartBuffer, count: int) -> None:
        self.used += count
        buffer.granted += count
        self._cool_down()

    def _serve_waiters(self) -> None:
        while self._waiting and self._is_free(self._waiting[0].count, self.reserve):
            self._serve(self._waiting[0])
        for waiter in [w for w in self._waiting if w.buffer in self._finishers]:
            self._serve_finisher(waiter)
        while finisher := self._next_finisher():
            self._finishers[finisher.buffer] = _Entitlement(_lacking(finisher.buffer))
            self._serve_finisher(finisher)

    def _next_finisher(self) -> _Waiter | None:
        """Return the waiter that lacks least, if all that it lacks can be promised to it."""
        promised = sum(entitlement.bytes for entitlement in self._finishers.values())
        left = self.reserve // 2 - promised
        if left < GRANULE:
            return None
        others = (waiter for waiter in self._waiting if waiter.buffer not in self._finishers)
        least = min(others, key=lambda waiter: _lacking(waiter.buffer), default=None)
        return least if least and _lacking(least.buffer) <= left else None

    def _serve_finisher(self, waiter: _Waiter) -> None:
        entitlement = self._finishers[waiter.buffer]
        if entitlement.taken + waiter.count <= entitlement.bytes:
            entitlement.taken += waiter.count
            self._finishing += waiter.count
            self._serve(waiter)

    def _serve(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        self._grant(waiter.buffer, waiter.count)
        waiter.granted.set_result(None)

    # For downloads: memory that is nice to have.

    def try_take(self, count: int) -> mmap.mmap | None:
        """Return `count` bytes for reading ahead; half of the budget is kept for uploads."""
        if self._waiting or self.used + count > self.total // 2:
            return None
        self.used += count
        memory = self._take_warm(count)
        self._cool_down()
        return memory or _map(count)

    def give_back(self, memory: mmap.mmap) -> None:
        """Take back what `try_take` has given."""
        self.used -= len(memory)
        self._keep_warm(memory, len(memory))
        self._serve_waiters()

    def _take_warm(self, capacity: int) -> mmap.mmap | None:
        stack = self._warm.get(capacity)
        if not stack:
            return None
        memory, touched = stack.pop()
        self._warm_bytes -= touched
        return memory

    def _keep_warm(self, memory: mmap.mmap, touched: int) -> None:
        self._warm.setdefault(len(memory), []).append((memory, touched))
        self._warm_bytes += touched
        self._cool_down()

    # The memory itself: pages once touched are worth keeping, a fresh page costs a fault.

    def small(self) -> bytearray:
        """Return a buffer of one granule."""
        return self._small.pop() if self._small else bytearray(GRANULE)

    def keep_small(self, memory: bytearray) -> None:
        """Keep a buffer of one granule for the next upload."""
        if (len(self._small) + 1) * GRANULE <= self.total // 16:
            self._small.append(memory)

    def large(self, buffer: PartBuffer) -> tuple[mmap.mmap, int]:
        """Return part-sized memory and how much of it is resident and hence already granted."""
        for index, (memory, touched) in enumerate(self._warm.get(buffer.capacity, ())):
            extra = max(0, touched - buffer.granted)
            if not self._waiting and self._is_free(extra, self.reserve):
                del self._warm[buffer.capacity][index]
                self._warm_bytes -= touched
                self.used += extra
                self._cool_down()
                return memory, touched
        return _map(buffer.capacity), 0

    def recycle(
        self, memory: bytearray | mmap.mmap | None, buffer: PartBuffer, *, reusable: bool
    ) -> None:
        """Take back what a buffer was granted, and its memory."""
        self.used -= buffer.granted
        if entitlement := self._finishers.pop(buffer, None):
            self._finishing -= entitlement.taken
        if reusable and isinstance(memory, bytearray):
            self.keep_small(memory)
        elif reusable and isinstance(memory, mmap.mmap):
            self._keep_warm(memory, buffer.touched)
        self._serve_waiters()

    def _cool_down(self) -> None:
        """Unmap warm memory until it fits into the budget beside what is used."""
        for capacity in self._capacities_by_size():
            stack = self._warm[capacity]
            while stack and self.used + self._warm_bytes > self.total:
                self._warm_bytes -= stack.pop(0)[1]
            if not stack:
                del self._warm[capacity]

    def _capacities_by_size(self) -> Iterator[int]:
        if self.used + self._warm_bytes > self.total:
            yield from sorted(self._warm, reverse=True)


def _map(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _lacking(buffer: PartBuffer) -> int:
    """Return what must still be granted until a part may be sent: whole granules, at least one."""
    granules = max(1, -(-(buffer.needed - buffer.granted) // GRANULE))
    return min(granules * GRANULE, buffer.capacity - buffer.granted)
