"""The record of requests, and the questions that budgets ask of it."""

import asyncio
from collections.abc import Iterable

import pytest

from cos_ftp_server.emulator import Emulator, RequestLog

from .support import BUCKET, RawClient


def make_log(intervals: Iterable[tuple[float, float]]) -> RequestLog:
    log = RequestLog()
    for started, ended in intervals:
        record = log.begin("GetObject", "b", "k", "GET")
        log.end(record, 200)
        record.started, record.ended = started, ended
    return log


@pytest.mark.parametrize(
    ("intervals", "round_trips"),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, 1), (0, 1), (0.5, 1.5)], 1),
        ([(0, 1), (1, 2), (2, 3)], 3),
        ([(0, 10), (0, 1), (1, 2), (1.5, 3)], 2),
    ],
)
def test_round_trips(intervals: list[tuple[float, float]], round_trips: int) -> None:
    assert make_log(intervals).round_trips() == round_trips


def test_log_is_bounded() -> None:
    log = RequestLog(limit=3)
    for number in range(5):
        log.begin("GetObject", "b", str(number), "GET")
    assert [record.key for record in log] == ["2", "3", "4"]


async def test_requests_are_recorded(emulator: Emulator, raw: RawClient) -> None:
    await raw("PUT", "k", body=b"x")
    await raw("GET", "k")
    await raw("GET", "none")
    await raw("GET", "", params={"prefix": "k"})
    assert emulator.requests.operations() == {"PutObject": 1, "GetObject": 2, "ListObjects": 1}
    assert [record.status for record in emulator.requests] == [200, 200, 404, 200]
    assert emulator.requests.count("GetObject", "none") == 1
    assert emulator.requests.count(key="k") == 2
    assert emulator.requests.round_trips() == 4
    (first,) = emulator.requests.select("PutObject")
    assert (first.bucket, first.key, first.method) == (BUCKET, "k", "PUT")
    emulator.requests.clear()
    assert len(emulator.requests) == 0


async def test_waiting_for_requests(emulator: Emulator, raw: RawClient) -> None:
    waiting = asyncio.create_task(emulator.requests.wait_for("HeadObject", count=2, ended=True))
    await raw("HEAD", "a")
    assert not waiting.done()
    await raw("HEAD", "b")
    await asyncio.wait_for(waiting, 5)
