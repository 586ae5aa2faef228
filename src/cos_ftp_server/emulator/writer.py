"""The one thread that changes the index; changes that wait together share a transaction.

Owns transactions and the thread. A caller's future is done only after the commit of its change.
Knows nothing of what the changes are.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.index import Index

__all__ = ["IndexWriter"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# Enough to share the cost of a commit; few enough that the first of them does not wait long.
_GROUP = 64


@dataclass(slots=True)
class _Job:
    """A change; `blob` is the content it brings, garbage if the change is refused."""

    change: Callable[[Index], Any]
    blob: int | None
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None

    def resolve(self) -> None:
        """Tell the caller; runs on the event loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class IndexWriter:
    """Runs changes in the order in which they were submitted, from the event loop it is made on."""

    def __init__(self, index: Index, discard: Callable[[list[int]], None]) -> None:
        self._index = index
        self._discard = discard
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="emulator-writer", daemon=True)
        self._thread.start()

    async def submit(self, change: Callable[[Index], T], *, blob: int | None = None) -> T:
        """Run a change of the index and return its result once it is committed.

        `blob` passes to the change: it is removed if the change is refused. A caller that is
        cancelled while it waits does not know whether the change took place.

        Raises:
            CosError: the change was refused.
            sqlite3.Error, OSError: the group of changes that this one was in has failed.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(change, blob, future))
        return await future

    async def aclose(self) -> None:
        """Carry out what was submitted, then end the thread and close the connection."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            group = [first]
            ending = False
            while len(group) < _GROUP and not ending:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    ending = True
                else:
                    group.append(job)
            self._run_group(group)
            if ending:
                break
        self._index.connection.close()

    def _run_group(self, group: list[_Job]) -> None:
        index = self._index
        try:
            index.connection.execute("BEGIN IMMEDIATE")
            for job in group:
                try:
                    job.result = job.change(index)
                except CosError as error:
                    job.error = error
                    if job.blob is not None:
                        index.garbage.append(job.blob)
            index.connection.execute("COMMIT")
        except Exception as error:
            # The root of the thread: nothing of the group took place, and all of it is told so.
            # Its blobs stay behind, unnamed, until the next start.
            log.exception("a group of %d changes failed", len(group))
            index.garbage.clear()
            if index.connection.in_transaction:
                index.connection.rollback()
            for job in group:
                job.error = error
        garbage, index.garbage = index.garbage, []
        self._loop.call_soon_threadsafe(_resolve, group)
        if garbage:
            self._discard(garbage)


def _resolve(group: list[_Job]) -> None:
    for job in group:
        job.resolve()
