"""Reading objects: ranges, pins, and bodies that break."""

from contextlib import aclosing

import pytest

from cos_ftp_server.cos.client import CosClient, ObjectBody
from cos_ftp_server.errors import ErrorKind, StorageError
from tests.doubles.scripted_store import ScriptedStore, ends_early, error, replies, resets, stalls

HEAD = {"Last-Modified": "Fri, 13 Nov 2020 10:20:30 GMT", "ETag": '"abc"'}


async def read_all(body: ObjectBody) -> bytes:
    chunks = []
    while chunk := await body.read():
        chunks.append(chunk)
    return b"".join(chunks)


async def test_a_whole_object_is_asked_for_without_a_range(
    client: CosClient, store: ScriptedStore
) -> None:
    content = bytes(range(256)) * 8000
    store.will(replies(200, HEAD, content))
    async with aclosing(await client.get_object("k")) as body:
        assert (body.meta.size, body.meta.etag, body.first) == (len(content), '"abc"', 0)
        assert await read_all(body) == content
        assert await body.read() == b""
    assert "Range" not in store.requests[0].headers


async def test_an_empty_object(client: CosClient, store: ScriptedStore) -> None:
    store.will(replies(200, HEAD))
    async with aclosing(await client.get_object("k")) as body:
        assert await read_all(body) == b""


@pytest.mark.parametrize(
    ("first", "last", "sent", "got"),
    [
        (2, 4, "bytes=2-4", "bytes 2-4/10"),
        (7, None, "bytes=7-", "bytes 7-9/10"),
        (0, 9, "bytes=0-9", "bytes 0-9/10"),
        (8, 20, "bytes=8-20", "bytes 8-9/10"),
    ],
)
async def test_a_range(
    client: CosClient, store: ScriptedStore, first: int, last: int | None, sent: str, got: str
) -> None:
    content = b"0123456789"[first : None if last is None else last + 1]
    store.will(replies(206, {**HEAD, "Content-Range": got}, content))
    async with aclosing(
        await client.get_object("k", first=first, last=last, if_match='"abc"')
    ) as body:
        assert (body.meta.size, body.first) == (10, first)
        assert await read_all(body) == content
    [request] = store.requests
    assert request.headers["Range"] == sent
    assert request.headers["If-Match"] == '"abc"'
    assert "range" in request.headers["Authorization"]


async def test_a_store_that_ignores_ranges_is_not_believed(
    client: CosClient, store: ScriptedStore
) -> None:
    store.will(replies(200, HEAD, b"0123456789"))
    with pytest.raises(StorageError) as caught:
        async with aclosing(await client.get_object("k", first=5)):
            pass
    assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_a_store_that_ignores_the_pin_is_not_believed(
    client: CosClient, store: ScriptedStore
) -> None:
    store.will(replies(200, HEAD, b"0123456789"))
    with pytest.raises(StorageError) as caught:
        async with aclosing(await client.get_object("k", if_match='"another"')):
            pass
    assert caught.value.kind is ErrorKind.CHANGED


async def test_content_stays_encoded(client: CosClient, store: ScriptedStore) -> None:
    store.will(replies(200, {**HEAD, "Content-Encoding": "gzip"}, b"\x1f\x8bnot really"))
    async with aclosing(await client.get_object("k")) as body:
        assert await read_all(body) == b"\x1f\x8bnot really"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", ErrorKind.NOT_FOUND),
        (412, "PreconditionFailed", ErrorKind.CHANGED),
        (416, "InvalidRange", ErrorKind.BAD_RANGE),
        (403, "InvalidObjectState", ErrorKind.ARCHIVED),
        (403, "DownloadForbidden", ErrorKind.BLOCKED),
    ],
)
async def test_refusals(
    client: CosClient, store: ScriptedStore, status: int, code: str, kind: ErrorKind
) -> None:
    store.will(error(status, code))
    with pytest.raises(StorageError) as caught:
        async with aclosing(await client.get_object("k", first=5)):
            pass
    assert caught.value.kind is kind


async def test_opening_is_retried(client: CosClient, store: ScriptedStore) -> None:
    store.will(error(503, "SlowDown"), resets(), replies(200, HEAD, b"x"))
    async with aclosing(await client.get_object("k")) as body:
        assert await read_all(body) == b"x"


async def test_a_body_that_ends_early(client: CosClient, store: ScriptedStore) -> None:
    store.will(ends_early({**HEAD, "Content-Length": "100"}, b"x" * 10))
    async with aclosing(await client.get_object("k")) as body:
        with pytest.raises(StorageError) as caught:
            await read_all(body)
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert caught.value.temporary
    assert len(store.requests) == 1


async def test_a_chunked_body_shorter_than_its_range(
    client: CosClient, store: ScriptedStore
) -> None:
    headers = {**HEAD, "Content-Range": "bytes 5-99/100"}
    store.will(replies(206, headers, b"x" * 10))
    async with aclosing(await client.get_object("k", first=5)) as body:
        with pytest.raises(StorageError) as caught:
            await read_all(body)
    assert "85 bytes before" in caught.value.detail


async def test_a_body_that_stalls(client: CosClient, store: ScriptedStore) -> None:
    store.will(stalls(store.released, {**HEAD, "Content-Length": "100"}, b"x" * 10))
    async with aclosing(await client.get_object("k")) as body:
        with pytest.raises(StorageError) as caught:
            await read_all(body)
    assert caught.value.temporary
    assert "timed out" in caught.value.detail


async def test_leaving_early_closes_the_connection(client: CosClient, store: ScriptedStore) -> None:
    store.will(stalls(store.released, {**HEAD, "Content-Length": "100"}, b"x" * 10))
    async with aclosing(await client.get_object("k")) as body:
        assert await body.read() == b"x" * 10
    store.will(replies(200, HEAD, b"next"))
    async with aclosing(await client.get_object("k")) as body:
        assert await read_all(body) == b"next"
