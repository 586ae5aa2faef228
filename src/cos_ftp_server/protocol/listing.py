"""What LIST, NLST, MLSD and MLST print of an entry, and what their arguments mean.

It must not know where entries come from. A listing of 100,000 entries is common: the formatters
take less than two microseconds each.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import COMMANDS, Permission
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.text import TWO_DIGITS, escape_controls, format_time

__all__ = [
    "MLST_FACTS",
    "Entry",
    "ListArgument",
    "compile_glob",
    "encode_entries",
    "format_mlsx",
    "format_name",
    "format_unix",
    "parse_list_argument",
    "parse_mlst_facts",
]

_MONTHS = tuple(
    "JanFebMarAprMayJunJulAugSepOctNovDec"[start : start + 3] for start in range(0, 36, 3)
)

_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)

_RECENT = timedelta(days=180)
"""ls(1) prints the time of day of files changed in the last six months, the year of others."""

_AHEAD = timedelta(minutes=-1)
"""A file stored a moment ago may bear a time that lies ahead of this machine's clock."""

MLST_FACTS: Final = ("type", "size", "modify", "perm", "unix.mode")
"""The facts there are, in the order in which they are printed; lower case, as RFC 3659 allows.

No "unique": its value must differ between files even if they are copies (RFC 3659 section
7.5.2), and nothing that the store tells of an object does.
"""

_OPTION_WORD = re.compile(r"-[A-Za-z0-9]+(?: |\Z)")

_MAX_GLOB = 128
"""Characters in a pattern. Matching takes at most the product of its length and the name's: at
this bound 0.2 ms for the longest name (850 bytes), and 1 µs for names and patterns as they are."""


E = TypeVar("E", bound="Entry")


class Entry(Protocol):
    """What a listing must know of a file or directory."""

    @property
    def name(self) -> str:
        """The last component of the path."""
        ...

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def modified(self) -> datetime | None:
        """Aware, in UTC; None if unknown."""
        ...


def format_unix(entry: Entry, now: datetime) -> str:
    """Return the line of `ls -l`, without a line end (RFC 959 section 4.1.3 leaves it open).

    The form that all clients parse: English months, UTC, fields that never move. An unknown
    time is shown as 1970.
    """
    modified = entry.modified or _UNKNOWN_TIME
    two = TWO_DIGITS
    day, day_and_year = _unix_day(modified.toordinal())
    if _AHEAD <= now - modified < _RECENT:
        when = f"{day} {two[modified.hour]}:{two[modified.minute]}"
    else:
        when = day_and_year
    mode = "drwxr-xr-x" if entry.is_directory else "-rw-r--r--"
    return f"{mode}   1 ftp ftp {str(entry.size).rjust(12)} {when} {escape_controls(entry.name)}"


@lru_cache(maxsize=4096)  # files come in days; saves a third of the time per entry
def _unix_day(ordinal: int) -> tuple[str, str]:
    """Return the day of recent files and that of older ones, with the year."""
    day = date.fromordinal(ordinal)
    text = f"{_MONTHS[day.month - 1]} {day.day:02d}"
    return text, f"{text}  {day.year:04d}"


def format_name(entry: Entry) -> str:
    """Return the line of NLST, without a line end."""
    return escape_controls(entry.name)


def format_mlsx(
    entry: Entry, facts: tuple[str, ...], permission: Permission, path: str | None = None
) -> str:
    """Return the line of MLSD, without a line end (RFC 3659 section 7.2).

    `facts` are those to print, `permission` is what the account may do, as the "perm" fact
    tells. MLST gives the whole `path` instead of the name.
    """
    before, with_size, with_modify, after = _mlsx_style(facts, permission, entry.is_directory)
    size = f"size={entry.size};" if with_size else ""
    modified = entry.modified if with_modify else None
    modify = f"modify={format_time(modified)};" if modified else ""
    return f"{before}{size}{modify}{after} {escape_controls(path or entry.name)}"


@lru_cache(maxsize=64)  # one per kind of entry and account; saves half of the time per entry
def _mlsx_style(
    facts: tuple[str, ...], permission: Permission, is_directory: bool
) -> tuple[str, bool, bool, str]:
    """Return what all entries of a kind share: facts before and after, is there size, modify."""
    if is_directory:
        values = {"type": "dir", "perm": _directory_perm(permission), "unix.mode": "0755"}
    else:
        values = {"type": "file", "perm": _file_perm(permission), "unix.mode": "0644"}
    printed = {fact: f"{fact}={values[fact]};" if fact in facts else "" for fact in values}
    after = printed["perm"] + printed["unix.mode"]
    return printed["type"], "size" in facts and not is_directory, "modify" in facts, after


def _file_perm(permission: Permission) -> str:
    """Return the letters of RFC 3659 section 7.5.5 that hold for files."""
    letters = ""
    if Permission.WRITE in permission:
        letters += "afw"
    if Permission.READ in permission:
        letters += "r"
    if COMMANDS["DELE"].permission in permission:
        letters += "d"
    return letters


def _directory_perm(permission: Permission) -> str:
    """Return the letters of RFC 3659 section 7.5.5 that hold for directories."""
    letters = "e"
    if Permission.WRITE in permission:
        letters += "cfm"
    if Permission.READ in permission:
        letters += "l"
    if COMMANDS["RMD"].permission in permission:
        letters += "dp"
    return letters


def parse_mlst_facts(argument: str) -> tuple[str, ...]:
    """Return the facts that OPTS MLST selects, known ones only, in our order (RFC 3659 7.9).

    Raises ProtocolError (501) if that is no list of facts.
    """
    if " " in argument:
        raise ProtocolError(replies.SYNTAX_ERROR)
    asked = argument.lower().split(";")
    return tuple(fact for fact in MLST_FACTS if fact in asked)


def encode_entries(entries: Iterable[E], formatter: Callable[[E], str]) -> bytes:
    """Return the lines of a page of entries, each with its CRLF; b"" for none."""
    lines = [formatter(entry) for entry in entries]
    lines.append("")
    return "\r\n".join(lines).encode(errors="replace")


@dataclass(frozen=True, slots=True)
class ListArgument:
    """An argument of LIST or NLST, in both of its readings.

    `options` are the letters of its leading `-xyz` words, `path` is what follows them.
    `literal` is the whole argument: if `options` is not empty, a file may yet be called so.
    """

    options: str
    path: str
    literal: str


def parse_list_argument(argument: str) -> ListArgument:
    """Split an argument such as `-la dir` (an ls(1) habit of clients, in no RFC).

    A lone "-" and words that begin with "--" are names.
    """
    options = ""
    path = argument
    while match := _OPTION_WORD.match(path):
        options += match[0].strip("- ")
        path = path[match.end() :]
    return ListArgument(options, path, argument)


def compile_glob(pattern: str) -> Callable[[str], bool] | None:
    """Return what tells whether a name matches the last component of a path, None if it is no glob.

    `*`, `?`, `[a-z]` and `[!a-z]`; no braces, no `**`. The time is bounded by the product of both
    lengths, and a pattern longer than 128 characters is a plain name.
    """
    if len(pattern) > _MAX_GLOB or not any(character in pattern for character in "*?["):
        return None
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda name: match(name) is not None
