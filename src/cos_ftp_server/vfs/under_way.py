"""What is being made and deleted at this moment: who may see it, and what else may be made.

A store lets a name be a file and a directory, since "d" and "d/x" are two keys like any other: that
it is one of them is seen to here. It must not know what is made there, nor how.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from cos_ftp_server.vfs.paths import prefixes_above

__all__ = ["UnderWay", "Watch"]


class Watch:
    """A context that notes whether `key` was hidden while it lasted, even for a moment."""

    __slots__ = ("_key", "_watches", "was_hidden")

    def __init__(self, key: str, watches: dict[str, set["Watch"]], *, is_hidden: bool) -> None:
        self._key = key
        self._watches = watches
        self.was_hidden = is_hidden

    def __enter__(self) -> Self:
        self._watches.setdefault(self._key, set()).add(self)
        return self

    def __exit__(self, *_: object) -> None:
        watches = self._watches[self._key]
        watches.discard(self)
        if not watches:
            del self._watches[self._key]


class UnderWay:
    """Object keys, and key prefixes ("…/") of directories, that somebody is busy with."""

    def __init__(self) -> None:
        self._made: dict[str, int] = {}  # by how many
        self._deleted: dict[str, int] = {}
        self._hidden: set[str] = set()
        self._watches: dict[str, set[Watch]] = {}

    def may_be_there(self, key: str) -> bool:
        """Whether somebody makes it, or has not yet deleted it."""
        return key in self._made or key in self._deleted

    # Making

    def begin_making(self, key: str) -> None:
        """Take note that there may be something at `key` from now on, hence its directories too."""
        for name in (key, *prefixes_above(key)):
            self._made[name] = self._made.get(name, 0) + 1

    def end_making(self, key: str) -> None:
        """Take note that it is known by now whether there is."""
        _decrease(self._made, (key, *prefixes_above(key)))

    @contextmanager
    def making(self, key: str) -> Iterator[None]:
        """While it lasts, somebody makes `key`, or relies on that directory."""
        self.begin_making(key)
        try:
            yield
        finally:
            self.end_making(key)

    # Deleting

    @contextmanager
    def deleting(self, *keys: str) -> Iterator[None]:
        """While it lasts, what counts as deleted may still be there, and stay."""
        for key in keys:
            self._deleted[key] = self._deleted.get(key, 0) + 1
        try:
            yield
        finally:
            _decrease(self._deleted, keys)

    def is_deleting(self, key: str) -> bool:
        """Whether `key` counts as deleted before it is."""
        return key in self._deleted

    # Hiding

    def hide(self, key: str) -> None:
        """Let a new object count as absent: it may still be taken back."""
        self._hidden.add(key)
        for watch in self._watches.get(key, ()):
            watch.was_hidden = True

    def show(self, key: str) -> None:
        """End that, if it was so."""
        self._hidden.discard(key)

    def is_hidden(self, key: str) -> bool:
        """Whether what the store may have at `key` is nobody's business yet."""
        return key in self._hidden

    def watch(self, key: str) -> Watch:
        """Return the context in which to ask the store for an object that may be hidden.

        Neither before nor after would do: it may be hidden, and taken back, while the question or
        the answer is under way.
        """
        return Watch(key, self._watches, is_hidden=key in self._hidden)


def _decrease(counts: dict[str, int], names: Iterable[str]) -> None:
    for name in names:
        if counts[name] == 1:
            del counts[name]
        else:
            counts[name] -= 1
