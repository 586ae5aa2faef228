"""What clients do, and what they notice of it: time only. Costs are measured by somebody else."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.load.session import Account, FtpSession, RawSession, Session, SessionError
from bench.store.objects import sized_name

__all__ = ["Order", "Outcome", "Runner"]

_SAMPLE_S = 0.25


@dataclass(frozen=True, slots=True)
class Order:
    """A piece of work. `kind` is store, retrieve, list, login or idle."""

    kind: str
    sessions: int = 1
    count: int = 1
    """Operations of each session."""
    size: int = 0
    """Bytes of a file; of a list its number of entries."""
    warm_up: int = 1
    """Operations of each session that come before and do not count."""
    label: str = ""
    """What the names of stored files begin with, so that no two works meet."""
    watch: bool = False
    """Whether to note how long any upload was without progress."""
    limit_s: float = 120.0
    """After so long the work counts as failed."""


@dataclass(slots=True)
class Outcome:
    """What it took. Latencies are in seconds, of single operations from the first command on."""

    wall_s: float = 0.0
    operations: int = 0
    bytes: int = 0
    latencies_s: list[float] = field(default_factory=list)
    first_byte_s: list[float] = field(default_factory=list)
    longest_stall_s: float = 0.0
    failure: str = ""
    """Why the work was not finished, "" if it was."""

    def to_json(self) -> dict[str, Any]:
        """Return it with the median and the maximum of latencies in place of them all."""
        values = asdict(self)
        for name in ("latencies_s", "first_byte_s"):
            samples = sorted(values.pop(name)) or [0.0]
            values[f"{name}_median"] = samples[len(samples) // 2]
            values[f"{name}_max"] = samples[-1]
        return values


class Runner:
    """The sessions of one order."""

    def __init__(self, account: Account, order: Order) -> None:
        self._account = account
        self._order = order
        self._outcome = Outcome()
        self._sessions: Sequence[Session] = ()

    async def prepare(self) -> None:
        """Log all sessions in, and let them do the operations that do not count.

        Raises TimeoutError when that takes longer than the work may.
        """
        async with asyncio.timeout(self._order.limit_s):
            await self._prepare()

    async def _prepare(self) -> None:
        order = self._order
        if order.kind == "idle":
            return
        if order.kind != "login":
            make = FtpSession if self._account.user else RawSession
            self._sessions = [make(self._account) for _ in range(order.sessions)]
            for start in range(0, order.sessions, 50):  # listen queues are short
                some = self._sessions[start : start + 50]
                await asyncio.gather(*(session.open() for session in some))
        await self._all(order.warm_up, "w")
        self._outcome = Outcome()

    async def run(self) -> Outcome:
        """Do what counts."""
        watcher = asyncio.create_task(self._watch()) if self._order.watch else None
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(self._order.limit_s):
                if self._order.kind == "idle":
                    await self._open_idle()
                else:
                    await self._all(self._order.count, "m")
        except TimeoutError:
            done, limit = self._outcome.operations, self._order.limit_s
            self._outcome.failure = f"not finished in {limit:.0f} s; operations done: {done}"
        except (SessionError, OSError) as error:
            self._outcome.failure = f"{type(error).__name__}: {error}"
        self._outcome.wall_s = time.perf_counter() - begin
        if watcher is not None:
            watcher.cancel()
        return self._outcome

    def close(self) -> None:
        """Hang up."""
        for session in self._sessions:
            session.close()

    async def _open_idle(self) -> None:
        sessions = [FtpSession(self._account) for _ in range(self._order.sessions)]
        self._sessions = sessions
        for start in range(0, len(sessions), 50):
            await asyncio.gather(*(session.open() for session in sessions[start : start + 50]))
        self._outcome.operations = len(sessions)

    async def _all(self, count: int, phase: str) -> None:
        await asyncio.gather(
            *(self._one(number, count, phase) for number in range(self._order.sessions))
        )

    async def _one(self, number: int, count: int, phase: str) -> None:
        for index in range(count):
            name = f"{self._order.label}-{phase}-{number}-{index}"
            begin = time.perf_counter()
            moved = await self._do(number, name)  # not +=, which would read the sum before
            self._outcome.bytes += moved
            self._outcome.latencies_s.append(time.perf_counter() - begin)
            self._outcome.operations += 1

    async def _do(self, number: int, name: str) -> int:
        size = self._order.size
        match self._order.kind:
            case "store":
                await self._sessions[number].store(name, size)
                return size
            case "retrieve":
                await self._sessions[number].retrieve(sized_name(size, number), size)
                return size
            case "list":
                begin = asyncio.get_running_loop().time()
                receiver = await self._sessions[number].list(f"/list-{size}")
                assert receiver.first_at is not None
                self._outcome.first_byte_s.append(receiver.first_at - begin)
                return receiver.received
            case _:
                await FtpSession(self._account).log_in_and_out()
                return 0

    async def _watch(self) -> None:
        """Note the longest time in which one upload could send nothing."""
        moved: dict[int, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(_SAMPLE_S)
            now = time.perf_counter()
            for number, session in enumerate(self._sessions):
                sending = session.sending
                sent = (sending.sent - sending.transport.get_write_buffer_size()) if sending else -1
                before, since = moved.get(number, (-1, now))
                if sent != before or sent == self._order.size:
                    moved[number] = (sent, now)
                else:
                    stall = now - since
                    self._outcome.longest_stall_s = max(self._outcome.longest_stall_s, stall)
