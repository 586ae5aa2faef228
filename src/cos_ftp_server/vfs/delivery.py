"""An object's way into the store, until it is beyond doubt that it is there.

Owns what is compared with what, and what an unclear answer means. It must not know what stands in
the way of an object, nor what comes of it.
"""

import asyncio
import logging
import random
from collections.abc import Sequence

from cos_ftp_server.cos.channel import was_not_begun
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import CompletedPart, ObjectOptions, Stored
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["Delivery", "MissingCrc"]

_log = logging.getLogger(__name__)

_ATTEMPTS = 4
"""How often a body is sent, the first time included, until its checksum is right or what has become
of it is clear; and how often a complete is."""

_PAUSE_S = 0.2  # doubled each time, with full jitter


class MissingCrc:
    """Warns once that a store tells no CRC64, so that only sizes can be compared."""

    def __init__(self) -> None:
        self._has_warned = False

    def note(self) -> None:
        """Take note of an answer without a CRC64."""
        if not self._has_warned:
            self._has_warned = True
            _log.warning("the store tells no CRC64: only the sizes of files are compared")


class Delivery:
    """Brings one object to `key`. With `forbid`, the store is told to replace none."""

    def __init__(
        self, client: CosClient, key: str, options: ObjectOptions, missing_crc: MissingCrc
    ) -> None:
        self.client = client
        self.key = key
        self.options = options
        self._missing_crc = missing_crc
        self._can_look = True
        self.is_unclear = False
        """Whether a try may have been carried out, or may still be, that nothing was heard of."""

    async def send_new(self, body: memoryview, crc: int) -> Stored:
        """PUT where no file may be; raise EXISTS only for a file of somebody else.

        Hence a look after each try of which it is unclear what has become of it. What certainly was
        not begun has been tried often enough, and a store that cannot even be looked at is down.
        """
        for attempt in range(_ATTEMPTS):
            try:
                return await self.send(body, crc, forbid=True)
            except StorageError as error:
                if attempt and error.kind is ErrorKind.EXISTS:
                    if there := await self._look(len(body), crc):
                        return there
                    raise
                is_unclear = error.temporary and not was_not_begun(error)
                self.is_unclear |= is_unclear
                if not (is_unclear and self._can_look) or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_pause(attempt))
        raise self._error(ErrorKind.UNAVAILABLE)

    async def send(self, body: memoryview, crc: int, *, forbid: bool, md5: bytes = b"") -> Stored:
        """PUT until the store acknowledges the checksum that was computed on arrival."""
        is_wrong = False
        try:
            for _ in range(_ATTEMPTS):
                stored = await self.client.put_object(
                    self.key,
                    body,
                    options=self.options,
                    forbid_overwrite=forbid and not is_wrong,  # a wrong one is our own
                    md5=md5,
                )
                if await self._agrees(stored, len(body), crc):
                    return stored
                is_wrong = True
            raise self._error(ErrorKind.INTEGRITY)
        except StorageError as error:
            if is_wrong:
                await self.client.delete_object(self.key)
            elif error.temporary and (there := await self._look(len(body), crc)):
                return there
            raise

    async def complete(
        self,
        upload_id: str,
        parts: Sequence[CompletedPart],
        size: int,
        crc: int | None,
        *,
        forbid: bool,
    ) -> Stored:
        """Make the parts the object; without a `crc`, the size is all that can be compared."""
        stored = await self._settle(upload_id, parts, size, crc, forbid)
        if not await self._agrees(stored, size, crc):
            await self.client.delete_object(self.key)
            raise self._error(ErrorKind.INTEGRITY)
        return stored

    async def _settle(
        self,
        upload_id: str,
        parts: Sequence[CompletedPart],
        size: int,
        crc: int | None,
        forbid: bool,
    ) -> Stored:
        """Complete, and when the answer does not say what happened, look at what is there."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self.client.complete_multipart(
                    self.key, upload_id, parts, forbid_overwrite=forbid
                )
            except StorageError as error:
                is_gone = error.kind is ErrorKind.NO_UPLOAD
                is_taken = error.kind is ErrorKind.EXISTS and attempt > 0  # by us, perhaps
                if not (error.temporary or is_gone or is_taken or error.kind is ErrorKind.CONFLICT):
                    raise
                if there := await self._look(size, crc):
                    return there
                if is_gone and attempt:  # by an earlier try, perhaps: nobody can tell
                    raise self._error(ErrorKind.UNAVAILABLE) from error
                if is_gone or is_taken or attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(_pause(attempt))
        raise self._error(ErrorKind.UNAVAILABLE)

    async def _agrees(self, stored: Stored, size: int, crc: int | None) -> bool:
        """Whether the store has what was sent; where a CRC64 is unknown, the size must do."""
        told = stored.crc64
        if told is None or crc is None:
            try:
                meta = await self.client.head_object(self.key)
            except StorageError as error:
                if error.kind is not ErrorKind.NOT_FOUND:
                    raise
                # The store has acknowledged it: to the client its name is not what is wrong.
                raise self._error(ErrorKind.UNAVAILABLE) from error
            told = meta.crc64
            if told is None:
                self._missing_crc.note()
            if meta.size != size:
                _log.error("%r: sent %d bytes, stored %d", self.key, size, meta.size)
                return False
        if None not in (told, crc) and told != crc:
            _log.error("%r: sent CRC64 %d, stored %d", self.key, crc, told)
            if await self._look(size, crc) is None:
                return False
            # The object counts, not the answer.
            _log.warning("%r: a second look has found the right CRC64, nothing is lost", self.key)
        return True

    async def _look(self, size: int, crc: int | None) -> Stored | None:
        """Return the object if it is, beyond doubt, what was sent."""
        try:
            meta = await self.client.head_object(self.key)
        except StorageError as error:
            self._can_look = error.kind is ErrorKind.NOT_FOUND
            _log.warning("cannot tell whether %r was stored: %s", self.key, error)
            return None
        if crc is None or meta.size != size or meta.crc64 != crc:
            return None
        return Stored(etag=meta.etag, crc64=meta.crc64)

    def _error(self, kind: ErrorKind) -> StorageError:
        return StorageError(kind, operation="upload", key=self.key, temporary=True)


def _pause(attempt: int) -> float:
    return _PAUSE_S * (1 << attempt) * random.random()  # noqa: S311 - jitter
