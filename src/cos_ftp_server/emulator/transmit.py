"""Answers on the wire, sound or damaged as a fault says.

Owns the shaping of bodies and the cutting of connections. Knows nothing of operations.
"""

import asyncio
import dataclasses
import re
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from cos_ftp_server.emulator.call import Reply
from cos_ftp_server.emulator.faults import Fault

__all__ = ["ConnectionCutError", "cut", "damage", "shape", "transmit"]

_DRIP_INTERVAL_S = 0.2
_PACE_HZ = 20  # slices per second of a body that is held to a rate


class ConnectionCutError(Exception):
    """A fault wants the connection to end here."""


def cut(request: web.BaseRequest) -> None:
    """Reset the connection: the peer gets RST, not an end of the stream."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    linger = struct.pack("ii", 1, 0)  # on, 0 s: close() discards what is unsent and resets
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def damage(reply: Reply, fault: Fault) -> Reply:
    """Return the answer with a wrong CRC64, or cut short."""
    headers, body = reply.headers, reply.body
    if fault.crc:
        headers = dict(headers)
        told = headers.pop("x-cos-hash-crc64ecma", None)
        if told is not None and fault.crc == "wrong":
            headers["x-cos-hash-crc64ecma"] = str(int(told) ^ 1)
        body = re.sub(rb"<CRC64>(\d+)</CRC64>", _wrong if fault.crc == "wrong" else b"", body)
    if fault.truncate_at is not None:
        body = body[: fault.truncate_at]
    return dataclasses.replace(reply, headers=headers, body=body)


def _wrong(match: re.Match[bytes]) -> bytes:
    return b"<CRC64>%d</CRC64>" % (int(match[1]) ^ 1)


async def shape(chunks: AsyncGenerator[bytes, None], fault: Fault) -> AsyncGenerator[bytes, None]:
    """Yield a body as a fault has it: slow, with a flipped bit, or not to its end.

    Raises:
        ConnectionCutError: the fault ends the connection here.
    """
    position = 0
    if fault.reset_after == 0:
        raise ConnectionCutError
    async with aclosing(chunks):
        async for chunk in chunks:
            for piece in _slices(chunk, fault.bytes_per_s):
                shaped = piece
                if fault.corrupt_at is not None:
                    shaped = _flip_bit(piece, fault.corrupt_at - position)
                if fault.reset_after is not None and position + len(piece) >= fault.reset_after:
                    yield shaped[: fault.reset_after - position]
                    raise ConnectionCutError
                yield shaped
                position += len(piece)
                if fault.bytes_per_s is not None:
                    await asyncio.sleep(len(piece) / fault.bytes_per_s)


async def transmit(request: web.BaseRequest, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Send an answer; a small one is returned to be sent at once.

    Raises:
        ConnectionCutError, ConnectionError: the answer is not whole.
        OSError: the disk fails.
    """
    is_shaped = (fault.reset_after, fault.bytes_per_s, fault.corrupt_at) != (None, None, None)
    is_dripped = bool(fault.drip_s) and reply.status == 200 and bool(reply.body)
    if reply.content is None and not is_shaped and not is_dripped:
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body or None)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if is_dripped:
        response.enable_chunked_encoding()
    elif request.method != "HEAD":
        size = reply.content.size if reply.content else len(reply.body)
        response.content_length = size
    await response.prepare(request)
    if is_dripped:
        await _drip(response, fault.drip_s)
    async with aclosing(shape(_body(reply), fault)) as chunks:
        async for chunk in chunks:
            await response.write(chunk)
    await response.write_eof()
    return response


async def _body(reply: Reply) -> AsyncGenerator[bytes, None]:
    if reply.content is None:
        if reply.body:
            yield reply.body
        return
    content = reply.content
    async with aclosing(content.source.read(content.start, content.size)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _drip(response: web.StreamResponse, seconds: float) -> None:
    """Keep the connection alive as COS does while it merges parts: with white space."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        await response.write(b"\n")
        await asyncio.sleep(min(left, _DRIP_INTERVAL_S))


def _slices(chunk: bytes, bytes_per_s: int | None) -> list[bytes]:
    if bytes_per_s is None:
        return [chunk]
    step = max(1, bytes_per_s // _PACE_HZ)
    return [chunk[start : start + step] for start in range(0, len(chunk), step)]


def _flip_bit(chunk: bytes, offset: int) -> bytes:
    if not 0 <= offset < len(chunk):
        return chunk
    return chunk[:offset] + bytes((chunk[offset] ^ 1,)) + chunk[offset + 1 :]
