"""What the SDK does not show of the protocol: heads, error documents, odd requests."""

import asyncio
import http.client
import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from cos_ftp_server.emulator import Emulator

from .support import BUCKET, OTHER_BUCKET, RawClient, Sdk

CODE = re.compile(rb"<Code>(\w+)</Code>")


def code_of(body: bytes) -> str:
    match = CODE.search(body)
    assert match, body
    return match[1].decode()


async def test_every_answer_has_a_date_and_a_request_id(raw: RawClient) -> None:
    for method, key in (("PUT", "k"), ("GET", "k"), ("GET", ""), ("HEAD", "none"), ("DELETE", "k")):
        answer = await raw(method, key, headers={"Content-Length": "0"})
        assert answer.headers["x-cos-request-id"]
        assert parsedate_to_datetime(answer.headers["Date"])
        assert answer.headers["Server"] == "tencent-cos"


async def test_errors_have_a_document_but_for_head(raw: RawClient) -> None:
    answer = await raw("GET", "none")
    assert (answer.status, code_of(answer.body)) == (404, "NoSuchKey")
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert answer.headers["x-cos-request-id"].encode() in answer.body
    answer = await raw("HEAD", "none")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (404, b"", "0")


async def test_not_modified(raw: RawClient) -> None:
    etag = (await raw("PUT", "k", body=b"x")).headers["ETag"]
    late = "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers in ({"If-None-Match": etag}, {"If-Modified-Since": late}):
        for method in ("GET", "HEAD"):
            answer = await raw(method, "k", headers=headers)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == etag


@pytest.mark.parametrize(
    "host",
    [
        f"{BUCKET}.cos.ap-guangzhou.myqcloud.com",
        f"{BUCKET}.cos.ap-guangzhou.myqcloud.com:8080",
        f"{BUCKET}.localhost:8080",
    ],
)
async def test_bucket_is_named_by_the_host(emulator: Emulator, raw: RawClient, host: str) -> None:
    assert (await raw("PUT", "k", body=b"x", host=host)).status == 200
    assert await emulator.object_names(BUCKET) == ["k"]


async def test_bucket_is_named_by_the_path(emulator: Emulator, raw: RawClient) -> None:
    host = f"127.0.0.1:{emulator.port}"
    path = f"/{OTHER_BUCKET}/a/b"
    assert (await raw("PUT", "a/b", path=path, host=host, body=b"x")).status == 200
    assert (await raw("GET", path[1:], path=path, host=host)).body == b"x"
    assert await emulator.object_names(OTHER_BUCKET) == ["a/b"]
    answer = await raw("GET", "", path="/", host=host)
    assert code_of(answer.body) == "NoSuchBucket"


async def test_host_may_be_signed_without_its_port(emulator: Emulator) -> None:
    # The SDK signs the host name alone when it makes it from a URL.
    host = f"{BUCKET}.cos.ap-guangzhou.myqcloud.com"
    answer = await RawClient(emulator.port)("GET", "", host=f"{host}:8080", signed_host=host)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("wire", "key"),
    [
        ("/a/../b", "a/../b"),
        ("/a//b", "a//b"),
        ("/a/./b", "a/./b"),
        ("/%2Fa", None),
        ("/%2e%2e/x", "../x"),
        ("/a+b", "a+b"),
        ("/a%20b", "a b"),
        ("/a%2Fb", "a/b"),
        ("/%25zz%", "%zz%"),
        ("/a;b,c=d&e", "a;b,c=d&e"),
    ],
)
async def test_request_target_is_taken_as_it_was_sent(
    emulator: Emulator, raw: RawClient, wire: str, key: str | None
) -> None:
    answer = await raw("PUT", key or "//a", path=wire, body=b"x")
    if key is None:
        assert code_of(answer.body) == "InvalidObjectName"
    else:
        assert answer.status == 200
        assert await emulator.object_names(BUCKET) == [key]


async def test_plus_is_a_space_in_the_query(raw: RawClient) -> None:
    await raw("PUT", "a b", body=b"x")
    answer = await raw("GET", "", params={"prefix": "a b"})  # sent as a+b, signed as a%20b
    assert b"<Key>a b</Key>" in answer.body


@pytest.mark.parametrize(
    ("method", "key", "request_", "status", "code"),
    [
        ("PUT", "k" * 851, {}, 400, "KeyTooLong"),
        ("PUT", "a\x18b", {}, 400, "InvalidObjectName"),
        ("GET", "", {"params": {"delimiter": "//"}}, 400, "InvalidDelimiter"),
        ("GET", "", {"params": {"max-keys": "x"}}, 400, "InvalidArgument"),
        ("GET", "k", {"params": {"versionId": "1"}}, 501, "NotImplemented"),
        ("PUT", "", {}, 405, "MethodNotAllowed"),
        ("POST", "k", {"params": {"append": "", "position": "x"}}, 400, "InvalidArgument"),
        ("POST", "", {"params": {"delete": ""}, "body": b"<Delete/>"}, 400, "InvalidRequest"),
        ("PUT", "k", {"headers": {"x-cos-storage-class": "X"}}, 400, "InvalidArgument"),
        ("PUT", "k", {"headers": {"x-cos-copy-source": "nothing"}}, 400, "InvalidCopySource"),
        ("PUT", "k", {"headers": {"x-cos-copy-source": "no-1/k"}}, 404, "NoSuchBucket"),
        ("GET", "k", {"host": "nobody-12.cos.x.myqcloud.com"}, 404, "NoSuchBucket"),
        ("PUT", "k", {"params": {"partNumber": "0", "uploadId": "x"}}, 400, "InvalidArgument"),
        ("PUT", "k", {"params": {"partNumber": "10001", "uploadId": "x"}}, 400, "InvalidArgument"),
        ("PUT", "k", {"params": {"partNumber": "1", "uploadId": "x"}}, 404, "NoSuchUpload"),
        ("GET", "k", {"path": "/%ff"}, 400, "InvalidURI"),
    ],
)
async def test_refusals(
    raw: RawClient, method: str, key: str, request_: dict[str, Any], status: int, code: str
) -> None:
    length = str(len(request_.get("body", b"")))
    headers = {"Content-Length": length, **request_.get("headers", {})}
    answer = await raw(method, key, **{**request_, "headers": headers})
    assert (answer.status, code_of(answer.body)) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<Other/>",
        b"<CompleteMultipartUpload/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><CompleteMultipartUpload>&a;</CompleteMultipartUpload>',
        b"<CompleteMultipartUpload>" + b"<a>" * 50 + b"</a>" * 50 + b"</CompleteMultipartUpload>",
    ],
)
async def test_malformed_documents_are_refused(raw: RawClient, body: bytes) -> None:
    headers = {"Content-Length": str(len(body)), "Content-Type": "application/xml"}
    answer = await raw("POST", "k", params={"uploadId": "x"}, headers=headers, body=body)
    assert (answer.status, code_of(answer.body)) == (400, "MalformedXML")


async def test_compressed_content_is_stored_as_sent(raw: RawClient) -> None:
    body = b"\x1f\x8b not really gzip"
    headers = {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
    assert (await raw("PUT", "k", headers=headers, body=body)).status == 200
    answer = await raw("GET", "k")
    assert (answer.headers["Content-Encoding"], answer.body) == ("gzip", body)


async def test_expect_continue(emulator: Emulator, raw: RawClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
    try:
        head = (
            f"PUT /k HTTP/1.1\r\nHost: {BUCKET}.cos.x.com\r\nContent-Length: 1\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        writer.write(head.encode())
        # Not signed, so it is refused before the client has sent the body.
        assert b" 403 " in await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    headers = {"Expect": "100-continue", "Content-Length": "5"}
    assert (await raw("PUT", "k", headers=headers, body=b"hello")).status == 200
    assert await emulator.object_bytes(BUCKET, "k") == b"hello"


async def test_upload_that_breaks_off_leaves_nothing(
    emulator: Emulator, sdk: Sdk, raw: RawClient
) -> None:
    await sdk("put_object", Key="k", Body=b"old")
    emulator.requests.clear()
    with pytest.raises((http.client.HTTPException, OSError)):
        # More is announced than is sent; the connection ends when the answer does not come.
        await raw(
            "PUT", "k", headers={"Content-Length": "3000000"}, body=b"x" * 1_000_000, timeout=0.5
        )
    await emulator.requests.wait_for("PutObject", ended=True)
    assert [record.status for record in emulator.requests] == [0]
    assert await emulator.object_bytes(BUCKET, "k") == b"old"


async def test_parameters_cannot_forge_headers(raw: RawClient) -> None:
    await raw("PUT", "k", body=b"x")
    answer = await raw("GET", "k", params={"response-content-type": "a\r\nx-forged: 1"})
    assert (answer.status, code_of(answer.body)) == (400, "InvalidArgument")


async def test_length_must_be_told(raw: RawClient) -> None:
    # As HTTP/1.1 has it, a request without Content-Length and Transfer-Encoding has no body.
    answer = await raw("PUT", "k", without_length=True)
    assert (answer.status, code_of(answer.body)) == (411, "MissingContentLength")


async def test_odd_bytes_are_refused_cleanly(emulator: Emulator) -> None:
    for head in (b"GET /\xff\xfe HTTP/1.1\r\nHost: %b\r\n", b"GET / HTTP/1.1\r\nHost: \xff%b\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        try:
            writer.write(head % f"{BUCKET}.cos.x".encode() + b"Authorization: \xff\r\n\r\n")
            assert (await reader.readline()).split()[1][:1] == b"4"
        finally:
            writer.close()
            await writer.wait_closed()
