"""Connections that are closed meanwhile, or no longer wanted."""

import asyncio
import itertools

import pytest

from cos_ftp_server.cos.address import Origin
from cos_ftp_server.cos.connection import Connection, Patience
from cos_ftp_server.cos.http_error import HttpError, Trouble
from cos_ftp_server.cos.pool import ConnectionPool
from tests.unit.cos.test_transport import raw_server

pytestmark = pytest.mark.usefixtures("no_leaks")


def origin_of(endpoint: str) -> Origin:
    host, _, port = endpoint.partition(":")
    return Origin(is_secure=False, host=host, port=int(port))


async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_closed_pool_makes_no_connections() -> None:
    pool = ConnectionPool(connect_s=5, idle_s=5)
    async with raw_server(listen) as endpoint:
        await pool.aclose()
        with pytest.raises(HttpError, match="no more connections"):
            await pool.connect(origin_of(endpoint))


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_connection_that_is_made_while_the_pool_closes_is_closed(turns: int) -> None:
    pool = ConnectionPool(connect_s=5, idle_s=5)
    async with raw_server(listen) as endpoint:
        making = asyncio.create_task(pool.connect(origin_of(endpoint)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await pool.aclose()
        with pytest.raises(HttpError, match=r"no longer|no more"):
            await making


async def test_a_connection_that_is_about_to_close_is_not_used() -> None:
    pool = ConnectionPool(connect_s=5, idle_s=5)
    async with raw_server(listen) as endpoint:
        connection = await pool.connect(origin_of(endpoint))
        assert connection.is_usable
        connection.abort()
        assert not connection.is_usable
        await pool.aclose()


async def test_a_connection_that_nobody_has_used_for_long_is_closed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert await reader.read() == b""
        is_closed.set()

    is_closed = asyncio.Event()
    pool = ConnectionPool(connect_s=5, idle_s=0.1)
    async with raw_server(answer) as endpoint, asyncio.timeout(10):
        origin = origin_of(endpoint)
        connection = await pool.connect(origin)
        patience = Patience(idle_s=5, total_s=None, answer_s=None)
        head = b"GET / HTTP/1.1\r\n\r\n"
        await connection.request(head, b"", patience, None, has_body=True, is_streamed=False)
        await pool.release(connection, origin)
        connection.idle_since -= 3600
        await is_closed.wait()
        assert pool.take(origin) is None
        await pool.aclose()


async def test_requests_are_watched_on_whatever_becomes_of_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check, looks = Connection.check, itertools.count()

    def fail_at_first(connection: Connection, now: float) -> None:
        if next(looks) == 0:
            raise OSError("no such descriptor")
        check(connection, now)

    monkeypatch.setattr(Connection, "check", fail_at_first)
    failures: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    patience = Patience(idle_s=0.2, total_s=None, answer_s=None)
    pool = ConnectionPool(connect_s=5, idle_s=0.2)
    async with raw_server(listen) as endpoint, asyncio.timeout(10):
        connection = await pool.connect(origin_of(endpoint))
        with pytest.raises(HttpError) as caught:
            await connection.request(
                b"GET / HTTP/1.1\r\n\r\n", b"", patience, None, has_body=True, is_streamed=False
            )
        assert caught.value.trouble is Trouble.TIMEOUT
        await pool.release(connection, origin_of(endpoint))
        await pool.aclose()
    assert [type(failure) for failure in failures] == [OSError]
