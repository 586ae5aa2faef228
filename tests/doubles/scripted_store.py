"""An HTTP server that answers each request as it was told: a store that misbehaves as wanted."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

__all__ = [
    "Answer",
    "Recorded",
    "ScriptedStore",
    "drips",
    "ends_early",
    "error",
    "replies",
    "resets",
    "scripted_store",
    "stalls",
    "xml",
]

Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Recorded:
    method: str
    target: str  # as on the wire
    headers: Mapping[str, str]
    body: bytes


def replies(
    status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        base = {"ETag": '"e"', "x-cos-request-id": "id-1", **(headers or {})}
        return web.Response(status=status, headers=base, body=body)

    return answer


def xml(body: str, headers: Mapping[str, str] | None = None) -> Answer:
    return replies(200, {"Content-Type": "application/xml", **(headers or {})}, body.encode())


def error(
    status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return replies(status, headers, body.encode())


def resets() -> Answer:
    """Cut the connection instead of answering."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return answer


def ends_early(headers: Mapping[str, str], body: bytes) -> Answer:
    """Send less than announced, and hang up."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(body)
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def stalls(until: asyncio.Event, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send less than announced, and wait."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(body)
        await until.wait()
        return response

    return answer


def drips(pieces: list[bytes], headers: Mapping[str, str] | None = None) -> Answer:
    """Answer 200 at once, in chunks."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"e"', **(headers or {})})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    return answer


class ScriptedStore:
    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.endpoint = ""
        self.released = asyncio.Event()
        self._answers: deque[Answer] = deque()

    def will(self, *answers: Answer) -> None:
        self._answers.extend(answers)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        self.requests.append(Recorded(request.method, request.raw_path, request.headers, body))
        answer = self._answers.popleft() if self._answers else replies()
        return await answer(request)


@asynccontextmanager
async def scripted_store() -> AsyncIterator[ScriptedStore]:
    store = ScriptedStore()
    runner = web.ServerRunner(web.Server(store.handle), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    store.endpoint = f"{host}:{port}"
    try:
        yield store
    finally:
        store.released.set()
        await runner.cleanup()
