"""The multipart half of the COS client: initiate, parts, complete, abort, and what lies about."""

from collections.abc import Callable, Mapping, Sequence

from cos_ftp_server.cos.address import BucketAddress, check_key
from cos_ftp_server.cos.channel import Channel, Request
from cos_ftp_server.cos.connection import Body, Patience
from cos_ftp_server.cos.dialect import Dialect
from cos_ftp_server.cos.headers import (
    format_options,
    format_range,
    parse_crc64,
    parse_stored,
)
from cos_ftp_server.cos.retry import is_temporary
from cos_ftp_server.cos.transport import Limits, Reply
from cos_ftp_server.cos.types import (
    NO_OPTIONS,
    CompletedPart,
    ObjectOptions,
    PartsPage,
    Stored,
    UploadsPage,
)
from cos_ftp_server.cos.xml import (
    build_complete,
    parse_parts,
    parse_upload_id,
    parse_uploads,
    parse_written,
)
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["MultipartClient", "read_written"]


def read_written(dialect: Dialect) -> Callable[[Reply], Stored]:
    """Return the reader of answers to copy, part copy and complete: success only with an ETag."""

    def read(reply: Reply) -> Stored:
        answer = parse_written(reply.body)
        crc64 = parse_crc64(reply.headers, dialect)
        return Stored(etag=answer.etag, crc64=answer.crc64 if crc64 is None else crc64)

    return read


class MultipartClient:
    """Multipart operations on one bucket; `CosClient` adds the rest."""

    def __init__(
        self, channel: Channel, limits: Limits, address: BucketAddress, dialect: Dialect
    ) -> None:
        self.dialect = dialect
        """The bounds of sizes and counts, and how this store is spoken to."""
        self._channel = channel
        self._limits = limits
        self._address = address

    async def initiate_multipart(
        self,
        key: str,
        *,
        options: ObjectOptions = NO_OPTIONS,
        may_retry: Callable[[StorageError], bool] = is_temporary,
    ) -> str:
        """Begin an upload and return its UploadId (COS: Initiate Multipart Upload).

        A try that failed, unless it `was_not_begun`, may have begun another one, which
        `list_uploads` will show; `may_retry` hears of each but the last, which is raised.
        """
        request = self._request(
            "initiate multipart",
            "POST",
            key,
            query=(("uploads", ""),),
            headers=format_options(options, self.dialect),
        )
        return await self._channel.call(
            request, lambda reply: parse_upload_id(reply.body), may_retry
        )

    async def upload_part(self, key: str, upload_id: str, number: int, body: Body) -> Stored:
        """Upload or replace part `number` (COS: Upload Part). Raises NO_UPLOAD."""
        request = self._request(
            "upload part",
            "PUT",
            key,
            query=(("partNumber", str(number)), ("uploadId", upload_id)),
            body=body,
            patience=self._limits.upload,
        )
        return await self._channel.call(
            request, lambda reply: parse_stored(reply.headers, self.dialect)
        )

    async def copy_part(
        self,
        source_key: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        first: int,
        last: int,
        if_match: str = "",
    ) -> Stored:
        """Make an object's bytes `first` to `last`, inclusive, a part (COS: Upload Part - Copy).

        `if_match` is the source's ETag. Raises NO_UPLOAD, NOT_FOUND, CHANGED.
        """
        headers = self._copy_headers(source_key, if_match, "copy part")
        headers[f"{self.dialect.header_prefix}copy-source-range"] = format_range(first, last)
        request = self._request(
            "copy part",
            "PUT",
            key,
            query=(("partNumber", str(number)), ("uploadId", upload_id)),
            headers=headers,
            patience=self._limits.slow,
        )
        return await self._channel.call(request, read_written(self.dialect))

    async def complete_multipart(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        *,
        forbid_overwrite: bool = False,
    ) -> Stored:
        """Make the parts, ascending by number, the object (COS: Complete Multipart Upload).

        May take minutes. Tried again only while it certainly was not begun: every other
        failure, temporary ones and NO_UPLOAD above all, leaves open whether the object is there,
        which the caller settles by HEAD. Raises EXISTS with `forbid_overwrite`.
        """
        headers = {"Content-Type": "application/xml"}
        if forbid_overwrite:
            name, value = self.dialect.forbid_overwrite
            headers[name] = value
        request = self._request(
            "complete multipart",
            "POST",
            key,
            query=(("uploadId", upload_id),),
            headers=headers,
            body=build_complete(parts),
            patience=self._limits.slow,
            once=True,
            changes=(key,),
        )
        return await self._channel.call(request, read_written(self.dialect))

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; one that is gone counts as dropped (COS: Abort).

        A part still under way when this is called may survive it: `list_parts` tells.
        """
        if not upload_id:  # without one, this would be the DELETE of the object
            raise ValueError("an UploadId is needed")
        request = self._request("abort multipart", "DELETE", key, query=(("uploadId", upload_id),))
        try:
            await self._channel.call(request, lambda _: None)
        except StorageError as error:
            if error.kind not in (ErrorKind.NO_UPLOAD, ErrorKind.NOT_FOUND):
                raise

    async def list_parts(self, key: str, upload_id: str, *, marker: int = 0) -> PartsPage:
        """Return the parts with numbers above `marker`, at most 1000 (COS: List Parts).

        Raises NO_UPLOAD.
        """
        query = [("uploadId", upload_id)]
        if marker:
            query.append(("part-number-marker", str(marker)))
        request = self._request("list parts", "GET", key, query=tuple(query))
        return await self._channel.call(request, lambda reply: parse_parts(reply.body))

    async def list_uploads(
        self, *, prefix: str = "", key_marker: str = "", upload_id_marker: str = ""
    ) -> UploadsPage:
        """Return uploads under way, by key, at most 1000 (COS: List Multipart Uploads)."""
        optional = (
            ("prefix", prefix),
            ("key-marker", key_marker),
            ("upload-id-marker", upload_id_marker),
            ("encoding-type", "url" if self.dialect.url_encoded_listing else ""),
        )
        request = Request(
            operation="list uploads",
            method="GET",
            query=(("uploads", ""), *(item for item in optional if item[1])),
            patience=self._limits.quick,
        )
        return await self._channel.call(request, lambda reply: parse_uploads(reply.body))

    def _request(
        self,
        operation: str,
        method: str,
        key: str,
        *,
        query: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        patience: Patience | None = None,
        once: bool = False,
        changes: Sequence[str] = (),
    ) -> Request:
        """Return a request on an object. Raises BAD_NAME for a key that is none."""
        check_key(key, self.dialect.max_key_bytes, operation)
        return Request(
            operation=operation,
            method=method,
            key=key,
            query=query,
            headers=headers or {},
            body=body,
            patience=patience or self._limits.quick,
            once=once,
            changes=changes,
        )

    def _copy_headers(self, source_key: str, if_match: str, operation: str) -> dict[str, str]:
        check_key(source_key, self.dialect.max_key_bytes, operation)
        name = f"{self.dialect.header_prefix}copy-source"
        headers = {name: self.dialect.copy_source(self._address, source_key)}
        if if_match:
            headers[f"{name}-if-match"] = if_match
        return headers
