"""A range of an object whose answers hold less than was asked for."""

from collections.abc import AsyncIterator

import pytest

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.download import ObjectRange
from tests.doubles.scripted_store import Answer, ScriptedStore, replies, scripted_store

HEAD = {"Last-Modified": "Fri, 13 Nov 2020 10:20:30 GMT"}
CONTENT = b"0123456789"


def part(first: int, end: int) -> Answer:
    headers = {**HEAD, "Content-Range": f"bytes {first}-{end - 1}/{len(CONTENT)}"}
    return replies(206, headers, CONTENT[first:end])


@pytest.fixture
async def store(no_leaks: None) -> AsyncIterator[ScriptedStore]:
    async with scripted_store() as running:
        yield running


@pytest.fixture
async def opened(store: ScriptedStore) -> AsyncIterator[ObjectRange]:
    async with create_transport() as transport:
        client = CosClient(
            transport,
            BucketAddress("b-1", endpoint=store.endpoint, scheme="http"),
            StaticCredentials(Credentials("AKID", "key")),
            retry=RetryPolicy(max_tries=1),
        )
        source = ObjectRange(client, "k", 1, 9)
        yield source
        await source.aclose()


async def read_all(source: ObjectRange) -> bytes:
    memory = memoryview(bytearray(100))
    content = bytearray()
    while count := await source.read_into(memory, len(memory)):
        content += memory[:count]
    return bytes(content)


async def test_the_rest_is_asked_for(store: ScriptedStore, opened: ObjectRange) -> None:
    store.will(part(1, 2), part(2, 6), part(6, 9))
    assert await read_all(opened) == CONTENT[1:9]
    assert [request.headers["Range"] for request in store.requests] == [
        "bytes=1-8",
        "bytes=2-8",
        "bytes=6-8",
    ]


async def test_nothing_again_and_again_is_an_error(
    store: ScriptedStore, opened: ObjectRange
) -> None:
    store.will(*[replies(206, {**HEAD, "Content-Range": "bytes 1-8/10"}) for _ in range(20)])
    with pytest.raises(StorageError) as caught:
        await read_all(opened)
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert len(store.requests) < 20
