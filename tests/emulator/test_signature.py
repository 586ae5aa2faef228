"""The verifying half of COS request signing, against vectors of the official signer."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from multidict import CIMultiDict

from cos_ftp_server.emulator import EmulatorBucket
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.signature import Signable, verify
from cos_ftp_server.emulator.target import parse_target

BUCKET = "examplebucket-1250000000"
HOST = f"{BUCKET}.cos.ap-guangzhou.myqcloud.com"
SECRET_ID = "AKIDTESTtestTESTtestTESTtestTEST0001"
SECRET_KEY = "testSecretKey0123456789abcdefABCD"
START, END = 1699999940, 1700003540
NOW = 1700000000

Vector = tuple[str, str, dict[str, str], str, str]

# Made with cos-python-sdk-v5 1.9.44: method, target, signed headers, signed parameters, signature.
VECTORS: list[Vector] = [
    (
        "GET",
        "/?prefix=%E7%9B%AE%E5%BD%95%20a%2Fb%2Bc&delimiter=%2F&max-keys=1000&encoding-type=url&marker=",
        {},
        "delimiter;encoding-type;marker;max-keys;prefix",
        "c9dc8284f494aeb4cb3d97fa8692c2184d15948a",
    ),
    (
        "GET",
        "/docs/%E6%B5%8B%E8%AF%95%20%E6%96%87%E4%BB%B6%20%281%29%2B~%2A%27%21%40%2C%3B%3D%26%24.txt"
        "?response-content-type=application%2Foctet-stream&response-cache-control=max-age%3D600",
        {"Range": "bytes=0-1023", "If-Match": '"ee8de918d05640145b18f70f4c3aa602"'},
        "response-cache-control;response-content-type",
        "30e43d192ac184982af19fa6cc8e32741711d96f",
    ),
    (
        "PUT",
        "/a/b/hello.txt",
        {
            "Content-Length": "11",
            "Content-MD5": "XrY7u+Ae7tCTyyK7j1rNww==",
            "Content-Type": "text/plain",
            "x-cos-acl": "default",
            "x-cos-meta-mtime": "1700000000",
            "x-cos-security-token": "TOKEN+abc/def==",
            "x-cos-storage-class": "STANDARD_IA",
        },
        "",
        "0c7ee349d16a6c861af6ee344a83590127ebb4e2",
    ),
    (
        "POST",
        "/dir/big file.bin?uploads".replace(" ", "%20"),
        {"Content-Length": "0", "Content-Type": "application/octet-stream"},
        "uploads",
        "48502818e5b1a9f30f498fe30fff96d1e9b4fba3",
    ),
    (
        "PUT",
        "/dir%2Fbig%20file.bin?partNumber=1&uploadId=1585130821cbb7df1d11",
        {"Content-Length": "16", "Content-Type": "application/octet-stream"},
        "partnumber;uploadid",
        "f4f439b2b592e2d67fde90b0d6f4c413878d55f2",
    ),
    (
        "PUT",
        "/dst.txt",
        {
            "Content-Length": "0",
            "x-cos-copy-source": f"{HOST}/a%20b/%E4%B8%AD.txt",
            "x-cos-metadata-directive": "Copy",
        },
        "",
        "fc7214789e5a038cd99a4d877030d8901d5016e2",
    ),
]


def make_request(vector: Vector, change: Mapping[str, str] = MappingProxyType({})) -> Signable:
    method, target, headers, params, signature = vector
    signed = {**headers, "Host": HOST}
    fields = {
        "q-sign-algorithm": "sha1",
        "q-ak": SECRET_ID,
        "q-sign-time": f"{START};{END}",
        "q-key-time": f"{START};{END}",
        "q-header-list": ";".join(sorted(name.lower() for name in signed)),
        "q-url-param-list": params,
        "q-signature": signature,
        **change,
    }
    authorization = "&".join(f"{name}={value}" for name, value in fields.items())
    all_headers = CIMultiDict({**signed, "User-Agent": "test", "Authorization": authorization})
    return Signable(method, parse_target(target, HOST, {BUCKET}), all_headers)


def check(request: Signable, now: float = NOW, token: str = "") -> str:
    keys = [
        EmulatorBucket("x-1", SECRET_ID, "?"),
        EmulatorBucket(BUCKET, SECRET_ID, SECRET_KEY, token),
    ]
    return verify(request, keys, now)


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors_of_the_official_signer(vector: Vector) -> None:
    assert check(make_request(vector)) == SECRET_ID


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_nothing_signed_can_be_changed(vector: Vector, part: int) -> None:
    method, target, headers, params, signature = vector
    if part == 0:
        method = "DELETE"
    elif part == 1:
        target = target.replace("/", "/x", 1)
    else:
        signature = signature.replace(signature[0], "0" if signature[0] != "0" else "1", 1)
    with pytest.raises(CosError) as caught:
        check(make_request((method, target, headers, params, signature)))
    assert caught.value.code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (START - 16 * 60, "RequestTimeTooSkewed"),
        (START - 14 * 60, None),
        (END, None),
        (END + 1, "AccessDenied"),
        (END + 16 * 60, "RequestTimeTooSkewed"),
    ],
)
def test_time_window(now: float, code: str | None) -> None:
    request = make_request(VECTORS[0])
    if code is None:
        check(request, now)
        return
    with pytest.raises(CosError) as caught:
        check(request, now)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        {"q-sign-algorithm": "md5"},
        {"q-sign-time": "now;then"},
        {"q-sign-time": ""},
    ],
)
def test_odd_signatures_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(CosError) as caught:
        check(make_request(VECTORS[0], change))
    assert caught.value.code == "AccessDenied"


def test_listed_header_must_be_there() -> None:
    with pytest.raises(CosError) as caught:
        check(make_request(VECTORS[0], {"q-header-list": "host;range"}))
    assert caught.value.code == "SignatureDoesNotMatch"


def test_secrets_are_not_shown() -> None:
    shown = repr(EmulatorBucket(BUCKET, SECRET_ID, SECRET_KEY, token="sometoken"))
    assert SECRET_KEY not in shown
    assert "sometoken" not in shown
