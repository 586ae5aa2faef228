"""Every way in which the store can be told to misbehave."""

import asyncio
import http.client
import re
import time
from email.utils import parsedate_to_datetime

import pytest

from cos_ftp_server.crc64 import crc64
from cos_ftp_server.emulator import Emulator, Fault, Faults, parse_faults

from .support import BUCKET, RawClient, Sdk

EARLY_S = 0.002
"""What a timer may be early by: the event loop's count whole milliseconds."""

CUT = (http.client.HTTPException, ConnectionError)


async def complete(raw: RawClient, upload: str, etag: str) -> tuple[int, bytes, str | None]:
    body = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
        "</CompleteMultipartUpload>"
    ).encode()
    headers = {"Content-Length": str(len(body)), "Content-Type": "application/xml"}
    answer = await raw("POST", "k", params={"uploadId": upload}, headers=headers, body=body)
    return answer.status, answer.body, answer.headers["x-cos-hash-crc64ecma"]


async def begin_upload(sdk: Sdk) -> tuple[str, str]:
    upload = (await sdk("create_multipart_upload", Key="k"))["UploadId"]
    part = await sdk("upload_part", Key="k", UploadId=upload, PartNumber=1, Body=b"part")
    return upload, part["ETag"]


async def test_error_before_the_operation(emulator: Emulator, raw: RawClient) -> None:
    rule = emulator.faults.add(Fault(operation="PutObject", status=503, code="SlowDown", times=1))
    answer = await raw("PUT", "k", body=b"x")
    assert answer.status == 503
    assert b"<Code>SlowDown</Code>" in answer.body
    assert await emulator.object_names(BUCKET) == []
    assert (await raw("PUT", "k", body=b"x")).status == 200
    assert rule.hits == 1


async def test_error_after_the_commit(emulator: Emulator, raw: RawClient) -> None:
    emulator.faults.add(Fault(operation="PutObject", status=500, after_commit=True))
    assert (await raw("PUT", "k", body=b"x")).status == 500
    assert await emulator.object_bytes(BUCKET, "k") == b"x"


@pytest.mark.parametrize("after", [False, True])
async def test_reset_instead_of_an_answer(emulator: Emulator, raw: RawClient, after: bool) -> None:
    emulator.faults.add(Fault(operation="PutObject", reset=True, after_commit=after))
    with pytest.raises(CUT):
        await raw("PUT", "k", body=b"x")
    assert await emulator.object_names(BUCKET) == (["k"] if after else [])
    assert [record.status for record in emulator.requests] == [0]


async def test_what_was_cut_off_may_be_carried_out_later(
    emulator: Emulator, raw: RawClient
) -> None:
    hold = asyncio.Event()
    emulator.faults.add(Fault(operation="PutObject", late=True, hold=hold))
    with pytest.raises(CUT):
        await raw("PUT", "k", body=b"x" * 1_000_000)
    assert await emulator.object_names(BUCKET) == []
    hold.set()
    await emulator.requests.wait_for("PutObject", ended=True)
    assert await emulator.object_bytes(BUCKET, "k") == b"x" * 1_000_000


async def test_reset_within_the_answer(emulator: Emulator, raw: RawClient) -> None:
    await raw("PUT", "k", body=b"x" * 100_000)
    emulator.faults.add(Fault(operation="GetObject", reset_after=50_000))
    with pytest.raises(CUT):
        await raw("GET", "k")


async def test_reset_within_the_request(emulator: Emulator, raw: RawClient) -> None:
    emulator.faults.add(Fault(operation="PutObject", reset_after=500_000))
    with pytest.raises(CUT):
        await raw("PUT", "k", body=b"x" * 1_000_000)
    assert await emulator.object_names(BUCKET) == []


async def test_delay(emulator: Emulator, raw: RawClient) -> None:
    emulator.faults.add(Fault(delay_s=0.05))
    emulator.faults.add(Fault(operation="HeadObject", delay_s=0.05))
    await raw("HEAD", "k")
    (record,) = emulator.requests
    assert record.ended is not None
    assert record.ended - record.started >= 0.1 - EARLY_S


async def test_hold_until_released(emulator: Emulator, raw: RawClient) -> None:
    release = asyncio.Event()
    emulator.faults.add(Fault(operation="PutObject", hold=release, key=lambda key: key == "k"))
    request = asyncio.create_task(raw("PUT", "k", body=b"x"))
    await emulator.requests.wait_for("PutObject")
    assert (await raw("PUT", "other", body=b"x")).status == 200
    assert await emulator.object_names(BUCKET) == ["other"]
    release.set()
    assert (await request).status == 200
    assert await emulator.object_names(BUCKET) == ["k", "other"]


async def test_held_requests_do_not_keep_the_store_from_closing(
    emulator: Emulator, raw: RawClient
) -> None:
    emulator.faults.add(Fault(hold=asyncio.Event()))
    request = asyncio.create_task(raw("PUT", "k", body=b"x"))
    await emulator.requests.wait_for("PutObject")
    async with asyncio.timeout(5):
        await emulator.aclose()
    with pytest.raises(CUT):
        await request


async def test_a_client_that_goes_in_the_middle_of_a_refused_body_leaves_no_task(
    emulator: Emulator,
) -> None:
    before = asyncio.all_tasks()
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    head = f"PUT /{BUCKET}/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    writer.write(head.encode() + b"x" * 1000)
    assert b" 403 " in await reader.readline()
    writer.transport.abort()
    for _ in range(10):  # turns of the loop, until the server has heard of it
        await asyncio.sleep(0)
    await emulator.aclose()
    assert asyncio.all_tasks() - before == set()


@pytest.mark.parametrize("size", [2_000, 200_000])
async def test_slow_body(emulator: Emulator, raw: RawClient, size: int) -> None:
    await raw("PUT", "k", body=b"x" * size)
    emulator.faults.add(Fault(bytes_per_s=size * 10))
    emulator.requests.clear()
    assert (await raw("GET", "k")).body == b"x" * size
    assert (await raw("PUT", "k", body=b"y" * size)).status == 200
    for record in emulator.requests:
        assert record.ended is not None
        assert record.ended - record.started >= 0.1 - EARLY_S


async def test_corrupt_body(emulator: Emulator, raw: RawClient) -> None:
    await raw("PUT", "k", body=b"hello")
    rule = emulator.faults.add(Fault(operation="GetObject", corrupt_at=4))
    answer = await raw("GET", "k")
    assert answer.body == b"helln"
    assert answer.headers["x-cos-hash-crc64ecma"] == str(crc64(b"hello"))
    emulator.faults.remove(rule)
    emulator.faults.add(Fault(operation="PutObject", corrupt_at=0))
    answer = await raw("PUT", "k", body=b"hello")
    assert answer.headers["x-cos-hash-crc64ecma"] == str(crc64(b"iello"))


@pytest.mark.parametrize(("crc", "told"), [("wrong", str(crc64(b"x") ^ 1)), ("missing", None)])
async def test_wrong_or_missing_crc(
    emulator: Emulator, raw: RawClient, crc: str, told: str | None
) -> None:
    emulator.faults.add(Fault(operation="PutObject", crc=crc))
    emulator.faults.add(Fault(operation="CopyObject", crc=crc))
    assert (await raw("PUT", "k", body=b"x")).headers["x-cos-hash-crc64ecma"] == told
    headers = {"x-cos-copy-source": f"/{BUCKET}/k", "Content-Length": "0"}
    body = (await raw("PUT", "to", headers=headers)).body
    assert (f"<CRC64>{told}</CRC64>".encode() in body) == (told is not None)


async def test_error_within_200(emulator: Emulator, sdk: Sdk, raw: RawClient) -> None:
    upload, etag = await begin_upload(sdk)
    emulator.faults.add(
        Fault(operation="CompleteMultipartUpload", status=200, code="InternalError", times=1)
    )
    status, body, _ = await complete(raw, upload, etag)
    assert status == 200
    assert b"<Error><Code>InternalError</Code>" in body
    assert await emulator.object_names(BUCKET) == []
    assert (await complete(raw, upload, etag))[0] == 200
    assert await emulator.object_names(BUCKET) == ["k"]


async def test_dripping_completion(emulator: Emulator, sdk: Sdk, raw: RawClient) -> None:
    upload, etag = await begin_upload(sdk)
    emulator.faults.add(Fault(operation="CompleteMultipartUpload", drip_s=0.3))
    status, body, crc = await complete(raw, upload, etag)
    assert (status, crc) == (200, str(crc64(b"part")))
    assert body.startswith(b"\n")
    assert body.lstrip().startswith(b"<?xml")
    (record,) = emulator.requests.select("CompleteMultipartUpload")
    assert record.ended is not None
    assert record.ended - record.started >= 0.3 - EARLY_S


async def test_dripping_towards_an_error(emulator: Emulator, sdk: Sdk, raw: RawClient) -> None:
    upload, etag = await begin_upload(sdk)
    emulator.faults.add(
        Fault(operation="CompleteMultipartUpload", drip_s=0.1, status=200, code="InternalError")
    )
    status, body, _ = await complete(raw, upload, etag)
    assert status == 200
    assert body.startswith(b"\n")
    assert b"<Error>" in body


async def test_truncated_completion(emulator: Emulator, sdk: Sdk, raw: RawClient) -> None:
    upload, etag = await begin_upload(sdk)
    emulator.faults.add(Fault(operation="CompleteMultipartUpload", truncate_at=40))
    status, body, _ = await complete(raw, upload, etag)
    assert (status, len(body)) == (200, 40)
    assert await emulator.object_names(BUCKET) == ["k"]


async def test_wrong_clock(emulator: Emulator, raw: RawClient) -> None:
    emulator.faults.clock_offset_s = 7200
    answer = await raw("GET", "")
    assert answer.status == 403
    assert b"RequestTimeTooSkewed" in answer.body
    offset = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
    assert 7190 < offset < 7210


async def test_lagging_listings(emulator: Emulator, raw: RawClient) -> None:
    async def listed() -> list[bytes]:
        body = (await raw("GET", "")).body
        return [part.partition(b"<")[0] for part in body.split(b"<Key>")[1:]]

    for key in ("deleted", "old"):
        await raw("PUT", key, body=b"x")
    emulator.faults.list_lag_s = 3600
    await raw("PUT", "new", body=b"x")
    await raw("PUT", "old", body=b"xx")
    await raw("DELETE", "deleted")
    assert await listed() == [b"deleted", b"old"]
    assert b"<Size>1</Size>" in (await raw("GET", "", params={"prefix": "old"})).body
    assert (await raw("HEAD", "new")).status == 200
    emulator.faults.list_lag_s = 0
    assert await listed() == [b"new", b"old"]


async def test_probability_is_repeatable() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults(Fault(probability=0.5, status=503), seed=seed)
        return [bool(faults.draw("PutObject", "k").status) for _ in range(50)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 5 < sum(strikes(1)) < 45


def test_rules_are_merged() -> None:
    faults = Faults(
        Fault(delay_s=1), Fault(operation="PutObject", status=503), Fault(status=500, delay_s=1)
    )
    merged = faults.draw("PutObject", "k")
    assert (merged.delay_s, merged.status) == (2, 503)
    faults.clear()
    assert faults.draw("PutObject", "k") == Fault()


def test_text_form() -> None:
    faults = parse_faults(
        [
            "PutObject:503 SlowDown:p=0.5:times=3",
            "*:delay=0.02",
            "UploadPart:reset_after=10:rate=5:corrupt=0:crc=missing",
            "CompleteMultipartUpload:reset:after:drip=1.5:truncate=7",
            "GetObject:hang:key=dir/*",
            "DeleteObject:late:delay=3",
            "clock=3600",
            "list_lag=2.5",
        ]
    )
    assert (faults.clock_offset_s, faults.list_lag_s) == (3600, 2.5)
    assert faults.draw("HeadObject", "k") == Fault(operation="*", delay_s=0.02)
    part = faults.draw("UploadPart", "k")
    assert (part.reset_after, part.bytes_per_s, part.corrupt_at, part.crc) == (10, 5, 0, "missing")
    done = faults.draw("CompleteMultipartUpload", "k")
    assert (done.reset, done.after_commit, done.drip_s, done.truncate_at) == (True, True, 1.5, 7)
    deletion = faults.draw("DeleteObject", "k")
    assert (deletion.late, deletion.delay_s) == (True, 3.02)
    assert faults.draw("GetObject", "dir/x").hold is not None
    assert faults.draw("GetObject", "other").hold is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PutObject",
        "Nonsense:reset",
        "PutObject:nonsense",
        "PutObject:delay=x",
        "PutObject:crc=odd",
        "PutObject:p=2",
        "*:rate=0",
        ":reset",
    ],
)
def test_wrong_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_faults([text])


@pytest.mark.parametrize(
    ("text", "words"), [("Foo:bar", "Foo: one of *, "), ("PutObject:bar", "unknown term 'bar'")]
)
def test_the_operation_is_looked_at_before_its_terms(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_faults([text])
