"""Multipart uploads, each from its beginning to its end: completed, or gone from the store.

Owns that none is left behind. It must not know what the parts hold.
"""

import asyncio
import logging
from typing import Protocol

from cos_ftp_server.cos.channel import was_not_begun
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.types import ObjectOptions
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = [
    "MultipartUpload",
    "Unrecorded",
    "UploadRecord",
    "UploadRecords",
    "abort_until_gone",
    "begin_multipart",
]

_log = logging.getLogger(__name__)

_ABORT_ATTEMPTS = 6


class UploadRecord(Protocol):
    """What is known of one upload beyond the death of this process. No method raises OSError."""

    async def name(self, upload_id: str) -> None:
        """Write down the UploadId."""
        ...

    async def erase(self) -> None:
        """Forget the upload: it has ended."""
        ...

    def leave(self) -> None:
        """Let go of an upload that could not be ended: somebody else may end it later."""
        ...


class UploadRecords(Protocol):
    """Where uploads to one bucket are written down before they are begun."""

    async def add(self, key: str) -> UploadRecord:
        """Write down that an upload to `key` is about to begin."""
        ...


class Unrecorded:
    """Keeps no records: what the death of this process leaves behind, nobody finds."""

    async def add(self, key: str) -> "Unrecorded":
        """See UploadRecords."""
        return self

    async def name(self, upload_id: str) -> None:
        """See UploadRecord."""

    async def erase(self) -> None:
        """See UploadRecord."""

    def leave(self) -> None:
        """See UploadRecord."""


class MultipartUpload:
    """One upload that the store knows by `upload_id`. Ends by `completed` or `discard`."""

    def __init__(self, client: CosClient, key: str, upload_id: str, record: UploadRecord) -> None:
        self.key = key
        self.upload_id = upload_id
        self._client = client
        self._record = record

    async def completed(self) -> None:
        """Take note that the parts have become an object."""
        await self._record.erase()

    async def discard(self) -> None:
        """Abort it until COS no longer knows it. Never raises StorageError.

        What stays is logged with its UploadId: it costs money.
        """
        try:
            await abort_until_gone(self._client, self.key, self.upload_id)
        except StorageError as error:
            self.leave(str(error))
        except asyncio.CancelledError:
            self.leave()
            raise
        else:
            await self._record.erase()

    def leave(self, reason: str = "the server was stopped") -> None:
        """Give it up as it is: the record stays, for the next start, and so does a line."""
        self._record.leave()
        words = "multipart upload left behind: key=%r UploadId=%s: %s"
        _log.error(words, self.key, self.upload_id, reason)


async def abort_until_gone(client: CosClient, key: str, upload_id: str) -> None:
    """Abort an upload until COS no longer knows it. Raises StorageError.

    A part that was in flight may be recorded after the abort, hence the look afterwards
    (COS: Abort Multipart Upload).
    """

    async def attempt(_: int) -> None:
        try:
            await client.abort_multipart(key, upload_id)
            await client.list_parts(key, upload_id)
        except StorageError as error:
            if error.kind is ErrorKind.NO_UPLOAD:
                return
            raise
        raise StorageError(
            ErrorKind.CONFLICT,
            operation="abort multipart",
            key=key,
            temporary=True,
            detail="parts are still listed",
        )

    await RetryPolicy(max_tries=_ABORT_ATTEMPTS).run(attempt)


async def begin_multipart(
    client: CosClient, records: UploadRecords, key: str, options: ObjectOptions
) -> MultipartUpload:
    """Begin an upload to `key`. Raises StorageError."""
    record = await records.add(key)
    is_in_doubt = False  # whether a try that failed has begun one nevertheless

    def may_retry(error: StorageError) -> bool:
        nonlocal is_in_doubt
        is_in_doubt |= error.temporary and not was_not_begun(error)
        return error.temporary

    try:
        upload_id = await client.initiate_multipart(key, options=options, may_retry=may_retry)
    except StorageError as error:
        may_retry(error)
        if is_in_doubt:
            record.leave()
        else:
            await record.erase()
        raise
    except BaseException:
        record.leave()
        _log.error("multipart upload may be left behind: key=%r, not yet named", key)
        raise
    try:
        if is_in_doubt:
            record.leave()  # without a name: this is how what else has begun is found
            record = Unrecorded()
            record = await records.add(key)
        await record.name(upload_id)
    except asyncio.CancelledError:
        await MultipartUpload(client, key, upload_id, record).discard()
        raise
    return MultipartUpload(client, key, upload_id, record)
