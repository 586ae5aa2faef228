"""Whose line it is: the session that every log line of a session carries, and finished transfers.

It must not know handlers or formats.
"""

import logging
from collections.abc import MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from cos_ftp_server.errors import StorageError

__all__ = ["SessionContext", "SessionLogger", "Transfer", "session_of", "transfer_logger"]

transfer_logger = logging.getLogger("cos_ftp_server.transfers")
"""Of finished transfers, whose lines go to the xferlog whatever the log level is."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """A session as its lines show it; `user` is "" while nobody is logged in."""

    session: int
    peer: str
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A finished transfer. `outcome` is the code of the final reply, `reply` its words."""

    verb: str
    path: str
    bytes: int
    seconds: float
    outcome: int
    reply: str
    is_binary: bool
    failure: StorageError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the client was told that all went well."""
        return self.outcome < 400

    def __str__(self) -> str:
        told = f" code={self.failure.code}" if self.failure and self.failure.code else ""
        if self.failure and self.failure.request_id:
            told += f" request_id={self.failure.request_id}"
        return (
            f"transfer verb={self.verb} path={self.path!r} bytes={self.bytes} "
            f"seconds={self.seconds:.3f} outcome={self.outcome}{told} {self.reply}"
        )


class SessionLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs for one session; set `user` at login."""

    def __init__(self, logger: logging.Logger, *, session: int, peer: str) -> None:
        super().__init__(logger)
        self.context = SessionContext(session, peer)

    @property
    def user(self) -> str:
        """Who is logged in, "" for nobody."""
        return self.context.user

    @user.setter
    def user(self, name: str) -> None:
        if name != self.context.user:
            self.context = SessionContext(self.context.session, self.context.peer, name)

    def bind(self) -> None:
        """Make all that this task logs from now on, and tasks that it starts, the session's."""
        _bound.set(self)

    def transfer(self, transfer: Transfer) -> None:
        """Log a finished transfer, without looking up the line of code, which no format shows."""
        log = transfer_logger
        if log.isEnabledFor(logging.INFO):
            extra = {"session": self.context}
            record = log.makeRecord(log.name, logging.INFO, "", 0, transfer, (), None, extra=extra)
            log.handle(record)

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """See logging.LoggerAdapter."""
        kwargs["extra"] = {"session": self.context}
        return msg, kwargs


_bound: ContextVar[SessionLogger | None] = ContextVar("bound session", default=None)


def session_of(record: logging.LogRecord) -> SessionContext | None:
    """Return the session that `record` belongs to. Call it where the line was logged."""
    named: SessionContext | None = getattr(record, "session", None)
    if named is not None:
        return named
    bound = _bound.get()
    return bound.context if bound else None
