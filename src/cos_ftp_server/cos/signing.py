"""COS request signatures, `q-sign-algorithm=sha1` (COS: Request signature). Pure.

Knows credentials and what a request says, not how one is sent.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache

from cos_ftp_server.cos.address import encode
from cos_ftp_server.cos.types import Credentials

__all__ = ["CosSigner", "authorization", "key_window", "sign_key"]

# What the official SDKs sign, beside every x-cos-* and x-ci-* header.
_SIGNED_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-length",
        "content-md5",
        "content-type",
        "expect",
        "expires",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "origin",
        "pic-operations",
        "range",
        "transfer-encoding",
    }
)

_WINDOW_STEP_S = 300  # one HMAC per five minutes instead of one per request
_BACKDATE_S = 60  # the official SDK's allowance for a clock that runs ahead
_LIFETIME_S = 3600  # the go and java SDKs' window; a request may wait long for a connection


def key_window(now: int) -> str:
    """Return the KeyTime `start;end` in Unix seconds to sign with at `now`, stable for minutes.

    >>> key_window(1_700_000_000)
    '1699999740;1700003400'
    """
    start = now - now % _WINDOW_STEP_S
    return f"{start - _BACKDATE_S};{start + _LIFETIME_S}"


def sign_key(secret_key: str, key_time: str) -> str:
    """Return the SignKey: 40 hex digits, used as ASCII text and not as the bytes they stand for."""
    return hmac.digest(secret_key.encode(), key_time.encode(), "sha1").hex()


def _is_signed(name: str) -> bool:
    name = name.lower()
    return name in _SIGNED_HEADERS or name.startswith(("x-cos-", "x-ci-"))


@lru_cache(maxsize=512)  # most requests have the headers of the last one
def _canonical(pairs: tuple[tuple[str, str], ...], is_headers: bool) -> tuple[str, str]:
    """Return `k=v&…` and `k;…`, sorted; names are encoded first and lower-cased after."""
    encoded = sorted(
        [
            (encode(name).lower(), encode(value))
            for name, value in pairs
            if not is_headers or _is_signed(name)
        ]
    )
    return "&".join([f"{k}={v}" for k, v in encoded]), ";".join([k for k, _ in encoded])


def authorization(
    method: str,
    path: str,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    secret_id: str,
    key: hmac.HMAC,
    key_time: str,
) -> str:
    """Return the Authorization header of a request.

    `path` is the decoded path with its leading slash; `query` and `headers` are decoded too. Of
    `headers` those that COS wants signed are. `key` is an HMAC-SHA1 begun with the SignKey of
    `key_time`; it is copied.
    """
    parameters, parameter_names = _canonical(tuple(query), False)
    signed, header_names = _canonical(tuple(headers.items()), True)
    request = f"{method.lower()}\n{path}\n{parameters}\n{signed}\n"
    digest = hashlib.sha1(request.encode(), usedforsecurity=False).hexdigest()
    signature = key.copy()
    signature.update(f"sha1\n{key_time}\n{digest}\n".encode())
    return (
        f"q-sign-algorithm=sha1&q-ak={secret_id}&q-sign-time={key_time}&q-key-time={key_time}"
        f"&q-header-list={header_names}&q-url-param-list={parameter_names}"
        f"&q-signature={signature.hexdigest()}"
    )


class CosSigner:
    """Signs the requests of one client; remembers the last SignKey."""

    def __init__(self) -> None:
        self._made_for: tuple[str, str] | None = None
        self._key = hmac.new(b"", digestmod="sha1")

    def sign(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: dict[str, str],
        credentials: Credentials,
        now: int,
    ) -> None:
        """Add to `headers` what authenticates the request at Unix time `now`."""
        if credentials.token:
            headers["x-cos-security-token"] = credentials.token
        key_time = key_window(now)
        if self._made_for != (credentials.secret_key, key_time):
            key = sign_key(credentials.secret_key, key_time)
            self._key = hmac.new(key.encode(), digestmod="sha1")
            self._made_for = (credentials.secret_key, key_time)
        headers["Authorization"] = authorization(
            method,
            path,
            query,
            headers,
            secret_id=credentials.secret_id,
            key=self._key,
            key_time=key_time,
        )
