"""One conversation with a bucket: each request is signed, sent, checked and, if it may be, retried.

Knows no operation of the API; `client` says what to send and how to read the answer.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cos_ftp_server.cos.address import BucketAddress, encode
from cos_ftp_server.cos.clock import StoreClock
from cos_ftp_server.cos.connection import Body, Patience
from cos_ftp_server.cos.dialect import Dialect
from cos_ftp_server.cos.headers import HeaderError
from cos_ftp_server.cos.http_error import HttpError
from cos_ftp_server.cos.parse_error import make_error
from cos_ftp_server.cos.retry import RetryPolicy, is_temporary
from cos_ftp_server.cos.transport import (
    Refusal,
    Reply,
    Stream,
    Transport,
    translate,
    was_never_sent,
)
from cos_ftp_server.cos.types import CredentialProvider
from cos_ftp_server.cos.xml import ErrorAnswer, StoreMessage, XmlError, parse_error_body
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["Channel", "Request", "was_not_begun"]

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send, before signing. `query` begins with the sub-resource: COS routes on it.

    `body` stays the caller's and must not change until the request is over. A request that is made
    `once` is tried again only while the store certainly has not acted on it. `changes` are the keys
    of the objects that it makes, replaces or deletes.
    """

    operation: str
    method: str
    patience: Patience
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default=b"", repr=False)
    once: bool = False
    changes: Sequence[str] = ()


class Channel:
    """Sends the requests of one client.

    `on_unanswered` hears of each object that a request may still change, although it has failed or
    was sent again: the store has got it, and no answer came.
    """

    def __init__(
        self,
        transport: Transport,
        address: BucketAddress,
        credentials: CredentialProvider,
        dialect: Dialect,
        retry: RetryPolicy,
        on_unanswered: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._address = address
        self._credentials = credentials
        self._dialect = dialect
        self._retry = retry
        self._on_unanswered = on_unanswered
        self._signer = dialect.new_signer()
        self._clock = StoreClock()

    @property
    def clock_offset_s(self) -> float:
        """Seconds that the store is ahead of this machine, as far as refusals have told."""
        return self._clock.offset_s

    async def call(
        self,
        request: Request,
        read: Callable[[Reply], _Result],
        may_retry: Callable[[StorageError], bool] = is_temporary,
    ) -> _Result:
        """Return what `read` makes of a successful answer. Raises StorageError.

        `read` may raise XmlError, HeaderError and ErrorAnswer.
        """

        async def attempt(number: int) -> _Result:
            reply = await self._send(request, number, self._exchange)
            try:
                return read(reply)
            except ErrorAnswer as answer:
                raise self._error(request, reply, answer.message) from None
            except (XmlError, HeaderError) as error:
                raise self.unexpected(request, str(error)) from error

        return await self._retry.run(attempt, was_not_begun if request.once else may_retry)

    async def stream(self, request: Request) -> Stream:
        """Open a successful answer's body, to be closed by the caller. Only opening is retried.

        Raises StorageError.
        """

        async def attempt(number: int) -> Stream:
            return await self._send(request, number, self._open)

        return await self._retry.run(attempt)

    def unexpected(self, request: Request, detail: str) -> StorageError:
        """Return the error for a success that does not say what it should."""
        return StorageError(
            ErrorKind.UNAVAILABLE,
            operation=request.operation,
            key=request.key,
            temporary=True,
            detail=f"unexpected answer: {detail}",
        )

    async def _send(
        self,
        request: Request,
        number: int,
        transmit: Callable[[Request, str, dict[str, str]], Awaitable[_Result]],
    ) -> _Result:
        """Make one attempt, and send it again at once if it was signed for the wrong time."""
        is_corrected = False
        while True:
            offset_s = self._clock.offset_s
            target, headers = self._signed(request, number)
            try:
                return await transmit(request, target, headers)
            except Refusal as refusal:
                reply = refusal.reply
            except HttpError as error:
                raise translate(error, request.operation, request.key) from error
            message = parse_error_body(reply.body)
            if (
                is_corrected
                or reply.status != 403
                or not self._clock.correct(
                    offset_s, message.code, message.message, reply.headers.get("date", "")
                )
            ):
                raise self._error(request, reply, message)
            is_corrected = True

    def _signed(self, request: Request, number: int) -> tuple[str, dict[str, str]]:
        """Return the target and headers of attempt `number`."""
        headers = {"Host": self._address.host, **request.headers}
        if number > 1 and self._dialect.retry_mark:
            name, value = self._dialect.retry_mark
            headers[name] = value
        self._signer.sign(
            request.method,
            self._address.signed_path(request.key),
            request.query,
            headers,
            self._credentials.current(),
            int(self._clock.now()),
        )
        query = "&".join(
            [f"{name}={encode(value)}" if value else name for name, value in request.query]
        )
        return self._address.target(request.key, query), headers

    def _exchange(self, request: Request, target: str, headers: dict[str, str]) -> Awaitable[Reply]:
        def tell() -> None:
            for key in request.changes:
                self._on_unanswered(key)

        return self._transport.exchange(
            self._address.origin,
            request.method,
            target,
            headers,
            request.patience,
            request.body,
            once=request.once,
            on_unanswered=tell,
        )

    def _open(self, request: Request, target: str, headers: dict[str, str]) -> Awaitable[Stream]:
        return self._transport.open(
            self._address.origin, request.method, target, headers, request.patience
        )

    def _error(self, request: Request, reply: Reply, message: StoreMessage) -> StorageError:
        return make_error(
            request.operation,
            request.key,
            status=reply.status,
            code=message.code,
            message=message.message,
            request_id=reply.headers.get(self._dialect.request_id_header, message.request_id),
        )


def was_not_begun(error: StorageError) -> bool:
    """Return whether the store has certainly not acted on the request."""
    return was_never_sent(error) or error.code == "SlowDown"
