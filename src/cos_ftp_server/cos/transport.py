"""HTTP as this package uses it: one pooled aiohttp session, shared by all buckets.

Sends one attempt and returns the answer; every aiohttp, TLS, DNS and timeout error becomes a
`StorageError` here. Knows no signing, XML or retries.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from cos_ftp_server.cos.payload import Body, MemoryPayload
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = [
    "FOREIGN_ERRORS",
    "Limits",
    "Refusal",
    "Reply",
    "Timeouts",
    "Transport",
    "create_transport",
    "translate",
    "was_never_sent",
]

_MAX_REPLY_BYTES = 16 * 1024**2  # a page of 1000 keys of 850 escaped bytes takes 3 MiB
_READ_BUFFER_BYTES = 64 * 1024
"""At twice this, aiohttp stops reading. Chunks are of up to 256 KiB (what uvloop reads at once); to
hold several of them makes malloc fault in new memory for each: 1.2 s of CPU per GiB, not 0.5."""

_FIRST_FAILURE = 300  # redirects count as failures: they are never followed
_NO_TYPE = frozenset({"Content-Type"})
_DNS_TTL_S = 60  # COS: host names of buckets may move


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    `connect_s`: TCP and TLS, without the wait for a free connection of the pool. `idle_s`: without
    a byte, in either direction. `total_s`: one attempt of a request that carries no object, the
    wait for a connection included. `slow_idle_s` and `slow_total_s` are for what COS may work on
    for minutes before it answers: copy and complete (the official SDK gives a complete 20 minutes).
    """

    connect_s: float = 10.0
    idle_s: float = 30.0
    total_s: float = 60.0
    slow_idle_s: float = 300.0
    slow_total_s: float = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The kinds of patience that requests need."""

    quick: aiohttp.ClientTimeout
    body: aiohttp.ClientTimeout
    """For objects' contents, in either direction: any time, as long as bytes flow."""
    slow: aiohttp.ClientTimeout


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):  # noqa: N818 - the store has answered: no
    """The answer is not a success."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class _LostError(aiohttp.ClientError):
    """The connection broke, as an error that aiohttp does not take for a reason to try again."""


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostError(str(error)) from error


_ONCE = (_send_once,)


class Transport:
    """A pool of connections. Made by `create_transport`; close it with `aclose`."""

    def __init__(self, session: aiohttp.ClientSession, timeouts: Timeouts) -> None:
        self._session = session
        self._write_idle_s = timeouts.idle_s
        self.limits = Limits(
            quick=_client_timeout(timeouts, timeouts.idle_s, timeouts.total_s),
            body=_client_timeout(timeouts, timeouts.idle_s, None),
            slow=_client_timeout(timeouts, timeouts.slow_idle_s, timeouts.slow_total_s),
        )

    async def open(
        self, method: str, url: str, headers: dict[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Send a request; return a successful answer, to be closed, once its head has come.

        Raises Refusal.
        """
        response = await self._request(method, url, headers, limits)
        if response.status >= _FIRST_FAILURE:
            raise Refusal(await _read_reply(response))
        return response

    async def exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        limits: aiohttp.ClientTimeout,
        body: Body = b"",
        *,
        once: bool = False,
    ) -> Reply:
        """Send a request and return the whole of a successful answer. Raises Refusal.

        aiohttp sends PUT and others again by itself when a connection of the pool turns out to be
        broken, unless it must be `once`. Whatever the outcome, nothing refers to the memory of
        `body` any more afterwards.
        """
        if not len(body):
            response = await self._request(method, url, headers, limits, once=once)
            return _accept(await _read_reply(response))
        payload = MemoryPayload(body, self._write_idle_s)
        try:
            response = await self._request(method, url, headers, limits, payload, once=once)
            payload.note_answer()
            return _accept(await _read_reply(response))
        finally:
            await payload.let_go()

    async def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        limits: aiohttp.ClientTimeout,
        payload: MemoryPayload | None = None,
        *,
        once: bool = False,
    ) -> aiohttp.ClientResponse:
        return await self._session.request(
            method,
            # Encoded as it is: yarl would otherwise collapse "." and ".." within a key.
            URL(url, encoded=True),
            headers=headers,
            # COS keeps the Content-Type it is sent, so aiohttp must not invent one; to say so
            # only where it would keeps the other requests on its fast path.
            skip_auto_headers=_NO_TYPE if _lacks_type(method, headers) else None,
            data=payload,
            timeout=limits,
            allow_redirects=False,
            middlewares=_ONCE if once else None,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _lacks_type(method: str, headers: Mapping[str, str]) -> bool:
    return method in ("PUT", "POST") and "Content-Type" not in headers


def _client_timeout(
    timeouts: Timeouts, idle_s: float, total_s: float | None
) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=timeouts.connect_s, sock_read=idle_s)


def create_transport(max_connections: int = 100, timeouts: Timeouts | None = None) -> Transport:
    """Make a pool of at most `max_connections` (0: no limit). Call it on the running loop."""
    connector = aiohttp.TCPConnector(limit=max_connections, ttl_dns_cache=_DNS_TTL_S)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            # Objects stored with Content-Encoding must arrive as they are stored.
            "Accept-Encoding": "identity",
            "User-Agent": f"cos-ftp-server/{version('cos-ftp-server')}",
        },
        auto_decompress=False,
        read_bufsize=_READ_BUFFER_BYTES,
    )
    return Transport(session, timeouts or Timeouts())


def _accept(reply: Reply) -> Reply:
    if reply.status >= _FIRST_FAILURE:
        raise Refusal(reply)
    return reply


async def _read_reply(response: aiohttp.ClientResponse) -> Reply:
    chunks = []
    size = 0
    try:
        while chunk := await response.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_REPLY_BYTES:
                raise aiohttp.ClientPayloadError(f"answer longer than {_MAX_REPLY_BYTES} bytes")
    finally:
        response.close()  # the connection is back in the pool already if all was read
    return Reply(response.status, response.headers, b"".join(chunks))


FOREIGN_ERRORS = (aiohttp.ClientError, OSError)
"""What using a connection raises; TimeoutError and ssl.SSLError are OSErrors."""


def translate(error: Exception, operation: str, key: str) -> StorageError:
    """Return one of FOREIGN_ERRORS as StorageError(UNAVAILABLE); `detail` says what broke."""
    detail, temporary = _explain(error)
    return StorageError(
        ErrorKind.UNAVAILABLE, operation=operation, key=key, temporary=temporary, detail=detail
    )


def _explain(error: Exception) -> tuple[str, bool]:
    """Return what happened in words, and whether it may pass by itself."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"DNS: cannot resolve {error.host}: {error.os_error}", True
        case aiohttp.ClientConnectorCertificateError():
            return f"TLS: certificate of {error.host} refused: {error.certificate_error}", False
        case aiohttp.ClientConnectorSSLError():
            return f"TLS: handshake with {error.host} failed: {error.os_error}", True
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {error.host}:{error.port}: {error.os_error}", True
        case aiohttp.ConnectionTimeoutError():
            return "timed out while connecting", True
        case TimeoutError():
            return "timed out: no progress", True
        case ssl.SSLError():
            return f"TLS: {error.reason}", True
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer", True
        case aiohttp.ClientPayloadError():
            return f"answer broken off: {error}", True
        case aiohttp.ClientResponseError():
            return f"answer is not HTTP: {error.message}", True
        case _:
            return f"connection lost: {type(error).__name__}: {error}", True


def was_never_sent(error: StorageError) -> bool:
    """Return whether the request certainly did not reach the store."""
    return isinstance(
        error.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
    )
