"""What a COS conversation is about: frozen values in, frozen values out."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

__all__ = [
    "NO_OPTIONS",
    "CompletedPart",
    "CredentialProvider",
    "Credentials",
    "DeleteFailure",
    "ListPage",
    "MultipartUpload",
    "ObjectMeta",
    "ObjectOptions",
    "Part",
    "PartsPage",
    "StaticCredentials",
    "Stored",
    "UploadsPage",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair, with the token that belongs to it when it is temporary (STS)."""

    secret_id: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


class CredentialProvider(Protocol):
    """Where keys come from. `current` must not block: whoever renews keys does so ahead of time."""

    def current(self) -> Credentials:
        """Return the keys to sign the next request with. Raises StorageError if there are none."""
        ...


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Keys that never change."""

    credentials: Credentials

    def current(self) -> Credentials:
        """Return the keys."""
        return self.credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOptions:
    """What an object is created with; COS wants it at PUT, copy and initiate.

    `headers` are the standard ones that COS keeps with an object beside its content type, such as
    Cache-Control; `metadata` holds `x-cos-meta-*` suffixes (`a-z 0-9 -`) and ASCII values, 2 KB
    in all.
    """

    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    storage_class: str = ""
    server_side_encryption: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


NO_OPTIONS = ObjectOptions()
"""What the bucket's defaults give."""


class ObjectMeta(NamedTuple):
    """An object as HEAD, GET or a listing tells of it.

    `size` is the whole object's in bytes, also for a ranged GET. `etag` is quoted and opaque.
    `crc64` is of the whole object, None where the store does not say. Listings leave
    `options` empty except for the storage class. A tuple, because listings make thousands of them:
    a frozen dataclass takes twice the time.
    """

    key: str
    size: int
    etag: str
    modified: datetime  # aware, UTC, 1 s resolution
    crc64: int | None = None
    options: ObjectOptions = NO_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What COS acknowledges after PUT, copy, part or complete."""

    etag: str
    crc64: int | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a listing, in UTF-8 byte order; `next_marker` is "" on the last page."""

    objects: tuple[ObjectMeta, ...]
    prefixes: tuple[str, ...]
    next_marker: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part that ListParts shows; `size` in bytes."""

    number: int
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class CompletedPart:
    """A part as CompleteMultipartUpload names it."""

    number: int
    etag: str


@dataclass(frozen=True, slots=True)
class PartsPage:
    """One page of ListParts; `next_marker` is 0 on the last page."""

    parts: tuple[Part, ...]
    next_marker: int


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: datetime  # aware, UTC


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """One page of ListMultipartUploads; both markers are "" on the last page."""

    uploads: tuple[MultipartUpload, ...]
    next_key_marker: str
    next_upload_id_marker: str


@dataclass(frozen=True, slots=True)
class DeleteFailure:
    """A key that a multi-delete could not delete, and COS's reason."""

    key: str
    code: str
    message: str
