"""The COS XML API, one method per operation: what to send and how to read the answer.

Objects and the bucket are here, multipart uploads in `multipart`. Each method raises
`StorageError` and nothing else, once retries have ended. Knows no file system.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence

from cos_ftp_server.cos.address import BucketAddress, check_key
from cos_ftp_server.cos.channel import Channel, Request
from cos_ftp_server.cos.connection import Body
from cos_ftp_server.cos.dialect import COS, Dialect
from cos_ftp_server.cos.headers import (
    HeaderError,
    format_options,
    format_placement,
    format_range,
    parse_content_range,
    parse_length,
    parse_meta,
    parse_stored,
)
from cos_ftp_server.cos.multipart import MultipartClient, read_written
from cos_ftp_server.cos.object_body import ObjectBody
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Reply, Stream, Transport
from cos_ftp_server.cos.types import (
    NO_OPTIONS,
    CredentialProvider,
    DeleteFailure,
    ListPage,
    ObjectMeta,
    ObjectOptions,
    Stored,
)
from cos_ftp_server.cos.xml import (
    XmlError,
    build_delete,
    is_xml_text,
    parse_delete_result,
    parse_list,
)
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["CosClient", "ObjectBody"]


def _ignore(_: str) -> None:
    """Do nothing."""


class CosClient(MultipartClient):
    """One bucket, seen with one set of keys. Cheap to make: connections belong to `transport`.

    Bodies must not change until the method returns or raises; then nothing is read from
    them any more, cancellation included. They are sent again as they are when a try fails.
    A key that would address the bucket, or that is too long, raises BAD_NAME and sends nothing.

    `on_unanswered` is told the key of each object for which a request was sent and not answered:
    that one may still be carried out, even after this client has tried again, with success.
    """

    def __init__(
        self,
        transport: Transport,
        address: BucketAddress,
        credentials: CredentialProvider,
        *,
        dialect: Dialect = COS,
        retry: RetryPolicy | None = None,
        on_unanswered: Callable[[str], None] = _ignore,
    ) -> None:
        retry = retry or RetryPolicy()
        channel = Channel(transport, address, credentials, dialect, retry, on_unanswered)
        super().__init__(channel, transport.limits, address, dialect)

    @property
    def clock_offset_s(self) -> float:
        """Seconds that the store is ahead of this machine; 0 unless it was off by too much."""
        return self._channel.clock_offset_s

    async def head_bucket(self) -> None:
        """Check that the bucket is there and may be used (COS: HEAD Bucket). Raises NO_BUCKET."""
        request = Request(operation="head bucket", method="HEAD", patience=self._limits.quick)
        try:
            await self._channel.call(request, _read_nothing)
        except StorageError as error:
            if error.status != 404:
                raise
            # An answer to HEAD has no body that could say NoSuchBucket.
            raise StorageError(
                ErrorKind.NO_BUCKET,
                operation=request.operation,
                status=error.status,
                request_id=error.request_id,
            ) from error

    async def head_object(self, key: str) -> ObjectMeta:
        """Describe an object (COS: HEAD Object). Raises NOT_FOUND, also if the bucket is gone."""
        request = self._request("head object", "HEAD", key)

        def read(reply: Reply) -> ObjectMeta:
            return parse_meta(key, parse_length(reply.headers), reply.headers, self.dialect)

        return await self._channel.call(request, read)

    async def find_object(self, key: str) -> ObjectMeta | None:
        """Describe an object, as `head_object` does; None if there is none."""
        try:
            return await self.head_object(key)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return None

    async def get_object(
        self, key: str, *, first: int = 0, last: int | None = None, if_match: str = ""
    ) -> ObjectBody:
        """Open an object, or its bytes `first` to `last` (inclusive) (COS: GET Object).

        The end may lie beyond the object's. Raises BAD_RANGE when `first` is not below the
        size (hence for every range of an empty object), CHANGED when the ETag is not `if_match`.
        Only opening is retried: to go on after a broken body is the caller's business, as is to
        close it.
        """
        headers = {}
        if first or last is not None:
            headers["Range"] = format_range(first, last)
        if if_match:
            headers["If-Match"] = if_match
        request = self._request(
            "get object", "GET", key, headers=headers, patience=self._limits.download
        )
        stream = await self._channel.stream(request)
        try:
            body = self._body(stream, key, first, last)
        except HeaderError as error:
            await stream.aclose()
            raise self._channel.unexpected(request, str(error)) from error
        if if_match and body.meta.etag != if_match:  # by a cache in between, for example
            await stream.aclose()
            raise StorageError(ErrorKind.CHANGED, operation=request.operation, key=key)
        return body

    def _body(self, stream: Stream, key: str, first: int, last: int | None) -> ObjectBody:
        """Read the head of a GET's answer, making sure that it holds what was asked for."""
        headers = stream.headers
        if stream.status == 206:
            start, end, size = parse_content_range(headers.get("content-range", ""))
            length = end + 1 - start
        else:
            start, length = 0, parse_length(headers)
            size = length
        if start != first or (last is not None and start + length > last + 1):
            raise HeaderError(f"bytes {start}+{length} instead of {format_range(first, last)}")
        meta = parse_meta(key, size, headers, self.dialect)
        return ObjectBody(stream, meta, start, length)

    async def put_object(
        self,
        key: str,
        body: Body,
        *,
        options: ObjectOptions = NO_OPTIONS,
        forbid_overwrite: bool = False,
        md5: bytes = b"",
    ) -> Stored:
        """Create or replace an object of at most `dialect.max_put_bytes` (COS: PUT Object).

        With `forbid_overwrite` raises EXISTS for an object that is not this call's own: it is tried
        again only while it certainly was not begun, and what has become of a try without an answer
        HEAD tells. With the `md5` of the body the store refuses a body that has changed on the
        way, before it replaces anything.
        """
        headers = format_options(options, self.dialect)
        if forbid_overwrite:
            name, value = self.dialect.forbid_overwrite
            headers[name] = value
        if md5:
            headers["Content-MD5"] = base64.b64encode(md5).decode()
        request = self._request(
            "put object",
            "PUT",
            key,
            headers=headers,
            body=body,
            patience=self._limits.upload,
            once=forbid_overwrite,
            changes=(key,),
        )
        return await self._channel.call(request, self._read_stored)

    async def copy_object(
        self,
        source_key: str,
        key: str,
        *,
        if_match: str = "",
        options: ObjectOptions = NO_OPTIONS,
        replace_metadata: bool = False,
        forbid_overwrite: bool = False,
    ) -> Stored:
        """Copy an object of at most `dialect.max_copy_bytes` within the bucket (COS: Copy).

        Storage class and encryption are never inherited, and taken from `options`; its content
        type and metadata count with `replace_metadata` only. `if_match` is the source's ETag.
        Raises NOT_FOUND, CHANGED, and EXISTS with `forbid_overwrite` (which may be
        for this call's own, from a try without an answer).
        """
        headers = self._copy_headers(source_key, if_match, "copy object")
        prefix, dialect = self.dialect.header_prefix, self.dialect
        if replace_metadata:
            headers[f"{prefix}metadata-directive"] = dialect.directive_replace
            headers.update(format_options(options, dialect))
        else:
            headers[f"{prefix}metadata-directive"] = dialect.directive_copy
            headers.update(format_placement(options, dialect))
        if forbid_overwrite:
            name, value = dialect.forbid_overwrite
            headers[name] = value
        request = self._request(
            "copy object",
            "PUT",
            key,
            headers=headers,
            patience=self._limits.slow,
            changes=(key,),
        )
        return await self._channel.call(request, read_written(dialect))

    async def delete_object(self, key: str, *, once: bool = False) -> None:
        """Delete an object; one that is not there counts as deleted (COS: DELETE Object).

        With `once` it is not tried again after an answer that leaves open whether it is gone:
        what is there by then may be another one.
        """
        request = self._request("delete object", "DELETE", key, once=once, changes=(key,))
        try:
            await self._channel.call(request, _read_nothing)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise

    async def delete_objects(self, keys: Sequence[str]) -> tuple[DeleteFailure, ...]:
        """Delete objects and return those that could not be (COS: DELETE Multiple Objects).

        Raises ValueError for more than `dialect.max_batch` keys, and StorageError when the
        request as a whole has failed. It is tried as `delete_object` is with `once`.
        """
        if len(keys) > self.dialect.max_batch:
            raise ValueError(f"{len(keys)} keys; at most {self.dialect.max_batch} at once")
        for key in keys:
            check_key(key, self.dialect.max_key_bytes, "delete objects")
        failures: list[DeleteFailure] = []
        batch = [key for key in keys if is_xml_text(key)]
        if batch:
            failures.extend(await self._delete_batch(batch))
        for key in keys:
            if not is_xml_text(key):
                try:
                    await self.delete_object(key, once=True)
                except StorageError as error:
                    failures.append(DeleteFailure(key=key, code=error.code, message=error.detail))
        return tuple(failures)

    async def _delete_batch(self, keys: Sequence[str]) -> tuple[DeleteFailure, ...]:
        body = build_delete(keys)
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        request = Request(
            operation="delete objects",
            method="POST",
            query=(("delete", ""),),
            headers={
                "Content-Type": "application/xml",
                "Content-MD5": base64.b64encode(digest).decode(),
            },
            body=body,
            patience=self._limits.quick,
            once=True,
            changes=keys,
        )
        return await self._channel.call(request, lambda reply: parse_delete_result(reply.body))

    async def list_objects(
        self, prefix: str, *, delimiter: str = "", marker: str = "", max_keys: int = 1000
    ) -> ListPage:
        """Return the entries after `marker`, at most `max_keys` (≤ 1000) (COS: GET Bucket).

        With a one-character `delimiter`, keys that have it after `prefix` are folded into
        prefixes. What was just written may be missing: listings are eventually consistent.
        """
        query = [("prefix", prefix)] if prefix else []
        if delimiter:
            query.append(("delimiter", delimiter))
        if marker:
            query.append(("marker", marker))
        query.append(("max-keys", str(max_keys)))
        if self.dialect.url_encoded_listing:
            query.append(("encoding-type", "url"))
        request = Request(
            operation="list objects",
            method="GET",
            query=tuple(query),
            patience=self._limits.quick,
        )

        def read(reply: Reply) -> ListPage:
            page = parse_list(reply.body)
            if page.next_marker and page.next_marker.encode() <= marker.encode():
                raise XmlError("a page that leads back to itself")  # who follows it never ends
            return page

        return await self._channel.call(request, read)

    def _read_stored(self, reply: Reply) -> Stored:
        return parse_stored(reply.headers, self.dialect)


def _read_nothing(reply: Reply) -> None:
    """Accept any success."""
