"""The way of a request: address, record, signature, faults, operation, answer.

Owns that order, and turns every failure into the error document of COS. What the operations do is
in `objects`, `multipart` and `buckets`; how answers travel, in `transmit`.
"""

import asyncio
import base64
import itertools
import logging
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from cos_ftp_server.emulator import buckets, multipart, objects, xml
from cos_ftp_server.emulator.call import Call, Reply
from cos_ftp_server.emulator.config import EmulatorConfig
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.faults import NO_FAULT, Fault, Faults
from cos_ftp_server.emulator.metadata import http_date
from cos_ftp_server.emulator.recorder import RequestLog
from cos_ftp_server.emulator.records import Address
from cos_ftp_server.emulator.signature import Signable, verify
from cos_ftp_server.emulator.store import Store
from cos_ftp_server.emulator.target import Operation, Target, check_key, operation_of, parse_target
from cos_ftp_server.emulator.transmit import ConnectionCutError, cut, damage, shape, transmit

__all__ = ["Pipeline"]

log = logging.getLogger(__name__)

_OPERATIONS: Mapping[Operation, Callable[[Call], Awaitable[Reply]]] = MappingProxyType(
    {
        Operation.HEAD_BUCKET: buckets.head_bucket,
        Operation.LIST_OBJECTS: buckets.list_objects,
        Operation.LIST_UPLOADS: buckets.list_uploads,
        Operation.DELETE_OBJECTS: buckets.delete_objects,
        Operation.HEAD_OBJECT: objects.head_object,
        Operation.GET_OBJECT: objects.get_object,
        Operation.PUT_OBJECT: objects.put_object,
        Operation.COPY_OBJECT: objects.copy_object,
        Operation.APPEND_OBJECT: objects.append_object,
        Operation.DELETE_OBJECT: objects.delete_object,
        Operation.INITIATE_UPLOAD: multipart.initiate_upload,
        Operation.UPLOAD_PART: multipart.upload_part,
        Operation.UPLOAD_PART_COPY: multipart.upload_part_copy,
        Operation.COMPLETE_UPLOAD: multipart.complete_upload,
        Operation.ABORT_UPLOAD: multipart.abort_upload,
        Operation.LIST_PARTS: multipart.list_parts,
    }
)


class Pipeline:
    """Serves the requests of one store."""

    def __init__(
        self, config: EmulatorConfig, store: Store, faults: Faults, requests: RequestLog
    ) -> None:
        self._config = config
        self._store = store
        self._faults = faults
        self._requests = requests
        self._buckets = frozenset(bucket.name for bucket in config.buckets)
        self._process_id = secrets.token_hex(4)
        self._request_ids = itertools.count(1)
        self._held: set[asyncio.Task[object]] = set()
        self._serving: set[asyncio.Task[None]] = set()  # each a connection

    def cancel_held(self) -> None:
        """Cancel the requests that a fault keeps waiting."""
        for task in self._held:
            task.cancel()

    async def end_all(self, timeout_s: float) -> None:
        """End all connections; return when they have ended, or after so many seconds.

        Once the server has been shut down, those are left that it has lost sight of: aiohttp waits
        up to ten seconds for the rest of a body that a refusal made useless, and does not notice
        that the client has gone by then.
        """
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=timeout_s)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, and keep the record of it."""
        if request.task not in self._serving:
            self._serving.add(request.task)
            request.task.add_done_callback(self._serving.discard)
        try:
            host = request.headers.get("Host", "")
            target = parse_target(request.raw_path, host, self._buckets)
            is_copy = "x-cos-copy-source" in request.headers
            operation = operation_of(request.method, target, is_copy=is_copy)
        except CosError as error:
            return await transmit(request, self._refusal(request, error), NO_FAULT)
        record = self._requests.begin(operation, target.bucket, target.key, request.method)
        status = 0
        try:
            response = await self._answer(request, target, operation)
            status = response.status
        except ConnectionCutError:
            cut(request)
            response = web.Response()  # goes nowhere
        except ConnectionError:
            response = web.Response()  # the client has gone
        except OSError:
            log.exception("%s failed after its answer had begun", operation)
            cut(request)
            response = web.Response()
        finally:
            self._requests.end(record, status)
        return response

    async def _answer(
        self, request: web.BaseRequest, target: Target, operation: Operation
    ) -> web.StreamResponse:
        fault = NO_FAULT
        try:
            now = self._now()
            signed = Signable(request.method, target, request.headers)
            signer = verify(signed, self._config.buckets, now)
            fault = self._faults.draw(operation, target.key)
            check_key(target.key)
            async with aclosing(shape(_body(request), fault)) as body:
                if fault.late:
                    body = await _received(body)
                    cut(request)
                call = self._call(request, target, signer, body, int(now))
                reply = await self._perform(call, operation, fault)
        except CosError as error:
            reply = self._refusal(request, error)
        except RequestPayloadError as error:
            log.debug("the body of a request is broken: %s", error)
            reply = self._refusal(request, CosError("IncompleteBody", "The body is broken."))
        except ConnectionError:
            raise
        except (OSError, sqlite3.Error):
            log.exception("%s failed", operation)
            reply = self._refusal(request, CosError("InternalError", "The disk has failed."))
        try:
            reply.headers = {**self._common_headers(), **reply.headers}
            return await transmit(request, damage(reply, fault), fault)
        finally:
            reply.close()

    async def _perform(self, call: Call, operation: Operation, fault: Fault) -> Reply:
        """Carry out an operation, with what a fault does before or after it."""
        if not fault.after_commit:
            await self._strike(call, fault)
        reply = await _OPERATIONS[operation](call)
        if fault.after_commit:
            try:
                await self._strike(call, fault)
            except BaseException:
                reply.close()
                raise
        return reply

    async def _strike(self, call: Call, fault: Fault) -> None:
        """Let a fault delay, refuse or cut a request.

        Raises:
            CosError, ConnectionCutError: that is what the fault does.
        """
        if fault.delay_s or fault.hold is not None:
            await self._hold(fault)
        if fault.reset:
            raise ConnectionCutError
        if fault.status:
            async for _ in call.body:  # an answer amid the body would be another fault
                pass
            code = fault.code or "InternalError"
            raise CosError(code, "As a fault rule demands.", status=fault.status)

    async def _hold(self, fault: Fault) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are served by tasks")
        self._held.add(task)
        try:
            await asyncio.sleep(fault.delay_s)
            if fault.hold is not None:
                await fault.hold.wait()
        finally:
            self._held.discard(task)

    def _call(
        self,
        request: web.BaseRequest,
        target: Target,
        signer: str,
        body: AsyncGenerator[bytes, None],
        now: int,
    ) -> Call:
        return Call(
            store=self._store,
            config=self._config,
            address=Address(target.bucket, target.key),
            query=target.query,
            headers=request.headers,
            body=body,
            content_length=request.content_length,
            now=now,
            readable=frozenset(key.name for key in self._config.buckets if key.secret_id == signer),
        )

    def _refusal(self, request: web.BaseRequest, error: CosError) -> Reply:
        headers = self._common_headers()
        headers["x-cos-trace-id"] = self._opaque_id()
        if request.method == "HEAD":  # has no body, and Content-Length 0 says so
            return Reply(error.status, {**headers, "Content-Length": "0"})
        headers["Content-Type"] = "application/xml"
        path = request.raw_path.partition("?")[0]
        body = xml.error_document(
            error.code,
            error.message,
            request.headers.get("Host", "") + path,
            headers["x-cos-request-id"],
            headers["x-cos-trace-id"],
        )
        return Reply(error.status, headers, body)

    def _common_headers(self) -> dict[str, str]:
        return {
            "Server": "tencent-cos",
            "Date": http_date(int(self._now())),
            "x-cos-request-id": self._opaque_id(),
        }

    def _opaque_id(self) -> str:
        """Return an id of the form that COS gives to requests."""
        text = f"{int(time.time()):08x}_{self._process_id}_{next(self._request_ids):x}"
        return base64.b64encode(text.encode()).decode()

    def _now(self) -> float:
        return time.time() + self._faults.clock_offset_s


async def _received(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Return a body that has come as a whole."""
    chunks = [chunk async for chunk in body]

    async def replay() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    return replay()


async def _body(request: web.BaseRequest) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, having told a client that asks for it to go on."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # that was not the answer
    async for chunk in request.content.iter_any():
        yield chunk
