"""Back-off, with a clock that only sleeping moves."""

import logging

import pytest

from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.errors import ErrorKind, StorageError
from tests.doubles.clock import Clock


class Flaky:
    """Fails as told, then succeeds; each try takes `seconds`."""

    def __init__(self, clock: Clock, failures: int, *, seconds: float = 0, **error: bool) -> None:
        self.clock = clock
        self.failures = failures
        self.seconds = seconds
        self.temporary = error.get("temporary", True)
        self.numbers: list[int] = []

    async def __call__(self, number: int) -> str:
        self.numbers.append(number)
        self.clock.now += self.seconds
        if number <= self.failures:
            raise StorageError(
                ErrorKind.UNAVAILABLE,
                operation="put object",
                key="k",
                temporary=self.temporary,
                code="SlowDown",
                request_id=f"id-{number}",
            )
        return "done"


def policy(clock: Clock, **settings: float) -> RetryPolicy:
    return RetryPolicy(
        max_tries=int(settings.get("max_tries", 5)),
        base_s=1.0,
        cap_s=3.0,
        budget_s=settings.get("budget_s", 60.0),
        clock=clock,
        sleep=clock.sleep,
        uniform=lambda low, high: high,
    )


async def test_delays_double_up_to_the_cap() -> None:
    clock = Clock()
    flaky = Flaky(clock, failures=4)
    assert await policy(clock).run(flaky) == "done"
    assert clock.delays == [1, 2, 3, 3]
    assert flaky.numbers == [1, 2, 3, 4, 5]


async def test_jitter_covers_everything_from_zero() -> None:
    asked: list[tuple[float, float]] = []
    clock = Clock()

    def lowest(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    retry = RetryPolicy(base_s=1.0, cap_s=3.0, clock=clock, sleep=clock.sleep, uniform=lowest)
    await retry.run(Flaky(clock, failures=3))
    assert asked == [(0, 1), (0, 2), (0, 3)]
    assert clock.delays == [0, 0, 0]


async def test_tries_end() -> None:
    clock = Clock()
    flaky = Flaky(clock, failures=9)
    with pytest.raises(StorageError) as caught:
        await policy(clock, max_tries=3).run(flaky)
    assert caught.value.request_id == "id-3"
    assert flaky.numbers == [1, 2, 3]


async def test_the_budget_ends_trying() -> None:
    clock = Clock()
    flaky = Flaky(clock, failures=9, seconds=10)
    with pytest.raises(StorageError):
        await policy(clock, budget_s=25).run(flaky)
    assert flaky.numbers == [1, 2, 3]  # at 0, 11 and 23 s; the next would begin at 36 s


async def test_permanent_errors_are_not_retried() -> None:
    clock = Clock()
    flaky = Flaky(clock, failures=1, temporary=False)
    with pytest.raises(StorageError):
        await policy(clock).run(flaky)
    assert flaky.numbers == [1]


async def test_the_caller_may_be_stricter() -> None:
    clock = Clock()
    flaky = Flaky(clock, failures=1)
    with pytest.raises(StorageError):
        await policy(clock).run(flaky, lambda error: False)
    assert flaky.numbers == [1]


async def test_each_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    await policy(clock).run(Flaky(clock, failures=1))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert all(word in message for word in ("put object", "SlowDown", "id-1", "1 of 5"))
