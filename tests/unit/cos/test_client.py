"""What each operation sends, and what it makes of the answer."""

import hashlib
import hmac
import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.signing import authorization, sign_key
from cos_ftp_server.cos.types import CompletedPart, ObjectOptions
from cos_ftp_server.errors import ErrorKind, StorageError
from tests.doubles.scripted_store import (
    Answer,
    Recorded,
    ScriptedStore,
    drips,
    error,
    replies,
    resets,
    xml,
)

BUCKET = "photos-1250000000"
HEAD = {
    "Last-Modified": "Fri, 13 Nov 2020 10:20:30 GMT",
    "ETag": '"abc"',
    "x-cos-hash-crc64ecma": "18446744073709551615",
    "x-cos-storage-class": "STANDARD_IA",
    "x-cos-meta-Mtime": "17",
    "Content-Type": "image/jpeg",
}
COPIED = "<CopyObjectResult><ETag>&quot;c&quot;</ETag><CRC64>5</CRC64></CopyObjectResult>"
COMPLETED = (
    "<CompleteMultipartUploadResult><ETag>&quot;c-1&quot;</ETag></CompleteMultipartUploadResult>"
)
PARTS = [CompletedPart(1, '"a"')]


def is_signed(request: Recorded) -> bool:
    """Recompute the signature from what was on the wire."""
    fields = dict(item.partition("=")[::2] for item in request.headers["Authorization"].split("&"))
    url = urlsplit(request.target)
    key_time = fields["q-sign-time"]
    expected = authorization(
        request.method,
        unquote(url.path),
        parse_qsl(url.query, keep_blank_values=True),
        {
            k: v
            for k, v in request.headers.items()
            if k.lower() in fields["q-header-list"].split(";")
        },
        secret_id="AKID",
        key=hmac.new(sign_key("hidden-key", key_time).encode(), digestmod="sha1"),
        key_time=key_time,
    )
    names = fields["q-header-list"].split(";")
    must = {k.lower() for k in request.headers if k.lower().startswith("x-cos-")} | {"host"}
    return expected == request.headers["Authorization"] and must <= set(names)


async def failure(operation: Awaitable[object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await operation
    return caught.value


class TestObjects:
    async def test_head(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(replies(200, HEAD, b"12345"))
        meta = await client.head_object("目录/a b+c")
        [request] = store.requests
        assert request.method == "HEAD"
        assert request.target == f"/{BUCKET}/%E7%9B%AE%E5%BD%95/a%20b%2Bc"
        assert is_signed(request)
        assert (meta.key, meta.size, meta.etag) == ("目录/a b+c", 5, '"abc"')
        assert meta.modified == datetime(2020, 11, 13, 10, 20, 30, tzinfo=UTC)
        assert meta.crc64 == 2**64 - 1
        assert meta.options == ObjectOptions(
            content_type="image/jpeg", storage_class="STANDARD_IA", metadata=(("mtime", "17"),)
        )

    async def test_head_of_nothing(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(replies(404))
        assert (await failure(client.head_object("k"))).kind is ErrorKind.NOT_FOUND

    async def test_what_is_found(self, client: CosClient, store: ScriptedStore) -> None:
        """Nothing is an answer, and a refusal is none."""
        store.will(replies(200, HEAD, b"12345"), replies(404), replies(403))
        found = await client.find_object("k")
        assert found is not None
        assert found.key == "k"
        assert await client.find_object("k") is None
        assert (await failure(client.find_object("k"))).kind is ErrorKind.DENIED

    @pytest.mark.parametrize(
        ("headers", "detail"),
        [({"ETag": '"e"', "Last-Modified": "soon"}, "soon"), ({**HEAD, "ETag": ""}, "ETag")],
    )
    async def test_head_without_a_date_or_an_etag_is_not_believed(
        self, client: CosClient, store: ScriptedStore, headers: dict[str, str], detail: str
    ) -> None:
        store.will(*[replies(200, headers, b"x")] * 3)
        error = await failure(client.head_object("k"))
        assert error.kind is ErrorKind.UNAVAILABLE
        assert detail in error.detail

    async def test_keys_with_dots_are_not_collapsed(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        await client.put_object("a/../b//./c", b"")
        assert store.requests[0].target == f"/{BUCKET}/a/../b//./c"
        assert is_signed(store.requests[0])

    async def test_a_header_that_is_not_utf_8_is_given_back_as_it_was(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        name = "attachment; filename=caf\udce9"  # as it was read
        store.will(replies(200, {"x-cos-hash-crc64ecma": "7"}))
        options = ObjectOptions(headers=(("Content-Disposition", name),))
        await client.put_object("k", b"hello", options=options)
        [request] = store.requests
        assert request.headers["Content-Disposition"] == name

    async def test_put(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(replies(200, {"x-cos-hash-crc64ecma": "7"}))
        options = ObjectOptions(
            content_type="text/plain",
            storage_class="ARCHIVE",
            server_side_encryption="AES256",
            metadata=(("a", "b"),),
        )
        stored = await client.put_object("k", b"hello", options=options, forbid_overwrite=True)
        assert (stored.etag, stored.crc64) == ('"e"', 7)
        [request] = store.requests
        assert is_signed(request)
        assert request.body == b"hello"
        assert request.headers["Content-Length"] == "5"
        assert request.headers["Content-Type"] == "text/plain"
        assert request.headers["x-cos-storage-class"] == "ARCHIVE"
        assert request.headers["x-cos-server-side-encryption"] == "AES256"
        assert request.headers["x-cos-meta-a"] == "b"
        assert request.headers["x-cos-forbid-overwrite"] == "true"
        assert request.headers["x-cos-security-token"] == "hidden-token"
        assert request.headers["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize("size", [0, 1, 40_000, 3_000_001])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    async def test_bodies_of_all_sizes_and_kinds(
        self, client: CosClient, store: ScriptedStore, size: int, kind: Callable[[bytes], bytes]
    ) -> None:
        content = bytes(range(256)) * (size // 256 + 1)
        await client.put_object("k", kind(content[:size]))
        [request] = store.requests
        assert request.body == content[:size]
        assert request.headers["Content-Length"] == str(size)

    @pytest.mark.parametrize("body", [b"", b"x"])
    async def test_no_content_type_is_invented(
        self, client: CosClient, store: ScriptedStore, body: bytes
    ) -> None:
        await client.put_object("k", body)
        assert "Content-Type" not in store.requests[0].headers

    async def test_put_forbidden_to_overwrite(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(error(409, "FileAlreadyExists"))
        caught = await failure(client.put_object("k", b"x", forbid_overwrite=True))
        assert caught.kind is ErrorKind.EXISTS

    async def test_copy(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(xml(COPIED))
        options = ObjectOptions(content_type="a/b", storage_class="ARCHIVE")
        stored = await client.copy_object("a ü", "b", if_match='"x"', options=options)
        assert (stored.etag, stored.crc64) == ('"c"', 5)
        [request] = store.requests
        assert is_signed(request)
        assert request.headers["x-cos-copy-source"] == f"{store.endpoint}/{BUCKET}/a%20%C3%BC"
        assert request.headers["x-cos-copy-source-if-match"] == '"x"'
        assert request.headers["x-cos-metadata-directive"] == "Copy"
        assert request.headers["x-cos-storage-class"] == "ARCHIVE"
        assert "Content-Type" not in request.headers

    async def test_copy_with_new_metadata(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(xml(COPIED))
        options = ObjectOptions(content_type="a/b", metadata=(("m", "1"),))
        await client.copy_object("a", "b", options=options, replace_metadata=True)
        [request] = store.requests
        assert request.headers["x-cos-metadata-directive"] == "Replaced"
        assert request.headers["Content-Type"] == "a/b"
        assert request.headers["x-cos-meta-m"] == "1"

    @pytest.mark.parametrize("status", [200, 202, 204, 404])
    async def test_delete_is_done_when_it_is_gone(
        self, client: CosClient, store: ScriptedStore, status: int
    ) -> None:
        store.will(replies(status))
        await client.delete_object("k")
        assert [request.method for request in store.requests] == ["DELETE"]

    async def test_delete_needs_the_bucket(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(error(404, "NoSuchBucket"))
        assert (await failure(client.delete_object("k"))).kind is ErrorKind.NO_BUCKET


class TestBucket:
    async def test_head(self, client: CosClient, store: ScriptedStore) -> None:
        await client.head_bucket()
        [request] = store.requests
        assert (request.method, request.target) == ("HEAD", f"/{BUCKET}/")
        assert is_signed(request)

    async def test_head_of_no_bucket(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(replies(404))
        assert (await failure(client.head_bucket())).kind is ErrorKind.NO_BUCKET

    async def test_list(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"))
        page = await client.list_objects("a b/", delimiter="/", marker="a b/c+d", max_keys=5)
        assert page.objects == ()
        [request] = store.requests
        assert request.target == (
            f"/{BUCKET}/?prefix=a%20b%2F&delimiter=%2F&marker=a%20b%2Fc%2Bd&max-keys=5"
            "&encoding-type=url"
        )
        assert is_signed(request)

    @pytest.mark.parametrize("marker", ["a/x", "a/b"])
    async def test_list_that_would_never_end(
        self, client: CosClient, store: ScriptedStore, marker: str
    ) -> None:
        body = f"<IsTruncated>true</IsTruncated><NextMarker>{marker}</NextMarker>"
        store.will(*[xml(f"<ListBucketResult>{body}</ListBucketResult>")] * 3)
        error = await failure(client.list_objects("a/", marker="a/x"))
        assert (error.kind, error.temporary) == (ErrorKind.UNAVAILABLE, True)

    async def test_list_uploads(self, client: CosClient, store: ScriptedStore) -> None:
        body = "<IsTruncated>false</IsTruncated>"
        store.will(xml(f"<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>"))
        await client.list_uploads(prefix="p", key_marker="k", upload_id_marker="u")
        assert store.requests[0].target == (
            f"/{BUCKET}/?uploads&prefix=p&key-marker=k&upload-id-marker=u&encoding-type=url"
        )
        assert is_signed(store.requests[0])

    async def test_delete_many(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(
            xml("<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code></Error></DeleteResult>")
        )
        failures = await client.delete_objects(["a<", "b"])
        assert [(f.key, f.code) for f in failures] == [("b", "AccessDenied")]
        [request] = store.requests
        assert request.target == f"/{BUCKET}/?delete"
        digest = hashlib.md5(request.body, usedforsecurity=False).digest()
        assert request.headers["Content-MD5"] == b64encode(digest).decode()
        assert request.headers["Content-Type"] == "application/xml"
        assert is_signed(request)

    async def test_what_xml_cannot_carry_is_deleted_singly(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(replies(204), error(403, "AccessDenied", "no"))
        failures = await client.delete_objects(["a\x01", "b\x02"])
        assert [(f.key, f.code, f.message) for f in failures] == [("b\x02", "AccessDenied", "no")]
        assert [r.method for r in store.requests] == ["DELETE", "DELETE"]

    async def test_delete_nothing(self, client: CosClient, store: ScriptedStore) -> None:
        assert await client.delete_objects([]) == ()
        assert store.requests == []

    async def test_delete_too_many(self, client: CosClient) -> None:
        with pytest.raises(ValueError, match="1001"):
            await client.delete_objects(["k"] * 1001)


class TestMultipart:
    async def test_initiate(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(
            xml(
                "<InitiateMultipartUploadResult><UploadId>u</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
        )
        options = ObjectOptions(content_type="a/b", storage_class="ARCHIVE")
        assert await client.initiate_multipart("k", options=options) == "u"
        [request] = store.requests
        assert (request.method, request.target) == ("POST", f"/{BUCKET}/k?uploads")
        assert request.headers["Content-Length"] == "0"
        assert request.headers["Content-Type"] == "a/b"
        assert is_signed(request)

    async def test_part(self, client: CosClient, store: ScriptedStore) -> None:
        await client.upload_part("k", "u/1", 3, b"abc")
        [request] = store.requests
        assert request.target == f"/{BUCKET}/k?partNumber=3&uploadId=u%2F1"
        assert request.body == b"abc"
        assert is_signed(request)

    async def test_part_copy(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(
            xml("<CopyPartResult><ETag>p</ETag></CopyPartResult>", {"x-cos-hash-crc64ecma": "9"})
        )
        stored = await client.copy_part("a", "k", "u", 1, first=0, last=9, if_match='"x"')
        assert (stored.etag, stored.crc64) == ("p", 9)
        [request] = store.requests
        assert request.headers["x-cos-copy-source-range"] == "bytes=0-9"
        assert request.headers["x-cos-copy-source-if-match"] == '"x"'
        assert is_signed(request)

    async def test_list_parts(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(xml("<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>"))
        page = await client.list_parts("k", "u", marker=7)
        assert (page.parts, page.next_marker) == ((), 0)
        assert store.requests[0].target == f"/{BUCKET}/k?uploadId=u&part-number-marker=7"

    @pytest.mark.parametrize(
        "answer", [replies(204), replies(404), error(404, "NoSuchUpload")], ids=["204", "404", "no"]
    )
    async def test_abort_is_done_when_it_is_gone(
        self, client: CosClient, store: ScriptedStore, answer: Answer
    ) -> None:
        store.will(answer)
        await client.abort_multipart("k", "u")
        assert store.requests[0].method == "DELETE"
        assert store.requests[0].target == f"/{BUCKET}/k?uploadId=u"

    async def test_abort_needs_an_upload(self, client: CosClient, store: ScriptedStore) -> None:
        with pytest.raises(ValueError, match="UploadId"):
            await client.abort_multipart("k", "")
        assert store.requests == []

    async def test_complete(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(xml(COMPLETED, {"x-cos-hash-crc64ecma": "9"}))
        stored = await client.complete_multipart("k", "u", PARTS, forbid_overwrite=True)
        assert (stored.etag, stored.crc64) == ('"c-1"', 9)
        [request] = store.requests
        assert (request.method, request.target) == ("POST", f"/{BUCKET}/k?uploadId=u")
        assert request.headers["Content-Type"] == "application/xml"
        assert request.headers["x-cos-forbid-overwrite"] == "true"
        assert b"<PartNumber>1</PartNumber>" in request.body
        assert is_signed(request)

    async def test_complete_that_drips(self, client: CosClient, store: ScriptedStore) -> None:
        pieces = [b" ", b"\n", b" ", b"<?xml version='1.0' encoding='utf-8' ?>", COMPLETED.encode()]
        store.will(drips(pieces, {"x-cos-hash-crc64ecma": "9"}))
        assert (await client.complete_multipart("k", "u", PARTS)).crc64 == 9

    async def test_complete_that_drips_and_fails(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(drips([b" ", b" ", b"<Error><Code>InternalError</Code></Error>"]))
        caught = await failure(client.complete_multipart("k", "u", PARTS))
        assert (caught.kind, caught.temporary) == (ErrorKind.UNAVAILABLE, True)
        assert (caught.status, caught.code) == (200, "InternalError")
        assert len(store.requests) == 1

    async def test_complete_that_drips_to_nothing(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(drips([b" ", b" "]))
        caught = await failure(client.complete_multipart("k", "u", PARTS))
        assert caught.temporary

    @pytest.mark.parametrize(
        "answer", [resets(), error(500, "InternalError"), replies(502)], ids=["reset", "500", "502"]
    )
    async def test_complete_is_not_repeated_when_it_may_have_happened(
        self, client: CosClient, store: ScriptedStore, answer: Answer
    ) -> None:
        store.will(answer)
        assert (await failure(client.complete_multipart("k", "u", PARTS))).temporary
        assert len(store.requests) == 1

    async def test_complete_is_repeated_when_it_was_turned_away(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(error(503, "SlowDown"), xml(COMPLETED))
        assert (await client.complete_multipart("k", "u", PARTS)).etag == '"c-1"'


OPERATIONS: dict[str, Callable[[CosClient, str], Awaitable[object]]] = {
    "head": lambda client, key: client.head_object(key),
    "put": lambda client, key: client.put_object(key, b"x"),
    "copy from": lambda client, key: client.copy_object(key, "k"),
    "copy to": lambda client, key: client.copy_object("k", key),
    "delete": lambda client, key: client.delete_object(key),
    "delete many": lambda client, key: client.delete_objects(["k", key]),
    "initiate": lambda client, key: client.initiate_multipart(key),
    "part": lambda client, key: client.upload_part(key, "u", 1, b"x"),
    "part copy": lambda client, key: client.copy_part("k", key, "u", 1, first=0, last=1),
    "complete": lambda client, key: client.complete_multipart(key, "u", PARTS),
    "abort": lambda client, key: client.abort_multipart(key, "u"),
    "list parts": lambda client, key: client.list_parts(key, "u"),
    "get": lambda client, key: client.get_object(key),
}


@pytest.mark.parametrize("key", ["", "/", "a/.."])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_no_object_operation_ever_addresses_the_bucket(
    client: CosClient,
    store: ScriptedStore,
    operation: Callable[[CosClient, str], Awaitable[object]],
    key: str,
) -> None:
    assert (await failure(operation(client, key))).kind is ErrorKind.BAD_NAME
    assert store.requests == []


class TestRetries:
    async def test_a_temporary_error_is_retried_signed_anew_and_marked(
        self, client: CosClient, store: ScriptedStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = memoryview(bytearray(b"x" * 100_000))
        store.will(error(503, "SlowDown", "later"), replies(500))
        await client.put_object("k", body)
        assert [r.body for r in store.requests] == [bytes(body)] * 3
        assert all(is_signed(r) for r in store.requests)
        marks = [r.headers.get("x-cos-sdk-retry") for r in store.requests]
        assert marks == [None, "true", "true"]
        logged = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert "SlowDown" in logged[0]
        assert "id-1" in logged[0]
        assert "hidden" not in caplog.text

    async def test_an_error_inside_a_success_is_retried(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(xml("<Error><Code>SlowDown</Code></Error>"), xml(COPIED))
        assert (await client.copy_object("a", "b")).etag == '"c"'
        assert len(store.requests) == 2

    async def test_a_permanent_error_inside_a_success_is_not(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(xml("<Error><Code>NoSuchCopySource</Code></Error>"))
        caught = await failure(client.copy_object("a", "b"))
        assert caught.kind is ErrorKind.NOT_FOUND
        assert len(store.requests) == 1

    async def test_a_cut_connection_is_retried(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(resets(), resets())
        await client.put_object("k", b"x" * 100_000)
        assert store.requests[-1].body == b"x" * 100_000

    async def test_tries_end(self, client: CosClient, store: ScriptedStore) -> None:
        store.will(*[error(503, "ServiceUnavailable")] * 3)
        caught = await failure(client.head_object("k"))
        assert (caught.kind, caught.temporary) == (ErrorKind.UNAVAILABLE, True)
        assert caught.request_id == "id-1"
        assert len(store.requests) == 3

    async def test_redirects_are_not_followed(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(replies(302, {"Location": f"http://{store.endpoint}/elsewhere"}))
        assert (await failure(client.head_object("k"))).status == 302
        assert len(store.requests) == 1


def dated(ahead: timedelta) -> dict[str, str]:
    return {"Date": format_datetime(datetime.now(UTC) + ahead, usegmt=True)}


def signed_at(request: Recorded) -> int:
    start = request.headers["Authorization"].partition("q-sign-time=")[2].partition(";")[0]
    return int(start)


class TestClock:
    async def test_a_wrong_clock_is_corrected_once_for_all(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(replies(403, dated(timedelta(days=1))))
        await client.delete_object("k")
        await client.delete_object("k")
        first, second, third = map(signed_at, store.requests)
        assert 86_000 < second - first < 86_800
        assert third - second <= 300
        assert is_signed(store.requests[1])

    async def test_a_refusal_at_the_right_time_stands(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(error(403, "AccessDenied", "no", dated(timedelta())))
        caught = await failure(client.delete_object("k"))
        assert (caught.kind, caught.temporary) == (ErrorKind.DENIED, False)
        assert len(store.requests) == 1

    async def test_it_is_corrected_only_once_a_request(
        self, client: CosClient, store: ScriptedStore
    ) -> None:
        store.will(
            error(403, "RequestTimeTooSkewed", "", dated(timedelta(days=1))),
            error(403, "RequestTimeTooSkewed", "", dated(timedelta(days=3))),
        )
        caught = await failure(client.put_object("k", b"x"))
        assert caught.code == "RequestTimeTooSkewed"
        assert len(store.requests) == 2
