"""Keys of a CVM's role, from a metadata service that does as it is told."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from cos_ftp_server.cos.credentials import RoleCredentials
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.cos.types import Credentials
from cos_ftp_server.errors import ErrorKind, StorageError
from tests.doubles.scripted_store import Answer, ScriptedStore, replies, resets, scripted_store

SECRET = "s3cr3t"
START = 1_800_000_000.0
LIFE_S = 7200


def document(number: int = 1, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "TmpSecretId": f"AKIDtemporary{number}",
        "TmpSecretKey": f"{SECRET}-key-{number}",
        "Token": f"{SECRET}-token-{number}",
        "ExpiredTime": int(START) + LIFE_S * number,
        "Expiration": "2027-01-15T10:00:00Z",
        "Code": "Success",
    }
    return json.dumps(fields | changes).encode()


def keys(number: int = 1) -> Credentials:
    return Credentials(
        f"AKIDtemporary{number}", f"{SECRET}-key-{number}", f"{SECRET}-token-{number}"
    )


def names_role(name: str = "ftp-role") -> Answer:
    return replies(200, body=name.encode())


def gives(content: bytes) -> tuple[Answer, Answer]:
    """The two answers of one renewal."""
    return names_role(), replies(200, body=content)


GONE = (resets(), resets())
"""An answer that breaks off: aiohttp itself asks a second time."""


class Time:
    """A clock that goes on when somebody sleeps, as far as `until`; there sleeping has no end."""

    def __init__(self, until: float) -> None:
        self.now = START
        self.until = START + until
        self.is_over = asyncio.Event()
        self.slept: list[float] = []

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.now + seconds > self.until:
            self.is_over.set()
            await asyncio.Event().wait()
        self.now += seconds


@asynccontextmanager
async def role_of(
    store: ScriptedStore, until: float
) -> AsyncIterator[tuple[RoleCredentials, Time]]:
    """A running provider, looked at when `until` seconds have gone by."""
    time = Time(until)
    async with create_transport() as transport:
        role = RoleCredentials(
            transport, f"http://{store.endpoint}/credentials/", wall=time.wall, sleep=time.sleep
        )
        role.start()
        try:
            async with asyncio.timeout(20):
                await time.is_over.wait()
            yield role, time
        finally:
            await role.aclose()


@pytest.fixture
async def service(no_leaks: None) -> AsyncIterator[ScriptedStore]:
    async with scripted_store() as running:
        yield running


async def test_the_role_is_asked_for_by_name(service: ScriptedStore) -> None:
    service.will(names_role("r ö/le\n"), replies(200, body=document()))
    async with role_of(service, 0) as (role, _):
        assert role.current() == keys()
        assert role.attempted.is_set()
    paths = [request.target for request in service.requests]
    assert paths == ["/credentials/", "/credentials/r%20%C3%B6%2Fle"]


async def test_keys_are_renewed_before_they_expire(service: ScriptedStore) -> None:
    service.will(*gives(document(1)), *gives(document(2)))
    async with role_of(service, LIFE_S - 600) as (role, time):
        assert role.current() == keys(2)
        assert LIFE_S - 600 <= time.now - START < LIFE_S
    assert len(service.requests) == 4


async def test_keys_are_not_renewed_early(service: ScriptedStore) -> None:
    service.will(*gives(document()))
    async with role_of(service, LIFE_S - 601) as (role, time):
        assert role.current() == keys()
        assert max(time.slept) <= 60  # the clock may be set meanwhile
    assert len(service.requests) == 2


async def test_short_lived_keys_are_renewed_with_a_third_of_their_life_left(
    service: ScriptedStore,
) -> None:
    service.will(*gives(document(ExpiredTime=START + 90)), *gives(document(2)))
    async with role_of(service, 60) as (role, _):
        assert role.current() == keys(2)


async def test_keys_are_kept_while_the_service_fails(
    service: ScriptedStore, caplog: pytest.LogCaptureFixture
) -> None:
    service.will(*gives(document()), *[replies(500, body=SECRET.encode())] * 200)
    async with role_of(service, LIFE_S - 60) as (role, time):
        assert role.current() == keys()
        pauses = time.slept[time.slept.index(60.0) :]
        assert max(pauses) <= 60
        assert 10 < len(service.requests) < 30  # it is not asked in a loop
    warnings = [record for record in caplog.records if "valid for" in record.message]
    assert {record.levelno for record in warnings} == {logging.WARNING}
    assert "answers with status 500" in warnings[0].message


async def test_keys_that_could_not_be_renewed_end(
    service: ScriptedStore, caplog: pytest.LogCaptureFixture
) -> None:
    service.will(*gives(document()), *[replies(500)] * 300)
    async with role_of(service, LIFE_S + 120) as (role, _):
        with pytest.raises(StorageError, match="have expired and could not be renewed") as caught:
            role.current()
    assert (caught.value.kind, caught.value.temporary) == (ErrorKind.UNAVAILABLE, True)
    assert "there are no valid keys" in caplog.text


async def test_a_service_that_comes_back(service: ScriptedStore) -> None:
    service.will(*GONE, replies(404), *gives(b"{"), *gives(document()))
    async with role_of(service, 30) as (role, time):
        assert role.current() == keys()
        first = time.slept[:3]
        assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(first))


NOT_KEYS: Mapping[str, tuple[Answer, ...]] = {
    "no role is bound": (replies(404),),
    "names no role": (names_role(""),),
    "answers with status 503": (names_role(), replies(503, body=SECRET.encode())),
    "is no JSON object": gives(f"<html>{SECRET}".encode()),
    "JSON object": gives(json.dumps([SECRET]).encode()),
    "the code 'Failed'": gives(document(Code="Failed")),
    "the code 'None'": gives(b"{}"),
    "is incomplete": gives(document(Token="")),
    "answer is incomplete": gives(document(TmpSecretKey=None)),
    "incomplete": gives(document(ExpiredTime="later")),
    "keys have expired": gives(document(ExpiredTime=START)),
    "connection": GONE,
}


@pytest.mark.parametrize("words", NOT_KEYS)
async def test_what_is_no_answer(
    service: ScriptedStore, caplog: pytest.LogCaptureFixture, words: str
) -> None:
    service.will(*NOT_KEYS[words])
    async with role_of(service, 0) as (role, _):
        assert role.attempted.is_set()
        with pytest.raises(StorageError, match="has not given any keys yet"):
            role.current()
    assert words in caplog.text
    assert SECRET not in caplog.text


async def test_nothing_shows_the_keys(service: ScriptedStore) -> None:
    service.will(*gives(document()))
    async with role_of(service, 0) as (role, _):
        assert SECRET not in repr(role.current())
        assert SECRET not in repr(vars(role))


async def test_closing_without_a_start_and_starting_twice(service: ScriptedStore) -> None:
    async with create_transport() as transport:
        role = RoleCredentials(transport, f"http://{service.endpoint}/")
        await role.aclose()
        service.will(*gives(document(ExpiredTime=4_000_000_000)))
        role.start()
        role.start()
        async with asyncio.timeout(20):
            await role.attempted.wait()
        await role.aclose()
    assert len(service.requests) == 2
