"""The record of the requests that the store has served, for tests that hold request budgets.

Owns the bounded log and its questions. Knows nothing of HTTP or storage.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["RequestLog", "RequestRecord"]


@dataclass(slots=True)
class RequestRecord:
    """One request, from its head to the last byte of its answer.

    `started` and `ended` are `time.monotonic()` seconds; while the request is in flight `ended`
    is None and `status` 0. A finished request with status 0 got no complete answer: the
    connection was cut, or the client went away.
    """

    operation: str
    bucket: str
    key: str
    method: str
    started: float
    ended: float | None = None
    status: int = 0


class RequestLog:
    """The last requests in order of arrival; to be used on the store's event loop only.

    Requests that name no bucket of the store, or nothing that it does, are not in it.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=limit)
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(tuple(self._records))

    def clear(self) -> None:
        """Forget all records."""
        self._records.clear()

    def select(self, operation: str = "", key: str | None = None) -> list[RequestRecord]:
        """Return the records of an operation ("" for any) and key (None for any), oldest first."""
        return [
            record
            for record in self._records
            if operation in ("", record.operation) and key in (None, record.key)
        ]

    def count(self, operation: str = "", key: str | None = None) -> int:
        """Return how many requests `select` would return."""
        return len(self.select(operation, key))

    def operations(self) -> Counter[str]:
        """Return how often each operation was asked for."""
        return Counter(record.operation for record in self._records)

    def round_trips(self) -> int:
        """Return the length of the longest chain of requests each begun after the last had ended.

        That is the number of round trips on the critical path, however many ran beside it.
        """
        chain = 0
        end = float("-inf")
        finished = ((r.ended, r.started) for r in self._records if r.ended is not None)
        for ended, started in sorted(finished):
            if started >= end:
                chain += 1
                end = ended
        return chain

    async def wait_for(
        self, operation: str = "", key: str | None = None, *, count: int = 1, ended: bool = False
    ) -> None:
        """Return once `count` such requests are in the log, begun or (`ended`) finished.

        Wrap it in `asyncio.timeout` where the request may never come.
        """

        def reached() -> bool:
            found = self.select(operation, key)
            return sum(not ended or record.ended is not None for record in found) >= count

        if reached():
            return
        waiter = (reached, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter[1]
        finally:
            self._waiters.remove(waiter)

    def begin(self, operation: str, bucket: str, key: str, method: str) -> RequestRecord:
        """Record a request that has arrived."""
        record = RequestRecord(operation, bucket, key, method, time.monotonic())
        self._records.append(record)
        self._wake()
        return record

    def end(self, record: RequestRecord, status: int) -> None:
        """Record that a request is over."""
        record.ended = time.monotonic()
        record.status = status
        self._wake()

    def _wake(self) -> None:
        for reached, future in self._waiters:
            if not future.done() and reached():
                future.set_result(None)
