"""HTTP as this package uses it: a pool of connections, shared by all buckets.

Sends one attempt and returns the answer, or raises what went wrong, which `translate` puts into a
`StorageError`. Knows no signing, XML or retries.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Self

from cos_ftp_server.cos.address import Origin
from cos_ftp_server.cos.answer import Answer
from cos_ftp_server.cos.connection import Body, Connection, Patience
from cos_ftp_server.cos.http_error import NEVER_SENT, HttpError, Trouble
from cos_ftp_server.cos.pool import ConnectionPool
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = [
    "Limits",
    "Refusal",
    "Reply",
    "Stream",
    "Timeouts",
    "Transport",
    "create_transport",
    "translate",
    "was_never_sent",
]

_FIRST_FAILURE = 300  # redirects count as failures: they are never followed
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})  # RFC 9110 section 9.2.2
_HAVE_LENGTH = frozenset({"PUT", "POST"})  # also of nothing (RFC 9110 section 8.6)

_ALWAYS = (
    # Objects stored with Content-Encoding must arrive as they are stored.
    f"Accept-Encoding: identity\r\nUser-Agent: cos-ftp-server/{version('cos-ftp-server')}\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds.

    `connect_s`: TCP and TLS. `idle_s`: without a byte, in either direction, and to the head of a
    download. `total_s`: one attempt of a request that carries no object, and the answer to an
    upload. `slow_idle_s` and `slow_total_s` are for what COS may work on for minutes before it
    answers: copy and complete (the official SDK gives a complete 20 minutes).
    """

    connect_s: float = 10.0
    idle_s: float = 30.0
    total_s: float = 60.0
    slow_idle_s: float = 300.0
    slow_total_s: float = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The kinds of patience that requests need."""

    quick: Patience
    upload: Patience
    """Any time, as long as bytes flow; then as long for the answer as for any other request. It may
    be silent all that time: where a proxy buffers, the store gets the last bytes long after the
    proxy's system has acknowledged them, and who gave up would send all of them again."""
    download: Patience
    """Any time, as long as bytes flow; its head is expected as they are, since asking again costs
    nothing."""
    slow: Patience


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _ignore() -> None:
    """Do nothing."""


class Refusal(Exception):  # noqa: N818 - the store has answered: no
    """The answer is not a success."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Stream:
    """A successful answer whose body is received as it is asked for. Close it with `aclose`."""

    __slots__ = ("_answer", "_connection", "_origin", "_pool")

    def __init__(
        self, pool: ConnectionPool, origin: Origin, connection: Connection, answer: Answer
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._connection: Connection | None = connection
        self._answer = answer

    @property
    def status(self) -> int:
        """The status code."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; their names are in lower case."""
        return self._answer.headers

    def take(self, most: int) -> bytes:
        """Return bytes of the body that are there already, b"" if there are none."""
        return self._answer.take(most)

    async def read_into(self, memory: memoryview, least: int = 1) -> int:
        """Receive at least `least` bytes unless the body ends before, 0 at its end.

        Raises HttpError.
        """
        if self._connection is None:
            return 0
        return await self._connection.read_into(memory, least)

    async def aclose(self) -> None:
        """Let the connection go; one that has not delivered the whole body is cut."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection, self._origin)


class Transport:
    """What sends requests. Made by `create_transport`; close it with `aclose`."""

    def __init__(self, pool: ConnectionPool, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self.limits = Limits(
            quick=Patience(idle_s=timeouts.idle_s, total_s=timeouts.total_s, answer_s=None),
            upload=Patience(idle_s=timeouts.idle_s, total_s=None, answer_s=timeouts.total_s),
            download=Patience(idle_s=timeouts.idle_s, total_s=None, answer_s=timeouts.idle_s),
            slow=Patience(
                idle_s=timeouts.slow_idle_s, total_s=timeouts.slow_total_s, answer_s=None
            ),
        )

    async def open(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Mapping[str, str],
        patience: Patience,
    ) -> Stream:
        """Send a request; return a successful answer once its head has come.

        Raises Refusal and HttpError.
        """
        head = _format_head(method, target, headers, 0)
        connection, answer = await self._request(origin, method, head, b"", patience, streamed=True)
        if answer.status < _FIRST_FAILURE:
            return Stream(self._pool, origin, connection, answer)
        try:
            await connection.rest()
        finally:
            await self._pool.release(connection, origin)
        raise Refusal(_reply(answer))

    async def exchange(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Mapping[str, str],
        patience: Patience,
        body: Body = b"",
        *,
        once: bool = False,
        on_unanswered: Callable[[], None] = _ignore,
    ) -> Reply:
        """Send a request and return the whole of a successful answer. Raises Refusal and HttpError.

        What may be repeated is sent again at once when a connection that had been kept turns out to
        be closed, unless it must be sent `once`. Each time that the request was sent and no answer
        came, or none was waited for, `on_unanswered` is called. Whatever the outcome, nothing is
        read from the memory of `body` any more afterwards.
        """
        head = _format_head(method, target, headers, len(body))
        connection, answer = await self._request(
            origin, method, head, body, patience, once=once, on_unanswered=on_unanswered
        )
        await self._pool.release(connection, origin)
        if answer.status >= _FIRST_FAILURE:
            raise Refusal(_reply(answer))
        return _reply(answer)

    async def _request(
        self,
        origin: Origin,
        method: str,
        head: bytes,
        body: Body,
        patience: Patience,
        *,
        streamed: bool = False,
        once: bool = False,
        on_unanswered: Callable[[], None] = _ignore,
    ) -> tuple[Connection, Answer]:
        """Return an answer and its connection, which the caller must release."""
        deadline = None if patience.total_s is None else self._loop.time() + patience.total_s
        connection = self._pool.take(origin)
        while True:
            if connection is None:
                connection = await self._pool.connect(origin)
            try:
                answer = await connection.request(
                    head,
                    body,
                    patience,
                    deadline,
                    has_body=method != "HEAD",
                    is_streamed=streamed,
                )
            except HttpError as error:
                on_unanswered()
                is_stale = connection.is_reused and error.trouble is Trouble.UNANSWERED
                await self._pool.release(connection, origin)
                if once or not is_stale or method not in _IDEMPOTENT:
                    raise
                connection = None
            except BaseException:
                on_unanswered()
                await self._pool.release(connection, origin)
                raise
            else:
                return connection, answer

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def create_transport(timeouts: Timeouts | None = None) -> Transport:
    """Make a pool of connections. Call it on the running loop."""
    timeouts = timeouts or Timeouts()
    pool = ConnectionPool(connect_s=timeouts.connect_s, idle_s=timeouts.idle_s)
    return Transport(pool, timeouts)


def _format_head(method: str, target: str, headers: Mapping[str, str], length: int) -> bytes:
    """Return a request up to its body. Raises ValueError for what would end a line early."""
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {headers[name]}" for name in headers]]
    if method in _HAVE_LENGTH:
        lines.append(f"Content-Length: {length}")
    head = "\r\n".join(lines)
    if head.count("\r") != len(lines) - 1 or head.count("\n") != len(lines) - 1 or "\0" in head:
        raise ValueError("a header must not contain CR, LF or NUL")
    return f"{head}\r\n{_ALWAYS}\r\n".encode("utf-8", "surrogateescape")


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, answer.headers, answer.take_all())


def translate(error: HttpError, operation: str, key: str) -> StorageError:
    """Return the error as StorageError(UNAVAILABLE); `detail` says what broke."""
    return StorageError(
        ErrorKind.UNAVAILABLE,
        operation=operation,
        key=key,
        temporary=error.trouble is not Trouble.CERTIFICATE,
        detail=str(error),
    )


def was_never_sent(error: StorageError) -> bool:
    """Return whether the request certainly did not reach the store."""
    cause = error.__cause__
    return isinstance(cause, HttpError) and cause.trouble in NEVER_SENT
