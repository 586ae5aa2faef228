"""What differs between COS and other stores of its family, in one frozen object. Pure.

A second dialect (S3, say) is a second `Dialect`, not a second client.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.signing import CosSigner
from cos_ftp_server.cos.types import Credentials

__all__ = ["COS", "Dialect", "Signer"]


class Signer(Protocol):
    """Authenticates requests. One instance serves one client, so it may remember derived keys."""

    def sign(
        self,
        method: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: dict[str, str],
        credentials: Credentials,
        now: int,
    ) -> None:
        """Add to `headers` what authenticates the request at Unix time `now`.

        They name the host already; `path` and `query` are decoded; `path` begins with "/".
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a store wants to be spoken to, and how large things may be (bytes unless said)."""

    new_signer: Callable[[], Signer]
    header_prefix: str
    copy_source: Callable[[BucketAddress, str], str]
    directive_copy: str
    directive_replace: str
    forbid_overwrite: tuple[str, str]
    """The header that makes a write fail with EXISTS instead of replacing an object."""
    retry_mark: tuple[str, str] | None
    """The header that tells the store that a request is a repetition."""
    crc64_header: str | None
    """The response header with the object's CRC-64/XZ in decimal."""
    request_id_header: str
    url_encoded_listing: bool
    max_key_bytes: int
    max_put_bytes: int
    max_copy_bytes: int
    min_part_bytes: int
    """Of every part but the last."""
    max_part_bytes: int
    max_parts: int
    """Parts in one upload; they are numbered from 1."""
    max_batch: int
    """Keys in one multi-delete."""


_MIB = 1024**2
_GIB = 1024**3

# COS: Specifications and Limits.
COS = Dialect(
    new_signer=CosSigner,
    header_prefix="x-cos-",
    copy_source=BucketAddress.copy_source,
    directive_copy="Copy",
    directive_replace="Replaced",
    forbid_overwrite=("x-cos-forbid-overwrite", "true"),
    retry_mark=("x-cos-sdk-retry", "true"),  # as the official SDKs do
    crc64_header="x-cos-hash-crc64ecma",
    request_id_header="x-cos-request-id",
    url_encoded_listing=True,
    max_key_bytes=850,
    max_put_bytes=5 * _GIB,
    max_copy_bytes=5 * _GIB,
    min_part_bytes=_MIB,
    max_part_bytes=5 * _GIB,
    max_parts=10_000,
    max_batch=1000,
)
