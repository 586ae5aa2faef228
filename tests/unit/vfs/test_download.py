"""What a download passes on, by where the bytes happen to be."""

from datetime import UTC, datetime

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.cos.types import Credentials, ObjectMeta, StaticCredentials
from cos_ftp_server.vfs.base import FileInfo, FileKind
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.damaged import DamagedFiles
from cos_ftp_server.vfs.download import SEGMENT, Download, ObjectRange
from tests.doubles.scripted_store import replies, scripted_store

MIB = 1024**2
SIZE = 2 * SEGMENT + 1000
MODIFIED = datetime(2020, 11, 13, 10, 20, 30, tzinfo=UTC)


class ComesWithTheHead(ObjectRange):
    """A range of which every byte is there before it is asked for."""

    def take(self) -> bytes:
        count = min(self.left, MIB)
        self.position += count
        return b"a" * count


async def test_a_range_that_came_with_its_head_needs_no_memory_and_the_next_one_does(
    no_leaks: None,
) -> None:
    pool = BufferPool(16 * MIB, smallest_part=MIB)
    taken = pool.try_take(8 * MIB)  # so that nothing is read ahead
    assert taken is not None
    async with scripted_store() as store, create_transport() as transport:
        client = CosClient(
            transport,
            BucketAddress("b-1", endpoint=store.endpoint, scheme="http"),
            StaticCredentials(Credentials("AKID", "key")),
        )
        for first, end in ((SEGMENT, 2 * SEGMENT), (2 * SEGMENT, SIZE)):
            headers = {
                "Last-Modified": "Fri, 13 Nov 2020 10:20:30 GMT",
                "Content-Range": f"bytes {first}-{end - 1}/{SIZE}",
            }
            store.will(replies(206, headers, b"b" * (end - first)))
        meta = ObjectMeta(key="k", size=SIZE, etag='"e"', modified=MODIFIED)
        info = FileInfo("k", FileKind.FILE, SIZE, MODIFIED)
        opened = ComesWithTheHead(client, "k", 0, SIZE, '"e"')
        download = Download(client, pool, info, meta, opened, DamagedFiles())
        content = bytearray()
        while chunk := await download.read():
            content += chunk
        assert download.is_closed
    assert content == b"a" * SEGMENT + b"b" * (SIZE - SEGMENT)
    pool.give_back(taken)
    assert pool.used == 0
