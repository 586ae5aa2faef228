"""Every way to break off an upload, of small files and large ones, new, replaced and appended to.

After each: what was there is unchanged, no multipart upload is open, no task, socket, passive port
or buffer is left, and the session, where it lives, can upload again.
"""

import asyncio
import gc
import itertools
import mmap
import random
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import ABORTS, RawClient, reset, until
from tests.gateway.bench import MAX_FILE, PART, Bench, run_bench

OLD = random.Random(1).randbytes(5 * PART // 2)
NEW = random.Random(2).randbytes(3 * PART + 1)

KINDS = {
    "new": (None, "STOR"),
    "replaced": (b"what was there", "STOR"),
    "appended": (OLD, "APPE"),
    "appended to a little": (b"what was there", "APPE"),
}
SIZES = {"one part": 1000, "several parts": len(NEW)}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_size = pytest.mark.parametrize("size", SIZES)


@dataclass
class Attempt:
    """An upload that is to break off, by a client that is logged in."""

    bench: Bench
    client: RawClient
    old: bytes | None
    verb: str
    content: bytes
    name: str = "file0"
    others: tuple[str, ...] = ()
    is_over: bool = False  # nothing has broken it off

    async def renew(self) -> None:
        """Go on under another name, of which the gateway has no memory."""
        self.others += (self.name,)
        self.name = f"file{len(self.others)}"
        await self.prepare()

    async def prepare(self) -> None:
        if self.old is not None:
            await self.bench.load(self.name, self.old)

    @property
    def whole(self) -> bytes:
        """What the file would be."""
        return (self.old or b"") * (self.verb == "APPE") + self.content

    @property
    def half(self) -> int:
        return len(self.content) // 2

    async def begin(self, count: int) -> asyncio.StreamWriter:
        """Send `count` bytes, and return when the server has them."""
        _, data = await self.client.open_data()
        await self.client.expect(f"{self.verb} {self.name}", 150)
        data.write(self.content[:count])
        await data.drain()
        while f": {count} bytes" not in (await self.client.expect("STAT", 211)).text:
            pass
        return data

    async def send_all(self) -> None:
        """Send all of it, as if nothing were to happen."""
        data = await self.begin(0)
        data.write(self.content)
        data.close()

    async def replies(self, *codes: int) -> None:
        assert [(await self.client.reply()).code for _ in codes] == list(codes)


Run = Callable[..., AbstractAsyncContextManager[Attempt]]


@pytest.fixture
def run(tmp_path: Path, no_leaks: None) -> Run:
    """Run a gateway of its own for one attempt; `options` are those of `run_bench`."""

    @asynccontextmanager
    async def attempt(kind: str, size: str, **options: Any) -> AsyncIterator[Attempt]:
        old, verb = KINDS[kind]
        bench_of_its_own = run_bench(tmp_path / "store", **options)
        async with bench_of_its_own as bench, bench.client() as client:
            await client.login()
            started = Attempt(bench, client, old, verb, NEW[: SIZES[size]])
            await started.prepare()
            yield started

    return attempt


async def check_aftermath(attempt: Attempt, *allowed: bytes | None) -> None:
    """Hold the store to what is `allowed` to be there, and the server to its work."""
    bench, name = attempt.bench, attempt.name
    assert await bench.open_uploads() == []
    found = await bench.content(name)
    assert found in allowed
    assert set(await bench.names()) == {*attempt.others, *([] if found is None else [name])}
    assert (await attempt.client.store(name, b"again")).code == 226
    assert await bench.content(name) == b"again"
    attempt.client.close_data()


# Where the session lives

Break = Callable[[Attempt], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Way:
    break_off: Break
    codes: tuple[int, ...]  # of the final replies
    options: Mapping[str, Any] = field(default_factory=dict)


def aborted(form: str, share: float) -> Way:
    async def abort(attempt: Attempt) -> None:
        data = await attempt.begin(int(share * len(attempt.content)))
        attempt.client.abort(form)
        data.close()

    return Way(abort, (426, 226))


async def abort_without_a_connection(attempt: Attempt) -> None:
    await attempt.client.passive_port()
    await attempt.client.expect(f"{attempt.verb} {attempt.name}", 150)
    attempt.client.send("ABOR")


async def abort_with_the_end(attempt: Attempt) -> None:
    data = await attempt.begin(len(attempt.content))
    attempt.client.send("ABOR")
    data.close()


def data_reset(share: float) -> Way:
    async def cut(attempt: Attempt) -> None:
        reset(await attempt.begin(int(share * len(attempt.content))))

    return Way(cut, (426,))


def stalled(share: float) -> Way:
    async def stall(attempt: Attempt) -> None:
        await attempt.begin(int(share * len(attempt.content)))

    return Way(stall, (426,), {"data_stall_timeout_seconds": 0.1})


async def never_connect(attempt: Attempt) -> None:
    await attempt.client.passive_port()
    await attempt.client.expect(f"{attempt.verb} {attempt.name}", 150)


async def send_less_than_announced(attempt: Attempt) -> None:
    await attempt.client.expect(f"ALLO {len(attempt.content) + 1}", 202)
    await attempt.send_all()


async def send_too_much(attempt: Attempt) -> None:
    attempt.content = bytes(MAX_FILE + 1)
    await attempt.send_all()


async def announce_too_much(attempt: Attempt) -> None:
    await attempt.client.expect(f"ALLO {MAX_FILE + 1}", 202)
    await attempt.client.passive_port()
    attempt.client.send(f"{attempt.verb} {attempt.name}")


WAYS = {
    **{f"ABOR, {form}": aborted(form, 0.5) for form in ABORTS},
    "ABOR before the data connection": Way(abort_without_a_connection, (426, 226)),
    "ABOR before data": aborted("plain", 0),
    "ABOR together with the end": Way(abort_with_the_end, (426, 226)),
    "data connection reset before data": data_reset(0),
    "data connection reset amid data": data_reset(0.5),
    "data connection reset after data": data_reset(1),
    "idle before data": stalled(0),
    "idle amid data": stalled(0.5),
    "no data connection": Way(never_connect, (425,), {"data_connect_timeout_seconds": 0.1}),
    "fewer bytes than announced": Way(send_less_than_announced, (426,)),
    "too large": Way(send_too_much, (552,)),
    "too large as announced": Way(announce_too_much, (552,)),
}


@pytest.mark.parametrize("way", WAYS)
@every_kind
@every_size
async def test_a_session_that_lives(run: Run, way: str, kind: str, size: str) -> None:
    async with run(kind, size, **WAYS[way].options) as attempt:
        before = attempt.bench.footprint()
        await WAYS[way].break_off(attempt)
        await attempt.replies(*WAYS[way].codes)
        attempt.client.close_data()
        await attempt.bench.returns_to(before)
        await check_aftermath(attempt, attempt.old)


# Where the control connection is lost


async def close_control(attempt: Attempt, share: float) -> None:
    """FIN on the control connection, while data may still come."""
    await attempt.begin(int(share * len(attempt.content)))
    attempt.client.writer.close()


async def reset_control(attempt: Attempt, share: float) -> None:
    await attempt.begin(int(share * len(attempt.content)))
    reset(attempt.client.writer)


async def close_both(attempt: Attempt, share: float) -> None:
    """What a client that is killed does, data connection first: it looks like the end of a file."""
    data = await attempt.begin(int(share * len(attempt.content)))
    data.close()
    attempt.client.writer.close()


async def reset_both(attempt: Attempt, share: float) -> None:
    data = await attempt.begin(int(share * len(attempt.content)))
    reset(data)
    reset(attempt.client.writer)


LOSSES = {loss.__name__: loss for loss in (close_control, reset_control, close_both, reset_both)}


@pytest.mark.parametrize("loss", LOSSES)
@every_kind
@every_size
async def test_a_client_that_is_gone(run: Run, loss: str, kind: str, size: str) -> None:
    async with run(kind, size) as attempt:
        bench, before = attempt.bench, attempt.bench.footprint()
        for share in (0, 0.5, 1):
            async with bench.client() as attempt.client:
                await attempt.client.login()
                await LOSSES[loss](attempt, share)
            await bench.returns_to(before)
            async with bench.client() as attempt.client:
                await attempt.client.login()
                await check_aftermath(attempt, attempt.old)
            await bench.returns_to(before)
            await attempt.renew()


@pytest.mark.parametrize("share", [0, 0.5])
@every_kind
@every_size
async def test_a_server_that_stops(run: Run, share: float, kind: str, size: str) -> None:
    async with run(kind, size) as attempt:
        back = attempt.bench.back
        await attempt.begin(int(share * len(attempt.content)))
        await back.stop()
        await attempt.replies(421)
        assert back.server.session_count == back.pool.used == 0
        await back.restart()
        async with attempt.bench.client() as attempt.client:
            await attempt.client.login()
            await check_aftermath(attempt, attempt.old)


# At every request that an upload makes

OPERATIONS = (
    "HeadObject",
    "GetObject",
    "ListObjects",
    "PutObject",
    "InitiateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
)
"""Those that an upload is made of, without what cleans up after it."""

MOST_REQUESTS = 12


def strike(bench: Bench, first: int, *, only: bool = False, **effect: Any) -> asyncio.Event:
    """Let request number `first` of an upload suffer `effect`, and unless `only` all that follow.

    Return an event that tells that it was made.
    """
    numbers = itertools.count(1)
    struck = asyncio.Event()

    def is_struck(_: str) -> bool:
        number = next(numbers)
        if number >= first:
            struck.set()
        return number == first if only else number >= first

    for operation in OPERATIONS:
        bench.emulator.faults.add(Fault(operation=operation, key=is_struck, **effect))
    return struck


TURNS = 200
"""Of the event loop, more than enough for what one end has sent to be noticed by the other."""


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def abort(attempt: Attempt) -> None:
    attempt.client.send("ABOR", "NOOP")


async def close(attempt: Attempt) -> None:
    attempt.client.writer.close()


async def cut(attempt: Attempt) -> None:
    reset(attempt.client.writer)


async def stop(attempt: Attempt) -> None:
    await attempt.bench.back.stop()
    await attempt.bench.back.restart()


BREAKS = {"ABOR": abort, "closed": close, "reset": cut, "stopped": stop}


async def hear(client: RawClient, codes: list[int]) -> None:
    """Collect the codes of all replies, until that to NOOP or the end."""
    try:
        while codes[-1:] != [200]:
            codes.append((await client.reply()).code)
    except (EOFError, ConnectionResetError):
        pass


async def break_at(attempt: Attempt, number: int, how: Break, *, is_late: bool) -> int | None:
    """Break an upload off while its request `number` hangs; return what is said of the upload.

    All data has been sent by then, since only that makes all requests come. `is_late`: the store
    has done what it was asked for, and has not said so.
    """
    client, gate, codes = attempt.client, asyncio.Event(), list[int]()
    struck = strike(attempt.bench, number, only=True, hold=gate, after_commit=is_late)
    _, data = await client.open_data()
    client.send(f"{attempt.verb} {attempt.name}")
    data.write(attempt.content)
    data.close()
    hearing = asyncio.create_task(hear(client, codes))
    await until(lambda: struck.is_set() or codes[-1:] == [226])
    breaking = asyncio.create_task(how(attempt) if struck.is_set() else abort(attempt))
    await turns()
    gate.set()
    await breaking
    await hearing
    attempt.bench.emulator.faults.clear()
    attempt.is_over = not struck.is_set()
    return next((code for code in codes if code >= 200), None)


def may_be_published(attempt: Attempt) -> bool:
    """Whether the store has been asked to replace the file: only what is there tells the rest.

    The first PUT of a STOR forbids that.
    """
    requests = attempt.bench.emulator.requests
    puts = requests.count("PutObject", attempt.name)
    completes = requests.count("CompleteMultipartUpload", attempt.name)
    return bool(completes) or puts > (attempt.verb == "STOR")


@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("how", BREAKS)
@every_kind
@every_size
async def test_a_break_at_every_request(
    run: Run, how: str, is_late: bool, kind: str, size: str
) -> None:
    async with run(kind, size) as attempt:
        bench, before = attempt.bench, attempt.bench.footprint()
        for number in range(1, MOST_REQUESTS):
            async with bench.client() as attempt.client:
                await attempt.client.login()
                code = await break_at(attempt, number, BREAKS[how], is_late=is_late)
            if how == "stopped":  # there is another server then; `no_leaks` looks at the first
                await turns()
                before = bench.footprint()
            await bench.returns_to(before)
            outcomes = {attempt.whole if code == 226 else attempt.old}
            if code in (None, 421) and may_be_published(attempt):
                outcomes.add(attempt.whole)
            async with bench.client() as attempt.client:
                await attempt.client.login()
                await check_aftermath(attempt, *outcomes)
            if attempt.is_over:
                break
            await bench.returns_to(before)
            await attempt.renew()
        assert attempt.is_over
        assert number > 1


EFFECTS: Mapping[str, Mapping[str, Any]] = {
    "refused": {"status": 403, "code": "AccessDenied"},
    "failing": {"status": 503, "code": "SlowDown"},
}


@pytest.mark.parametrize("effect", EFFECTS)
@every_kind
@every_size
async def test_a_store_that_fails_for_good_from_some_request_on(
    run: Run, effect: str, kind: str, size: str
) -> None:
    """Whichever it is: 226 is said if and only if the new file is there."""
    async with run(kind, size, retry=RetryPolicy(max_tries=1)) as attempt:
        bench, before = attempt.bench, attempt.bench.footprint()
        codes = []
        for first in range(1, MOST_REQUESTS):
            struck = strike(bench, first, **EFFECTS[effect])
            reply = await attempt.client.store(attempt.name, attempt.content, attempt.verb)
            bench.emulator.faults.clear()
            codes.append(reply.code)
            attempt.client.close_data()
            await bench.returns_to(before)
            await check_aftermath(attempt, attempt.whole if reply.code == 226 else attempt.old)
            if not struck.is_set():
                break
            await attempt.renew()
        assert codes[-1] == 226
        assert 450 in codes or 451 in codes or 550 in codes


# interrupted_upload = keep

KEPT = ("ABOR, lftp", "data connection reset amid data", "idle amid data")


async def resume(attempt: Attempt, how: str) -> None:
    """Send the rest, behind as many bytes as the server says that it has."""
    size = int((await attempt.client.expect(f"SIZE {attempt.name}", 213)).text.split()[1])
    assert size == len(attempt.whole) - len(attempt.content) + attempt.half
    if how == "STOR":
        await attempt.client.expect(f"REST {size}", 350)
    rest = attempt.content[attempt.half :]
    assert (await attempt.client.store(attempt.name, rest, how)).code == 226
    assert await attempt.bench.content(attempt.name) == attempt.whole
    assert await attempt.bench.open_uploads() == []
    attempt.client.close_data()


@pytest.mark.parametrize("way", KEPT)
@every_kind
@every_size
async def test_kept_by_a_session_that_lives(run: Run, way: str, kind: str, size: str) -> None:
    async with run(kind, size, keep_interrupted=True, **WAYS[way].options) as attempt:
        before = attempt.bench.footprint()
        await WAYS[way].break_off(attempt)
        reply = await attempt.client.reply()
        assert reply.code == 426
        arrived = len(attempt.whole) - len(attempt.content) + attempt.half
        assert reply.text.endswith(f" {arrived} bytes are stored.")
        await attempt.replies(*WAYS[way].codes[1:])
        attempt.client.close_data()
        await attempt.bench.returns_to(before)
        assert await attempt.bench.content(attempt.name) == attempt.whole[:arrived]
        await resume(attempt, "APPE")
        await attempt.bench.returns_to(before)


@pytest.mark.parametrize("loss", LOSSES)
@every_kind
@every_size
async def test_kept_when_the_client_is_gone(run: Run, loss: str, kind: str, size: str) -> None:
    async with run(kind, size, keep_interrupted=True) as attempt:
        bench, before = attempt.bench, attempt.bench.footprint()
        async with bench.client() as attempt.client:
            await attempt.client.login()
            await LOSSES[loss](attempt, 0.5)
        await bench.returns_to(before)
        async with bench.client() as attempt.client:
            await attempt.client.login()
            await resume(attempt, "STOR")
        await bench.returns_to(before)


async def test_a_part_that_comes_late_is_not_kept(run: Run) -> None:
    """The client has sent the file anew before the server heard that the first try is lost."""
    async with run("new", "one part", keep_interrupted=True) as attempt:
        bench = attempt.bench
        first_try = await attempt.begin(attempt.half)
        async with bench.client() as client:
            await client.login()
            assert (await client.store(attempt.name, attempt.whole)).code == 226
        reset(first_try)
        assert (await attempt.client.reply()).code == 426
        assert await bench.content(attempt.name) == attempt.whole


# The memory of what broke off


class Mapped(mmap.mmap):
    """Memory of a part; `alive` has what is still mapped."""

    alive: ClassVar[weakref.WeakSet[mmap.mmap]] = weakref.WeakSet()

    def __init__(self, *_: Any, **__: Any) -> None:
        self.alive.add(self)


@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close], ids=["rst", "fin"])
async def test_memory_of_what_broke_off_does_not_wait_for_the_garbage_collector(
    tmp_path: Path,
    no_leaks: None,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[asyncio.StreamWriter], None],
) -> None:
    """The pool counts it as free."""
    monkeypatch.setattr(mmap, "mmap", Mapped)
    gc.collect()
    Mapped.alive.clear()
    gc.disable()
    try:
        async with run_bench(tmp_path / "store") as bench:
            for _ in range(10):
                hold = asyncio.Event()
                rule = bench.emulator.faults.add(Fault(operation="UploadPart", hold=hold))
                async with bench.client() as client:
                    await client.login()
                    attempt = Attempt(bench, client, None, "STOR", NEW)
                    data = await attempt.begin(len(NEW))
                    end(data)
                    end(client.writer)
                    hold.set()
                    await bench.has_let_go(client)
                bench.emulator.faults.remove(rule)
            await until(lambda: not bench.back.pool.used)
            kept = sum(map(len, bench.back.pool._warm._stacks.values()))
            assert len(Mapped.alive) <= kept + 1
    finally:
        gc.enable()
