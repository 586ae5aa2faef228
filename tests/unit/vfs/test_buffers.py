"""The memory budget: never exceeded, shared fairly, never a circle of waiters."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cos_ftp_server.vfs.buffers import GRANULE, BufferPool, PartBuffer

MIB = 1024**2


async def fill(buffer: PartBuffer, count: int) -> None:
    """Receive `count` bytes as a data connection does."""
    while count:
        if not buffer.window():
            await buffer.grow()
        step = min(count, len(buffer.window()))
        buffer.filled += step
        count -= step


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
    while hog.grow_now():
        hog.filled = hog.granted
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
