"""Signatures: published examples, vectors of the official SDK, and the SDK itself as oracle."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos import CosConfig
from qcloud_cos.cos_auth import CosS3Auth

from cos_ftp_server.cos.address import encode
from cos_ftp_server.cos.signing import CosSigner, authorization, key_window, sign_key
from cos_ftp_server.cos.types import Credentials

SECRET_ID = "AKIDTESTtestTESTtestTESTtestTEST0001"
SECRET_KEY = "testSecretKey0123456789abcdefABCD"
KEY_TIME = "1699999940;1700003540"
HOST = "examplebucket-1250000000.cos.ap-guangzhou.myqcloud.com"


def begun(secret_key: str, key_time: str) -> hmac.HMAC:
    return hmac.new(sign_key(secret_key, key_time).encode(), digestmod="sha1")


@dataclass(frozen=True)
class Vector:
    method: str
    path: str
    signature: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    header_list: str = "host"
    parameter_list: str = ""


VECTORS = {
    "list, unicode prefix": Vector(
        "GET",
        "/",
        "c9dc8284f494aeb4cb3d97fa8692c2184d15948a",
        query=(
            ("prefix", "目录 a/b+c"),
            ("delimiter", "/"),
            ("max-keys", "1000"),
            ("encoding-type", "url"),
            ("marker", ""),
        ),
        parameter_list="delimiter;encoding-type;marker;max-keys;prefix",
    ),
    "ranged GET, special key": Vector(
        "GET",
        "/docs/测试 文件 (1)+~*'!@,;=&$.txt",
        "30e43d192ac184982af19fa6cc8e32741711d96f",
        query=(
            ("response-content-type", "application/octet-stream"),
            ("response-cache-control", "max-age=600"),
        ),
        headers={"Range": "bytes=0-1023", "If-Match": '"ee8de918d05640145b18f70f4c3aa602"'},
        header_list="host;if-match;range",
        parameter_list="response-cache-control;response-content-type",
    ),
    "PUT with a token": Vector(
        "PUT",
        "/a/b/hello.txt",
        "0c7ee349d16a6c861af6ee344a83590127ebb4e2",
        headers={
            "Content-Length": "11",
            "Content-Type": "text/plain",
            "Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww==",
            "x-cos-acl": "default",
            "x-cos-meta-mtime": "1700000000",
            "x-cos-storage-class": "STANDARD_IA",
            "x-cos-security-token": "TOKEN+abc/def==",
            "User-Agent": "not signed",
        },
        header_list="content-length;content-md5;content-type;host;x-cos-acl;x-cos-meta-mtime;"
        "x-cos-security-token;x-cos-storage-class",
    ),
    "initiate": Vector(
        "POST",
        "/dir/big file.bin",
        "48502818e5b1a9f30f498fe30fff96d1e9b4fba3",
        query=(("uploads", ""),),
        headers={"Content-Length": "0", "Content-Type": "application/octet-stream"},
        header_list="content-length;content-type;host",
        parameter_list="uploads",
    ),
    "part": Vector(
        "PUT",
        "/dir/big file.bin",
        "f4f439b2b592e2d67fde90b0d6f4c413878d55f2",
        query=(("partNumber", "1"), ("uploadId", "1585130821cbb7df1d11")),
        headers={"Content-Length": "16", "Content-Type": "application/octet-stream"},
        header_list="content-length;content-type;host",
        parameter_list="partnumber;uploadid",
    ),
    "copy": Vector(
        "PUT",
        "/dst.txt",
        "fc7214789e5a038cd99a4d877030d8901d5016e2",
        headers={
            "Content-Length": "0",
            "x-cos-copy-source": f"{HOST}/a%20b/%E4%B8%AD.txt",
            "x-cos-metadata-directive": "Copy",
        },
        header_list="content-length;host;x-cos-copy-source;x-cos-metadata-directive",
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_vectors_of_the_official_signer(vector: Vector) -> None:
    assert authorization(
        vector.method,
        vector.path,
        vector.query,
        {"Host": HOST, **vector.headers},
        secret_id=SECRET_ID,
        key=begun(SECRET_KEY, KEY_TIME),
        key_time=KEY_TIME,
    ) == (
        f"q-sign-algorithm=sha1&q-ak={SECRET_ID}&q-sign-time={KEY_TIME}&q-key-time={KEY_TIME}"
        f"&q-header-list={vector.header_list}&q-url-param-list={vector.parameter_list}"
        f"&q-signature={vector.signature}"
    )


def test_sign_key_vector() -> None:
    assert sign_key(SECRET_KEY, KEY_TIME) == "2f88a614c939e832f375a11b272c0e8b460ce348"


def test_examples_of_the_documentation() -> None:
    """COS: Request signature. Both samples sign `date`, so that only our encoding can be compared.

    The page prints the digests, and for the download sample SignKey and signature as well.
    """
    host = "examplebucket-1250000000.cos.ap-beijing.myqcloud.com"
    upload = {
        "content-length": "13",
        "content-md5": "mQ/fVh815F3k6TAUm8m0eg==",
        "content-type": "text/plain",
        "date": "Thu, 16 May 2019 06:45:51 GMT",
        "host": host,
        "x-cos-acl": "private",
        "x-cos-grant-read": 'uin="100000000011"',
    }
    parameters = {
        "response-cache-control": "max-age=600",
        "response-content-type": "application/octet-stream",
    }
    download = {"date": "Thu, 16 May 2019 06:55:53 GMT", "host": host}

    def joined(pairs: Mapping[str, str]) -> str:
        return "&".join(f"{name}={encode(value)}" for name, value in pairs.items())

    def digest(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        text = f"{method}\n/exampleobject(腾讯云)\n{joined(query)}\n{joined(headers)}\n"
        return sha1(text.encode(), usedforsecurity=False).hexdigest()

    assert digest("put", {}, upload) == "8b2751e77f43a0995d6e9eb9477f4b685cca4172"
    found = digest("get", parameters, download)
    assert found == "54ecfe22f59d3514fdc764b87a32d8133ea611e6"
    key = hmac.new(b"937914bf490e9e8c189836aad2052e4feeb35eaf", digestmod="sha1")
    key.update(f"sha1\n1557989753;1557996953\n{found}\n".encode())
    assert key.hexdigest() == "01681b8c9d798a678e43b685a9f1bba0f6c0e012"


@dataclass
class PreparedRequest:
    """What the official signer expects of `requests`."""

    method: str
    url: str
    headers: dict[str, str]


CONFIG = CosConfig(Region="ap-guangzhou", SecretId=SECRET_ID, SecretKey=SECRET_KEY)

keys = st.text(min_size=1).filter(lambda key: not key.startswith("/"))
token = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-", min_size=1, max_size=12)
header_names = st.one_of(
    st.sampled_from(["Range", "If-Match", "Content-Type", "content-md5", "Date", "User-Agent"]),
    token.map(lambda name: f"x-cos-meta-{name}"),
    token.map(lambda name: f"X-Cos-{name}"),
)


def distinct(pairs: dict[str, str]) -> bool:
    return len({name.lower() for name in pairs}) == len(pairs)


@given(
    method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "DELETE"]),
    key=keys,
    query=st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=20)).filter(distinct),
    headers=st.dictionaries(header_names, st.text(max_size=20), max_size=5).filter(distinct),
)
def test_agrees_with_the_official_sdk(
    method: str, key: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    theirs = PreparedRequest(method, f"https://{HOST}/", dict(headers))
    CosS3Auth(CONFIG, key, query)(theirs)
    expected = theirs.headers["Authorization"]
    found = re.search("q-sign-time=([0-9;]+)", expected)
    assert found is not None
    assert expected == authorization(
        method,
        f"/{key}",
        query.items(),
        {"Host": HOST, **headers},
        secret_id=SECRET_ID,
        key=begun(SECRET_KEY, found[1]),
        key_time=found[1],
    )


@given(now=st.integers(1_600_000_000, 2_000_000_000))
def test_window_holds_now_with_room_on_both_sides(now: int) -> None:
    start, end = map(int, key_window(now).split(";"))
    assert start <= now - 60
    assert now + 3000 <= end <= now + 3600


class TestCosSigner:
    def sign(self, signer: CosSigner, credentials: Credentials, now: int) -> dict[str, str]:
        headers = {"Host": HOST}
        signer.sign("GET", "/k", (), headers, credentials, now)
        return headers

    def test_uses_the_window_and_the_keys_of_each_call(self) -> None:
        signer = CosSigner()
        for secret_key, now in (("a", 0), ("a", 10), ("a", 10_000), ("b", 10_000), ("a", 0)):
            headers = self.sign(signer, Credentials("id", secret_key), now)
            assert headers["Authorization"] == authorization(
                "GET",
                "/k",
                (),
                {"Host": HOST},
                secret_id="id",
                key=begun(secret_key, key_window(now)),
                key_time=key_window(now),
            )

    def test_sends_and_signs_the_token(self) -> None:
        headers = self.sign(CosSigner(), Credentials("id", "key", "token"), 0)
        assert headers["x-cos-security-token"] == "token"
        assert "q-header-list=host;x-cos-security-token&" in headers["Authorization"]


def test_credentials_do_not_show_their_secrets() -> None:
    assert "hidden" not in repr(Credentials("id", "hidden-key", "hidden-token"))
