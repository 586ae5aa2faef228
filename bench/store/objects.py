"""What the null store knows: sizes, checksums and names, never content.

Objects whose name tells their size are always there (`size-4096-00.bin`), and so are directories
whose name tells how much is in them (`list-1000/`). Anything else is there once it was stored.
Knows no HTTP.
"""

import re
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bench.content import crc_of

__all__ = ["MODIFIED", "Entry", "Objects", "Page", "Stored", "Upload", "sized_name"]

MODIFIED = time.gmtime(1_600_000_000)
"""When everything here was modified last."""

_LISTED_SIZES = (4096, 256 * 1024**2, 1024**3)
_LISTED_COPIES = 128
"""As many objects of each of these sizes are in the listing of the root; others go unlisted."""

_DIRECTORIES = (1000, 100_000)
_SIZED = re.compile(r"size-(\d+)-\w+\.bin")
_LIST = re.compile(r"list-(\d+)/")


@dataclass(frozen=True, slots=True)
class Stored:
    """One object."""

    size: int
    crc64: int
    etag: str
    """Without quotation marks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a listing."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing; `next_marker` is "" on the last one."""

    entries: Sequence[Entry]
    prefixes: Sequence[str]
    next_marker: str


@dataclass(slots=True)
class Upload:
    """A multipart upload; parts by number."""

    key: str
    parts: dict[int, Stored] = field(default_factory=dict)


def sized_name(size: int, number: int) -> str:
    """Return the name of an object that is always there."""
    return f"size-{size}-{number:02}.bin"


class Objects:
    """The bucket."""

    def __init__(self) -> None:
        self.uploads: dict[str, Upload] = {}
        self._stored: dict[str, Stored] = {}

    def find(self, key: str) -> Stored | None:
        """Return the object `key`."""
        return self._stored.get(key) or _always_there(key)

    def put(self, key: str, stored: Stored) -> None:
        """Remember an object."""
        self._stored[key] = stored

    def delete(self, key: str) -> None:
        """Forget an object."""
        self._stored.pop(key, None)

    def forget(self) -> None:
        """Forget all that was stored."""
        self._stored.clear()
        self.uploads.clear()

    def list(self, prefix: str, delimiter: str, marker: str, limit: int) -> Page:
        """Return the entries after `marker`.

        What was stored is listed only when `prefix` is its whole name: that is what a gateway
        asks to learn whether a name is taken, and keeps this cheap with any number of objects.
        """
        if (stored := self._stored.get(prefix)) is not None:
            found = [Entry(prefix, stored.size, stored.etag)] if prefix > marker else []
            return Page(found, (), "")
        match = _LIST.match(prefix)
        names = _names_below(int(match[1])) if match else _root_names(bool(delimiter))
        start = max(bisect_left(names, prefix), bisect_right(names, marker))
        end = bisect_left(names, prefix + "\U0010ffff")
        some = names[start : min(end, start + limit)]
        entries, prefixes = [], []
        for name in some:
            if name.endswith("/"):
                prefixes.append(name)
            elif (there := _always_there(name)) is not None:
                entries.append(Entry(name, there.size, there.etag))
        return Page(entries, prefixes, some[-1] if start + limit < end else "")


@lru_cache(maxsize=200_000)
def _always_there(key: str) -> Stored | None:
    if match := _SIZED.fullmatch(key):
        size = int(match[1])
        # A hyphen marks an ETag that is not the MD5 of the content.
        return Stored(size, crc_of(size), f"{size:032x}-1")
    if _LIST.match(key) and not key.endswith("/"):
        return Stored(4096, crc_of(4096), f"{4096:032x}-1")
    return None


@lru_cache(maxsize=8)
def _names_below(count: int) -> Sequence[str]:
    return [f"list-{count}/entry-{number:08}.dat" for number in range(count)]


@lru_cache(maxsize=2)
def _root_names(is_folded: bool) -> Sequence[str]:
    names = [sized_name(size, copy) for size in _LISTED_SIZES for copy in range(_LISTED_COPIES)]
    for count in _DIRECTORIES:
        names += [f"list-{count}/"] if is_folded else _names_below(count)
    return sorted(names)
