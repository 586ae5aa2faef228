"""Where buckets are, and how keys become URLs."""

import string
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cos_ftp_server.cos.address import BucketAddress, Origin, check_key
from cos_ftp_server.errors import ErrorKind, StorageError

BUCKET = "photos-1250000000"


@pytest.mark.parametrize(
    ("region", "endpoint", "scheme", "origin"),
    [
        ("ap-tokyo", "", "https", f"https://{BUCKET}.cos.ap-tokyo.myqcloud.com"),
        ("ap-tokyo", "", "http", f"http://{BUCKET}.cos.ap-tokyo.myqcloud.com"),
        ("ap-tokyo", "cos.corp.example", "https", f"https://{BUCKET}.cos.corp.example"),
        ("", "cos.corp.example:8443", "https", f"https://{BUCKET}.cos.corp.example:8443"),
        ("", "cos.corp.example:443", "https", f"https://{BUCKET}.cos.corp.example"),
        ("", "cos.corp.example:80", "http", f"http://{BUCKET}.cos.corp.example"),
        ("", "COS.Corp.Example", "https", f"https://{BUCKET}.cos.corp.example"),
        ("", f"{BUCKET}.cos.accelerate.myqcloud.com", "https", None),
        ("", "127.0.0.1:9000", "http", f"http://127.0.0.1:9000/{BUCKET}"),
        ("", "[::1]:9000", "http", f"http://[::1]:9000/{BUCKET}"),
        ("", "localhost", "http", f"http://localhost/{BUCKET}"),
    ],
)
def test_origin(region: str, endpoint: str, scheme: str, origin: str | None) -> None:
    address = BucketAddress(BUCKET, region, endpoint, scheme)
    assert address.url == (origin or f"{scheme}://{endpoint}")


@pytest.mark.parametrize(
    "endpoint", ["http://host", "host/path", "user@host", "host:port", "a b\n", ":80", "host?x"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        BucketAddress(BUCKET, endpoint=endpoint)


def test_needs_a_region_or_an_endpoint() -> None:
    with pytest.raises(ValueError, match="region"):
        BucketAddress(BUCKET)


def test_knows_http_and_https_only() -> None:
    with pytest.raises(ValueError, match="scheme"):
        BucketAddress(BUCKET, "ap-tokyo", scheme="ftp")


class TestVirtualHost:
    address = BucketAddress(BUCKET, "ap-tokyo")

    def test_signs_the_decoded_path(self) -> None:
        assert self.address.signed_path("a b/ü") == "/a b/ü"

    def test_names_a_copy_source_by_host(self) -> None:
        assert self.address.copy_source("a b") == f"{BUCKET}.cos.ap-tokyo.myqcloud.com/a%20b"


class TestPathStyle:
    address = BucketAddress(BUCKET, endpoint="127.0.0.1:9000", scheme="http")

    def test_has_the_bucket_in_all_paths(self) -> None:
        assert self.address.origin == Origin(False, "127.0.0.1", 9000)
        assert self.address.target("k", "uploads") == f"/{BUCKET}/k?uploads"
        assert self.address.target("") == f"/{BUCKET}/"
        assert self.address.signed_path("k") == f"/{BUCKET}/k"
        assert self.address.copy_source("k") == f"127.0.0.1:9000/{BUCKET}/k"


keys = st.text(st.characters(codec="utf-8"), min_size=1)


@given(keys)
@example("a/../b")
@example("a//./b/")
@example("100%+ü?#&=")
def test_a_key_reaches_the_wire_unchanged(key: str) -> None:
    address = BucketAddress(BUCKET, "ap-tokyo")
    path, _, query = address.target(key, "uploads").partition("?")
    assert set(path) <= set(string.ascii_letters + string.digits + "-._~%/")
    assert unquote(path, errors="strict") == address.signed_path(key)
    assert query == "uploads"


@pytest.mark.parametrize(
    "key",
    ["", "/", "//", ".", "..", "a/..", "./", "a/../", "x/../../y/..", "/a", "k" * 851, "あ" * 284],
)
def test_keys_that_must_never_be_sent(key: str) -> None:
    with pytest.raises(StorageError) as caught:
        check_key(key, 850, "get object")
    assert caught.value.kind is ErrorKind.BAD_NAME


@pytest.mark.parametrize("key", ["a", "...", "a/../b", "a/", ".a", "..a/", "k" * 850, "あ" * 283])
def test_keys_that_may(key: str) -> None:
    check_key(key, 850, "get object")
