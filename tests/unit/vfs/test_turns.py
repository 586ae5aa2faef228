"""One at a time for each key, in order, whoever gives up meanwhile."""

import asyncio

import pytest

from cos_ftp_server.vfs.turns import Turns


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
