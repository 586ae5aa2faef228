"""What an append to an object of 5 GiB moves: a store that only claims to have such a one."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from cos_ftp_server.crc64 import combine, crc64
from tests.doubles.ftp_client import RawClient
from tests.gateway.bench import gateway_before

MIB = 1024**2
SIZE = 5 * 1024 * MIB + 12345
MOST_OF_A_COPY = 5 * 1024 * MIB
"""COS: Upload Part - Copy."""


def crc_of_zeros(count: int) -> int:
    """Return the checksum of so many zero bytes, without having them."""
    whole, one, left = 0, crc64(b"\0"), count
    length = 1
    while left:
        if left & 1:
            whole = combine(whole, one, length)
        one = combine(one, one, length)
        length *= 2
        left >>= 1
    return whole


class HugeStore:
    """One object of SIZE zero bytes, and one upload that may append to it."""

    def __init__(self) -> None:
        self.moved = 0  # bytes of bodies, both ways
        self.endpoint = ""
        self.parts: dict[int, tuple[int, int]] = {}  # size and checksum
        self.copied = 0
        self.size, self.crc = SIZE, crc_of_zeros(SIZE)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.content.read()
        response = self.answer(request, body)
        sent = response.body if isinstance(response.body, bytes) else b""
        self.moved += len(body) + len(sent)
        return response

    def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        query = request.query
        if request.method == "HEAD":
            return self.describe()
        if request.method == "GET":
            return xml("ListBucketResult", "")  # it is a look at the name, no content is asked for
        if "uploads" in query:
            return xml("InitiateMultipartUploadResult", "<UploadId>upload</UploadId>")
        if "partNumber" in query:
            return self.take_part(request, int(query["partNumber"]), body)
        assert request.method == "POST", request
        return self.complete()

    def describe(self) -> web.Response:
        return web.Response(
            headers={
                "Content-Length": str(self.size),
                "ETag": '"huge"' if self.size == SIZE else '"longer"',
                "x-cos-hash-crc64ecma": str(self.crc),
                "Last-Modified": "Fri, 01 May 2026 00:00:00 GMT",
            }
        )

    def take_part(self, request: web.BaseRequest, number: int, body: bytes) -> web.Response:
        if "x-cos-copy-source" not in request.headers:
            crc = crc64(body)
            self.parts[number] = len(body), crc
            headers = {"ETag": f'"{number}"', "x-cos-hash-crc64ecma": str(crc)}
            return web.Response(headers=headers)
        assert request.headers["x-cos-copy-source-if-match"] == '"huge"'
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["x-cos-copy-source-range"])
        assert found
        first, last = map(int, found.groups())
        assert last < SIZE
        size = last + 1 - first
        assert size <= MOST_OF_A_COPY
        self.copied += size
        crc = crc_of_zeros(size)
        self.parts[number] = size, crc
        return xml("CopyPartResult", f'<ETag>"{number}"</ETag><CRC64>{crc}</CRC64>')

    def complete(self) -> web.Response:
        self.size = self.crc = 0
        for _, (size, crc) in sorted(self.parts.items()):
            self.size += size
            self.crc = combine(self.crc, crc, size)
        answer = xml("CompleteMultipartUploadResult", '<ETag>"longer"</ETag>')
        answer.headers["x-cos-hash-crc64ecma"] = str(self.crc)
        return answer


def xml(root: str, content: str) -> web.Response:
    body = f"<{root}>{content}</{root}>".encode()
    return web.Response(body=body, headers={"Content-Type": "application/xml"})


@asynccontextmanager
async def huge_store() -> AsyncIterator[HugeStore]:
    store = HugeStore()
    runner = web.ServerRunner(web.Server(store.handle), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        store.endpoint = f"{host}:{port}"
        yield store
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("verb", "kept"), [("APPE", SIZE), ("STOR", SIZE - 7)])
async def test_a_mebibyte_more(no_leaks: None, verb: str, kept: int) -> None:
    more = bytes(range(256)) * (MIB // 256)
    async with (
        huge_store() as store,
        gateway_before(store.endpoint, max_file=2 * SIZE) as back,
        RawClient(back.server.addresses[0]) as client,
    ):
        await client.login()
        if verb == "STOR":
            await client.expect(f"REST {kept}", 350)
        reply = await client.store("file", more, verb)
    assert reply.code == 226
    assert store.copied == kept
    assert (store.size, store.crc) == (kept + MIB, combine(crc_of_zeros(kept), crc64(more), MIB))
    assert f"{kept + MIB} bytes, CRC64 {store.crc}" in reply.text
    assert MIB <= store.moved < 3 * MIB
