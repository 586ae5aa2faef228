"""Downloads from a store whose files change, break off or cannot be had: right bytes, or an error
in plain words.
"""

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import web

from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import RawClient
from tests.doubles.scripted_store import Answer, scripted_store
from tests.gateway.bench import gateway_before, run_bench

LARGE = 40 * 1024 * 1024
"""Several ranges, and more than what is on its way between store and client."""

OLD, NEW = bytes(range(256)) * (LARGE // 256), bytes(LARGE)


@pytest.mark.parametrize("what", ["replaced", "deleted"])
async def test_a_file_that_changes_is_never_mixed(
    tmp_path: Path, no_leaks: None, what: str
) -> None:
    async with run_bench(tmp_path / "store") as bench, bench.client() as client:
        await bench.load("file", OLD)
        await client.login()
        before = bench.footprint()
        reader, _ = await client.open_data()
        await client.expect("RETR file", 150)
        received = await reader.readexactly(1000)
        if what == "replaced":
            await bench.load("file", NEW)
        else:
            await client_of_its_own(bench.client(), "DELE file")
        received += await reader.read()
        assert (await client.reply()).text == "451 The file was changed during the transfer."
        assert len(received) < LARGE
        assert OLD.startswith(received)
        client.close_data()
        await bench.returns_to(before)
        assert (await client.fetch("RETR file"))[1].code == (226 if what == "replaced" else 550)


async def client_of_its_own(client: RawClient, command: str) -> None:
    async with client:
        await client.login()
        await client.expect(command, 250)


@pytest.mark.parametrize(
    ("effect", "reply"),
    [
        ({}, "550 No such file or directory."),
        ({"status": 403, "code": "AccessDenied"}, "550 Permission denied."),
        (
            {"status": 403, "code": "InvalidObjectState"},
            "550 The file is archived and must be restored first.",
        ),
        (
            {"status": 451, "code": "UnavailableForLegalReasons"},
            "550 The store refuses to hand out this file.",
        ),
        ({"status": 503, "code": "SlowDown"}, "451 Store not available, try again later."),
        ({"corrupt_at": 3}, "550 What came of it is not right: get the whole file."),
    ],
)
async def test_what_cannot_be_had_is_told_before_any_data(
    tmp_path: Path, no_leaks: None, effect: dict[str, object], reply: str
) -> None:
    async with run_bench(tmp_path / "store") as bench, bench.client() as client:
        if effect:
            await bench.load("file", b"content")
            bench.emulator.faults.add(Fault(operation="GetObject", **effect))  # type: ignore[arg-type]  # test data
        await client.login()
        content, told = await client.fetch("RETR file")
        assert (content, told.text) == (b"", reply)
        await client.expect("NOOP", 200)


CONTENT = bytes(range(250)) * 4


def breaks_off(after: int, ranges: list[str | None]) -> Answer:
    """Send so many bytes of what is asked for, and hang up."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked = request.headers.get("Range")
        ranges.append(asked)
        first = int(re.fullmatch(r"bytes=(\d+)-\d*", asked)[1]) if asked else 0  # type: ignore[index]  # what else
        assert request.headers.get("If-Match") == ('"etag"' if ranges[1:] else None)
        response = web.StreamResponse(status=206 if asked else 200, headers={"ETag": '"etag"'})
        response.headers["Last-Modified"] = "Fri, 01 May 2026 00:00:00 GMT"
        response.content_length = len(CONTENT) - first
        response.headers["Content-Range"] = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
        await response.prepare(request)
        await response.write(CONTENT[first:][:after])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


async def test_a_body_that_breaks_off_is_continued_where_it_was(no_leaks: None) -> None:
    """Ten times, and each byte is asked for once."""
    ranges: list[str | None] = []
    async with scripted_store() as store, gateway_before(store.endpoint) as back:
        store.will(*(breaks_off(100, ranges) for _ in range(10)))
        async with RawClient(back.server.addresses[0]) as client:
            await client.login()
            content, reply = await client.fetch("RETR file")
    assert (content, reply.code) == (CONTENT, 226)
    assert [asked and asked.split("-")[0] for asked in ranges] == [
        None,
        *(f"bytes={first}" for first in range(100, 1000, 100)),
    ]


async def test_a_body_that_never_comes_is_given_up(no_leaks: None) -> None:
    ranges: list[str | None] = []
    async with scripted_store() as store, gateway_before(store.endpoint) as back:
        store.will(breaks_off(100, ranges), *(breaks_off(0, ranges) for _ in range(50)))
        async with RawClient(back.server.addresses[0]) as client:
            await client.login()
            reader, _ = await client.open_data()
            await client.expect("RETR file", 150)
            async with asyncio.timeout(20):
                assert CONTENT.startswith(await reader.read())
            assert (await client.reply()).code == 451
            await client.expect("NOOP", 200)
