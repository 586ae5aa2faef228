"""Connections that fail, and memory that must be let go of."""

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Timeouts, create_transport, was_never_sent
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.errors import ErrorKind, StorageError

MIB = 1024**2

pytestmark = pytest.mark.usefixtures("no_leaks")


@asynccontextmanager
async def open_client(
    endpoint: str, *, scheme: str = "http", idle_s: float = 0.2, total_s: float = 5
) -> AsyncIterator[CosClient]:
    timeouts = Timeouts(connect_s=5, idle_s=idle_s, total_s=total_s)
    async with create_transport(timeouts) as transport:
        yield CosClient(
            transport,
            BucketAddress("b-1", endpoint=endpoint, scheme=scheme),
            StaticCredentials(Credentials("AKID", "key")),
            retry=RetryPolicy(max_tries=1),
        )


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve raw connections; each is closed when its handler returns."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # the client has had enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024, ssl=tls)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield f"{host}:{port}"


async def failure(operation: Awaitable[object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await operation
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    return caught.value


_A_HEAD = b"HTTP/1.1 200 OK\r\nX: "
_A_REFUSAL = b"HTTP/1.1 403 No\r\nContent-Length: 100000\r\n\r\n"
"""What drips behind it is XML, or would be."""


class Dripping:
    """A store that reads `expected` bytes of a body, and then lets its answer come bit by bit."""

    def __init__(self, beginning: bytes, expected: int) -> None:
        self._beginning = beginning
        self._expected = expected
        self._is_cut = asyncio.Event()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(self._expected)
        writer.write(self._beginning)
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)
        self._is_cut.set()

    async def is_given_up(self, operation: Callable[[CosClient], Awaitable[object]]) -> None:
        async with (
            asyncio.timeout(10),
            raw_server(self._handle) as endpoint,
            open_client(endpoint, idle_s=2, total_s=0.5) as client,
        ):
            error = await failure(operation(client))
            await self._is_cut.wait()
        assert "took too long" in error.detail
        assert error.temporary


class TestTroubleByName:
    async def test_refused(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        async with open_client(f"127.0.0.1:{port}") as client:
            error = await failure(client.head_object("k"))
        assert error.temporary
        assert error.detail == f"cannot connect to 127.0.0.1:{port}: Connection refused"
        assert was_never_sent(error)

    async def test_tls_with_a_server_that_has_none(self) -> None:
        async def answer_plainly(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with (
            raw_server(answer_plainly) as endpoint,
            open_client(endpoint, scheme="https") as client,
        ):
            error = await failure(client.head_object("k"))
        assert error.detail.startswith("TLS: ")

    async def test_hanging_up_instead_of_a_handshake(self) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)

        async with (
            raw_server(hang_up) as endpoint,
            open_client(endpoint, scheme="https") as client,
        ):
            error = await failure(client.head_object("k"))
        assert error.detail.endswith(": closed by the other side")
        assert was_never_sent(error)

    async def test_silence(self) -> None:
        released = asyncio.Event()

        async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await released.wait()

        async with raw_server(never_answer) as endpoint, open_client(endpoint) as client:
            error = await failure(client.head_object("k"))
            released.set()
        assert "timed out" in error.detail
        assert error.temporary
        assert not was_never_sent(error)

    async def test_an_answer_that_drips(self) -> None:
        store = Dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 0)
        await store.is_given_up(lambda client: client.list_objects(""))

    @pytest.mark.parametrize("size", [1, MIB])
    async def test_an_answer_to_an_upload_whose_head_drips(self, size: int) -> None:
        store = Dripping(_A_HEAD, size)
        await store.is_given_up(lambda client: client.put_object("k", bytes(size)))

    async def test_a_refusal_of_an_upload_that_drips(self) -> None:
        store = Dripping(_A_REFUSAL, MIB)
        await store.is_given_up(lambda client: client.put_object("k", bytes(MIB)))

    @pytest.mark.parametrize("beginning", [_A_HEAD, _A_REFUSAL], ids=["head", "body"])
    async def test_an_answer_that_drips_before_the_upload_is_read(self, beginning: bytes) -> None:
        store = Dripping(beginning, 0)
        await store.is_given_up(lambda client: client.put_object("k", bytes(16 * MIB)))

    async def test_an_answer_to_a_download_whose_head_drips(self) -> None:
        store = Dripping(_A_HEAD, 0)
        await store.is_given_up(lambda client: client.get_object("k"))

    async def test_a_refusal_of_a_download_that_drips(self) -> None:
        store = Dripping(_A_REFUSAL, 0)
        await store.is_given_up(lambda client: client.get_object("k"))

    async def test_no_http(self) -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 FTP here\r\n")

        async with raw_server(babble) as endpoint, open_client(endpoint) as client:
            error = await failure(client.head_object("k"))
        assert "not HTTP" in error.detail

    async def test_an_answer_without_end(self) -> None:
        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                while True:
                    writer.write(b"100000\r\n" + b" " * MIB + b"\r\n")
                    await writer.drain()
            except ConnectionError:
                return

        async with raw_server(flood) as endpoint, open_client(endpoint) as client:
            error = await failure(client.list_objects(""))
        assert "longer than" in error.detail

    async def test_a_name_without_an_address(self) -> None:
        async with open_client("nowhere.invalid") as client:
            error = await failure(client.head_object("k"))
        assert "DNS: cannot resolve b-1.nowhere.invalid" in error.detail
        assert error.temporary
        assert was_never_sent(error)

    @pytest.mark.parametrize("name", ["two..dots", "a" * 64])
    async def test_what_is_no_name(self, name: str) -> None:
        async with open_client(name) as client:
            error = await failure(client.head_object("k"))
        assert error.detail == f"DNS: cannot resolve b-1.{name}: no name of a host"
        assert was_never_sent(error)

    async def test_hanging_up_instead_of_an_answer(self) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")

        async with raw_server(hang_up) as endpoint, open_client(endpoint) as client:
            error = await failure(client.head_object("k"))
        assert "without an answer" in error.detail
        assert error.temporary
        assert not was_never_sent(error)

    async def test_a_head_without_end(self) -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n")
            try:
                while True:
                    writer.write(b"x-cos-meta-a: b\r\n" * 1000)
                    await writer.drain()
            except ConnectionError:
                return

        async with raw_server(babble) as endpoint, open_client(endpoint) as client:
            error = await failure(client.head_object("k"))
        assert "head longer than" in error.detail


class Deaf:
    """A store that takes a request's head, and no more until it is told to."""

    def __init__(self) -> None:
        self.has_head = asyncio.Event()
        self.may_read = asyncio.Event()
        self.is_done = asyncio.Event()
        self.received = bytearray()
        self.answer = b""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.has_head.set()
            writer.write(self.answer)
            await self.may_read.wait()
            while data := await reader.read(65536):
                self.received += data
        except ConnectionError:
            pass
        finally:
            self.is_done.set()


class TestMemoryIsTheCallersAgain:
    """What is in the buffer after a method has returned or raised must never reach the store."""

    async def overwrite_and_listen(self, deaf: Deaf, buffer: bytearray) -> None:
        buffer[:] = b"B" * len(buffer)
        deaf.may_read.set()
        await deaf.is_done.wait()
        assert b"B" not in deaf.received
        assert len(deaf.received) < len(buffer)

    async def test_after_a_timeout(self) -> None:
        deaf, buffer = Deaf(), bytearray(b"A" * 16 * MIB)
        async with raw_server(deaf.handle) as endpoint, open_client(endpoint) as client:
            error = await failure(client.upload_part("k", "u", 1, buffer))
            assert "timed out" in error.detail
            await self.overwrite_and_listen(deaf, buffer)

    async def test_after_cancellation(self) -> None:
        deaf, buffer = Deaf(), bytearray(b"A" * 16 * MIB)
        async with raw_server(deaf.handle) as endpoint, open_client(endpoint) as client:
            task = asyncio.create_task(client.upload_part("k", "u", 1, buffer))
            await deaf.has_head.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await self.overwrite_and_listen(deaf, buffer)

    async def test_after_an_early_refusal(self) -> None:
        deaf, buffer = Deaf(), bytearray(b"A" * 16 * MIB)
        body = b"<Error><Code>NoSuchUpload</Code></Error>"
        deaf.answer = b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        async with raw_server(deaf.handle) as endpoint, open_client(endpoint) as client:
            with pytest.raises(StorageError) as caught:
                await client.upload_part("k", "u", 1, buffer)
            assert caught.value.kind is ErrorKind.NO_UPLOAD
            await self.overwrite_and_listen(deaf, buffer)

    async def test_nothing_refers_to_it(self) -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(3 * MIB)
            writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')
            await reader.read()

        buffer = bytearray(3 * MIB)
        async with raw_server(accept) as endpoint, open_client(endpoint) as client:
            await client.upload_part("k", "u", 1, buffer)
            await asyncio.sleep(0)
            buffer.append(0)  # BufferError, if it were still lent to anyone
            assert sys.getrefcount(buffer) == 2


async def test_a_connection_that_was_closed_meanwhile_costs_no_try() -> None:
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer once, and hang up on the second request without a word."""
        nonlocal served
        await reader.readuntil(b"\r\n\r\n")
        served += 1
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

    async with raw_server(once) as endpoint, open_client(endpoint) as client:
        for number in range(3):
            await client.delete_object(f"k{number}")
    assert served == 3


async def test_what_must_be_sent_once_is_not_sent_again() -> None:
    heads = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with raw_server(once) as endpoint, open_client(endpoint) as client:
        await client.delete_object("k")
        await failure(client.delete_object("k", once=True))
    assert len(heads) == 2


class Tls:
    """A server certificate, and the environment in which this process trusts it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        key, certificate = directory / "key.pem", directory / "certificate.pem"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2"
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(certificate, key)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


async def test_tls_carries_large_bodies_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * (5 * MIB // 256)
    received = bytearray()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.extend(await reader.readexactly(len(content)))
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')
        await reader.readuntil(b"\r\n\r\n")
        date = "Fri, 13 Nov 2020 10:20:30 GMT"
        head = f'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: {date}\r\n'
        head += f"Content-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        await reader.read()

    tls = Tls(tmp_path, monkeypatch)
    async with (
        raw_server(echo, tls=tls.server) as endpoint,
        open_client(endpoint, scheme="https") as client,
    ):
        await client.put_object("k", content)
        async with aclosing(await client.get_object("k")) as body:
            got = bytearray()
            while piece := await body.read():
                got += piece
    assert received == content
    assert got == content


async def test_memory_to_receive_into_is_filled_as_far_as_asked() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = "Fri, 13 Nov 2020 10:20:30 GMT"
        writer.write(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: {date}\r\n'.encode())
        writer.write(b"Content-Length: %d\r\n\r\n" % (3 * MIB))
        for _ in range(48):
            writer.write(b"x" * 65536)
            await writer.drain()
        await reader.read()

    memory = memoryview(bytearray(MIB))
    async with (
        raw_server(serve) as endpoint,
        open_client(endpoint) as client,
        aclosing(await client.get_object("k")) as body,
    ):
        left = 3 * MIB - len(body.take(MIB))
        while left:
            count = await body.read_into(memory, len(memory))
            assert count == min(left, MIB)
            left -= count
        assert await body.read_into(memory) == 0


async def test_what_came_before_a_break_is_not_lost() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = "Fri, 13 Nov 2020 10:20:30 GMT"
        writer.write(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: {date}\r\n'.encode())
        writer.write(b"Content-Length: %d\r\n\r\n" % MIB)
        writer.write(b"x" * (MIB - 1))

    memory = memoryview(bytearray(MIB))
    async with (
        raw_server(serve) as endpoint,
        open_client(endpoint) as client,
        aclosing(await client.get_object("k")) as body,
    ):
        left = MIB - 1 - len(body.take(MIB))
        assert await body.read_into(memory, len(memory)) == left
        assert "broken off" in (await failure(body.read_into(memory))).detail


async def test_a_download_takes_as_long_as_its_bytes_do() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = "Fri, 13 Nov 2020 10:20:30 GMT"
        writer.write(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: {date}\r\n'.encode())
        writer.write(b"Content-Length: 20\r\n\r\n")
        for _ in range(20):
            await asyncio.sleep(0.03)
            writer.write(b"x")
        await reader.read()

    memory = memoryview(bytearray(20))
    async with (
        raw_server(serve) as endpoint,
        open_client(endpoint, idle_s=1, total_s=0.3) as client,
        aclosing(await client.get_object("k")) as body,
    ):
        assert await body.read_into(memory, len(memory)) == 20


@pytest.mark.parametrize("size", [MIB, 8 * MIB])
async def test_what_the_kernel_still_has_to_send_is_progress(size: int) -> None:
    """Sending takes longer than any patience; of the small body the kernel has all at once."""

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        await reader.readuntil(b"\r\n\r\n")
        left = size
        while left:
            left -= len(await reader.readexactly(min(left, size // 16)))
            await asyncio.sleep(0.04)
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n')
        await reader.read()

    async with raw_server(read_slowly) as endpoint, open_client(endpoint, total_s=0.3) as client:
        part = await client.upload_part("k", "u", 1, bytes(size))
    assert part.etag == '"e"'
