"""The values that the index keeps and hands out. Pure data: knows no SQL, files or HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cos_ftp_server.emulator.blobs import Piece

__all__ = [
    "Address",
    "Attributes",
    "ListedObject",
    "ListedUpload",
    "Received",
    "StoredObject",
    "StoredPart",
]


class Address(NamedTuple):
    """Where an object is."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """What an object is created with: headers given back by GET and HEAD, and its class."""

    headers: Mapping[str, str]
    storage_class: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class Received:
    """Content that has arrived and is not yet anyone's: held in memory or in a blob."""

    size: int
    md5: bytes
    crc: int
    small: bytes | None
    blob: int | None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object. `etag` has no quotes; `modified` is in Unix seconds.

    Its content is either a row of small content, `small` being the row's number, or `pieces`.
    """

    size: int
    etag: str
    crc: int
    modified: int
    attributes: Attributes
    appendable: bool = False
    small: int | None = None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of an upload in progress."""

    number: int
    size: int
    etag: str
    crc: int
    modified: int
    blob: int


class ListedObject(NamedTuple):
    """What a listing says of an object."""

    key: bytes
    size: int
    etag: str
    modified: int
    storage_class: str


class ListedUpload(NamedTuple):
    """What a listing says of an upload in progress."""

    key: bytes
    upload_id: str
    initiated: int
    storage_class: str
