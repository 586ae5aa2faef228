"""A thousand uploads that break off anywhere, among others that do not, by several clients at once.

They share a few names and a store that is slow, refuses and cuts connections now and then. After
each upload the file is looked at. Every upload has content of its own, so that what is there tells
by which of them it was made, and in which order.
"""

import asyncio
import itertools
import os
import random
import socket
import struct
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import ABORTS, RawClient, reset
from tests.gateway.bench import PART, Bench, run_bench

BREAKS = 1000
CLIENTS = 10
NAMES = 8
"""Files in use at a time; after every BREAKS / 10 breaks others, which are new."""

GOOD_SHARE = 0.3

FAULTS = (
    Fault(probability=0.3, delay_s=0.002),
    Fault(probability=0.1, delay_s=0.01),
    Fault(probability=0.02, status=503, code="SlowDown"),
    Fault(probability=0.02, reset=True),
    # Not of what begins an upload: nobody but the store would know of it.
    *(
        Fault(operation=operation, probability=0.03, reset=True, after_commit=True)
        for operation in ("PutObject", "UploadPart", "CompleteMultipartUpload", "DeleteObject")
    ),
)
RETRY = RetryPolicy(max_tries=8, base_s=0.005, cap_s=0.02)

WORD = struct.Struct("<II")
"""What files consist of: the number of an upload, and the number of the word in it."""


@dataclass(eq=False)
class Upload:
    """One upload; times are numbers of events, `said` the code of its final reply."""

    number: int
    name: str
    verb: str
    offset: int  # where its content begins, if `verb` is REST
    content: bytes
    how: str
    began: int
    ended: int | None = None
    said: int | None = None

    def has_ended_before(self, event: int) -> bool:
        return self.ended is not None and self.ended < event

    def __repr__(self) -> str:
        span = f"{self.began}-{self.ended}"
        return f"<{self.number} {self.verb} {self.offset} {self.how} {self.said} {span}>"


@dataclass
class History:
    """All uploads so far, and what a file that is found must have been made by."""

    uploads: list[Upload] = field(default_factory=list)
    events: Iterator[int] = field(default_factory=itertools.count)

    def now(self) -> int:
        return next(self.events)

    def check(self, name: str, content: bytes | None, looked: int) -> None:
        """Hold what was found by a look that was begun at `looked` to the uploads before."""
        acknowledged = [
            upload
            for upload in self.uploads
            if upload.name == name and upload.said == 226 and upload.has_ended_before(looked)
        ]
        if content is None:
            assert not acknowledged, f"{name} is gone: {acknowledged}"
            return
        if not acknowledged and self.may_be_taken_back(name, content, looked):
            return
        made_by = self.made_by(content)
        assert made_by, f"{name} is empty, which nobody wanted"
        last = made_by[-1]
        has_failed = last.said not in (None, 226) and last.has_ended_before(looked)
        assert not has_failed, f"{name}: {last} was said to have failed"
        for upload in acknowledged:
            assert upload in made_by or may_be_replaced(upload, made_by), (
                f"{name}: {upload} is lost; there is {made_by}"
            )

    def may_be_taken_back(self, name: str, content: bytes, looked: int) -> bool:
        """Whether a new file may come from an upload of which it is not known yet how it ends."""
        running = (
            upload
            for upload in self.uploads
            if upload.name == name and not upload.has_ended_before(looked)
        )
        return any(upload.content.startswith(content) for upload in running)

    def made_by(self, content: bytes) -> list[Upload]:
        """Return whose content a file consists of, in order; each must be there as it should."""
        found: list[Upload] = []
        position, is_whole = 0, True
        while position < len(content):
            assert position + WORD.size <= len(content), f"{found[-1:]} is not whole"
            upload = self.uploads[WORD.unpack_from(content, position)[0]]
            assert found or upload.verb != "REST", f"{upload} has lost its beginning"
            assert not found or upload.verb != "STOR", f"{upload} is behind others"
            assert is_whole or upload.verb == "REST", f"{found[-1]} is not whole"
            assert upload.verb != "REST" or position == upload.offset, f"{upload} at {position}"
            size = common_size(content[position:], upload.content)
            assert size, f"{upload} does not begin at {position}"
            is_whole = size == len(upload.content)
            found.append(upload)
            position += size
        assert is_whole, f"{found[-1:]} is not whole"
        return found


def common_size(one: bytes, other: bytes) -> int:
    """Return how many bytes of both are the same, from the beginning, in whole words."""
    words = range(min(len(one), len(other)) // WORD.size + 1)

    def differ(count: int) -> bool:
        return one[: count * WORD.size] != other[: count * WORD.size]

    return (bisect_left(words, True, key=differ) - 1) * WORD.size


def may_be_replaced(upload: Upload, made_by: list[Upload]) -> bool:
    """Whether `upload`, of which nothing is left, may be older than what is there.

    What one STOR brought is gone with the next STOR, what others brought also with a REST.
    """
    barriers = made_by[:1] if upload.verb == "STOR" else made_by
    last = [barrier for barrier in barriers if barrier.verb != "APPE"][-1:]
    return bool(last) and not last[0].has_ended_before(upload.began)


def close(connection: asyncio.StreamWriter) -> None:
    """Send a FIN now; a transport would do so in a later turn of the event loop."""
    with socket.socket(fileno=os.dup(connection.get_extra_info("socket").fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


@dataclass
class World:
    bench: Bench
    chance: random.Random
    history: History
    left: int = BREAKS

    def name(self, chance: random.Random) -> str:
        return f"file{self.left * 10 // BREAKS}-{chance.randrange(NAMES)}"


class Client:
    """One client: it uploads, now and then to the end, and looks what has come of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = random.Random(world.chance.random())
        self.raw: RawClient

    async def run(self) -> None:
        while self.world.left > 0:
            async with self.world.bench.client() as self.raw:
                await self.raw.login()
                while self.world.left > 0:
                    if not await self.upload():
                        break
                    self.raw.close_data()

    async def upload(self) -> bool:
        """Upload something somehow; return whether the session lives."""
        how = "good" if self.random.random() < GOOD_SHARE else self.random.choice([*BREAKS_OFF])
        upload = self.begin(self.world.name(self.random), how)
        await self.choose_verb(upload)
        upload.began = self.world.history.now()
        if how == "good":
            is_alive = await self.finish(upload)
        else:
            self.world.left -= 1
            is_alive = await BREAKS_OFF[how](self, upload)
        if not is_alive:
            await self.gone(upload)
        upload.ended = self.world.history.now()
        looked = self.world.history.now()
        content = await self.world.bench.content(upload.name)
        self.world.history.check(upload.name, content, looked)
        return is_alive

    def begin(self, name: str, how: str) -> Upload:
        uploads = self.world.history.uploads
        most = self.random.choice([1, 100, 3 * PART // WORD.size])
        words = range(self.random.randint(1, most))
        content = b"".join(WORD.pack(len(uploads), word) for word in words)
        upload = Upload(len(uploads), name, "STOR", 0, content, how, self.world.history.now())
        uploads.append(upload)
        return upload

    async def choose_verb(self, upload: Upload) -> None:
        choice = self.random.random()
        if choice < 0.25:
            upload.verb = "APPE"
        elif choice < 0.4:
            reply = await self.raw.command(f"SIZE {upload.name}")
            size = int(reply.text.split()[1]) if reply.code == 213 else 0
            if words := self.random.randint(0, size // WORD.size):
                upload.verb, upload.offset = "REST", words * WORD.size

    async def send(self, upload: Upload, count: int) -> asyncio.StreamWriter | None:
        """Begin, and send `count` bytes; return None if that is refused."""
        _, data = await self.raw.open_data()
        verb = upload.verb
        if verb == "REST":
            verb = "STOR"
            await self.raw.expect(f"REST {upload.offset}", 350)
        reply = await self.raw.command(f"{verb} {upload.name}")
        if reply.code != 150:
            upload.said = reply.code
            return None
        data.write(upload.content[:count])
        await data.drain()
        return data

    def somewhere(self, upload: Upload) -> int:
        return self.random.randint(0, len(upload.content))

    async def finish(self, upload: Upload) -> bool:
        data = await self.send(upload, len(upload.content))
        if data:
            data.close()
            upload.said = (await self.raw.reply()).code
        if upload.verb == "STOR":
            assert upload.said == 226, upload
        else:  # somebody else may have changed the file, or made it shorter
            assert upload.said in (226, 450, 550, 554), upload
        return True

    async def heard(self, upload: Upload) -> bool:
        upload.said = (await self.raw.reply()).code
        return True

    async def heard_of_abort(self, upload: Upload) -> bool:
        upload.said = (await self.raw.reply()).code
        assert (await self.raw.reply()).code in (225, 226)
        return True

    async def abort(self, upload: Upload) -> bool:
        data = await self.send(upload, self.somewhere(upload))
        if data is None:
            return True
        self.raw.abort(self.random.choice([*ABORTS]))
        return await self.heard_of_abort(upload)

    async def abort_at_the_end(self, upload: Upload) -> bool:
        data = await self.send(upload, len(upload.content))
        if data is None:
            return True
        data.close()
        await self.pause()
        self.raw.abort(self.random.choice([*ABORTS]))
        return await self.heard_of_abort(upload)

    async def reset_data(self, upload: Upload) -> bool:
        data = await self.send(upload, self.somewhere(upload))
        if data is None:
            return True
        reset(data)
        return await self.heard(upload)

    async def stall(self, upload: Upload) -> bool:
        data = await self.send(upload, self.somewhere(upload))
        return data is None or await self.heard(upload)

    async def come_short(self, upload: Upload) -> bool:
        await self.raw.expect(f"ALLO {len(upload.content)}", 202)
        data = await self.send(upload, len(upload.content) - 1)
        if data is None:
            return True
        data.close()
        return await self.heard(upload)

    async def vanish(self, upload: Upload) -> bool:
        """End both connections at once, as the kernel does for a client that was killed."""
        data = await self.send(upload, self.somewhere(upload))
        end = self.random.choice([reset, close])
        for connection in (data, self.raw.writer):
            if connection is not None:
                end(connection)
        return False

    async def vanish_at_the_end(self, upload: Upload) -> bool:
        data = await self.send(upload, len(upload.content))
        if data is not None:
            data.close()
            await self.pause()
        self.random.choice([reset, close])(self.raw.writer)
        return False

    async def pause(self) -> None:
        """Let pass a part of the time that storing takes."""
        await asyncio.sleep(self.random.uniform(0, 0.06))

    async def gone(self, upload: Upload) -> None:
        """Return when neither the server nor the store is busy with the upload any more."""
        bench = self.world.bench
        await bench.has_let_go(self.raw)
        requests = [r for r in bench.emulator.requests if r.key == upload.name and r.ended is None]
        async with asyncio.timeout(20):
            while any(record.ended is None for record in requests):  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.001)


BREAKS_OFF: dict[str, Callable[[Client, Upload], Awaitable[bool]]] = {
    "abort": Client.abort,
    "abort at the end": Client.abort_at_the_end,
    "reset data": Client.reset_data,
    "stall": Client.stall,
    "come short": Client.come_short,
    "vanish": Client.vanish,
    "vanish at the end": Client.vanish_at_the_end,
}


@pytest.fixture
def seed() -> int:
    """Another one each time; what failed is repeated with the environment's BREAKS_SEED."""
    return int(os.environ.get("BREAKS_SEED") or random.randrange(1_000_000))


async def test_a_thousand_breaks(tmp_path: Path, no_leaks: None, seed: int) -> None:
    print("BREAKS_SEED", seed)
    async with run_bench(tmp_path / "store", retry=RETRY, data_stall_timeout_seconds=0.5) as bench:
        world = World(bench, random.Random(seed), History())
        before = bench.footprint()
        for fault in FAULTS:
            bench.emulator.faults.add(fault)
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(Client(world).run())
        bench.emulator.faults.clear()
        await bench.returns_to(before)
        assert await bench.open_uploads() == []
        looked = world.history.now()
        for name in {upload.name for upload in world.history.uploads}:
            world.history.check(name, await bench.content(name), looked)
        said = {upload.said for upload in world.history.uploads}
        assert {226, 426, None} <= said
