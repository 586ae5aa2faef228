"""The null store answers what the gateway's client, the official SDK and S3's clients expect."""

import asyncio
import hashlib
import http.client
import json
import time
from contextlib import aclosing

import pytest

from bench.content import crc_of, piece
from bench.store.objects import sized_name
from bench.store.server import CONTROL_PATH, NullStore
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart
from cos_ftp_server.crc64 import crc64
from cos_ftp_server.errors import ErrorKind, StorageError
from tests.emulator.support import BUCKET, Sdk

MIB = 1024**2


def content(size: int) -> bytes:
    return b"".join(bytes(piece(at, min(MIB, size - at))) for at in range(0, size, MIB))


async def read(client: CosClient, key: str, *, first: int = 0, last: int | None = None) -> bytes:
    chunks = []
    async with aclosing(await client.get_object(key, first=first, last=last)) as body:
        while chunk := await body.read():
            chunks.append(chunk)
    return b"".join(chunks)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 3 * MIB + 5])
def test_the_checksum_is_that_of_the_content(size: int) -> None:
    assert crc_of(size) == crc64(content(size))


@pytest.mark.parametrize("size", [0, 4096, 3 * MIB + 5])
async def test_what_is_stored_comes_back(client: CosClient, size: int) -> None:
    stored = await client.put_object("new", content(size))
    assert stored.crc64 == crc_of(size)
    meta = await client.head_object("new")
    assert (meta.size, meta.crc64, meta.etag) == (size, stored.crc64, stored.etag)
    assert await read(client, "new") == content(size)


async def test_a_name_that_tells_a_size_is_there(client: CosClient) -> None:
    name = sized_name(3 * MIB, 7)
    assert (await client.head_object(name)).crc64 == crc_of(3 * MIB)
    assert await read(client, name, first=MIB + 5, last=MIB + 9) == content(3 * MIB)[5 + MIB :][:5]
    with pytest.raises(StorageError) as caught:
        await read(client, name, first=3 * MIB)
    assert caught.value.kind is ErrorKind.BAD_RANGE


async def test_other_names_are_not(client: CosClient) -> None:
    with pytest.raises(StorageError) as caught:
        await read(client, "new")
    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert (await client.list_objects("new", delimiter="/")).objects == ()


async def test_nothing_is_replaced_where_that_is_forbidden(client: CosClient) -> None:
    await client.put_object("new", b"1", forbid_overwrite=True)
    with pytest.raises(StorageError) as caught:
        await client.put_object("new", b"2", forbid_overwrite=True)
    assert caught.value.kind is ErrorKind.EXISTS
    await client.delete_object("new")
    await client.put_object("new", b"3", forbid_overwrite=True)


async def test_a_changed_object_is_noticed(client: CosClient) -> None:
    with pytest.raises(StorageError) as caught:
        async with aclosing(await client.get_object(sized_name(9, 0), if_match='"other"')):
            pass
    assert caught.value.kind is ErrorKind.CHANGED


async def test_parts_become_an_object(client: CosClient) -> None:
    upload_id = await client.initiate_multipart("new")
    parts = []
    for number in (1, 2):
        part = await client.upload_part("new", upload_id, number, content(MIB))
        parts.append(CompletedPart(number, part.etag))
    assert [part.size for part in (await client.list_parts("new", upload_id)).parts] == [MIB, MIB]
    stored = await client.complete_multipart("new", upload_id, parts)
    assert stored.crc64 == crc_of(2 * MIB)
    assert await read(client, "new") == content(2 * MIB)


async def test_an_aborted_upload_is_gone(client: CosClient) -> None:
    upload_id = await client.initiate_multipart("new")
    await client.abort_multipart("new", upload_id)
    with pytest.raises(StorageError) as caught:
        await client.list_parts("new", upload_id)
    assert caught.value.kind is ErrorKind.NO_UPLOAD


async def test_listings_come_in_pages(client: CosClient) -> None:
    keys: list[str] = []
    marker = ""
    for _ in range(3):
        page = await client.list_objects("list-2500/", delimiter="/", marker=marker)
        keys += [meta.key for meta in page.objects]
        marker = page.next_marker
    assert marker == ""
    assert keys == [f"list-2500/entry-{number:08}.dat" for number in range(2500)]
    root = await client.list_objects("", delimiter="/")
    assert root.prefixes == ("list-1000/", "list-100000/")
    assert sized_name(4096, 0) in [meta.key for meta in root.objects]


async def test_the_official_sdk_is_served(sdk: Sdk) -> None:
    stored = await sdk("put_object", Key="new", Body=content(4096))
    assert stored["x-cos-hash-crc64ecma"] == str(crc_of(4096))
    assert await sdk.read("new") == content(4096)
    begun = await sdk("create_multipart_upload", Key="long")
    target = {"Key": "long", "UploadId": begun["UploadId"]}
    part = await sdk("upload_part", **target, PartNumber=1, Body=content(MIB))
    parts = {"Part": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    await sdk("complete_multipart_upload", **target, MultipartUpload=parts)
    assert (await sdk("head_object", Key="long"))["Content-Length"] == str(MIB)
    page = await sdk("list_objects", Prefix="list-1000/", MaxKeys=2)
    assert [entry["Size"] for entry in page["Contents"]] == ["4096", "4096"]
    assert not await sdk("object_exists", Key="other")


def _request(port: int, method: str, path: str, body: bytes = b"") -> tuple[dict[str, str], bytes]:
    """Send a request as a client of S3 does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Authorization": "AWS4-HMAC-SHA256 x"})
        response = connection.getresponse()
        return dict(response.getheaders()), response.read()
    finally:
        connection.close()


async def test_s3_gets_md5_and_its_second_form_of_listings(ports: tuple[int, int]) -> None:
    path = f"/{BUCKET}/new"
    headers, _ = await asyncio.to_thread(_request, ports[0], "PUT", path, b"hello")
    assert headers["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    query = "list-type=2&prefix=list-1000/&max-keys=1"
    _, first = await asyncio.to_thread(_request, ports[0], "GET", f"/{BUCKET}?{query}")
    token = b"list-1000/entry-00000000.dat"
    assert b"<NextContinuationToken>" + token in first
    query += f"&continuation-token={token.decode()}"
    _, second = await asyncio.to_thread(_request, ports[0], "GET", f"/{BUCKET}?{query}")
    assert b"<Key>list-1000/entry-00000001.dat</Key>" in second


async def test_latency_and_rate_are_kept_and_requests_are_counted(
    client: CosClient, null_store: NullStore, ports: tuple[int, int]
) -> None:
    path = f"{CONTROL_PATH}?latency_ms=50&rate={8 * MIB}"
    await asyncio.to_thread(_request, ports[0], "GET", path)
    begin = time.monotonic()
    await client.put_object("new", content(2 * MIB))
    assert time.monotonic() - begin >= 0.24  # timers may be early
    begin = time.monotonic()
    await read(client, "new")
    assert time.monotonic() - begin >= 0.24  # timers may be early
    _, counts = await asyncio.to_thread(_request, ports[0], "GET", CONTROL_PATH)
    assert json.loads(counts) == {"put": 1, "get": 1}
    await asyncio.to_thread(_request, ports[0], "GET", f"{CONTROL_PATH}?forget=1")
    assert not null_store.counts


@pytest.mark.parametrize(("sent", "answered"), [(0, 3 * MIB), (3 * MIB, 0)])
async def test_the_raw_port_swallows_and_sends(
    ports: tuple[int, int], sent: int, answered: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[1])
    writer.write(b"%d\n" % answered + content(sent))
    await writer.drain()
    writer.write_eof()
    assert await reader.read() == content(answered)
    writer.close()
    await writer.wait_closed()
