"""One at a time for each key, in order, whoever gives up meanwhile."""

import asyncio

import pytest

from cos_ftp_server.vfs.turns import Turns
from tests.doubles.loop_clock import LoopClock


async def take_in_order(turns: Turns, order: list[str], name: str) -> None:
    async with turns.turn("k"):
        order.append(name)


async def begun(turns: Turns, order: list[str], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(take_in_order(turns, order, name))
    await asyncio.sleep(0)
    return task


async def test_those_who_wait_are_served_in_order() -> None:
    turns = Turns()
    order: list[str] = []
    await turns.take("k")
    tasks = [await begun(turns, order, name) for name in "abc"]
    assert order == []
    turns.give_back("k")
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c"]
    assert not turns.is_taken("k")


async def test_keys_have_nothing_to_do_with_each_other() -> None:
    turns = Turns()
    await turns.take("a")
    await turns.take("b")
    turns.give_back("a")
    assert turns.is_taken("b")
    assert not turns.is_taken("a")


async def test_nobody_overtakes_who_was_just_given_the_turn() -> None:
    turns = Turns()
    order: list[str] = []
    await turns.take("k")
    first = await begun(turns, order, "first")
    turns.give_back("k")
    assert turns.is_taken("k")
    await take_in_order(turns, order, "second")
    await first
    assert order == ["first", "second"]


@pytest.mark.parametrize("is_given", [False, True])
async def test_who_is_cancelled_holds_up_nobody(is_given: bool) -> None:
    turns = Turns()
    order: list[str] = []
    await turns.take("k")
    cancelled = await begun(turns, order, "cancelled")
    patient = await begun(turns, order, "patient")
    if is_given:
        turns.give_back("k")
        cancelled.cancel()
    else:
        cancelled.cancel()
        turns.give_back("k")
    await patient
    assert order == ["patient"]
    assert cancelled.cancelled()
    assert not turns.is_taken("k")


async def test_who_was_cancelled_while_waiting_is_forgotten() -> None:
    turns = Turns()
    order: list[str] = []
    await turns.take("k")
    cancelled = await begun(turns, order, "cancelled")
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    turns.give_back("k")
    assert not turns.is_taken("k")


# A turn that lasts


async def test_the_next_one_waits_until_nothing_can_come_late(clock: LoopClock) -> None:
    turns = Turns(late_s=10.0)
    order: list[str] = []
    await turns.take("k")
    turns.make_last("k")
    later = await begun(turns, order, "later")
    turns.give_back("k")
    await clock.advance(9)
    assert order == []
    await clock.advance(2)
    await later
    assert order == ["later"]
    assert not turns.is_taken("k")


async def test_a_turn_that_lasts_is_nobodys(clock: LoopClock) -> None:
    turns = Turns(late_s=10.0)
    await turns.take("k")
    turns.make_last("k")
    turns.give_back("k")
    assert not turns.is_taken("k")
    settled = asyncio.create_task(turns.settled(("other", "k")))
    await asyncio.sleep(0)
    assert turns.is_taken("k")
    assert not settled.done()
    await clock.advance(11)
    await settled
    assert not turns.is_taken("k")


async def test_a_turn_that_lasts_is_not_taken_by_who_has_given_up_waiting(
    clock: LoopClock,
) -> None:
    turns = Turns(late_s=10.0)
    await let_last(turns, "k")
    waiting = asyncio.create_task(turns.take("k"))
    await asyncio.sleep(0)
    assert turns.is_taken("k")
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert not turns.is_taken("k")
    await clock.advance(11)


async def test_what_is_settled_does_not_wait_for_who_is_busy() -> None:
    turns = Turns(late_s=10.0)
    await turns.take("k")
    await turns.settled(("k",))
    assert turns.is_taken("k")
    turns.give_back("k")


async def test_a_turn_that_lasts_no_longer_than_its_holder_is_over_with_him(
    clock: LoopClock,
) -> None:
    turns = Turns(late_s=10.0)
    await turns.take("k")
    turns.make_last("k")
    await clock.advance(11)
    turns.give_back("k")
    await turns.take("k")
    turns.give_back("k")
    assert not turns.is_taken("k")


async def test_a_key_that_nobody_has_is_free_at_once() -> None:
    turns = Turns(late_s=10.0)
    turns.make_last("k")
    await turns.take("k")
    turns.give_back("k")
    assert not turns.is_taken("k")


async def test_who_want_several_do_not_wait_for_each_other(clock: LoopClock) -> None:
    turns = Turns(late_s=10.0)
    await let_last(turns, "a")
    await clock.advance(5)
    await let_last(turns, "d")

    async def have(*keys: str) -> None:
        async with turns.several(keys):
            pass

    both = asyncio.gather(have("a", "b", "c"), have("c", "d", "b"))
    await clock.advance(20)
    async with asyncio.timeout(10):
        await both
    assert not any(map(turns.is_taken, "abcd"))


async def let_last(turns: Turns, key: str) -> None:
    async with turns.turn(key):
        turns.make_last(key)
