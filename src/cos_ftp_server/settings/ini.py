"""Reads the INI dialect of the configuration file into sections, keys and line numbers.

Owns the syntax: what a line is. It must not know which sections and keys there are.

The standard library's reader stops at the first mistake, forgets line numbers and takes an
indented line for the continuation of a value; operators need all mistakes at once.
"""

import re
from dataclasses import dataclass, field

from cos_ftp_server.errors import ConfigProblem

__all__ = ["IniDocument", "IniEntry", "IniSection", "parse_ini"]

_LINE_END = re.compile(r"\r\n|\n|\r")
_SECTION = re.compile(r"\[([^\]]+)\]\s*(?:[#;].*)?")
_COMMENT = re.compile(r"\s[#;].*", re.DOTALL)
_DELIMITER = re.compile(r"[=:]")

_NOT_UTF8 = "is not UTF-8; save the file as UTF-8"


@dataclass(frozen=True, slots=True)
class IniEntry:
    """One value, without its comment and surrounding white space; `line` is 1-based.

    One that is not UTF-8 is no longer what was written, and a problem that is told already.
    """

    value: str = field(repr=False)  # may be a secret
    line: int
    is_utf8: bool = True


@dataclass(frozen=True, slots=True)
class IniSection:
    """One `[name]` as written, with its entries by lower-case key; `line` is the header's."""

    name: str
    line: int
    entries: dict[str, IniEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IniDocument:
    """All that could be read, and every line that could not."""

    sections: tuple[IniSection, ...]
    problems: tuple[ConfigProblem, ...]


def parse_ini(content: bytes) -> IniDocument:
    """Read a whole file. Never raises: what is wrong is in `problems`, never with a value in it.

    UTF-8, with or without a byte-order mark. `#` and `;` begin a comment at the start of a line
    or after white space. A value follows `=` or `:`. Section names and keys are matched
    without regard to case. As the original had it, a section that occurs twice is one section, and
    of a key that occurs twice the last counts; each of them is a warning.
    """
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        problem = ConfigProblem("", "", "is not a text file in UTF-8; save it as UTF-8")
        return IniDocument((), (problem,))
    # Bytes that are not UTF-8 are tolerated in comments, where older files have GBK.
    text = content.decode("utf-8-sig", errors="surrogateescape")
    reader = _Reader()
    for number, line in enumerate(_LINE_END.split(text), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            reader.add_header(number, stripped)
        elif stripped and stripped[0] not in "#;":
            reader.add_entry(number, stripped)
    return IniDocument(tuple(reader.sections.values()), tuple(reader.problems))


class _Reader:
    """What has been read so far."""

    def __init__(self) -> None:
        self.sections: dict[str, IniSection] = {}
        self.problems: list[ConfigProblem] = []
        self._current: IniSection | None = None

    def add_header(self, number: int, line: str) -> None:
        match = _SECTION.fullmatch(line)
        name = match[1].strip() if match else ""
        # A damaged header still ends the section before it.
        section = self._current = IniSection(_printable(name), number)
        if not name:
            self._report(number, "", "is not a section header; right would be [NAME]")
        elif not _is_utf8(name):
            self._report(number, "", _NOT_UTF8)
        elif (first := self.sections.setdefault(name.upper(), section)) is not section:
            self._current = first
            self._warn(
                number, "", f"section occurs twice, first in line {first.line}; they are one"
            )

    def add_entry(self, number: int, line: str) -> None:
        delimiter = _DELIMITER.search(line)
        comment = _COMMENT.search(line)
        if delimiter is None or (comment and comment.start() < delimiter.start()):
            self._report(number, "", "has no '='; right would be: key = value")
            return
        key = line[: delimiter.start()].strip().lower()
        value = _COMMENT.sub("", line[delimiter.end() :], count=1).strip()
        if value == '""':  # how older files write an empty value, as Python 2's reader had it
            value = ""
        if not key:
            self._report(number, "", "has no key before the '='; right would be: key = value")
        elif not _is_utf8(key):
            self._report(number, _printable(key), _NOT_UTF8)
        elif self._current is None:
            self._report(number, key, "stands before the first [SECTION]")
        else:
            entry = IniEntry(_printable(value), number, _is_utf8(value))
            if not entry.is_utf8:
                self._report(number, key, _NOT_UTF8)
            if earlier := self._current.entries.get(key):
                self._warn(
                    number, key, f"occurs twice, first in line {earlier.line}; this one counts"
                )
            self._current.entries[key] = entry

    def _report(self, line: int, key: str, message: str) -> None:
        section = self._current.name if self._current else ""
        self.problems.append(ConfigProblem(section, key, message, line))

    def _warn(self, line: int, key: str, message: str) -> None:
        section = self._current.name if self._current else ""
        self.problems.append(ConfigProblem(section, key, message, line, is_warning=True))


def _is_utf8(text: str) -> bool:
    """Whether `text` holds no byte that surrogateescape had to carry over."""
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
