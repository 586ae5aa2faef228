"""FTP path arguments ↔ virtual paths ↔ object keys. Pure functions, no I/O."""

import re
from collections.abc import Iterator

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import VirtualPath

__all__ = [
    "MAX_KEY_BYTES",
    "ROOT",
    "ancestors",
    "check_name",
    "directory_key",
    "file_key",
    "join",
    "name_of",
    "parent_of",
    "prefix_of",
    "prefixes_above",
    "resolve",
]

ROOT = VirtualPath("/")

MAX_KEY_BYTES = 850
"""COS: an object key has 1 to 850 bytes of UTF-8 (S3 allows 1024)."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


def resolve(current: VirtualPath, argument: str) -> VirtualPath:
    """Return the path that `argument` means while the working directory is `current`.

    Lexical, as POSIX `cd -L`: "." and empty components vanish, ".." goes up and stops at the
    root, so that no argument can leave the tree. Spaces are part of a name.

    >>> resolve(VirtualPath("/a/b"), "../c//./d/")
    '/a/c/d'
    >>> resolve(VirtualPath("/a"), "/../../etc")
    '/etc'
    """
    parts: list[str] = [] if argument.startswith("/") else _components(current)
    for part in argument.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return VirtualPath("/" + "/".join(parts))


def _components(path: VirtualPath) -> list[str]:
    return path[1:].split("/") if path != "/" else []


def join(directory: VirtualPath, name: str) -> VirtualPath:
    """Return the path of the entry `name` (one component) in `directory`."""
    return VirtualPath(f"/{name}" if directory == "/" else f"{directory}/{name}")


def name_of(path: VirtualPath) -> str:
    """Return the last component; "/" for the root."""
    return path.rpartition("/")[2] or "/"


def parent_of(path: VirtualPath) -> VirtualPath:
    """Return the directory that holds `path`; the root is its own parent."""
    return VirtualPath(path.rpartition("/")[0] or "/")


def ancestors(path: VirtualPath) -> Iterator[VirtualPath]:
    """Yield the directories above `path`, nearest first, without the root.

    >>> list(ancestors(VirtualPath("/a/b/c")))
    ['/a/b', '/a']
    """
    while (path := parent_of(path)) != "/":
        yield path


def file_key(path: VirtualPath, prefix: str = "") -> str:
    """Return the object key of the file at `path` in an account that sees `prefix` as its root.

    `prefix` is "" or ends with "/". The root has no file key: that would address the bucket.
    """
    if path == "/":
        raise StorageError(ErrorKind.IS_DIRECTORY, operation="map", key=path)
    return prefix + path[1:]


def directory_key(path: VirtualPath, prefix: str = "") -> str:
    """Return the key prefix of all that lies in `path`; with a zero-byte object it is the marker.

    >>> directory_key(VirtualPath("/a"), "home/")
    'home/a/'
    >>> directory_key(ROOT)
    ''
    """
    return prefix if path == "/" else f"{prefix}{path[1:]}/"


def prefix_of(key: str) -> str:
    """Return the key prefix of the directory that holds `key`: "a/" for "a/b" and for "a/b/"."""
    return key[: key.rstrip("/").rfind("/") + 1]


def prefixes_above(key: str) -> list[str]:
    """Return the key prefixes of the directories that hold `key`, the nearest first.

    >>> prefixes_above("a/b/c"), prefixes_above("a/b/"), prefixes_above("a")
    (['a/b/', 'a/'], ['a/'], [])
    """
    prefixes = []
    while key := prefix_of(key):
        prefixes.append(key)
    return prefixes


def check_name(path: VirtualPath, prefix: str = "", *, is_directory: bool = False) -> None:
    """Refuse a path that cannot become an object key, before anything is sent.

    COS forbids the bytes 0x18-0x1B and a leading backslash, and counts at most 850 bytes;
    NUL, CR and LF could never be named in an FTP command again. Raises StorageError(BAD_NAME).
    """
    key = prefix + path[1:] + "/" * is_directory
    if (
        len(key.encode()) > MAX_KEY_BYTES
        or key.startswith("\\")
        or _CONTROL_CHARACTER.search(key) is not None
    ):
        raise StorageError(ErrorKind.BAD_NAME, operation="name", key=key)
