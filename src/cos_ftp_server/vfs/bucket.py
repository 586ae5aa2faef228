"""What all accounts of this server know of one bucket, so that each sees at once what others do.

Owns that a name is of one kind, a file or a directory, and who is told of what has been done: those
who are busy there, those who may try an upload again, and the memory of recent changes. It must not
know how anything is done, nor whose it is.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.attempts import Attempts, Journal, Unwritten
from cos_ftp_server.vfs.damaged import DamagedFiles
from cos_ftp_server.vfs.paths import prefixes_above
from cos_ftp_server.vfs.recent import LIFETIME_S, RecentChanges
from cos_ftp_server.vfs.turns import LATE_S, Turns
from cos_ftp_server.vfs.under_way import UnderWay

__all__ = ["BucketState", "store_time"]


_UNWRITTEN = Unwritten()


def store_time() -> datetime:
    """Return the time in the resolution of a store, for what it has just been made to do."""
    return datetime.now(UTC).replace(microsecond=0)


class BucketState:
    """Who is busy at which object keys, what broke off there, and what was done a moment ago.

    A key that ends with "/" stands for a directory: its marker, or that something lies in it.
    Those who are about to change an object wait for each other by its key in `turns`; whoever makes
    something new says so in `under_way`, once there is no `obstacle`. Uploads are in `attempts`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        late_s: float = LATE_S,
        journal: Journal = _UNWRITTEN,
    ) -> None:
        self.turns = Turns(late_s)
        self.under_way = UnderWay()
        self.attempts = Attempts(clock, journal)
        self.damaged = DamagedFiles(clock)
        self.now = clock
        """Returns the time (seconds) on the clock that all that is known here goes by."""
        self._recent = RecentChanges(clock)

    @property
    def complete_since(self) -> float:
        """From when on all is known that has been done; an older look at the store counts no more.

        Of a directory that was moved away, not all that is gone is known.
        """
        return max(self.now() - LIFETIME_S, self._recent.forgotten)

    # What has been done

    def wrote(self, meta: ObjectMeta) -> None:
        """Take note of an object (or a directory marker), and that its directories exist."""
        self.attempts.settle(meta.key)
        self._recent.remember(meta.key, meta)
        self.filled(meta.key, meta.modified)

    def filled(self, key: str, modified: datetime) -> None:
        """Take note that the directories which hold `key` exist, with or without a marker.

        Who is about to delete one of them is told.
        """
        self.under_way.wrote(key)
        for directory in prefixes_above(key):
            there = self.find(directory)
            if there is None or not there.etag:  # it is to be known as long as what lies in it
                self._note_directory(directory, modified)

    def taken_back(self, key: str) -> None:
        """Take note that a new object is gone again: that its upload broke off stays known."""
        self._recent.remember(key, None)

    def deleted(self, key: str) -> None:
        """Take note that `key` is gone."""
        self.attempts.settle(key)
        self._recent.remember(key, None)

    def forget_deletion(self, key: str) -> None:
        """Take it that there may be something at `key` again."""
        if self.is_deleted(key):
            self._recent.forget(key)

    def lost_marker(self, directory: str) -> None:
        """Take note that the marker of a directory is gone, which may be there all the same."""
        if any(self.below(directory).values()):
            self._note_directory(directory, store_time())
        else:
            self._recent.forget(directory)

    def emptying(self, directory: str) -> None:
        """Take note that a directory has lost its marker, and counts as there until `emptied`."""
        self._note_directory(directory, store_time())

    def emptied(self, directory: str, *, is_gone: bool) -> None:
        """Take note that all has been taken away from a directory and from those below it.

        Those in which something was written stay, and what has been written as a marker. Unless it
        `is_gone`, there may be more in it than is known here.
        """
        known = self._recent.unmarked_below(directory)
        for key in sorted({*known, directory}, key=len, reverse=True):
            there = self.find(key)
            if there is None or not there.etag:
                self.lost_marker(key)
                if is_gone and self.find(key) is None:
                    self._recent.remember(key, None)
        self._recent.forgotten = self.now()

    def lost_entry(self, key: str) -> None:
        """Take it that the directories above `key` may be gone with it.

        Those stay that have a marker, or something else that is known.
        """
        for directory in prefixes_above(key):
            if (there := self.find(directory)) is not None and not there.etag:
                self.lost_marker(directory)

    def _note_directory(self, directory: str, modified: datetime) -> None:
        meta = ObjectMeta(key=directory, size=0, etag="", modified=modified)
        self._recent.remember(directory, meta)

    # What is known: what is just being deleted counts as gone

    def find(self, key: str) -> ObjectMeta | None:
        """Return the object if it was written lately and not deleted since."""
        if self.under_way.counts_as_deleted(key):
            return None
        change = self._recent.find(key)
        return change.meta if change else None

    def is_deleted(self, key: str) -> bool:
        """Whether `key` was deleted lately and not written since."""
        if self.under_way.counts_as_deleted(key):
            return True
        change = self._recent.find(key)
        return change is not None and change.meta is None

    def etag(self, key: str, *, listed: str) -> str:
        """Return the ETag of what is at `key`, "" for nothing: as listed, unless known better."""
        if self.under_way.counts_as_deleted(key):
            return ""
        if (change := self._recent.find(key)) is None:
            return listed
        return change.meta.etag if change.meta else ""

    def exists(self, key: str, *, listed: bool) -> bool:
        """Whether there is anything at `key`: as listed, unless known better.

        What is just being deleted still is: that may fail, and what takes its name would stay.
        """
        change = self._recent.find(key)
        return listed if change is None else change.meta is not None

    def below(self, prefix: str) -> Mapping[str, ObjectMeta | None]:
        """Return the recent changes to the entries directly in the directory `prefix`, by key."""
        return self._recent.below(prefix)

    def written_below(self, prefix: str) -> set[str]:
        """Return the keys of objects lately written below `prefix` ("…/"), or as its marker."""
        return self._recent.written_below(prefix)

    # One name, one kind

    def obstacle(self, key: str) -> ErrorKind | None:
        """Say why nothing new has a place at `key`, as far as this server knows, if it has none.

        A file has none where there is a directory, nor a directory where there is a file, nor
        either below a file: if that was made lately, or is being made, or has not yet gone.
        """
        if key.endswith("/"):
            if self._may_be_there(key[:-1]):
                return ErrorKind.EXISTS
        elif self._may_be_there(f"{key}/"):
            return ErrorKind.IS_DIRECTORY
        for directory in prefixes_above(key):
            if self._may_be_there(directory[:-1]):
                return ErrorKind.NOT_DIRECTORY
        return None

    def _may_be_there(self, key: str) -> bool:
        return self.under_way.may_be_there(key) or self.find(key) is not None

    @contextmanager
    def claiming(self, key: str) -> Iterator[None]:
        """While it lasts, `key` may come to be a file, or a directory ("…/").

        Raises EXISTS, IS_DIRECTORY or NOT_DIRECTORY for what has been made since the caller looked
        at the store, is being made, or is being deleted but not gone.
        """
        if obstacle := self.obstacle(key):
            raise StorageError(obstacle, operation="create", key=key)
        with self.under_way.making(key):
            yield
