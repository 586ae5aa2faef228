"""Which entries a page of the store becomes."""

from datetime import UTC, datetime
from typing import cast

import pytest

from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.types import ListPage, ObjectMeta
from cos_ftp_server.vfs.base import FileInfo, FileKind
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.listing import list_pages

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)


class OnePageClient:
    """Knows one page of a listing."""

    def __init__(self, page: ListPage) -> None:
        self._page = page

    async def list_objects(self, prefix: str, *, delimiter: str, marker: str) -> ListPage:
        """Return it."""
        assert (delimiter, marker) == ("/", "")
        return self._page


@pytest.mark.parametrize("prefix", ["", "d/"])
async def test_files_and_directories_in_key_order_without_what_no_path_can_name(
    prefix: str,
) -> None:
    files = ("", ".", "..", "...", ".a", "a", "b.x", "~")
    directories = ("/", "./", "../", ".../", "b/", "c/")
    page = ListPage(
        tuple(ObjectMeta(prefix + name, 7, '"e"', MODIFIED) for name in files),
        tuple(prefix + name for name in directories),
        "",
    )
    client = cast(CosClient, OnePageClient(page))
    [entries] = [entries async for entries in list_pages(client, BucketState(), prefix)]
    assert list(entries) == [
        FileInfo("...", FileKind.FILE, 7, MODIFIED),
        FileInfo("...", FileKind.DIRECTORY, 0, None),
        FileInfo(".a", FileKind.FILE, 7, MODIFIED),
        FileInfo("a", FileKind.FILE, 7, MODIFIED),
        FileInfo("b.x", FileKind.FILE, 7, MODIFIED),
        FileInfo("b", FileKind.DIRECTORY, 0, None),
        FileInfo("c", FileKind.DIRECTORY, 0, None),
        FileInfo("~", FileKind.FILE, 7, MODIFIED),
    ]
