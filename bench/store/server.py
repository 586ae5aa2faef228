"""The null store's sockets: HTTP, and the raw relay's far end.

Bodies are received into one buffer that all connections share (nothing else runs between
`get_buffer` and `buffer_updated`), and objects are sent from one block, so that the store costs
little more than the kernel's copies. Latency and the rate of a connection are set while it runs.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from bench.content import BLOCK_BYTES, piece
from bench.store.api import Answer, Api, Received
from bench.store.http import Request, answer, parse_request
from cos_ftp_server.crc64 import crc64

__all__ = ["CONTROL_PATH", "NullStore"]

CONTROL_PATH = "/-control"
"""`GET /-control?latency_ms=20&rate=0&forget=1` sets what is given; it answers with the counts.
`warm=1000` makes the pages of the list of so many entries ready."""

_SHARED = memoryview(bytearray(BLOCK_BYTES))
_WRITE_BYTES = 256 * 1024
_HIGH_WATER = 1024 * 1024
_MOST_DOCUMENT = 4 * 1024 * 1024
_SHORT_BODY = 64 * 1024  # joined with its head into one write
_PACE_S = 0.005


@dataclass(slots=True)
class Conditions:
    """How the store behaves towards everybody; a rate of 0 is none."""

    latency_s: float = 0.0
    """From the end of a request to the beginning of its answer."""
    rate: float = 0.0
    """Bytes per second of one connection, in either direction."""


@dataclass(slots=True)
class NullStore:
    """The state that all connections share."""

    api: Api
    conditions: Conditions = field(default_factory=Conditions)
    counts: Counter[str] = field(default_factory=Counter)
    connections: set[asyncio.Transport] = field(default_factory=set)

    def control(self, query: dict[str, str]) -> bytes:
        """Set what is asked for, and return the requests counted so far by operation."""
        if "latency_ms" in query:
            self.conditions.latency_s = float(query["latency_ms"]) / 1000
        if "rate" in query:
            self.conditions.rate = float(query["rate"])
        if "warm" in query:
            self.api.render_list(int(query["warm"]))
        if query.get("forget"):
            self.api.objects.forget()
            self.counts.clear()
        return answer(200, body=json.dumps(self.counts).encode())

    async def listen(self, host: str) -> tuple[asyncio.Server, asyncio.Server]:
        """Return the listening servers for HTTP and for raw bytes."""
        loop = asyncio.get_running_loop()
        http = await loop.create_server(lambda: _HttpConnection(self), host, 0, backlog=1024)
        raw = await loop.create_server(_RawConnection, host, 0, backlog=1024)
        return http, raw

    def cut(self) -> None:
        """End all HTTP connections."""
        for transport in self.connections:
            transport.abort()


class _Sender:
    """Sends a stretch of the common content, as fast as the rate allows."""

    def __init__(self, transport: asyncio.Transport, rate: float) -> None:
        self._transport = transport
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._offset = self._left = 0
        self._due = self._loop.time()
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, offset: int, length: int) -> None:
        self._offset, self._left = offset, length
        self._send()

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._send()

    def stop(self) -> None:
        self._left = 0
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_done(self) -> bool:
        return not self._left

    def _send(self) -> None:
        while self._left and not self._is_paused and self._timer is None:
            count = min(self._left, _WRITE_BYTES)
            self._transport.write(piece(self._offset, count))
            self._offset += count
            self._left -= count
            if self._rate:
                self._pace(count)

    def _pace(self, count: int) -> None:
        now = self._loop.time()
        self._due = max(self._due, now - _PACE_S) + count / self._rate
        if self._due > now:
            self._timer = self._loop.call_at(self._due, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        self._send()


class _HttpConnection(asyncio.BufferedProtocol):
    """One keep-alive connection; requests come one at a time."""

    _transport: asyncio.Transport

    def __init__(self, store: NullStore) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._head = bytearray()
        self._request: Request | None = None
        self._operation = self._key = ""
        self._body = Received()
        self._md5: hashlib._Hash | None = None
        self._left = 0
        self._sender: _Sender | None = None
        self._is_paused = False
        self._due = 0.0
        self._timers: set[asyncio.TimerHandle] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._store.connections.add(self._transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _SHARED

    def buffer_updated(self, nbytes: int) -> None:
        data = _SHARED[:nbytes]
        if self._request is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head, rest = bytes(self._head[:end]), bytes(self._head[end:])
            self._head.clear()
            self._begin(head)
            if rest:
                self._take(memoryview(rest))
        else:
            self._take(data)
        if not self._left and self._request is not None and self._sender is None:
            self._finish()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._store.connections.discard(self._transport)
        for timer in self._timers:
            timer.cancel()
        if self._sender is not None:
            self._sender.stop()

    def pause_writing(self) -> None:
        self._is_paused = True
        if self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._sender is not None:
            self._sender.resume()

    def _begin(self, head: bytes) -> None:
        request = self._request = parse_request(head)
        self._sender = None  # of the answer before
        self._body = Received()
        self._left = request.length
        self._key = self._store.api.key_of(request.path)
        self._operation = self._store.api.operation(request, self._key)
        is_md5_wanted = self._operation == "put" and request.is_s3
        self._md5 = hashlib.md5(usedforsecurity=False) if is_md5_wanted else None
        if request.length and request.header(b"expect"):
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.length and self._store.conditions.rate:
            self._due = self._loop.time()

    def _take(self, data: memoryview) -> None:
        """Take a piece of the body."""
        self._left -= len(data)
        body = self._body
        body.size += len(data)
        body.crc64 = crc64(data, body.crc64)
        if self._md5 is not None:
            self._md5.update(data)
        if self._operation in ("complete", "delete-many") and body.size <= _MOST_DOCUMENT:
            body.document += data
        if rate := self._store.conditions.rate:
            self._due += len(data) / rate
            if self._left and self._due > self._loop.time() + _PACE_S:
                self._transport.pause_reading()
                self._at(self._due, self._transport.resume_reading)

    def _at(self, when: float, call: Callable[[], object]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = self._loop.call_at(when, run)
        self._timers.add(timer)

    def _finish(self) -> None:
        """Answer, after the time that the store takes."""
        request, body = self._request, self._body
        assert request is not None
        self._request = None
        if request.path == CONTROL_PATH:
            self._transport.write(self._store.control(request.query))
            return
        if self._md5 is not None:
            body.md5 = self._md5.hexdigest()
        self._store.counts[self._operation] += 1
        made = self._store.api.answer(self._operation, request, self._key, body)
        now = self._loop.time()
        due = max(now, self._due) + self._store.conditions.latency_s
        if due > now:
            self._at(due, lambda: self._answer(made))
        else:
            self._answer(made)

    def _answer(self, made: Answer) -> None:
        if made.length <= _SHORT_BODY:
            self._transport.write(made.head + piece(made.offset, made.length))
            return
        self._transport.write(made.head)
        self._sender = _Sender(self._transport, self._store.conditions.rate)
        if self._is_paused:
            self._sender.pause()
        self._sender.start(made.offset, made.length)


class _RawConnection(asyncio.BufferedProtocol):
    """A bare relay's far end: swallows what comes, then sends as much as its first line says."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._line = b""
        self._sender: _Sender | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _SHARED

    def buffer_updated(self, nbytes: int) -> None:
        if b"\n" not in self._line:
            self._line += bytes(_SHARED[: min(nbytes, 64)]).partition(b"\n")[0] + b"\n"

    def eof_received(self) -> bool:
        size = int(self._line)
        if not size:
            return False
        self._sender = _Sender(self._transport, 0)
        self._sender.start(0, size)
        self._close_if_done()
        return True

    def pause_writing(self) -> None:
        if self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        if self._sender is not None:
            self._sender.resume()
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._sender is not None and self._sender.is_done:
            self._transport.close()
