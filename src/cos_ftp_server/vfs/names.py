"""What a name stands for, asked of COS with as few round trips as possible.

A directory exists when its marker (a zero-byte object "dir/") or any object below it does. A single
name is resolved by HEAD; only "does anything lie below" needs a listing, of one key.
"""

from dataclasses import dataclass

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import ObjectMeta
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.concurrency import first_success, together
from cos_ftp_server.vfs.paths import ancestors, directory_key, file_key
from cos_ftp_server.vfs.seen import SeenPaths
from cos_ftp_server.vfs.stretches import Stretch, Stretches
from cos_ftp_server.vfs.under_way import Watch

__all__ = ["Names", "Target", "check_visible"]

_FOLLOWING = 8
"""Entries asked for to learn in one request whether "x" and "x/" exist; what sorts between them
("x-1", "x.txt") shares the name as a prefix, so there are few. Those behind tell about the names
that come next."""

_AT_ONCE = 8
"""Names above a path that are looked at side by side; few paths are deeper."""

_FEW = 3
"""Keys asked for to learn whether a directory holds anything: its marker, the one that is
about to go, and another."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was found where a file is to be created.

    `etag` is the ETag of the file that is there, "" if there is none; `obstacle` says why
    there should be none: IS_DIRECTORY, NOT_DIRECTORY when a name above is a file, or what the look
    itself has failed with. Who `is_blind` could not look, or has found nothing only because
    somebody is about to delete what is there.
    """

    key: str
    etag: str = ""
    obstacle: StorageError | None = None
    is_blind: bool = False

    def refusal(self, *, own: str = "") -> StorageError | None:
        """Return why no file may appear here, None if one may.

        A file that is there already may be replaced even if other tools have put a directory of
        the same name beside it. The one with the ETag `own` is the new file itself, which was
        stored while the look was taken.
        """
        return self.obstacle if self.etag in ("", own) else None


class Names:
    """Questions about single names of one account; `prefix` is "" or ends with "/"."""

    def __init__(self, client: CosClient, state: BucketState, prefix: str) -> None:
        self._client = client
        self._state = state
        self._prefix = prefix
        self.directories = SeenPaths()
        self._no_files = SeenPaths()
        self._stretches = Stretches(state.now)

    async def head_file(self, path: VirtualPath) -> ObjectMeta:
        """Return the object of the file at `path`. Raises NOT_FOUND."""
        key = file_key(path, self._prefix)
        with self._state.under_way.watch(key) as watch:
            meta = await self._client.head_object(key)
        check_visible(key, watch)
        return meta

    async def check_directory(self, path: VirtualPath) -> None:
        """Return if `path` is a directory. Raises NOT_FOUND. At most two requests, at once."""
        key = directory_key(path, self._prefix)
        if self._is_known(path, key) or self._state.find(key) is not None:
            return
        asked_at = self._state.now()
        await first_success(self._client.head_object(key), self._check_below(key))
        self.directories.add(path, asked_at)

    def _is_known(self, path: VirtualPath, key: str) -> bool:
        """Whether `path` was a directory a moment ago and nobody here has removed it since."""
        since = self._state.complete_since
        return self.directories.has(path, since=since) and not self._state.is_deleted(key)

    async def _check_below(self, key: str) -> None:
        if not await self.has_entries(key):
            raise StorageError(ErrorKind.NOT_FOUND, operation="list", key=key)

    async def has_entries(self, key: str, *, besides: str = "") -> bool:
        """Whether an object exists below the key prefix `key`, or is its marker.

        Not counted: the object `besides`, what this server has deleted a moment ago, which a
        listing may still show, a marker among it, and what may yet be taken back.
        """
        for changed, meta in self._state.below(key).items():
            if meta is not None and changed != besides and self._is_visible(changed):
                return True
        known = self._state.find(key)
        ignored = {besides, key} if known is not None and not known.etag else {besides}
        marker, count = "", _FEW
        while True:
            page = await self._client.list_objects(key, marker=marker, max_keys=count)
            for meta in page.objects:
                if meta.key not in ignored and self._is_visible(meta.key):
                    return True
            if not page.next_marker:
                return False
            marker, count = page.next_marker, 1000

    def _is_visible(self, key: str) -> bool:
        """Whether what is listed at `key` counts."""
        return not self._state.is_deleted(key) and not self._state.under_way.is_hidden(key)

    def known_target(self, path: VirtualPath) -> Target | None:
        """Say what stands in the way of a file at `path`, None if the store must be asked."""
        key = file_key(path, self._prefix)
        if (there := self._state.find(key)) is not None:
            return Target(key, there.etag)  # which may be replaced, whatever is beside it
        if self._is_known(path, key + "/"):
            return self._target(key, "", ErrorKind.IS_DIRECTORY)
        stretch = self._find_stretch(_parent_of(key), key)
        if stretch is None or self._unknown_above(path):
            return None
        is_directory = key + "/" in stretch.entries
        etag, is_directory = self._corrected(key, stretch.entries.get(key, ""), is_directory)
        return self._target(key, etag, ErrorKind.IS_DIRECTORY if is_directory else None)

    async def look_at_target(self, path: VirtualPath) -> Target:
        """Say what stands in the way of a file at `path`."""
        if known := self.known_target(path):
            return known
        key = file_key(path, self._prefix)
        above = self._unknown_above(path)
        if not above:  # as in most cases: the rest of the path has just been used
            etag, is_directory = await self._file_and_directory(key)
            below_file = False
        else:
            (etag, is_directory), below_file = await together(
                self._file_and_directory(key), self._is_any_file(above)
            )
        if is_directory:
            return self._target(key, etag, ErrorKind.IS_DIRECTORY)
        return self._target(key, etag, ErrorKind.NOT_DIRECTORY if below_file else None)

    def _target(self, key: str, etag: str, kind: ErrorKind | None) -> Target:
        obstacle = StorageError(kind, operation="create", key=key) if kind else None
        return Target(key, etag, obstacle, is_blind=self._state.under_way.is_deleting(key))

    async def _file_and_directory(self, key: str) -> tuple[str, bool]:
        """Return the ETag of `key`, and whether "key/" is a directory, in one request."""
        directory, parent = key + "/", _parent_of(key)
        found = self._find_stretch(parent, key) or await self._list_from(parent, key)
        is_directory = directory in found.entries
        if not is_directory and not found.covers(key):
            is_directory = await self.has_entries(directory)
        return self._corrected(key, found.entries.get(key, ""), is_directory)

    def _corrected(self, key: str, etag: str, is_directory: bool) -> tuple[str, bool]:
        """Lay over what was listed what this server has done since."""
        state = self._state
        return state.etag(key, listed=etag), state.exists(key + "/", listed=is_directory)

    def _find_stretch(self, parent: str, key: str) -> Stretch | None:
        return self._stretches.find(parent, key, since=self._state.complete_since)

    async def _list_from(self, parent: str, key: str) -> Stretch:
        """List a few entries of the directory with the prefix `parent`, from `key` on."""
        asked_at = self._state.now()
        page = await self._client.list_objects(
            parent, delimiter="/", marker=_just_before(key), max_keys=_FOLLOWING
        )
        entries = {meta.key: meta.etag for meta in page.objects}
        entries.update(dict.fromkeys(page.prefixes, ""))
        last = max(entries, default=key) if page.next_marker else None
        return self._stretches.add(parent, key, last, entries, asked_at)

    async def has_file_above(self, path: VirtualPath) -> bool:
        """Whether one of the names above `path` is a file; one HEAD for each not yet known."""
        return await self._is_any_file(self._unknown_above(path))

    def _unknown_above(self, path: VirtualPath) -> list[VirtualPath]:
        """Return the names above `path` that may be files for all we know, the nearest first."""
        unknown = []
        for ancestor in ancestors(path):
            key = directory_key(ancestor, self._prefix)
            if self._is_known(ancestor, key) or self._state.find(key) is not None:
                break
            is_no_file = self._no_files.has(ancestor, since=self._state.complete_since)
            if is_no_file and self._state.find(key[:-1]) is None:
                break
            unknown.append(ancestor)
        return unknown

    async def _is_any_file(self, unknown: list[VirtualPath]) -> bool:
        """Whether one of these is a file; if not, that is known from now on."""
        asked_at = self._state.now()
        for start in range(0, len(unknown), _AT_ONCE):
            some = unknown[start : start + _AT_ONCE]
            if any(await together(*(self.is_file(ancestor) for ancestor in some))):
                return True
        for ancestor in unknown:
            self._no_files.add(ancestor, asked_at)
        return False

    async def is_file(self, path: VirtualPath) -> bool:
        """Whether `path` is a file, even one that may still be taken back; one request."""
        return await self._client.find_object(file_key(path, self._prefix)) is not None

    async def is_directory(self, path: VirtualPath) -> bool:
        """Whether `path` is a directory; at most two requests, at once."""
        try:
            await self.check_directory(path)
        except StorageError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return False
        return True


def check_visible(key: str, watch: Watch) -> None:
    """Raise NOT_FOUND for a file that might still have been taken back when it was asked for."""
    if watch.was_hidden:
        raise StorageError(ErrorKind.NOT_FOUND, operation="look", key=key)


def _parent_of(key: str) -> str:
    """Return the key prefix of the directory that holds the file `key`."""
    return key[: key.rfind("/") + 1]


def _just_before(key: str) -> str:
    """Return a key that sorts before `key`, with hardly a name in between.

    >>> _just_before("d/img_7") == "d/img_6\U0010ffff"
    True
    """
    last = ord(key[-1]) - 1
    if last < ord(" ") or 0xD800 <= last < 0xE000:  # no character, or none that a key may have
        return key[:-1]
    return key[:-1] + chr(last) + "\U0010ffff"
