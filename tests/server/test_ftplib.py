"""The standard library's client, as it comes, against a server."""

import asyncio
import ftplib
import io
from collections.abc import Callable

import pytest

from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient
from tests.doubles.memory_fs import MemoryFileSystem, SlowReaderFileSystem
from tests.server.conftest import Servers


def session(work: Callable[[ftplib.FTP], None], address: tuple[str, int], passive: bool) -> None:
    with ftplib.FTP() as ftp:  # that is what is tested
        ftp.connect(*address, timeout=20)
        ftp.login(USER, PASSWORD)
        ftp.set_pasv(passive)
        work(ftp)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("passive", [True, False], ids=["passive", "active"])
async def test_everyday_work(
    serve: Servers, file_system: MemoryFileSystem, host: str, passive: bool
) -> None:
    def work(ftp: ftplib.FTP) -> None:
        content = bytes(range(256)) * 10_000
        ftp.mkd("dir")
        ftp.cwd("dir")
        assert ftp.storbinary("STOR file", io.BytesIO(content)).startswith("226")
        assert ftp.size("file") == len(content)
        received = bytearray()
        ftp.retrbinary("RETR file", received.extend, rest=100)
        assert received == content[100:]
        assert ftp.nlst() == ["file"]
        assert [name for name, _ in ftp.mlsd()] == ["file"]
        lines: list[str] = []
        ftp.dir(lines.append)
        assert len(lines) == 1
        ftp.storlines("STOR text", io.BytesIO(b"one\ntwo\n"))
        ftp.retrlines("RETR text", lines.append)
        assert lines[1:] == ["one", "two"]
        ftp.rename("text", "../text")
        ftp.delete("file")
        ftp.cwd("..")
        ftp.rmd("dir")
        ftp.quit()

    server = await serve(file_system, hosts=(host,))
    await asyncio.to_thread(session, work, server.addresses[0], passive)
    assert file_system.files == {"/text": b"one\ntwo\n"}


async def test_abort(serve: Servers) -> None:
    file_system = SlowReaderFileSystem()
    file_system.put("/a", bytes(100_000))

    def work(ftp: ftplib.FTP) -> None:
        ftp.voidcmd("TYPE I")
        connection = ftp.transfercmd("RETR a")
        connection.recv(10)
        assert ftp.abort().startswith("426")
        connection.close()
        assert ftp.getmultiline().startswith("226")
        assert ftp.pwd() == "/"

    server = await serve(file_system)
    await asyncio.to_thread(session, work, server.addresses[0], True)


async def test_many_sessions_at_once(serve: Servers, file_system: MemoryFileSystem) -> None:
    server = await serve(file_system)

    async def work(number: int) -> None:
        async with RawClient(server.addresses[0]) as client:
            await client.login()
            for _ in range(3):
                content = str(number).encode() * 5000
                assert (await client.store(str(number), content)).code == 226
                assert (await client.fetch(f"RETR {number}"))[0] == content

    await asyncio.gather(*map(work, range(50)))
    assert len(file_system.files) == 50
