"""Stretches of a directory that were listed a moment ago, so that the next name costs no request.

Cameras and ERPs name files in order, by time or by number: the few entries that follow one name
tell about many names to come. It must not know what is asked, or of whom.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from cos_ftp_server.vfs.recent import LIFETIME_S

__all__ = ["Stretch", "Stretches"]

_MOST = 256
"""Stretches of one account; each holds a handful of names."""

_first = attrgetter("first")


@dataclass(frozen=True, slots=True)
class Stretch:
    """All that a directory held from the key `first` to `last`, None: to its end.

    `entries` has the ETag of each file by its key, and "" for each directory by its prefix.
    """

    first: str
    last: str | None
    entries: Mapping[str, str]
    asked_at: float

    def covers(self, key: str) -> bool:
        """Whether it tells what is at `key`, a file, and at `key/`, a directory."""
        return self.first <= key and (self.last is None or f"{key}/" <= self.last)


class Stretches:
    """The stretches that are known, by the prefix of their directory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_directory: dict[str, list[Stretch]] = {}
        self.count = 0
        """How many there are, also too old ones."""

    def find(self, directory: str, key: str, *, since: float) -> Stretch | None:
        """Return a stretch that covers `key` and was asked for after `since`."""
        stretches = self._by_directory.get(directory, ())
        index = bisect_right(stretches, key, key=_first) - 1
        if index < 0 or not stretches[index].covers(key):
            return None
        return stretches[index] if stretches[index].asked_at > since else None

    def add(
        self,
        directory: str,
        first: str,
        last: str | None,
        entries: Mapping[str, str],
        asked_at: float,
    ) -> Stretch:
        """Remember what was listed by a request of that time, and return it."""
        if self.count >= _MOST:
            self._drop_old()
        stretch = Stretch(first, last, entries, asked_at)
        stretches = self._by_directory.setdefault(directory, [])
        index = bisect_right(stretches, first, key=_first)
        if index and stretches[index - 1].first == first:
            stretches[index - 1] = stretch
        else:
            insort(stretches, stretch, key=_first)
            self.count += 1
        return stretch

    def _drop_old(self) -> None:
        """Forget what is too old; if that is not half of it, everything."""
        now = self._clock()
        alive = {
            directory: kept
            for directory, stretches in self._by_directory.items()
            if (kept := [stretch for stretch in stretches if stretch.asked_at > now - LIFETIME_S])
        }
        count = sum(map(len, alive.values()))
        self._by_directory, self.count = (alive, count) if count <= _MOST // 2 else ({}, 0)
