"""What can go wrong with a connection to a store, before or instead of an answer. Pure."""

import enum

__all__ = ["NEVER_SENT", "HttpError", "Trouble"]


class Trouble(enum.Enum):
    """What happened to a connection, in words that a detail may follow."""

    DNS = "DNS: cannot resolve"
    CERTIFICATE = "TLS: refused the certificate of"
    HANDSHAKE = "TLS: no handshake with"
    UNREACHABLE = "cannot connect to"
    CONNECT_TIMEOUT = "timed out while connecting"
    TIMEOUT = "timed out: no progress"
    TOO_SLOW = "timed out: it took too long"
    UNANSWERED = "connection lost without an answer"
    BROKEN_OFF = "answer broken off"
    NO_HTTP = "answer is not HTTP:"


NEVER_SENT = frozenset(
    {
        Trouble.DNS,
        Trouble.CERTIFICATE,
        Trouble.HANDSHAKE,
        Trouble.UNREACHABLE,
        Trouble.CONNECT_TIMEOUT,
    }
)
"""After these the store has certainly not seen the request."""


class HttpError(Exception):
    """A request came to no answer; `detail` says of what host, or what the system said."""

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble.value} {detail}" if detail else trouble.value)
        self.trouble = trouble
