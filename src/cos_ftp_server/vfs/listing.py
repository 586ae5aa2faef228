"""Directory listings: one page of COS at a time, the next one fetched while this one is used."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import ListPage, ObjectMeta
from cos_ftp_server.vfs.base import FileInfo, FileKind
from cos_ftp_server.vfs.bucket import BucketState

__all__ = ["file_info", "list_pages"]

_UNNAMEABLE = ("", ".", "..", "/", "./", "../")
"""What no path can name, of files and directories; the first is the directory's own marker."""


def file_info(name: str, meta: ObjectMeta) -> FileInfo:
    """Return the file that an object is."""
    return FileInfo(name, FileKind.FILE, meta.size, meta.modified)


async def list_pages(
    client: CosClient, state: BucketState, prefix: str
) -> AsyncGenerator[Sequence[FileInfo], None]:
    """Yield the entries directly below the key prefix `prefix` ("" or "…/"), in key order.

    The first page comes even when it is empty. Keys that no path can name (an empty component,
    "." or "..") are left out, as is the marker of the directory itself. What this server has
    just written or deleted is laid over each page.
    """
    marker = ""
    following: asyncio.Task[ListPage] | None = None
    try:
        following = _fetch(client, prefix, marker)
        while following is not None:
            page = await following
            following = _fetch(client, prefix, page.next_marker) if page.next_marker else None
            entries = _entries(page, prefix)
            _lay_over(entries, state, prefix, marker, page.next_marker)
            yield [entries[key] for key in sorted(entries) if state.under_way.is_visible(key)]
            marker = page.next_marker
    finally:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def _fetch(client: CosClient, prefix: str, marker: str) -> asyncio.Task[ListPage]:
    return asyncio.create_task(client.list_objects(prefix, delimiter="/", marker=marker))


def _entries(page: ListPage, prefix: str) -> dict[str, FileInfo]:
    """Return the page's entries by key; a directory's key ends with "/"."""
    start = len(prefix)
    entries = {meta.key: file_info(meta.key[start:], meta) for meta in page.objects}
    entries.update((key, _directory(key[start:-1])) for key in page.prefixes)
    for unnameable in _UNNAMEABLE:
        entries.pop(prefix + unnameable, None)
    return entries


def _directory(name: str, meta: ObjectMeta | None = None) -> FileInfo:
    return FileInfo(name, FileKind.DIRECTORY, 0, meta.modified if meta else None)


def _lay_over(
    entries: dict[str, FileInfo], state: BucketState, prefix: str, after: str, until: str
) -> None:
    """Apply the changes whose keys lie in the page's range (`after`, `until`], "" = open."""
    for key, meta in state.below(prefix).items():
        if key == prefix or key <= after or (until and key > until):
            continue
        listed = entries.get(key)
        if meta is None:
            entries.pop(key, None)
        elif key.endswith("/"):
            if listed is None:
                entries[key] = _directory(key[len(prefix) : -1], meta)
        elif listed is None or listed.modified is None or listed.modified <= meta.modified:
            entries[key] = file_info(key[len(prefix) :], meta)
