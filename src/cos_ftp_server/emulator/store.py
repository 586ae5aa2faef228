"""The store as the event loop sees it: nothing here blocks, whatever the disk does.

Owns the threads, the life of the index and the blobs, and the streaming of content in and out.
Knows nothing of HTTP, XML or signatures.
"""

import asyncio
import fcntl
import hashlib
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from cos_ftp_server.crc64 import crc64
from cos_ftp_server.emulator.blobs import BlobFiles, BlobReader, BlobSink
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.index import Index, open_connection, open_index
from cos_ftp_server.emulator.lookup import find_content, find_object
from cos_ftp_server.emulator.records import (
    Address,
    Attributes,
    ListedObject,
    Received,
    StoredObject,
)
from cos_ftp_server.emulator.writer import IndexWriter

__all__ = ["OpenObject", "Store"]

T = TypeVar("T")

SMALL_BYTES = 64 * 1024  # up to here content lives in the index: no file, one commit
WRITE_BYTES = 256 * 1024  # written at a time: one hop to a thread is little against it
_THREADS = 8  # readers and blob writers; they mostly wait for the disk or hash without the GIL
_LOAD_GROUP = 10_000


class OpenObject:
    """An object and its content at one moment: later changes of the object do not show.

    Whoever opened it closes it; until then its blobs stay.
    """

    def __init__(self, store: "Store", meta: StoredObject, small: bytes | None) -> None:
        self.meta = meta
        self._store = store
        self._small = small
        self._readers: list[BlobReader] = []

    async def read(self, start: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield the `size` bytes from `start` on.

        Raises:
            OSError: the disk fails.
        """
        if self._small is not None:
            yield self._small[start : start + size]
            return
        reader = BlobReader(self._store.blobs, self.meta.pieces, start, size)
        self._readers.append(reader)
        while chunk := await self._store.run(reader.read):
            yield chunk

    def close(self) -> None:
        """Let go of the content; returns at once."""
        if self.meta.pieces:
            self._store.run_later(self._close_files)

    def _close_files(self) -> None:
        for reader in self._readers:
            reader.close()
        self._store.blobs.unpin(self.meta.pieces)


class Store:
    """A directory with an index and blobs; one process at a time may have it open."""

    def __init__(self, directory: Path, *, fsync: bool, list_lag_s: Callable[[], float]) -> None:
        self.blobs = BlobFiles(directory / "blobs", fsync=fsync)
        self._directory = directory
        self._fsync = fsync
        self._list_lag_s = list_lag_s
        self._lock_file = -1
        self._index: Index | None = None
        self._writer: IndexWriter | None = None
        self._pool = ThreadPoolExecutor(_THREADS, "emulator", self._open_reader)
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []

    async def open(self) -> None:
        """Open or make the store and sweep what a killed process left behind.

        Raises:
            OSError, sqlite3.Error: the directory cannot be used or is in use.
        """
        try:
            self._index = await asyncio.to_thread(self._open_index)
        except BaseException:
            await self.aclose()
            raise
        self._writer = IndexWriter(self._index, self._discard)

    async def aclose(self) -> None:
        """Finish what was begun and let go of the directory."""
        if self._writer is not None:
            await self._writer.aclose()
        await asyncio.to_thread(self._pool.shutdown)
        for connection in self._readers:
            connection.close()
        self._readers.clear()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    async def write(self, change: Callable[[Index], T], *, blob: int | None = None) -> T:
        """Change the index; see `IndexWriter.submit`."""
        if self._writer is None:
            raise RuntimeError("the store is not open")
        return await self._writer.submit(change, blob=blob)

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the index, of one snapshot, beside whoever else reads or writes."""
        return await self.run(lambda: self._ask(question))

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread of the store."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def run_later(self, work: Callable[[], None]) -> None:
        """Run blocking work that cannot fail in a thread of the store; returns at once."""
        self._pool.submit(work)

    async def find_object(self, address: Address) -> StoredObject | None:
        """Return an object without its content, None if there is none."""
        return await self.run(lambda: find_object(self._local.connection, address))

    async def open_object(self, address: Address) -> OpenObject | None:
        """Open an object's content, None if there is none."""
        return await self.run(lambda: self._open_object(address))

    async def receive(
        self, chunks: AsyncGenerator[bytes, None], *, max_bytes: int, may_be_small: bool
    ) -> Received:
        """Take in content: into memory if it is small and may stay so, else into a blob.

        The caller passes a blob on to `write`, which owns it from there. Whatever ends this
        early, nothing stays behind.

        Raises:
            CosError: EntityTooLarge.
            OSError: the disk fails.
        """
        held: list[bytes] = []
        held_bytes = total = 0
        sink: BlobSink | None = None
        writing: Future[None] | None = None
        try:
            async for chunk in chunks:
                held.append(chunk)
                held_bytes += len(chunk)
                total += len(chunk)
                if total > max_bytes:
                    raise CosError("EntityTooLarge", f"At most {max_bytes} bytes are taken.")
                if held_bytes >= WRITE_BYTES:
                    sink = sink or self.blobs.create()
                    if writing is not None:
                        await asyncio.wrap_future(writing)
                    # Written and hashed in a thread while the next chunks arrive.
                    writing = self._pool.submit(sink.write, held)
                    held, held_bytes = [], 0
            if sink is None and may_be_small and total <= SMALL_BYTES:
                return _small_content(b"".join(held))
            sink = sink or self.blobs.create()
            if writing is not None:
                await asyncio.wrap_future(writing)
            await self.run(partial(sink.finish, held))
        except BaseException:
            if sink is not None:
                self.run_later(sink.discard)
            raise
        return Received(sink.size, sink.md5, sink.crc, None, sink.blob)

    def drop(self, content: Received) -> None:
        """Throw away content that was received and is not wanted after all."""
        if content.blob is not None:
            self._discard([content.blob])

    def hidden(self, bucket: str) -> dict[bytes, ListedObject | None]:
        """Return what listings shall show in place of recent changes. For any thread."""
        if self._index is None:
            raise RuntimeError("the store is not open")
        return self._index.hidden(bucket)

    async def load(self, bucket: str, objects: Iterable[tuple[str, bytes]], now: int) -> None:
        """Put many small objects at little cost."""
        remaining = iter(objects)
        while group := list(islice(remaining, _LOAD_GROUP)):
            await self.write(partial(_load, bucket=bucket, objects=group, now=now))

    def _discard(self, blobs: list[int]) -> None:
        self.run_later(partial(self.blobs.discard, blobs))

    def _open_index(self) -> Index:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            # A second process would sweep the blobs that the first one is writing.
            raise OSError(f"{self._directory} is in use by another process") from error
        return open_index(self._database, self.blobs, fsync=self._fsync, lag_s=self._list_lag_s)

    @property
    def _database(self) -> Path:
        return self._directory / "index.sqlite3"

    def _open_reader(self) -> None:
        """Give a thread of the pool its connection."""
        connection = open_connection(self._database)
        connection.execute("PRAGMA query_only=1")
        self._readers.append(connection)
        self._local.connection = connection

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection = self._local.connection
        connection.execute("BEGIN")
        try:
            return question(connection)
        finally:
            connection.execute("ROLLBACK")  # it has only read

    def _open_object(self, address: Address) -> OpenObject | None:
        connection: sqlite3.Connection = self._local.connection
        found = find_content(connection, address)
        if found is not None and found[0].pieces:
            with self.blobs.lock:
                found = find_content(connection, address)
                if found is not None:
                    self.blobs.pin(found[0].pieces)
        return OpenObject(self, *found) if found else None


def _small_content(data: bytes) -> Received:
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    return Received(len(data), md5, crc64(data), data, None)


def _load(index: Index, *, bucket: str, objects: list[tuple[str, bytes]], now: int) -> None:
    for key, data in objects:
        content = _small_content(data)
        index.put(Address(bucket, key), content, Attributes({}), now, forbid_overwrite=False)
