"""Request bodies that lie in the caller's memory: sent without a copy, let go of without a trace.

aiohttp's own payload for bytes joins head and body into a new object and warns above 1 MiB; and
when a request fails, it closes the connection gracefully, so that the event loop may go on sending
from memory that the caller has reused by then. This one never lets that happen.
"""

import asyncio
from typing import TypeAlias

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

__all__ = ["Body", "MemoryPayload"]

Body: TypeAlias = bytes | bytearray | memoryview

_JOINED_BYTES = 32 * 1024
"""Up to here one copy costs less than a second system call; and, being below the 64 KiB at
which an event loop pauses writers, such a body never has to wait."""

_SLICE_BYTES = 512 * 1024  # how much must go out within the idle limit: 17 kB/s at 30 s


class MemoryPayload(Payload):
    """Sends one contiguous buffer; may be sent several times, one after the other."""

    _autoclose = True  # nothing to close: aiohttp need not be told to

    def __init__(self, value: Body, idle_s: float) -> None:
        super().__init__(value)
        self._view = memoryview(value).cast("B")
        self._size = self._view.nbytes
        self._idle_s = idle_s
        self._transport: asyncio.WriteTransport | None = None
        self._is_written = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text (aiohttp's interface asks for it)."""
        return str(self._view, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body. Raises TimeoutError when the store takes nothing for too long."""
        if self._transport is not None:  # aiohttp repeats what fails on a connection from the pool
            self._transport.abort()
        self._transport = writer.transport
        self._is_written = False
        if self._view.nbytes <= _JOINED_BYTES:
            await writer.write(self._view)
        else:
            writer.send_headers()
            for start in range(0, self._view.nbytes, _SLICE_BYTES):
                async with asyncio.timeout(self._idle_s):
                    await writer.write(self._view[start : start + _SLICE_BYTES])
                    await writer.drain()
        self._is_written = True

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Send the body; its length is the Content-Length already."""
        await self.write(writer)

    def note_answer(self) -> None:
        """Say that the store's answer has begun; call it before anything else can run.

        The connection may serve another request from then on, unless body is left to send.
        """
        transport = self._transport
        if self._is_written and transport is not None and not transport.get_write_buffer_size():
            self._transport = None

    async def let_go(self) -> None:
        """Cut the connection if it may still hold a part of the buffer; return when it is gone."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
            # The loop drops what it had queued in its next iteration.
            await asyncio.sleep(0)
