"""Which multipart uploads are under way, in files that outlive this process.

There is one file for each, in lines of JSON: first the bucket, the key and the time, written before
the upload is begun; then its UploadId, before the first part is sent. Whoever looks after the
upload holds a lock on the file (flock), which ends with the process, however that ends: a file that
can be locked tells of an upload that nobody looks after any more. Files are created under their
final names, and removed only by whoever holds the lock.

It must not know what is done about uploads that were left behind.
"""

import asyncio
import errno
import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cos_ftp_server.vfs.multipart import Unrecorded, UploadRecord, UploadRecords
from cos_ftp_server.vfs.record_file import (
    ENDING,
    BegunUpload,
    LockedFile,
    format_begin,
    format_name,
    read_record,
)

__all__ = ["FiledRecord", "RecordFiles"]

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_PATIENCE_S = 2.0
"""Seconds that anybody waits for a disk that has frozen."""

_MOST_WAITING = 1000
"""Of what nobody waits for."""


class RecordFiles:
    """The files in `directory`, which is made when the first one is. `close` it in the end.

    Several processes may have the same directory. No upload fails, or waits for long, because a
    file cannot be written: that is said once, and the upload goes unrecorded.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # A disk may freeze. So not asyncio's threads, which names are resolved in; and no executor,
        # whose threads the interpreter waits for at its end.
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._do_all, name="upload records", daemon=True)
        self._thread.start()
        self._late: Future[Any] | None = None
        self._is_failing = False

    def of_bucket(self, origin: str) -> UploadRecords:
        """Return where uploads to one bucket are written down."""
        return _BucketRecords(self, origin)

    def close(self) -> None:
        """Give no more work; what was given is done, unless the process ends before."""
        self._work.put(None)

    async def add(self, origin: str, key: str) -> UploadRecord:
        """See UploadRecords."""
        if self._late is not None and not self._late.done():
            return Unrecorded()
        upload = BegunUpload(origin=origin, key=key, begun=datetime.now(UTC))
        create = partial(LockedFile.create, self.directory, format_begin(upload))
        try:
            file = await self._run(create, undo=LockedFile.erase)
        except OSError as error:
            self.complain(error)
            return Unrecorded()
        if self._is_failing:
            self._is_failing = False
            _log.warning("%s can be written again", self.directory)
        return FiledRecord(self, file, upload)

    async def names(self) -> list[str]:
        """Return the names of all files. Raises OSError; a directory that is missing is empty."""
        return await self._run(partial(_list, self.directory))

    async def take(self, name: str) -> "FiledRecord | None":
        """Take over a file; None if somebody holds it, or if it has gone.

        Raises OSError, and ValueError if it is no record.
        """
        file = await self._run(partial(LockedFile.take, self.directory / name), undo=_close)
        if file is None:
            return None
        try:
            upload = await self._run(file.read)
        except BaseException:
            self.begin(file.close)
            raise
        return FiledRecord(self, file, upload)

    async def set_aside(self, name: str) -> str:
        """Rename what is no record, so that `names` has it no more. Return the new name.

        Raises OSError.
        """
        path = self.directory / name
        return (await self._run(partial(path.rename, path.with_suffix(".unreadable")))).name

    async def upload_ids(self) -> set[str]:
        """Return the UploadIds in all files, whoever holds them. Raises OSError."""
        return await self._run(partial(_read_ids, self.directory))

    async def left_behind(self) -> list[BegunUpload]:
        """Return what those files tell that nobody holds; they stay. Raises OSError."""
        return await self._run(partial(_read_left_behind, self.directory))

    async def call(self, work: Callable[[], _Result]) -> _Result:
        """Return what `work` returns, and raise its OSError; see `begin`."""
        return await self._run(work)

    def offer(self, work: Callable[[], object]) -> None:
        """Do `work` some time, unless so much is waiting that the disk must have frozen."""

        def complain(future: Future[object]) -> None:
            if isinstance(error := future.result(), OSError):
                self.complain(error)

        if self._work.qsize() < _MOST_WAITING:
            self.begin(work).add_done_callback(complain)

    def begin(self, work: Callable[[], object]) -> Future[object]:
        """Do `work` without waiting for it; an OSError or ValueError is its result."""
        return self._submit(work)

    def _submit(self, work: Callable[[], _Result]) -> "Future[_Result | OSError | ValueError]":
        future: Future[_Result | OSError | ValueError] = Future()

        def do() -> None:
            try:
                future.set_result(_attempt(work))
            except BaseException as error:  # the root of the thread: for whoever waits
                future.set_exception(error)

        self._work.put(do)
        return future

    def _do_all(self) -> None:
        while do := self._work.get():
            do()

    def complain(self, error: OSError) -> None:
        """Say once that files cannot be written."""
        if not self._is_failing:
            self._is_failing = True
            _log.warning(
                "%s cannot be written, a kill may leave multipart uploads behind, and what broke "
                "off is forgotten: %s",
                self.directory,
                error.strerror,
            )

    async def run(self, work: Callable[[], object]) -> None:
        """Do `work`, whether or not it can be waited for to the end. Never raises OSError."""
        try:
            await self._run(work)
        except OSError as error:
            self.complain(error)

    async def _run(
        self, work: Callable[[], _Result], undo: Callable[[_Result], object] | None = None
    ) -> _Result:
        """Return what `work` returns, and raise its OSError or ValueError.

        When nobody waits for it any more, it is done all the same, and then `undo` with its result.
        """
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        future = self._submit(work)

        def wake(_: object) -> None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(ended.set)

        def take_back(future: Future[_Result | OSError | ValueError]) -> None:
            result = future.result()
            if undo and not isinstance(result, OSError | ValueError):
                _attempt(partial(undo, result))

        future.add_done_callback(wake)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await ended.wait()
        except TimeoutError:
            self._late = future
            future.add_done_callback(take_back)
            raise TimeoutError(errno.ETIMEDOUT, "the disk does not answer") from None
        except asyncio.CancelledError:
            future.add_done_callback(take_back)
            raise
        result = future.result()
        if isinstance(result, OSError | ValueError):
            raise result
        return result


class _BucketRecords:
    """See UploadRecords."""

    def __init__(self, files: RecordFiles, origin: str) -> None:
        self._files = files
        self._origin = origin

    async def add(self, key: str) -> UploadRecord:
        return await self._files.add(self._origin, key)


class FiledRecord:
    """A file that is ours; see UploadRecord. `upload` is None if nothing was begun."""

    def __init__(self, files: RecordFiles, file: LockedFile, upload: BegunUpload | None) -> None:
        self.upload = upload
        self._files = files
        self._file = file

    async def name(self, upload_id: str) -> None:
        """See UploadRecord."""
        await self._files.run(partial(self._file.append, format_name(upload_id)))

    async def erase(self) -> None:
        """See UploadRecord."""
        await self._files.run(self._file.erase)

    def leave(self) -> None:
        """See UploadRecord."""
        self._files.begin(self._file.close)


def _attempt(work: Callable[[], _Result]) -> _Result | OSError | ValueError:
    try:
        return work()
    except (OSError, ValueError) as error:
        return error


def _close(file: LockedFile | None) -> None:
    if file is not None:
        file.close()


def _list(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(ENDING))
    except FileNotFoundError:
        return []


def _read_left_behind(directory: Path) -> list[BegunUpload]:
    found = []
    for name in _list(directory):
        with suppress(OSError, ValueError):  # it has gone meanwhile, or is no record
            if (file := LockedFile.take(directory / name)) is not None:
                with closing(file):
                    upload = file.read()
                if upload is not None:
                    found.append(upload)
    return found


def _read_ids(directory: Path) -> set[str]:
    found = set()
    for name in _list(directory):
        with suppress(OSError, ValueError):  # it has gone meanwhile, or is no record
            upload = read_record(directory / name)
            if upload and upload.upload_id:
                found.add(upload.upload_id)
    return found
