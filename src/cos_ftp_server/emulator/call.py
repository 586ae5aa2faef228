"""A request on its way to an operation, and the answer on its way back.

Owns the two values that pass between `server` and the operations, and the reading of bodies and
numbers that all operations share. Knows nothing of sockets or faults.
"""

import base64
import binascii
import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from cos_ftp_server.emulator.config import EmulatorConfig
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.records import Address, Received
from cos_ftp_server.emulator.store import OpenObject, Store
from cos_ftp_server.emulator.target import parse_number

__all__ = ["Call", "ObjectRange", "Reply", "number_param", "read_document", "receive_content"]

_MAX_DOCUMENT_BYTES = 4 * 1024**2  # 10,000 parts at some 130 bytes each, three times over


@dataclass(frozen=True, slots=True)
class Call:
    """One request that may be carried out; `headers` are case-insensitive, `now` Unix seconds.

    `readable` are the buckets that the signer may read. `body` can be iterated once.
    """

    store: Store
    config: EmulatorConfig
    address: Address
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: AsyncGenerator[bytes, None]
    content_length: int | None
    now: int
    readable: frozenset[str]

    @property
    def forbids_overwrite(self) -> bool:
        """Whether an existing object must stay."""
        return self.headers.get("x-cos-forbid-overwrite", "").lower() == "true"


@dataclass(frozen=True, slots=True)
class ObjectRange:
    """The part of an open object that an answer sends; who holds it closes the object."""

    source: OpenObject
    start: int
    size: int


@dataclass(slots=True)
class Reply:
    """An answer: its body is `body`, or `content` streamed from the store."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content: ObjectRange | None = None

    def close(self) -> None:
        """Let go of the content."""
        if self.content is not None:
            self.content.source.close()


def number_param(call: Call, name: str, default: int, highest: int) -> int:
    """Return a non-negative number of the query, cut to `highest`.

    Raises:
        CosError: InvalidArgument.
    """
    text = call.query.get(name, "")
    if not text:
        return default
    number = parse_number(text)
    if number is None:
        raise CosError("InvalidArgument", f"{name} is not a number.")
    return min(number, highest)


async def receive_content(call: Call, *, may_be_small: bool) -> Received:
    """Take in the body of a request, checked against its `Content-MD5`.

    Raises:
        CosError: MissingContentLength, EntityTooLarge, InvalidDigest, BadDigest.
    """
    max_bytes = call.config.max_put_bytes
    if call.content_length is None and "Transfer-Encoding" not in call.headers:
        raise CosError("MissingContentLength", "The length of the body is not told.")
    if (call.content_length or 0) > max_bytes:
        raise CosError("EntityTooLarge", f"At most {max_bytes} bytes are taken.")
    expected = _content_md5(call)
    content = await call.store.receive(call.body, max_bytes=max_bytes, may_be_small=may_be_small)
    if expected not in (b"", content.md5):
        call.store.drop(content)
        raise CosError("BadDigest", "The body does not have the announced Content-MD5.")
    return content


async def read_document(call: Call) -> bytes:
    """Read a small body whole, checked against its `Content-MD5`.

    Raises:
        CosError: InvalidRequest if it is too large, InvalidDigest, BadDigest.
    """
    expected = _content_md5(call)
    body = bytearray()
    async for chunk in call.body:
        body += chunk
        if len(body) > _MAX_DOCUMENT_BYTES:
            raise CosError("InvalidRequest", "The document is too large.")
    if expected not in (b"", hashlib.md5(body, usedforsecurity=False).digest()):
        raise CosError("BadDigest", "The body does not have the announced Content-MD5.")
    return bytes(body)


def _content_md5(call: Call) -> bytes:
    header = call.headers.get("Content-MD5", "")
    if not header:
        return b""
    try:
        digest = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.md5(usedforsecurity=False).digest_size:
        raise CosError("InvalidDigest", "Content-MD5 is not the base64 of an MD5.")
    return digest
