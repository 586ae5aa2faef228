"""The official SDK, unchanged, finds in the store what it expects of COS."""

import asyncio
import hashlib
import random
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from qcloud_cos import CosServiceError

from cos_ftp_server.crc64 import crc64
from cos_ftp_server.emulator import Emulator

from .support import BUCKET, OTHER_BUCKET, RawClient, Sdk, make_sdk

MIB = 1024**2
KEYS = ["plain.txt", "目录/文件 (1)+~*'!@,;=&$.txt", "a/../b", "a//b", "a/./b", "%2F", "trailing/"]


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("key", KEYS)
async def test_object_of_any_name_is_stored_read_and_deleted(
    sdk: Sdk, emulator: Emulator, key: str
) -> None:
    data = b"content of " + key.encode()
    stored = await sdk("put_object", Key=key, Body=data)
    assert stored["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert stored["x-cos-hash-crc64ecma"] == str(crc64(data))
    assert await emulator.object_names(BUCKET) == [key]
    assert await sdk.read(key, KeySimplifyCheck=False) == data
    head = await sdk("head_object", Key=key)
    assert head["Content-Length"] == str(len(data))
    assert head["x-cos-hash-crc64ecma"] == str(crc64(data))
    await sdk("delete_object", Key=key)
    await sdk("delete_object", Key=key)
    assert not await sdk("object_exists", Key=key)


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 * MIB + 7])
async def test_content_of_any_size_comes_back(sdk: Sdk, size: int) -> None:
    data = random_bytes(size)
    stored = await sdk("put_object", Key="k", Body=data)
    assert stored["x-cos-hash-crc64ecma"] == str(crc64(data))
    assert await sdk.read("k") == data


async def test_overwriting_leaves_one_object_and_no_blob(
    sdk: Sdk, emulator: Emulator, tmp_path: Path
) -> None:
    for size in (MIB, 2 * MIB, 10):
        await sdk("put_object", Key="k", Body=random_bytes(size))
    assert await sdk.read("k") == random_bytes(10)
    await emulator.aclose()
    assert list((tmp_path / "store" / "blobs").iterdir()) == []


async def test_chunked_body_without_length_is_taken(sdk: Sdk) -> None:
    await sdk("put_object", Key="k", Body=(piece for piece in (b"one ", b"two")))
    assert await sdk.read("k") == b"one two"


async def test_content_md5_is_checked(sdk: Sdk) -> None:
    await sdk("put_object", Key="k", Body=b"hello", EnableMD5=True)
    with pytest.raises(CosServiceError, match="BadDigest"):
        await sdk("put_object", Key="k", Body=b"other", ContentMD5="XUFAKrxLKna5cZ2REBfFkg==")
    with pytest.raises(CosServiceError, match="InvalidDigest"):
        await sdk("put_object", Key="k", Body=b"other", ContentMD5="nonsense")
    assert await sdk.read("k") == b"hello"


async def test_metadata_and_headers_come_back(sdk: Sdk) -> None:
    await sdk(
        "put_object",
        Key="k",
        Body=b"x",
        ContentType="text/plain; charset=utf-8",
        CacheControl="no-cache",
        ContentDisposition="inline",
        StorageClass="STANDARD_IA",
        Metadata={"x-cos-meta-mtime": "1700000000"},
    )
    head = await sdk("head_object", Key="k")
    assert head["Content-Type"] == "text/plain; charset=utf-8"
    assert head["Cache-Control"] == "no-cache"
    assert head["Content-Disposition"] == "inline"
    assert head["x-cos-storage-class"] == "STANDARD_IA"
    assert head["x-cos-meta-mtime"] == "1700000000"


async def test_too_much_metadata_is_refused(sdk: Sdk) -> None:
    with pytest.raises(CosServiceError, match="MetadataTooLarge"):
        await sdk("put_object", Key="k", Body=b"x", Metadata={"x-cos-meta-a": "v" * 2048})


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=99990-", 99990, None), ("bytes=-5", -5, None)],
)
@pytest.mark.parametrize("size", [100_000, 100_000 + MIB])
async def test_range_tells_the_crc_of_the_whole(
    sdk: Sdk, header: str, start: int, end: int | None, size: int
) -> None:
    data = random_bytes(size)
    await sdk("put_object", Key="k", Body=data)
    response = await sdk("get_object", Key="k", Range=header)
    assert response["x-cos-hash-crc64ecma"] == str(crc64(data))
    assert response["Content-Range"].endswith(f"/{size}")
    assert await asyncio.to_thread(response["Body"].get_raw_stream().read) == data[start:end]


async def test_range_beyond_the_end_is_refused(sdk: Sdk) -> None:
    await sdk("put_object", Key="k", Body=b"12345")
    with pytest.raises(CosServiceError, match="InvalidRange") as caught:
        await sdk("get_object", Key="k", Range="bytes=5-")
    assert caught.value.get_status_code() == 416


async def test_conditions(sdk: Sdk) -> None:
    etag = (await sdk("put_object", Key="k", Body=b"12345"))["ETag"]
    assert await sdk.read("k", IfMatch=etag) == b"12345"
    for condition in (
        {"IfMatch": '"other"'},
        {"IfUnmodifiedSince": "Mon, 01 Jan 2001 00:00:00 GMT"},
    ):
        with pytest.raises(CosServiceError) as caught:
            await sdk("get_object", Key="k", **condition)
        assert caught.value.get_status_code() == 412


async def test_response_headers_can_be_asked_for(sdk: Sdk) -> None:
    await sdk("put_object", Key="k", Body=b"x")
    response = await sdk("get_object", Key="k", ResponseContentType="text/x-special")
    assert response["Content-Type"] == "text/x-special"


async def test_listing_with_delimiter_and_pages(sdk: Sdk) -> None:
    for key in ("a", "b/1", "b/2", "c d/1", "e", "目/1"):
        await sdk("put_object", Key=key, Body=b"x")
    pages = []
    marker = ""
    while True:
        page = await sdk("list_objects", Delimiter="/", MaxKeys=2, Marker=marker)
        keys = [item["Key"] for item in page.get("Contents", [])]
        prefixes = [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        pages.append((keys, prefixes))
        if page["IsTruncated"] == "false":
            break
        marker = page["NextMarker"]
    assert pages == [(["a"], ["b/"]), (["e"], ["c d/"]), ([], ["目/"])]
    inside = await sdk("list_objects", Prefix="b/")
    assert [item["Key"] for item in inside["Contents"]] == ["b/1", "b/2"]


async def test_upload_file_by_parts_and_download(sdk: Sdk, tmp_path: Path) -> None:
    data = random_bytes(5 * MIB + 1000)
    (tmp_path / "in").write_bytes(data)
    done = await sdk(
        "upload_file", Key="big", LocalFilePath=str(tmp_path / "in"), PartSize=1, MAXThread=3
    )
    assert done["ETag"].strip('"').endswith("-6")
    assert done["x-cos-hash-crc64ecma"] == str(crc64(data))
    await sdk(
        "download_file",
        Key="big",
        DestFilePath=str(tmp_path / "out"),
        PartSize=1,
        EnableCRC=True,
        DumpRecordDir=str(tmp_path),
    )
    assert (tmp_path / "out").read_bytes() == data


async def test_upload_file_resumes(sdk: Sdk, emulator: Emulator, tmp_path: Path) -> None:
    data = random_bytes(3 * MIB)
    (tmp_path / "in").write_bytes(data)
    begun = await sdk("create_multipart_upload", Key="big")
    await sdk(
        "upload_part", Key="big", UploadId=begun["UploadId"], PartNumber=2, Body=data[MIB : 2 * MIB]
    )
    emulator.requests.clear()
    await sdk("upload_file", Key="big", LocalFilePath=str(tmp_path / "in"), PartSize=1)
    assert emulator.requests.count("UploadPart") == 2
    assert emulator.requests.count("InitiateMultipartUpload") == 0
    assert await sdk.read("big") == data
    assert await emulator.open_uploads(BUCKET) == []


async def test_copy_takes_metadata_unless_replaced(sdk: Sdk) -> None:
    await sdk("put_object", Key="from", Body=b"content", Metadata={"x-cos-meta-a": "1"})
    source = {"Bucket": BUCKET, "Key": "from", "Region": "ap-guangzhou"}
    copied = await sdk("copy_object", Bucket=OTHER_BUCKET, Key="to", CopySource=source)
    assert copied["CRC64"] == str(crc64(b"content"))
    head = await sdk("head_object", Bucket=OTHER_BUCKET, Key="to")
    assert head["x-cos-meta-a"] == "1"
    await sdk(
        "copy_object",
        Key="from",
        CopySource=source,
        CopyStatus="Replaced",
        Metadata={"x-cos-meta-b": "2"},
    )
    head = await sdk("head_object", Key="from")
    assert "x-cos-meta-a" not in head
    assert head["x-cos-meta-b"] == "2"
    assert await sdk.read("from") == b"content"


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_copy_outlives_its_source(sdk: Sdk, size: int) -> None:
    data = random_bytes(size)
    etag = (await sdk("put_object", Key="from", Body=data))["ETag"]
    source = {"Bucket": BUCKET, "Key": "from", "Region": "ap-guangzhou"}
    await sdk("copy_object", Key="to", CopySource=source, CopySourceIfMatch=etag)
    await sdk("delete_object", Key="from")
    assert await sdk.read("to") == data
    with pytest.raises(CosServiceError, match="NoSuchKey"):
        await sdk("copy_object", Key="to2", CopySource=source)


async def test_copy_condition_fails(sdk: Sdk) -> None:
    await sdk("put_object", Key="from", Body=b"x")
    source = {"Bucket": BUCKET, "Key": "from", "Region": "ap-guangzhou"}
    with pytest.raises(CosServiceError, match="PreconditionFailed"):
        await sdk("copy_object", Key="to", CopySource=source, CopySourceIfMatch='"other"')


async def test_copy_by_parts(sdk: Sdk) -> None:
    data = random_bytes(3 * MIB + 5)
    await sdk("put_object", Key="from", Body=data)
    source = {"Bucket": BUCKET, "Key": "from", "Region": "ap-guangzhou"}
    upload = (await sdk("create_multipart_upload", Key="to"))["UploadId"]
    parts = []
    for number, (first, last) in enumerate([(0, 2 * MIB - 1), (2 * MIB, len(data) - 1)], start=1):
        part = await sdk(
            "upload_part_copy",
            Key="to",
            UploadId=upload,
            PartNumber=number,
            CopySource=source,
            CopySourceRange=f"bytes={first}-{last}",
        )
        assert part["CRC64"] == str(crc64(data[first : last + 1]))
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    with pytest.raises(CosServiceError, match="InvalidRange"):
        await sdk(
            "upload_part_copy",
            Key="to",
            UploadId=upload,
            PartNumber=3,
            CopySource=source,
            CopySourceRange=f"bytes=0-{len(data)}",
        )
    await sdk(
        "complete_multipart_upload", Key="to", UploadId=upload, MultipartUpload={"Part": parts}
    )
    assert await sdk.read("to") == data


async def test_batch_delete(sdk: Sdk, emulator: Emulator) -> None:
    keys = ["a", "b & <c>", "目录/文件"]
    for key in keys:
        await sdk("put_object", Key=key, Body=b"x")
    wanted = {"Object": [{"Key": key} for key in [*keys, "not there"]], "Quiet": "false"}
    answer = await sdk("delete_objects", Delete=wanted)
    assert [item["Key"] for item in answer["Deleted"]] == [*keys, "not there"]
    assert await emulator.object_names(BUCKET) == []


async def test_append(sdk: Sdk) -> None:
    first = await sdk("append_object", Key="log", Position=0, Data=b"one ")
    assert first["x-cos-next-append-position"] == "4"
    second = await sdk("append_object", Key="log", Position=4, Data=b"two")
    assert second["x-cos-hash-crc64ecma"] == str(crc64(b"one two"))
    assert await sdk.read("log") == b"one two"
    with pytest.raises(CosServiceError, match="AppendPositionErr"):
        await sdk("append_object", Key="log", Position=4, Data=b"x")
    await sdk("put_object", Key="normal", Body=b"x")
    with pytest.raises(CosServiceError, match="ObjectNotAppendable"):
        await sdk("append_object", Key="normal", Position=1, Data=b"x")


async def test_uploads_and_parts_are_listed_by_pages(sdk: Sdk) -> None:
    begun = [
        ("a", (await sdk("create_multipart_upload", Key="a"))["UploadId"]),
        ("a", (await sdk("create_multipart_upload", Key="a"))["UploadId"]),
        ("b/c", (await sdk("create_multipart_upload", Key="b/c"))["UploadId"]),
    ]
    seen = []
    key_marker = id_marker = ""
    while True:
        page = await sdk(
            "list_multipart_uploads",
            KeyMarker=key_marker,
            UploadIdMarker=id_marker,
            MaxUploads=1,
        )
        seen += [(item["Key"], item["UploadId"]) for item in page["Upload"]]
        if page["IsTruncated"] == "false":
            break
        key_marker, id_marker = page["NextKeyMarker"], page["NextUploadIdMarker"]
    assert seen == sorted(begun)

    key, upload = begun[2]
    for number in (3, 1, 2):
        await sdk("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=b"x" * number)
    first = await sdk("list_parts", Key=key, UploadId=upload, MaxParts=2)
    assert [part["Size"] for part in first["Part"]] == ["1", "2"]
    rest = await sdk(
        "list_parts", Key=key, UploadId=upload, PartNumberMarker=first["NextPartNumberMarker"]
    )
    assert [part["PartNumber"] for part in rest["Part"]] == ["3"]
    await sdk("abort_multipart_upload", Key=key, UploadId=upload)
    with pytest.raises(CosServiceError, match="NoSuchUpload"):
        await sdk("list_parts", Key=key, UploadId=upload)


async def test_completion_is_checked(sdk: Sdk, emulator: Emulator) -> None:
    upload = (await sdk("create_multipart_upload", Key="k"))["UploadId"]
    tags = []
    for number in (1, 2, 3):
        part = await sdk("upload_part", Key="k", UploadId=upload, PartNumber=number, Body=b"small")
        tags.append({"PartNumber": number, "ETag": part["ETag"]})

    async def complete(parts: list[dict[str, object]]) -> None:
        await sdk(
            "complete_multipart_upload", Key="k", UploadId=upload, MultipartUpload={"Part": parts}
        )

    for parts, code in (
        ([tags[1], tags[0]], "InvalidPartOrder"),
        ([tags[0], tags[2]], "InvalidPart"),
        ([{"PartNumber": 1, "ETag": '"other"'}], "InvalidPart"),
        (tags, "EntityTooSmall"),
    ):
        with pytest.raises(CosServiceError, match=code):
            await complete(parts)
    await complete(tags[:1])
    assert await sdk.read("k") == b"small"
    with pytest.raises(CosServiceError, match="NoSuchUpload"):
        await complete(tags[:1])
    assert await emulator.open_uploads(BUCKET) == []


async def test_presigned_url(emulator: Emulator, sdk: Sdk, raw: RawClient) -> None:
    await sdk("put_object", Key="a b", Body=b"content")
    by_name = make_sdk(emulator.port, IP=None, Port=None)  # so that the URL has the bucket's host
    params = {"response-content-type": "x/y"}
    url = urlsplit(await by_name("get_presigned_url", Key="a b", Method="GET", Params=params))
    path = f"{url.path}?{url.query}"
    answer = await raw("GET", path=path, host=url.netloc, change=lambda _: "")
    assert (answer.status, answer.body) == (200, b"content")
    assert answer.headers["Content-Type"] == "x/y"
    other = path.replace("a%20b", "c")
    answer = await raw("GET", path=other, host=url.netloc, change=lambda _: "")
    assert answer.status == 403


async def test_bucket_exists(sdk: Sdk) -> None:
    assert (await sdk("head_bucket"))["x-cos-bucket-region"] == "ap-guangzhou"
    with pytest.raises(CosServiceError) as caught:
        await sdk("head_bucket", Bucket="nobody-1250000000")
    assert caught.value.get_status_code() == 404


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"SecretKey": "wrong"}, "SignatureDoesNotMatch"),
        ({"SecretId": "AKIDnobody"}, "InvalidAccessKeyId"),
        ({"SecretId": "AKIDother", "SecretKey": "othersecret"}, "AccessDenied"),
        ({"Anonymous": True, "SecretId": None, "SecretKey": None}, "AccessDenied"),
    ],
)
async def test_wrong_keys_are_refused(
    emulator: Emulator, settings: dict[str, object], code: str
) -> None:
    stranger = make_sdk(emulator.port, **settings)
    with pytest.raises(CosServiceError, match=code) as caught:
        await stranger("put_object", Key="k", Body=b"x")
    assert caught.value.get_status_code() == 403
    assert await emulator.object_names(BUCKET) == []


async def test_temporary_keys_need_their_token(emulator: Emulator) -> None:
    keys = {"SecretId": "AKIDother", "SecretKey": "othersecret"}
    with pytest.raises(CosServiceError, match="AccessDenied"):
        await make_sdk(emulator.port, **keys)("put_object", Bucket=OTHER_BUCKET, Key="k", Body=b"x")
    with_token = make_sdk(emulator.port, **keys, Token="sts/token+=")
    await with_token("put_object", Bucket=OTHER_BUCKET, Key="k", Body=b"x")
    assert await emulator.object_bytes(OTHER_BUCKET, "k") == b"x"


async def test_forbid_overwrite(sdk: Sdk) -> None:
    guard = {"x-cos-forbid-overwrite": "true"}
    await sdk("put_object", Key="k", Body=b"first", Metadata=guard)
    with pytest.raises(CosServiceError, match="FileAlreadyExists"):
        await sdk("put_object", Key="k", Body=b"second" * 50_000, Metadata=guard)
    assert await sdk.read("k") == b"first"
