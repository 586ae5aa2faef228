"""How a log line is written: as text for people, as JSON, and in the format of xferlog.

A name from outside can neither end a line nor steer a terminal: what is no printable character is
escaped here, and nowhere else. It must not know where lines go.
"""

import json
import logging
import re
import time
from datetime import UTC, datetime
from types import MappingProxyType

from cos_ftp_server.errors import StorageError
from cos_ftp_server.logs.session import SessionContext, Transfer, session_of

__all__ = ["JsonFormatter", "TextFormatter", "XferlogFormatter", "is_in_xferlog"]

# Control characters, line and paragraph ends, marks that turn the direction of writing, surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _escape(text: str) -> str:
    if text.isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _failure(record: logging.LogRecord) -> StorageError | None:
    """Return the first argument of the line that is an error of the store."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return next((argument for argument in arguments if isinstance(argument, StorageError)), None)


def _transfer(record: logging.LogRecord) -> Transfer | None:
    """Return the transfer whose end the line tells."""
    return record.msg if isinstance(record.msg, Transfer) else None


class TextFormatter(logging.Formatter):
    """`2026-05-04 03:02:01,123 INFO    session=7 peer=192.0.2.1 user='bob' message`.

    The lines of a traceback follow indented, so that none looks like the beginning of another.
    """

    def __init__(self) -> None:
        super().__init__()
        self._second = -1, ""  # and as text: busy servers write many lines in one

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        second, moment = self._second  # together: other threads write lines, too
        if second != int(record.created):
            second = int(record.created)
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = second, moment
        head = f"{moment},{int(record.msecs):03d} {record.levelname:<7} "
        session = session_of(record)
        lines = [head + (_named(session) if session else "") + _escape(record.getMessage())]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            lines += (f"    {_escape(line)}" for line in trace.splitlines())
        return "\n".join(lines)


def _named(session: SessionContext) -> str:
    user = f"user={_escape(repr(session.user))} " if session.user else ""
    return f"session={session.session} peer={session.peer} {user}"


class JsonFormatter(logging.Formatter):
    """One object per line: `time`, `level`, `logger`, `message`; `session`, `peer`, `user` in a
    session; for a transfer `verb`, `path`, `bytes`, `seconds`, `outcome`, `reply`; where the store
    refused `cos_operation`, `cos_status`, `cos_code`, `cos_request_id`; `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if session := session_of(record):
            fields |= {"session": session.session, "peer": session.peer, "user": session.user}
        failure = _failure(record)
        if transfer := _transfer(record):
            failure = transfer.failure
            fields |= {
                "verb": transfer.verb,
                "path": transfer.path,
                "bytes": transfer.bytes,
                "seconds": round(transfer.seconds, 3),
                "outcome": transfer.outcome,
                "reply": transfer.reply,
            }
        if failure is not None:
            fields |= {
                "cos_operation": failure.operation,
                "cos_status": failure.status,
                "cos_code": failure.code,
                "cos_request_id": failure.request_id,
            }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


_DIRECTIONS = MappingProxyType({"RETR": "o", "STOR": "i", "STOU": "i", "APPE": "i"})
"""Files that leave and come in; listings are not transfers in an xferlog."""


def is_in_xferlog(record: logging.LogRecord) -> bool:
    """Whether `record` tells the end of a file's transfer."""
    transfer = _transfer(record)
    return transfer is not None and transfer.verb in _DIRECTIONS


class XferlogFormatter(logging.Formatter):
    """The format of wu-ftpd's xferlog(5), which log analysers read; only of `is_in_xferlog`."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        session, transfer = session_of(record), _transfer(record)
        if session is None or transfer is None:
            raise ValueError("not a transfer")
        return " ".join(
            (
                time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(record.created)),
                f"{max(1, round(transfer.seconds))}",  # readers divide by it
                session.peer,
                f"{transfer.bytes}",
                _word(transfer.path),
                "b" if transfer.is_binary else "a",
                "_",  # nothing was compressed or packed
                _DIRECTIONS[transfer.verb],
                "r",  # a real user, not an anonymous one
                _word(session.user),
                "ftp",
                "0 *",  # no RFC 931 authentication
                "c" if transfer.is_complete else "i",
            )
        )


def _word(text: str) -> str:
    """Return `text` without what would begin another field; wu-ftpd writes "_" as well."""
    return re.sub(r"\s", "_", _escape(text)) or "_"
