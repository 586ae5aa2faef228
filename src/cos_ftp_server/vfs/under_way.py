"""What is being made and deleted at this moment, so that no name becomes a file and a directory.

A store would let both be: "d" and "d/x" are two keys like any other. It must not know what is made
there, nor how.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cos_ftp_server.vfs.paths import prefixes_above

__all__ = ["UnderWay"]


class UnderWay:
    """Object keys, and key prefixes ("…/") of directories, that somebody is busy with."""

    def __init__(self) -> None:
        self._made: Counter[str] = Counter()
        self._deleted: Counter[str] = Counter()

    def begin_making(self, key: str) -> None:
        """Take note that there may be something at `key` from now on, hence its directories too."""
        self._made[key] += 1
        for prefix in prefixes_above(key):
            self._made[prefix] += 1

    def end_making(self, key: str) -> None:
        """Take note that it is known by now whether there is."""
        for name in (key, *prefixes_above(key)):
            _decrease(self._made, name)

    @contextmanager
    def making(self, key: str) -> Iterator[None]:
        """While it lasts, somebody makes `key`, or relies on that directory."""
        self.begin_making(key)
        try:
            yield
        finally:
            self.end_making(key)

    @contextmanager
    def deleting(self, *keys: str) -> Iterator[None]:
        """While it lasts, what counts as deleted may still be there, and stay."""
        self._deleted.update(keys)
        try:
            yield
        finally:
            for key in keys:
                _decrease(self._deleted, key)

    def is_deleting(self, key: str) -> bool:
        """Whether `key` counts as deleted before it is."""
        return key in self._deleted

    def may_be_there(self, key: str) -> bool:
        """Whether somebody makes it, or has not yet deleted it."""
        return key in self._made or key in self._deleted


def _decrease(counter: Counter[str], name: str) -> None:
    if counter[name] == 1:
        del counter[name]
    else:
        counter[name] -= 1
