"""The index: which objects, uploads and parts there are. SQLite, and the truth of the store.

Owns the schema and every change to it. An instance belongs to the one thread that writes; what
its methods refuse (`CosError`) they refuse before they have written anything, so that a refusal
leaves the transaction it is part of usable for others. Knows nothing of HTTP, XML or threads.
"""

import json
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cos_ftp_server.crc64 import combine
from cos_ftp_server.emulator.blobs import BlobFiles, Piece
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.lookup import (
    find_object,
    find_part_blobs,
    find_upload,
    parts_after,
)
from cos_ftp_server.emulator.records import (
    Address,
    Attributes,
    ListedObject,
    Received,
    StoredObject,
    StoredPart,
)

__all__ = ["Index", "open_connection", "open_index"]

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified INTEGER NOT NULL, storage_class TEXT NOT NULL, crc TEXT NOT NULL,
    headers TEXT NOT NULL, appendable INTEGER NOT NULL, small INTEGER, pieces TEXT NOT NULL,
    PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS small (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS uploads (
    bucket TEXT NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, initiated INTEGER NOT NULL,
    storage_class TEXT NOT NULL, headers TEXT NOT NULL,
    PRIMARY KEY (bucket, key, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    crc TEXT NOT NULL, modified INTEGER NOT NULL, blob INTEGER NOT NULL,
    PRIMARY KEY (upload, number)) WITHOUT ROWID;
"""
# Small content has a table of its own so that listings scan rows of a few hundred bytes.

_HIDDEN_LIMIT = 100_000  # changes that a listing lag may hide; older ones show early


def open_connection(path: Path) -> sqlite3.Connection:
    """Open the database; the connection may be used by any one thread at a time."""
    # Transactions are begun and ended by hand: isolation_level=None.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def open_index(path: Path, blobs: BlobFiles, *, fsync: bool, lag_s: Callable[[], float]) -> "Index":
    """Open or make the index and sweep the blobs that it does not name.

    Raises:
        OSError, sqlite3.Error: the directory cannot be used, or holds something else.
    """
    connection = open_connection(path)
    try:
        # WAL is safe against the death of the process with any setting; NORMAL never corrupts
        # the database, FULL also keeps the last commits when the power goes.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if fsync else 'NORMAL'}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise OSError(f"{path} was written by another version of this program")
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        (last_blob,) = connection.execute("SELECT coalesce(max(id), 0) FROM blobs").fetchone()
        blobs.open(lambda blob: _is_live(connection, blob), last_blob + 1)
    except BaseException:
        connection.close()
        raise
    return Index(connection, blobs, lag_s)


def _is_live(connection: sqlite3.Connection, blob: int) -> bool:
    return connection.execute("SELECT 1 FROM blobs WHERE id=?", (blob,)).fetchone() is not None


class Index:
    """Changes to the store, each to be run within a transaction of the caller's."""

    def __init__(
        self, connection: sqlite3.Connection, blobs: BlobFiles, lag_s: Callable[[], float]
    ) -> None:
        self.connection = connection
        # Blobs that nothing names any more, once the transaction is committed.
        self.garbage: list[int] = []
        self._blobs = blobs
        self._lag_s = lag_s
        self._changes_lock = threading.Lock()
        self._changes: deque[tuple[float, Address, ListedObject | None]] = deque(
            maxlen=_HIDDEN_LIMIT
        )

    def put(
        self,
        address: Address,
        content: Received,
        attributes: Attributes,
        now: int,
        *,
        forbid_overwrite: bool,
    ) -> StoredObject:
        """Make an object of received content, in place of the one there may be."""
        if forbid_overwrite:
            self._refuse_existing(address)
        small: int | None = None
        pieces: tuple[Piece, ...] = ()
        if content.small is not None:
            small = self._insert_small(content.small)
        else:
            pieces = (self._adopt(content),)
        stored = StoredObject(
            content.size,
            content.md5.hex(),
            content.crc,
            now,
            attributes,
            small=small,
            pieces=pieces,
        )
        self._replace(address, stored)
        return stored

    def copy(
        self,
        source: Address,
        target: Address,
        attributes: Callable[[StoredObject], Attributes],
        now: int,
        *,
        forbid_overwrite: bool,
    ) -> StoredObject:
        """Make an object with the content of another one.

        `attributes` gives the new object's from the old one; it may refuse the copy.
        """
        found = find_object(self.connection, source)
        if found is None:
            raise CosError("NoSuchKey", "The copy source does not exist.")
        taken = attributes(found)
        if forbid_overwrite:
            self._refuse_existing(target)
        small, pieces = found.small, found.pieces
        if small is not None:
            small = self.connection.execute(
                "INSERT INTO small (bytes) SELECT bytes FROM small WHERE id=?", (small,)
            ).lastrowid
        else:
            pieces = tuple(
                Piece(self._name_blob(self._blobs.duplicate(piece.blob)), piece.size)
                for piece in found.pieces
            )
        stored = StoredObject(
            found.size, found.etag, found.crc, now, taken, small=small, pieces=pieces
        )
        self._replace(target, stored)
        return stored

    def append(
        self,
        address: Address,
        content: Received,
        attributes: Attributes,
        now: int,
        *,
        position: int,
        max_bytes: int,
    ) -> StoredObject:
        """Lengthen an appendable object, or make one ("COS: Append Object")."""
        found = find_object(self.connection, address)
        if found is not None and not found.appendable:
            raise CosError("ObjectNotAppendable", "The object was not made by append.")
        size, crc = (found.size, found.crc) if found else (0, 0)
        if position != size:
            raise CosError("AppendPositionErr", f"The object has {size} bytes.")
        if size + content.size > max_bytes:
            raise CosError("EntityTooLarge", "The object would become too large for append.")
        stored = StoredObject(
            size + content.size,
            uuid.uuid4().hex,  # opaque: COS does not say what it is
            combine(crc, content.crc, content.size),
            now,
            found.attributes if found else attributes,
            appendable=True,
            pieces=(*(found.pieces if found else ()), self._adopt(content)),
        )
        self._store(address, stored, found)
        return stored

    def delete(self, addresses: Iterable[Address]) -> None:
        """Remove objects; those that are not there count as removed."""
        for address in addresses:
            found = find_object(self.connection, address)
            if found is not None:
                self._remember(address, found)
                self._drop(found)
                self.connection.execute(
                    "DELETE FROM objects WHERE bucket=? AND key=?", _row_key(address)
                )

    def create_upload(
        self, address: Address, attributes: Attributes, now: int, *, forbid_overwrite: bool
    ) -> str:
        """Begin a multipart upload; returns its UploadId."""
        if forbid_overwrite:
            self._refuse_existing(address)
        upload_id = f"{now:010d}{uuid.uuid4().hex}{uuid.uuid4().hex}"  # shaped as COS's are
        self.connection.execute(
            "INSERT INTO uploads VALUES (?,?,?,?,?,?)",
            (
                *_row_key(address),
                upload_id,
                now,
                attributes.storage_class,
                _headers_text(attributes),
            ),
        )
        return upload_id

    def put_part(
        self, address: Address, upload_id: str, number: int, content: Received, now: int
    ) -> StoredPart:
        """Make a part of received content, in place of the one of that number."""
        find_upload(self.connection, address, upload_id)
        self._drop_blobs(find_part_blobs(self.connection, upload_id, number))
        piece = self._adopt(content)
        part = StoredPart(number, piece.size, content.md5.hex(), content.crc, now, piece.blob)
        self.connection.execute(
            "INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?,?)",
            (upload_id, number, part.size, part.etag, str(part.crc), now, part.blob),
        )
        return part

    def complete(
        self,
        address: Address,
        upload_id: str,
        wanted: Sequence[tuple[int, str]],
        now: int,
        *,
        min_part_bytes: int,
        forbid_overwrite: bool,
    ) -> StoredObject:
        """Make an object of an upload's parts; `wanted` are their numbers and ETags, in order."""
        attributes = find_upload(self.connection, address, upload_id)
        if forbid_overwrite:
            self._refuse_existing(address)
        there = {part.number: part for part in parts_after(self.connection, upload_id)}
        parts = _select_parts(wanted, there, min_part_bytes)
        crc = 0
        for part in parts:
            crc = combine(crc, part.crc, part.size)
        stored = StoredObject(
            sum(part.size for part in parts),
            f"{uuid.uuid4().hex}-{len(parts)}",  # opaque: COS's is not the MD5 of the MD5s
            crc,
            now,
            attributes,
            pieces=tuple(Piece(part.blob, part.size) for part in parts),
        )
        used = {part.blob for part in parts}
        self._drop_blobs(part.blob for part in there.values() if part.blob not in used)
        self._forget_upload(address, upload_id)
        self._replace(address, stored)
        return stored

    def abort(self, address: Address, upload_id: str) -> None:
        """End an upload and drop its parts."""
        find_upload(self.connection, address, upload_id)
        self._drop_blobs(part.blob for part in parts_after(self.connection, upload_id))
        self._forget_upload(address, upload_id)

    def hidden(self, bucket: str) -> dict[bytes, ListedObject | None]:
        """Return what listings shall show in place of recent changes. For any thread."""
        horizon = time.monotonic() - self._lag_s()
        former: dict[bytes, ListedObject | None] = {}
        with self._changes_lock:
            for changed, address, before in self._changes:
                if changed > horizon and address.bucket == bucket:
                    former.setdefault(address.key.encode(), before)
        return former

    def _refuse_existing(self, address: Address) -> None:
        if find_object(self.connection, address) is not None:
            raise CosError("FileAlreadyExists", "The object exists.")

    def _replace(self, address: Address, stored: StoredObject) -> None:
        """Write an object's row and drop the content of the one there was."""
        before = find_object(self.connection, address)
        if before is not None:
            self._drop(before)
        self._store(address, stored, before)

    def _store(self, address: Address, stored: StoredObject, before: StoredObject | None) -> None:
        self._remember(address, before)
        pieces = [[piece.blob, piece.size] for piece in stored.pieces]
        self.connection.execute(
            "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                *_row_key(address),
                stored.size,
                stored.etag,
                stored.modified,
                stored.attributes.storage_class,
                str(stored.crc),  # SQLite's integers are signed
                _headers_text(stored.attributes),
                stored.appendable,
                stored.small,
                json.dumps(pieces),
            ),
        )

    def _remember(self, address: Address, before: StoredObject | None) -> None:
        """Keep what listings go on showing while they lag."""
        if not self._lag_s():
            return
        listed = None
        if before is not None:
            listed = ListedObject(
                address.key.encode(),
                before.size,
                before.etag,
                before.modified,
                before.attributes.storage_class,
            )
        with self._changes_lock:
            self._changes.append((time.monotonic(), address, listed))

    def _insert_small(self, data: bytes) -> int | None:
        return self.connection.execute("INSERT INTO small (bytes) VALUES (?)", (data,)).lastrowid

    def _adopt(self, content: Received) -> Piece:
        """Make a received blob part of the store."""
        if content.blob is None:
            raise ValueError("this content is not in a blob")
        return Piece(self._name_blob(content.blob), content.size)

    def _name_blob(self, blob: int) -> int:
        self.connection.execute("INSERT INTO blobs VALUES (?)", (blob,))
        return blob

    def _drop(self, stored: StoredObject) -> None:
        """Drop an object's content."""
        if stored.small is not None:
            self.connection.execute("DELETE FROM small WHERE id=?", (stored.small,))
        self._drop_blobs(piece.blob for piece in stored.pieces)

    def _drop_blobs(self, blobs: Iterable[int]) -> None:
        for blob in blobs:
            self.connection.execute("DELETE FROM blobs WHERE id=?", (blob,))
            self.garbage.append(blob)

    def _forget_upload(self, address: Address, upload_id: str) -> None:
        self.connection.execute("DELETE FROM parts WHERE upload=?", (upload_id,))
        self.connection.execute(
            "DELETE FROM uploads WHERE bucket=? AND key=? AND id=?",
            (*_row_key(address), upload_id),
        )


def _select_parts(
    wanted: Sequence[tuple[int, str]], there: Mapping[int, StoredPart], min_part_bytes: int
) -> list[StoredPart]:
    """Return the parts that a completion names ("COS: Complete Multipart Upload").

    Raises:
        CosError: InvalidPartOrder, InvalidPart, EntityTooSmall.
    """
    numbers = [number for number, _ in wanted]
    if numbers != sorted(set(numbers)):
        raise CosError("InvalidPartOrder", "Part numbers must ascend.")
    parts = []
    for expected, (number, etag) in enumerate(wanted, start=1):
        part = there.get(number)
        if number != expected or part is None or part.etag != etag.strip('"'):
            raise CosError("InvalidPart", f"Part {expected} is missing or has another ETag.")
        parts.append(part)
    for part in parts[:-1]:
        if part.size < min_part_bytes:
            raise CosError("EntityTooSmall", f"Part {part.number} has only {part.size} bytes.")
    return parts


def _row_key(address: Address) -> tuple[str, bytes]:
    return address.bucket, address.key.encode()


def _headers_text(attributes: Attributes) -> str:
    return json.dumps(dict(attributes.headers))
