"""Listings by prefix, delimiter and marker ("COS: GET Bucket") over any ordered set of keys.

Owns the walk: rows in UTF-8 byte order, groups folded into common prefixes and skipped by one
seek to the end of the group, so that a page costs its entries, not the size of what it skips.
Knows no SQL and no XML.
"""

import heapq
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["END_OF_KEYS", "Hidden", "Page", "PageQuery", "Seek", "hiding_recent", "list_page"]

END_OF_KEYS = b"\xff"  # above every key: UTF-8 has no such byte


class Keyed(Protocol):
    """A row with a key."""

    @property
    def key(self) -> bytes:
        """The key in UTF-8."""
        ...


RowT = TypeVar("RowT", bound=Keyed)
Seek = Callable[[bytes, bytes], Iterator[RowT]]
"""Returns the rows from the first key on and before the second one, in order, lazily."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page is wanted; `limit` counts rows and common prefixes.

    `marker` is exclusive, unless rows of its very key may follow (`with_marker`).
    """

    prefix: bytes
    delimiter: bytes
    marker: bytes
    limit: int
    with_marker: bool = False

    def group_of(self, key: bytes) -> bytes:
        """Return the common prefix that stands for a key that has the prefix, b"" if none."""
        if not self.delimiter:
            return b""
        position = key.find(self.delimiter, len(self.prefix))
        return key[: position + len(self.delimiter)] if position >= 0 else b""


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """One page; `next_marker` is the last entry, be it a key or a common prefix."""

    rows: tuple[RowT, ...]
    prefixes: tuple[bytes, ...]
    truncated: bool
    next_marker: bytes


def list_page(seek: Seek[RowT], query: PageQuery) -> Page[RowT]:
    """Return one page. At most one row is read for each entry, and one more."""
    if query.limit == 0:
        return Page((), (), truncated=False, next_marker=b"")
    rows: list[RowT] = []
    prefixes: list[bytes] = []
    last: RowT | bytes = b""
    with closing(_walk(seek, query)) as entries:
        for entry in itertools.islice(entries, query.limit):
            last = entry
            if isinstance(entry, bytes):
                prefixes.append(entry)
            else:
                rows.append(entry)
        truncated = next(entries, None) is not None
    marker = last if isinstance(last, bytes) else last.key
    return Page(tuple(rows), tuple(prefixes), truncated, marker if truncated else b"")


def _walk(seek: Seek[RowT], query: PageQuery) -> Generator[RowT | bytes, None, None]:
    """Yield rows and common prefixes in order."""
    end = _successor(query.prefix)
    start: bytes | None = _first_key(query)
    while start is not None:
        rows, start = seek(start, end), None
        for row in rows:
            group = query.group_of(row.key)
            if group:
                yield group
                start = _successor(group)
                break
            yield row


def _first_key(query: PageQuery) -> bytes:
    if not query.marker or query.marker < query.prefix:
        return query.prefix
    if query.marker.startswith(query.prefix):
        # A marker within a group stands behind the group's common prefix.
        group = query.group_of(query.marker)
        if group:
            return _successor(group)
    return query.marker if query.with_marker else query.marker + b"\0"


def _successor(prefix: bytes) -> bytes:
    """Return the first key after all those that begin with the prefix."""
    # UTF-8 has no byte 0xFF, so the last byte can always be raised.
    return prefix[:-1] + bytes((prefix[-1] + 1,)) if prefix else END_OF_KEYS


Hidden = Mapping[bytes, RowT | None]
"""What listings shall show for a key instead of the truth; None for nothing."""


def hiding_recent(seek: Seek[RowT], hidden: Hidden[RowT]) -> Seek[RowT]:
    """Return a seek that tells an older truth about some keys."""
    if not hidden:
        return seek

    def older(start: bytes, end: bytes) -> Iterator[RowT]:
        current: Iterable[RowT] = (row for row in seek(start, end) if row.key not in hidden)
        former = sorted(
            (row for key, row in hidden.items() if row is not None and start <= key < end),
            key=lambda row: row.key,
        )
        return heapq.merge(current, former, key=lambda row: row.key)

    return older
