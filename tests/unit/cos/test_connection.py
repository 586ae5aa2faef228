"""How long a request may wait, on a clock and a line that the test sets: nothing waits for time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cos_ftp_server.cos import connection as connection_module
from cos_ftp_server.cos.answer import Answer
from cos_ftp_server.cos.connection import Connection, Patience
from cos_ftp_server.cos.http_error import HttpError, Trouble
from cos_ftp_server.cos.transport import Timeouts, create_transport

IDLE_S, ANSWER_S = 30.0, 60.0
PATIENT = Patience(idle_s=IDLE_S, total_s=None, answer_s=ANSWER_S)
QUICK = Patience(idle_s=IDLE_S, total_s=None, answer_s=None)

MUCH = 1024**2
every_size = pytest.mark.parametrize("size", [0, 1, MUCH])


class Line(asyncio.Transport):
    """What is written stays `under_way` until the test lets it arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.is_cut = False
        self.is_full = False
        """Whether it makes those who write wait."""
        self.connection = Connection(memoryview(bytearray(1024)), lambda _: None)
        self.connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.under_way += len(data)
        if self.is_full:
            self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_cut

    def abort(self) -> None:
        self.is_cut = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def answer(self, data: bytes) -> None:
        self.connection.get_buffer(-1)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    async def ask(
        self, size: int, patience: Patience, *, streamed: bool = False
    ) -> asyncio.Task[Answer]:
        """Return a request with a body of that size, which has been sent as far as it can be."""
        asking = asyncio.create_task(
            self.connection.request(
                b"PUT /k HTTP/1.1\r\n\r\n",
                bytes(size),
                patience,
                None,
                has_body=True,
                is_streamed=streamed,
            )
        )
        await asyncio.sleep(0)
        return asking


@pytest.fixture
async def line(monkeypatch: pytest.MonkeyPatch, no_leaks: None) -> AsyncIterator[Line]:
    monkeypatch.setattr(connection_module, "bound_when_near", lambda _: None)
    line = Line()
    monkeypatch.setattr(connection_module, "unacknowledged_bytes", lambda _: line.under_way)
    yield line
    await line.connection.end()


@pytest.fixture
async def now() -> float:
    """When the request is made, or a little before: whole seconds, whose sums are exact."""
    return float(int(asyncio.get_running_loop().time()))


async def trouble(asking: asyncio.Task[Answer] | asyncio.Task[int]) -> Trouble:
    with pytest.raises(HttpError) as caught:
        async with asyncio.timeout(5):  # else a request that nobody ends would hold the test
            await asking
    return caught.value.trouble


@every_size
async def test_an_answer_may_be_silent_for_its_own_time(line: Line, now: float, size: int) -> None:
    asking = await line.ask(size, PATIENT)
    line.under_way = 0
    line.connection.check(now)
    line.connection.check(now + IDLE_S)
    line.connection.check(now + ANSWER_S - 1)
    line.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await asking).status == 200


@every_size
async def test_and_no_longer(line: Line, now: float, size: int) -> None:
    asking = await line.ask(size, PATIENT)
    line.under_way = 0
    line.connection.check(now)
    line.connection.check(now + ANSWER_S)
    assert await trouble(asking) is Trouble.TOO_SLOW


async def test_without_such_a_time_it_must_not_be_silent(line: Line, now: float) -> None:
    asking = await line.ask(MUCH, QUICK)
    line.under_way = 0
    line.connection.check(now)
    line.connection.check(now + IDLE_S)
    assert await trouble(asking) is Trouble.TIMEOUT


@every_size
async def test_a_line_that_takes_nothing_is_given_up_sooner(
    line: Line, now: float, size: int
) -> None:
    asking = await line.ask(size, PATIENT)
    line.under_way = 1
    line.connection.check(now)
    line.connection.check(now + IDLE_S)
    assert await trouble(asking) is Trouble.TIMEOUT


async def test_so_is_one_that_has_only_all_of_what_it_was_given(line: Line, now: float) -> None:
    line.is_full = True
    asking = await line.ask(MUCH, PATIENT)
    line.under_way = 0
    line.connection.check(now)
    line.connection.check(now + IDLE_S)
    assert await trouble(asking) is Trouble.TIMEOUT


async def test_the_time_for_the_answer_begins_when_the_last_byte_has_arrived(
    line: Line, now: float
) -> None:
    asking = await line.ask(MUCH, PATIENT)
    while line.under_way:
        line.under_way -= min(line.under_way, MUCH // 16)
        line.connection.check(now := now + IDLE_S - 1)
    line.connection.check(now + ANSWER_S - 1)
    assert not asking.done()
    line.connection.check(now + ANSWER_S)
    assert await trouble(asking) is Trouble.TOO_SLOW


async def test_behind_the_head_of_a_stream_silence_counts_again(line: Line, now: float) -> None:
    asking = await line.ask(0, PATIENT, streamed=True)
    line.under_way = 0
    line.connection.check(now := now + ANSWER_S - 1)
    line.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    await asking
    reading = asyncio.create_task(line.connection.read_into(memoryview(bytearray(9))))
    await asyncio.sleep(0)
    line.connection.check(now := now + 1)
    line.connection.check(now + IDLE_S - 1)
    assert not reading.done()
    line.connection.check(now + IDLE_S)
    assert await trouble(reading) is Trouble.TIMEOUT


async def test_uploads_wait_longer_for_an_answer_than_downloads(no_leaks: None) -> None:
    timeouts = Timeouts(idle_s=IDLE_S, total_s=ANSWER_S)
    async with create_transport(timeouts) as transport:
        assert transport.limits.upload == PATIENT
        assert transport.limits.download == Patience(idle_s=IDLE_S, total_s=None, answer_s=IDLE_S)
