"""Where a bucket is: host names, path or virtual-host style, URLs and copy sources. Pure."""

import ipaddress
import posixpath
import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["BucketAddress", "Origin", "check_key", "encode", "encode_path"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNRESERVED = "-_.~"  # RFC 3986 section 2.3, beside letters and digits
# As most names are: seeing it takes a third of what `quote` does.
_is_plain = re.compile(r"[A-Za-z0-9._~-]*").fullmatch
_is_plain_path = re.compile(r"[A-Za-z0-9._~/-]*").fullmatch


def encode(text: str) -> str:
    """Percent-encode all but RFC 3986's unreserved characters; a space is %20.

    >>> encode("a b/ü")
    'a%20b%2F%C3%BC'
    """
    return text if _is_plain(text) else quote(text, _UNRESERVED, errors="surrogateescape")


def encode_path(text: str) -> str:
    """Percent-encode a key for a URL's path; "/" stays.

    >>> encode_path("a b/c+d")
    'a%20b/c%2Bd'
    """
    return text if _is_plain_path(text) else quote(text, "/" + _UNRESERVED)


def check_key(key: str, max_bytes: int, operation: str) -> None:
    """Refuse a key that would address the bucket instead of an object, or is out of bounds.

    A GET of such a key would list the bucket and a DELETE would delete it. COS: a key must not
    begin with "/". Raises StorageError(BAD_NAME).
    """
    is_root = (not key.strip("./") or ".." in key) and not posixpath.normpath("/" + key).strip("/")
    if is_root or key.startswith("/") or len(key.encode()) > max_bytes:
        raise StorageError(ErrorKind.BAD_NAME, operation=operation, key=key)


class Origin(NamedTuple):
    """Whom to connect to; `host` is a name or an address, without brackets.

    A tuple, whose hash costs little: connections are looked up by it for each request.
    """

    is_secure: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """Return the origin of a URL. Raises ValueError for one without a host.

        >>> Origin.of("http://[::1]:90/x")
        Origin(is_secure=False, host='::1', port=90)
        """
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"no host: {url!r}")
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        return cls(parts.scheme == "https", parts.hostname, port)


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """One bucket's place on the network; `bucket` is the full `name-appid`.

    `endpoint` (`host[:port]`) wins over `region`. The bucket is the first label of the host name,
    except where that cannot be: an endpoint that is an IP address or `localhost` gets the
    bucket as the first component of the path. An endpoint that begins with the bucket is
    used as it is. Raises ValueError for what cannot be a host.
    """

    bucket: str
    region: str = ""
    endpoint: str = ""
    scheme: str = "https"
    host: str = field(init=False)
    """What the Host header says: lower case, with the port unless it is the scheme's own."""
    path_prefix: str = field(init=False)
    """"" or, path style, "/<bucket>"."""
    encoded_prefix: str = field(init=False)
    """The same as a URL has it."""
    url: str = field(init=False)
    """scheme://host/<path_prefix>, without a trailing slash."""
    origin: Origin = field(init=False)
    """Whom to connect to."""

    def __post_init__(self) -> None:
        if self.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"scheme must be http or https, not {self.scheme!r}")
        if not self.bucket:
            raise ValueError("the bucket must not be empty")
        host, port, path_style = self._locate()
        if port and port != _DEFAULT_PORTS[self.scheme]:
            host = f"{host}:{port}"
        prefix = f"/{self.bucket}" if path_style else ""
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "path_prefix", prefix)
        object.__setattr__(self, "encoded_prefix", encode_path(prefix))
        object.__setattr__(self, "url", f"{self.scheme}://{host}{self.encoded_prefix}")
        object.__setattr__(self, "origin", Origin.of(f"{self.scheme}://{host}"))

    def _locate(self) -> tuple[str, int | None, bool]:
        """Return host name, port and whether the bucket goes into the path."""
        if not self.endpoint:
            if not self.region:
                raise ValueError("either a region or an endpoint is needed")
            return f"{self.bucket}.cos.{self.region}.myqcloud.com".lower(), None, False
        parts = urlsplit(f"//{self.endpoint}")
        name = parts.hostname
        if not name or parts.netloc != self.endpoint or parts.username is not None:
            raise ValueError(f"not a host or host:port: {self.endpoint!r}")
        if name == "localhost" or _is_ip_address(name):
            return f"[{name}]" if ":" in name else name, parts.port, True
        if name.startswith(f"{self.bucket.lower()}."):
            return name, parts.port, False
        return f"{self.bucket.lower()}.{name}", parts.port, False

    def target(self, key: str, query: str = "") -> str:
        """Return what to ask the origin for: an object ("" means the bucket).

        `query` is already encoded (RFC 9112 section 3.2.1).
        """
        path = f"{self.encoded_prefix}/{encode_path(key)}"
        return f"{path}?{query}" if query else path

    def signed_path(self, key: str) -> str:
        """Return the decoded path that goes into a signature (COS: Request signature)."""
        return f"{self.path_prefix}/{key}"

    def copy_source(self, key: str) -> str:
        """Return how this bucket's `key` is named as the source of a copy (COS: PUT Object - Copy).

        >>> BucketAddress("b-1", "ap-x").copy_source("a b")
        'b-1.cos.ap-x.myqcloud.com/a%20b'
        """
        return f"{self.host}{self.encoded_prefix}/{encode_path(key)}"


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
