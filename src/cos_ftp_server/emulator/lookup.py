"""Questions to the index, answered on any connection to its database.

Owns the SELECTs and the form in which rows hold values. Changes nothing; knows no HTTP or XML.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from cos_ftp_server.emulator.blobs import Piece
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.listing import Seek
from cos_ftp_server.emulator.records import (
    Address,
    Attributes,
    ListedObject,
    ListedUpload,
    StoredObject,
    StoredPart,
)

__all__ = [
    "find_content",
    "find_object",
    "find_part_blobs",
    "find_upload",
    "object_rows",
    "parts_after",
    "upload_rows",
]

_OBJECT = "size, etag, crc, modified, headers, storage_class, appendable, small, pieces"


def find_object(connection: sqlite3.Connection, address: Address) -> StoredObject | None:
    """Return the object at an address, None if there is none."""
    row = connection.execute(
        f"SELECT {_OBJECT} FROM objects WHERE bucket=? AND key=?",  # noqa: S608 - a constant
        (address.bucket, address.key.encode()),
    ).fetchone()
    return _object_of(row) if row else None


def find_content(
    connection: sqlite3.Connection, address: Address
) -> tuple[StoredObject, bytes | None] | None:
    """Return the object and, of one snapshot, its content where that is small."""
    row = connection.execute(
        f"SELECT {_OBJECT}, bytes FROM objects LEFT JOIN small ON id=small"  # noqa: S608
        " WHERE bucket=? AND key=?",
        (address.bucket, address.key.encode()),
    ).fetchone()
    return (_object_of(row[:-1]), row[-1]) if row else None


def find_upload(connection: sqlite3.Connection, address: Address, upload_id: str) -> Attributes:
    """Return what an upload in progress was begun with.

    Raises:
        CosError: NoSuchUpload.
    """
    row = connection.execute(
        "SELECT headers, storage_class FROM uploads WHERE bucket=? AND key=? AND id=?",
        (address.bucket, address.key.encode(), upload_id),
    ).fetchone()
    if row is None:
        raise CosError("NoSuchUpload", "The upload does not exist: it was completed or aborted.")
    return Attributes(json.loads(row[0]), row[1])


def parts_after(
    connection: sqlite3.Connection, upload_id: str, number: int = 0
) -> Iterator[StoredPart]:
    """Yield an upload's parts of higher numbers than `number`, in order."""
    rows = connection.execute(
        "SELECT number, size, etag, crc, modified, blob FROM parts"
        " WHERE upload=? AND number>? ORDER BY number",
        (upload_id, number),
    )
    with closing(rows):
        for part, size, etag, crc, modified, blob in rows:
            yield StoredPart(part, size, etag, int(crc), modified, blob)


def find_part_blobs(connection: sqlite3.Connection, upload_id: str, number: int) -> list[int]:
    """Return the blob of one part of an upload, if it has that part."""
    rows = connection.execute(
        "SELECT blob FROM parts WHERE upload=? AND number=?", (upload_id, number)
    )
    return [blob for (blob,) in rows]


def object_rows(connection: sqlite3.Connection, bucket: str) -> Seek[ListedObject]:
    """Return the way to walk a bucket's objects."""

    def seek(start: bytes, end: bytes) -> Iterator[ListedObject]:
        rows = connection.execute(
            "SELECT key, size, etag, modified, storage_class FROM objects"
            " WHERE bucket=? AND key>=? AND key<? ORDER BY key",
            (bucket, start, end),
        )
        with closing(rows):
            yield from map(ListedObject._make, rows)

    return seek


def upload_rows(
    connection: sqlite3.Connection, bucket: str, after: tuple[bytes, str] | None
) -> Seek[ListedUpload]:
    """Return the way to walk a bucket's uploads in progress, by key and then by UploadId.

    With `after`, the uploads of that key are told only if their id comes after that id.
    """

    def seek(start: bytes, end: bytes) -> Iterator[ListedUpload]:
        rows = connection.execute(
            "SELECT key, id, initiated, storage_class FROM uploads"
            " WHERE bucket=? AND key>=? AND key<? ORDER BY key, id",
            (bucket, start, end),
        )
        with closing(rows):
            for row in map(ListedUpload._make, rows):
                if after is None or (row.key, row.upload_id) > after:
                    yield row

    return seek


def _object_of(row: tuple[Any, ...]) -> StoredObject:
    size, etag, crc, modified, headers, storage_class, appendable, small, pieces = row
    return StoredObject(
        size=size,
        etag=etag,
        crc=int(crc),
        modified=modified,
        attributes=Attributes(json.loads(headers), storage_class),
        appendable=bool(appendable),
        small=small,
        pieces=tuple(Piece(*piece) for piece in json.loads(pieces)),
    )
