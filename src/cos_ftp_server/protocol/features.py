"""What the server can do and says so (FEAT, HELP), and the small arguments it understands."""

import enum
import re
from collections.abc import Collection

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import COMMANDS
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.listing import MLST_FACTS
from cos_ftp_server.protocol.replies import Reply

__all__ = [
    "MAX_OFFSET",
    "Option",
    "TransferType",
    "check_mode",
    "check_structure",
    "check_utf8_option",
    "feature_lines",
    "help_reply",
    "parse_allo",
    "parse_opts",
    "parse_rest",
    "parse_type",
]

MAX_OFFSET = 2**63 - 1
"""The largest file size and offset: a signed 64-bit number, as in the clients."""

_NUMBER = re.compile(r"[0-9]{1,19}")  # as many digits as MAX_OFFSET has
_ALLO = re.compile(r"([0-9]{1,19})(?: [Rr] [0-9]{1,19})?")
_VERBS_PER_LINE = 8

_EXTENSIONS = ("CLNT", "EPRT", "EPSV", "MDTM", "SIZE")
"""Verbs that are a feature by themselves."""


class TransferType(enum.Enum):
    """The representation type (RFC 959 section 3.1.1)."""

    ASCII = "A"
    BINARY = "I"


class Option(enum.Enum):
    """What OPTS can be about."""

    UTF8 = "UTF8"
    MLST = "MLST"


def feature_lines(selected_facts: Collection[str]) -> tuple[str, ...]:
    """Return the lines of FEAT; the facts selected by OPTS MLST bear a "*" (RFC 3659 7.8)."""
    facts = "".join(f"{fact}{'*' if fact in selected_facts else ''};" for fact in MLST_FACTS)
    lines = [*_EXTENSIONS, f"MLST {facts}", "REST STREAM", "TVFS", "UTF8"]
    return tuple(sorted(lines))


def help_reply(argument: str) -> Reply:
    """Return the answer to HELP: all that works, or what one verb is for.

    An unknown verb, and one that is not implemented, is 502: clients probe with it.
    """
    verb = argument.strip(" ").upper()
    if not verb:
        verbs = sorted(row.verb for row in COMMANDS.values() if row.implemented)
        lines = (
            " ".join(f"{verb:<4}" for verb in verbs[start : start + _VERBS_PER_LINE]).rstrip()
            for start in range(0, len(verbs), _VERBS_PER_LINE)
        )
        return replies.help_text("Commands:", *lines, "End")
    row = COMMANDS.get(verb)
    if row is None or not row.implemented:
        return replies.NOT_IMPLEMENTED
    return replies.help_text(f"{row.verb} {row.help} ({row.rfc})")


def parse_type(argument: str) -> TransferType:
    """Return the type that TYPE asks for: A, A N, I or L 8 (RFC 959 section 5.3.2).

    Raises ProtocolError: 504 for what RFC 959 knows and this server does not, else 501.
    """
    words = argument.upper().split()
    if words in (["A"], ["A", "N"]):
        return TransferType.ASCII
    if words in (["I"], ["L", "8"], ["L8"]):
        return TransferType.BINARY
    if re.fullmatch("[AE]( [NTC])?|L ?[0-9]+", " ".join(words)):
        raise ProtocolError(replies.BAD_PARAMETER)
    raise ProtocolError(replies.SYNTAX_ERROR)


def check_mode(argument: str) -> None:
    """Accept MODE S, stream. Raises ProtocolError: 504 for block, compressed, deflate, else 501."""
    _check_code(argument, "S", "BCZ")


def check_structure(argument: str) -> None:
    """Accept STRU F, file. Raises ProtocolError: 504 for record and page, else 501."""
    _check_code(argument, "F", "RP")


def _check_code(argument: str, supported: str, known: str) -> None:
    code = argument.strip(" ").upper()
    if code == supported:
        return
    is_known = len(code) == 1 and code in known
    raise ProtocolError(replies.BAD_PARAMETER if is_known else replies.SYNTAX_ERROR)


def parse_rest(argument: str) -> int:
    """Return the offset in bytes, at most MAX_OFFSET (RFC 3659 section 5). Raises ProtocolError."""
    return _number(_NUMBER.fullmatch(argument.strip(" ")), 0)


def parse_allo(argument: str) -> int:
    """Return the size in bytes that ALLO announces (RFC 959 section 5.3.1).

    The record size that may follow it is ignored. Raises ProtocolError (501).
    """
    return _number(_ALLO.fullmatch(argument.strip(" ")), 1)


def _number(match: re.Match[str] | None, group: int) -> int:
    number = int(match[group]) if match else -1
    if not 0 <= number <= MAX_OFFSET:
        raise ProtocolError(replies.SYNTAX_ERROR)
    return number


def parse_opts(argument: str) -> tuple[Option, str]:
    """Return what OPTS is about, and the rest of its argument (RFC 2389 section 4).

    Raises ProtocolError (501) for an option that FEAT does not have.
    """
    name, _, value = argument.strip(" ").partition(" ")
    name = "UTF8" if name.upper() == "UTF-8" else name.upper()
    try:
        return Option(name), value.strip(" ")
    except ValueError:
        raise ProtocolError(replies.UNKNOWN_OPTION) from None


def check_utf8_option(value: str) -> None:
    """Accept OPTS UTF8 and OPTS UTF8 ON; UTF-8 is always on. Raises ProtocolError (501)."""
    if value.upper() == "OFF":
        raise ProtocolError(replies.UTF8_STAYS_ON)
    if value.upper() not in ("", "ON"):
        raise ProtocolError(replies.SYNTAX_ERROR)
