"""The memory budget: never exceeded, shared fairly, never a circle of waiters."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pickle import PickleBuffer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cos_ftp_server.vfs.buffers import GRANULE, BufferPool, PartBuffer
from tests.doubles.clock import Clock

MIB = 1024**2


async def fill(buffer: PartBuffer, count: int) -> None:
    """Receive `count` bytes as a data connection does."""
    while count:
        if not buffer.window():
            await buffer.grow()
        step = min(count, len(buffer.window()))
        buffer.filled += step
        count -= step


def fill_now(buffer: PartBuffer) -> None:
    """Receive as much as may be without waiting."""
    while not buffer.is_full and buffer.grow_now():
        buffer.filled = buffer.granted


async def test_a_small_upload_costs_one_granule() -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    buffer = PartBuffer(pool, 8 * MIB)
    await fill(buffer, 4096)
    assert pool.used == GRANULE
    buffer.release(reusable=True)
    assert pool.used == 0


async def test_contents_survive_the_move_to_larger_memory() -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    buffer = PartBuffer(pool, 4 * MIB)
    expected = random.Random(1).randbytes(4 * MIB)
    sent = 0
    while sent < len(expected):
        if not buffer.window():
            await buffer.grow()
        window = buffer.window()
        count = min(len(window), 50_000, len(expected) - sent)
        window[:count] = expected[sent : sent + count]
        buffer.filled += count
        sent += count
    assert buffer.is_full
    assert buffer.contents() == expected
    buffer.release(reusable=True)


async def test_warm_memory_is_used_again_and_stays_inside_the_budget() -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    for _ in range(5):
        buffers = [PartBuffer(pool, 4 * MIB) for _ in range(3)]
        for buffer in buffers:
            await fill(buffer, 4 * MIB)
        for buffer in buffers:
            buffer.release(reusable=True)
    again = PartBuffer(pool, 4 * MIB)
    await again.grow()
    await fill(again, GRANULE)
    await again.grow()
    assert again.granted == 4 * MIB  # resident already, so all of it is granted at once
    again.release(reusable=True)
    assert pool.used == 0


async def test_many_slow_uploads_all_finish_a_part_in_a_tight_budget() -> None:
    """100 uploads, each needing 1 MiB before it can let go, in 16 MiB."""
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    peak = 0

    async def upload(seed: int) -> None:
        nonlocal peak
        chance = random.Random(seed)
        buffer = PartBuffer(pool, 8 * MIB, needed=MIB)
        while buffer.filled < MIB:
            await fill(buffer, min(chance.randrange(1, GRANULE), MIB - buffer.filled))
            peak = max(peak, pool.used)
            await asyncio.sleep(0)
        buffer.release(reusable=False)

    async with asyncio.timeout(30):
        await asyncio.gather(*(upload(seed) for seed in range(100)))
    assert peak <= pool.total
    assert pool.used == 0


async def test_parts_that_must_be_whole_are_finished_too() -> None:
    """100 uploads whose parts may not be cut short, the largest that the budget allows."""
    pool = BufferPool(16 * MIB, smallest_part=MIB)

    async def upload(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(2):
            buffer = PartBuffer(pool, 2 * MIB)
            while not buffer.is_full:
                step = chance.randrange(1, GRANULE)
                await fill(buffer, min(step, buffer.capacity - buffer.filled))
                assert pool.used <= pool.total
                await asyncio.sleep(0)
            buffer.release(reusable=bool(seed % 2))

    async with asyncio.timeout(30):
        await asyncio.gather(*(upload(seed) for seed in range(100)))
    assert pool.used == 0


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    pool = BufferPool(4 * MIB, smallest_part=MIB)
    hog = PartBuffer(pool, 8 * MIB)
    fill_now(hog)
    holder = PartBuffer(pool, 8 * MIB)
    waiting = asyncio.create_task(fill(holder, 8 * MIB))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    holder.release(reusable=False)
    hog.release(reusable=False)
    assert pool.used == 0
    assert PartBuffer(pool, MIB).grow_now()


async def test_who_is_cancelled_while_being_granted_gives_it_back() -> None:
    pool = BufferPool(4 * MIB, smallest_part=MIB)
    hog = PartBuffer(pool, 8 * MIB)
    fill_now(hog)
    holder = PartBuffer(pool, 8 * MIB)
    waiting = asyncio.create_task(fill(holder, 8 * MIB))
    await asyncio.sleep(0)
    waiting.cancel()
    hog.release(reusable=True)  # serves the waiter, whose task has not noticed yet
    with pytest.raises(asyncio.CancelledError):
        await waiting
    holder.release(reusable=True)
    assert pool.used == 0


async def test_small_uploads_go_on_while_large_ones_hold_all_they_can_get() -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    hung_uploads = [PartBuffer(pool, 8 * MIB) for _ in range(4)]
    waiting = [asyncio.create_task(fill(buffer, 8 * MIB)) for buffer in hung_uploads]
    for _ in range(1000):  # turns enough for each to take all that it can get
        await asyncio.sleep(0)
    assert pool.is_pressed
    small = PartBuffer(pool, 8 * MIB)
    async with asyncio.timeout(5):
        await fill(small, 4096)
    assert pool.used <= pool.total
    small.release(reusable=True)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for buffer in hung_uploads:
        buffer.release(reusable=False)
    assert pool.used == 0


async def test_who_gives_up_lets_those_behind_go_on() -> None:
    """A swift client, who comes first, asks for more than there is, a slow one for less."""
    clock = Clock()
    pool = BufferPool(8 * MIB, smallest_part=MIB, clock=clock)
    hog, swift, slow = (PartBuffer(pool, 8 * MIB) for _ in range(3))
    for buffer in (swift, slow):
        await fill(buffer, GRANULE)
    fill_now(hog)
    first = asyncio.create_task(swift.grow())
    await asyncio.sleep(0)
    clock.now = 1000.0
    second = asyncio.create_task(slow.grow())
    await asyncio.sleep(0)
    assert not any(task.done() for task in (first, second))
    first.cancel()
    async with asyncio.timeout(5):
        await second
    for buffer in (hog, swift, slow):
        buffer.release(reusable=False)
    assert pool.used == 0


async def test_a_swift_client_waits_once_for_its_part() -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB, clock=Clock())
    hog = PartBuffer(pool, 16 * MIB)
    fill_now(hog)
    buffer = PartBuffer(pool, MIB)
    await fill(buffer, GRANULE)
    await buffer.grow()
    assert buffer.granted == MIB
    for each in (hog, buffer):
        each.release(reusable=False)
    assert pool.used == 0


async def test_a_slow_client_holds_a_granule_more_than_it_has_sent_at_most() -> None:
    clock = Clock()
    pool = BufferPool(16 * MIB, smallest_part=MIB, clock=clock)
    others = [PartBuffer(pool, size * MIB) for size in (8, 2)]
    for other in others:
        fill_now(other)
    assert pool.is_pressed
    buffer = PartBuffer(pool, MIB)
    while not buffer.is_full:
        await fill(buffer, min(GRANULE // 2, MIB - buffer.filled))
        assert buffer.granted <= buffer.filled + GRANULE
        clock.now += 1.0
    for each in (*others, buffer):
        each.release(reusable=False)
    assert pool.used == 0


async def test_a_waiter_is_granted_memory_that_is_warm() -> None:
    """What the one before has left in it shows that no page was fetched anew."""
    pool = BufferPool(4 * MIB, smallest_part=MIB)
    before, after = PartBuffer(pool, 2 * MIB), PartBuffer(pool, 2 * MIB)
    await fill(before, 2 * MIB)
    before.contents()[-5:] = b"trace"
    await fill(after, GRANULE)
    waiting = asyncio.create_task(after.grow())
    await asyncio.sleep(0)
    assert not waiting.done()
    before.release(reusable=True)
    await waiting
    assert bytes(after.window()[-5:]) == b"trace"
    after.release(reusable=False)
    assert pool.used == 0


def test_parts_are_smaller_the_less_is_free() -> None:
    pool = BufferPool(64 * MIB, smallest_part=MIB)
    assert pool.size_of_part(8 * MIB) == 8 * MIB
    sizes, buffers = [], []
    for _ in range(40):
        sizes.append(pool.size_of_part(8 * MIB))
        buffers.append(PartBuffer(pool, sizes[-1]))
        fill_now(buffers[-1])
    assert sizes == sorted(sizes, reverse=True)
    assert set(sizes) == {8 * MIB, 4 * MIB, 2 * MIB, MIB}
    assert pool.size_of_part(3 * MIB + 1) == 3 * MIB // 2
    for buffer in buffers:
        buffer.release(reusable=True)


def test_no_part_is_smaller_than_the_store_accepts() -> None:
    pool = BufferPool(8 * MIB, smallest_part=MIB)
    assert [pool.size_of_part(size) for size in (1000, MIB, 2 * MIB - 1)] == [
        1000,
        MIB,
        2 * MIB - 1,
    ]


@dataclass
class Crowd:
    """Uploads that share a pool and slots, by the rules of `vfs.upload`, with no store or socket.

    Those that `may_end_early` may send a part of 1 MiB, others must have all that they planned.
    """

    pool: BufferPool
    slots: asyncio.Semaphore
    turns: Counter[int] = field(default_factory=Counter)
    """Parts that each upload has sent."""
    behind: int = 0
    """The most parts that one upload ever was behind another that had as much to send."""

    async def upload(self, name: int, parts: int, planned: int, chance: random.Random) -> None:
        may_end_early = chance.random() < 0.8
        self.turns[name] = 0
        async with asyncio.TaskGroup() as sending:
            for _ in range(parts):
                buffer = self._open(planned, may_end_early=may_end_early)
                await self._receive(buffer, chance)
                self.turns[name] += 1
                self.behind = max(self.behind, self.turns[name] - min(self.turns.values()))
                sending.create_task(self._send(buffer, chance))
        del self.turns[name]

    def _open(self, planned: int, *, may_end_early: bool) -> PartBuffer:
        if not may_end_early:
            return PartBuffer(self.pool, planned)
        return PartBuffer(self.pool, self.pool.size_of_part(planned), needed=MIB)

    async def _receive(self, buffer: PartBuffer, chance: random.Random) -> None:
        pause = chance.choice((0, 0, 1, 5))
        while not buffer.is_full:
            if not buffer.window() and not buffer.grow_now():
                if self.pool.is_pressed and buffer.needed <= buffer.filled:
                    return
                await buffer.grow()
            buffer.filled += min(chance.randrange(1, MIB), len(buffer.window()))
            assert buffer.filled <= buffer.granted <= buffer.capacity
            assert self.pool.used <= self.pool.total
            for _ in range(pause):
                await asyncio.sleep(0)

    async def _send(self, buffer: PartBuffer, chance: random.Random) -> None:
        async with self.slots:
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
        buffer.release(reusable=chance.random() < 0.9)


@settings(max_examples=40, deadline=None)
@given(
    total=st.sampled_from([4, 8, 16, 64]),
    uploads=st.integers(1, 80),
    slots=st.integers(1, 16),
    seed=st.integers(0, 1000),
)
def test_no_crowd_waits_in_a_circle(total: int, uploads: int, slots: int, seed: int) -> None:
    """Whatever the number of uploads, what they planned, and who may end parts early."""
    pool = BufferPool(total * MIB, smallest_part=MIB)

    async def run() -> None:
        crowd = Crowd(pool, asyncio.Semaphore(slots))
        chances = [random.Random(seed + name) for name in range(uploads)]
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for name, chance in enumerate(chances):
                planned = chance.randint(MIB, pool.reserve // 2)
                group.create_task(crowd.upload(name, 3, planned, chance))

    asyncio.run(run())
    assert pool.used == 0


async def test_everybody_in_a_crowd_gets_on() -> None:
    """200 uploads, in memory for fewer than 16 of their parts, take turns."""
    crowd = Crowd(BufferPool(16 * MIB, smallest_part=MIB), asyncio.Semaphore(4))
    async with asyncio.timeout(30):
        await asyncio.gather(*(crowd.upload(name, 6, MIB, random.Random(0)) for name in range(200)))
    assert crowd.behind <= 2
    assert crowd.pool.used == 0


def test_reading_ahead_leaves_half_to_uploads() -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    taken = pool.try_take(8 * MIB)
    assert taken is not None
    assert pool.try_take(1) is None
    pool.give_back(taken)
    assert pool.used == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3 * MIB)), max_size=60))
def test_the_budget_holds_whatever_happens(steps: list[tuple[int, int]]) -> None:
    pool = BufferPool(8 * MIB, smallest_part=MIB)
    buffers: dict[int, PartBuffer] = {}
    for index, count in steps:
        buffer = buffers.setdefault(index, PartBuffer(pool, 4 * MIB))
        while count and not buffer.is_full and (buffer.window() or buffer.grow_now()):
            step = min(count, len(buffer.window()))
            buffer.filled += step
            count -= step
        assert 0 <= pool.used <= pool.total
        if count:
            buffers.pop(index).release(reusable=count % 2 == 0)
    for buffer in buffers.values():
        buffer.release(reusable=True)
    assert pool.used == 0


async def test_memory_that_a_thread_reads_is_given_back_nevertheless() -> None:
    """As by the MD5 of a body whose upload is given up; the memory goes when the thread is done."""
    pool = BufferPool(64 * MIB, smallest_part=MIB)
    buffer = PartBuffer(pool, MIB)
    assert buffer.grow_now()
    buffer.filled = 8
    lent = buffer.contents()
    reading = PickleBuffer(lent)
    buffer.release(reusable=False)
    assert pool.used == 0
    assert len(lent) == 8
    reading.release()
