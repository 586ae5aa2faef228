"""Several requests at once, none of which outlives the question that it was asked for."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar, overload

from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["all_ended", "dismiss", "first_success", "for_each", "ready", "together"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_First = TypeVar("_First")
_Second = TypeVar("_Second")


@overload
async def together(
    first: Coroutine[Any, Any, _First], second: Coroutine[Any, Any, _Second], /
) -> tuple[_First, _Second]: ...
@overload
async def together(*questions: Coroutine[Any, Any, _Result]) -> tuple[_Result, ...]: ...
async def together(*questions: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Return all results in order; the first error cancels the rest and is raised."""
    tasks = [asyncio.create_task(question) for question in questions]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        await dismiss(*tasks)


async def first_success(*attempts: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the first result, cancelling the rest; if none, raise what tells most.

    NOT_FOUND is only believed when nothing worse was heard.
    """
    tasks = [asyncio.create_task(attempt) for attempt in attempts]
    worst: StorageError | None = None
    try:
        for ended in asyncio.as_completed(tasks):
            try:
                return await ended
            except StorageError as error:
                if worst is None or worst.kind is ErrorKind.NOT_FOUND:
                    worst = error
    finally:
        await dismiss(*tasks)
    if worst is None:
        raise ValueError("nothing to attempt")
    raise worst


async def for_each(
    work: Callable[[_Item], Coroutine[Any, Any, None]],
    items: Collection[_Item],
    *,
    at_once: int,
    settle_s: float,
) -> None:
    """Run `work` for all items, some `at_once`. After the first error none is begun any more.

    Then, and when cancelled, what is under way gets `settle_s` seconds to end by itself, so that
    it is known what has happened, before it is cancelled and the error raised.
    """
    queue = deque(items)

    async def serve() -> None:
        while queue:
            await work(queue.popleft())

    tasks = [asyncio.create_task(serve()) for _ in range(min(at_once, len(queue)))]
    if not tasks:
        return
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()
    finally:
        queue.clear()
        try:
            await asyncio.wait(tasks, timeout=settle_s)
        finally:
            await dismiss(*tasks)


def ready(result: _Result) -> asyncio.Future[_Result]:
    """Return a future that has ended with `result`, where another one would still be awaited."""
    future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


async def all_ended(*futures: asyncio.Future[Any]) -> None:
    """Return when all of these have ended, in whatever way."""
    for future in futures:
        if not future.done():
            await _ended(future)


async def _ended(future: asyncio.Future[Any]) -> None:
    """Return when this has ended. `asyncio.wait` would do, at twice the price."""
    ended = future.get_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        if not ended.done():
            ended.set_result(None)

    future.add_done_callback(wake)
    try:
        await ended
    finally:
        future.remove_done_callback(wake)


async def dismiss(*futures: asyncio.Future[Any]) -> None:
    """End what nobody wants the results of; return when it has ended."""
    for future in futures:
        future.cancel()
    await all_ended(*futures)
    for future in futures:
        if not future.cancelled():
            future.exception()  # it has been seen
