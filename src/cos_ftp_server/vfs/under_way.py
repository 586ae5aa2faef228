"""What is being made and deleted at this moment: who may see it, and what else may be made.

A store lets a name be a file and a directory, since "d" and "d/x" are two keys like any other: that
it is one of them is seen to here. It must not know what is made there, nor how.
"""

from collections.abc import Collection, Iterator
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
        self._noting: dict[str, list[set[str]]] = {}
        self._deleted: dict[str, list[set[str]]] = {}
        self._hidden: set[str] = set()
        self._watches: dict[str, set[Watch]] = {}

    def may_be_there(self, key: str) -> bool:
        """Whether somebody makes it, or has not yet deleted it."""
        return key in self._made or key in self._deleted

    def is_visible(self, key: str) -> bool:
        """Whether what the store may have at `key` counts: neither hidden nor being deleted."""
        return key not in self._hidden and not self.counts_as_deleted(key)

    # Making

    def begin_making(self, key: str) -> None:
        """Take note that there may be something at `key` from now on, hence its directories too."""
        for name in (key, *prefixes_above(key)):
            self._made[name] = self._made.get(name, 0) + 1

    def end_making(self, key: str) -> None:
        """Take note that it is known by now whether there is."""
        for name in (key, *prefixes_above(key)):
            if self._made[name] == 1:
                del self._made[name]
            else:
                self._made[name] -= 1

    @contextmanager
    def making(self, key: str) -> Iterator[None]:
        """While it lasts, somebody makes `key`, or relies on that directory."""
        self.begin_making(key)
        try:
            yield
        finally:
            self.end_making(key)

    # Noting what is written

    @contextmanager
    def noting(self, *names: str) -> Iterator[set[str]]:
        """Yield a set that is given those of `names` at or below which something is written."""
        written: set[str] = set()
        with _registered(self._noting, names, written):
            yield written

    def wrote(self, key: str) -> None:
        """Tell those who are noting it."""
        if self._noting:
            for name in (key, *prefixes_above(key)):
                for written in self._noting.get(name, ()):
                    written.add(name)

    # Deleting

    @contextmanager
    def deleting(self, *keys: str) -> Iterator[set[str]]:
        """While it lasts, `keys` count as deleted, though they may be there, and stay.

        That ends for those at or below which something is written: the set that is given has them.
        The directories above are relied on.
        """
        above = {prefix for key in keys for prefix in prefixes_above(key)}
        for prefix in above:
            self.begin_making(prefix)
        try:
            with self.noting(*keys) as written, _registered(self._deleted, keys, written):
                yield written
        finally:
            for prefix in above:
                self.end_making(prefix)

    def is_deleting(self, key: str) -> bool:
        """Whether somebody is about to delete `key`."""
        return key in self._deleted

    def counts_as_deleted(self, key: str) -> bool:
        """Whether that is so, and nothing has been written there since."""
        return key in self._deleted and any(key not in since for since in self._deleted[key])

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


@contextmanager
def _registered(
    register: dict[str, list[set[str]]], names: Collection[str], written: set[str]
) -> Iterator[None]:
    for name in names:
        register.setdefault(name, []).append(written)
    try:
        yield
    finally:
        for name in names:
            register[name] = [other for other in register[name] if other is not written]
            if not register[name]:
                del register[name]
