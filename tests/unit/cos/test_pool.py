"""Connections that are waited for, closed meanwhile, or no longer wanted."""

import asyncio

import pytest

from cos_ftp_server.cos.address import Origin
from cos_ftp_server.cos.connection import Patience
from cos_ftp_server.cos.http_error import HttpError
from cos_ftp_server.cos.pool import ConnectionPool
from tests.unit.cos.test_transport import raw_server

pytestmark = pytest.mark.usefixtures("no_leaks")


def origin_of(endpoint: str) -> Origin:
    host, _, port = endpoint.partition(":")
    return Origin(is_secure=False, host=host, port=int(port))


async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_room_that_comes_as_its_waiter_is_cancelled_goes_to_the_next() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()

    pool = ConnectionPool(1, connect_s=5, idle_s=5)
    async with raw_server(answer) as endpoint:
        origin = origin_of(endpoint)
        connection = await pool.connect(origin, None)
        patience = Patience(idle_s=5, total_s=None)
        await connection.request(
            b"GET / HTTP/1.1\r\n\r\n", b"", patience, None, has_body=True, is_streamed=False
        )
        first, second = [asyncio.create_task(pool.connect(origin, None)) for _ in range(2)]
        await asyncio.sleep(0)
        first.cancel()
        await pool.release(connection, origin)
        assert await second is connection
        assert first.cancelled()
        await pool.release(connection, origin)
        await pool.aclose()


async def test_a_closed_pool_makes_no_connections() -> None:
    pool = ConnectionPool(1, connect_s=5, idle_s=5)
    async with raw_server(listen) as endpoint:
        origin = origin_of(endpoint)
        await pool.connect(origin, None)
        waiting = asyncio.create_task(pool.connect(origin, None))
        await asyncio.sleep(0)
        await pool.aclose()
        with pytest.raises(HttpError, match="no more connections"):
            await waiting
        with pytest.raises(HttpError, match="no more connections"):
            await pool.connect(origin, None)


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_connection_that_is_made_while_the_pool_closes_is_closed(turns: int) -> None:
    pool = ConnectionPool(0, connect_s=5, idle_s=5)
    async with raw_server(listen) as endpoint:
        making = asyncio.create_task(pool.connect(origin_of(endpoint), None))
        for _ in range(turns):
            await asyncio.sleep(0)
        await pool.aclose()
        with pytest.raises(HttpError, match=r"no longer|no more"):
            await making


async def test_a_connection_that_is_about_to_close_is_not_used() -> None:
    pool = ConnectionPool(0, connect_s=5, idle_s=5)
    async with raw_server(listen) as endpoint:
        connection = await pool.connect(origin_of(endpoint), None)
        assert connection.is_usable
        connection.abort()
        assert not connection.is_usable
        await pool.aclose()
