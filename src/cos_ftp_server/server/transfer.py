"""Moving files and listings over a data connection; when an upload may become the file.

The commit rule: stream mode marks the end of a file by closing the data connection, which is also
what a client does that breaks off. So an upload counts only if the data connection was closed
cleanly, the control connection is still there, nobody aborted, and an announced number of bytes
came. It must not know verbs.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.ascii import AsciiDecoder, AsciiEncoder
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.listing import encode_entries
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.data import DataConnectionError
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.outcome import reply_to
from cos_ftp_server.vfs.base import FileInfo, ObjectWriter, VirtualPath

__all__ = ["download", "send_listing", "upload"]

_ASCII_BUFFER_BYTES = 64 * 1024
"""What TYPE A is received into before it is converted; binary data needs no such buffer."""


async def upload(
    exchange: Exchange,
    path: VirtualPath,
    opening: Reply,
    *,
    offset: int | None = 0,
    unique_name: str | None = None,
) -> Reply:
    """Receive a file and return the receipt, once the store has acknowledged all of it.

    It begins with what the file there has before `offset`, None: with all of it. Raises
    StorageError, DataConnectionError, NoDataConnectionError and ProtocolError; the path is then as
    it was before. Where interrupted uploads are kept, one that ends early is stored as far as it
    came, and the reply says so.
    """
    exchange.path = path
    exchange.require_endpoint()
    exchange.require_binary_offset()
    announced = exchange.announced_size if exchange.is_binary else None
    file_system = exchange.session.file_system
    async with file_system.open_writer(path, offset=offset, size_hint=announced) as writer:
        exchange.writer = writer
        sink = writer if exchange.is_binary else _AsciiSink(writer)
        data = await exchange.open_data(opening)
        try:
            await data.receive(sink)
            data.close()
            if isinstance(sink, _AsciiSink):
                with exchange.keep_alive(replies.STORING):  # its last bytes may wait for memory
                    await sink.finish()
            if announced is not None and _is_short(writer, announced):
                raise ProtocolError(replies.SIZE_DIFFERS)
        except (DataConnectionError, ProtocolError, asyncio.CancelledError) as error:
            if not exchange.begin_keeping():
                raise
            exchange.is_interrupted = True
            if isinstance(sink, _AsciiSink):
                await sink.finish()
            receipt = await writer.commit(is_wanted=exchange.is_wanted)
            writer.note_interruption()
            why = reply_to(error) or exchange.cancelled_by
            return replies.interrupted(why, receipt.size)
        except StorageError as error:
            exchange.failure = error
            exchange.session.discard(data)
            raise
        finally:
            if not data.is_discarding:
                data.abort()
        exchange.begin_keeping()  # a client that is lost from now on has sent no less than this
        with exchange.keep_alive(replies.STORING):
            receipt = await writer.commit(exchange.confirm_client, exchange.is_wanted)
    if exchange.is_interrupted:
        writer.note_interruption()
        return replies.interrupted(exchange.cancelled_by, receipt.size)
    return replies.transfer_complete(receipt.size, receipt.crc64, exchange.seconds, unique_name)


def _is_short(writer: ObjectWriter, announced: int) -> bool:
    """Whether less came than announced. Who resumes may announce the rest or the whole file."""
    return writer.received < announced != writer.kept + writer.received


class _AsciiSink:
    """Converts what arrives on its way to a writer.

    Whoever waits may be cancelled: `finish` then goes on with the byte that comes next.
    """

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer
        self._decoder = AsciiDecoder()
        self._buffer = memoryview(bytearray(_ASCII_BUFFER_BYTES))
        self._filled = 0
        self._converted = memoryview(b"")  # what the writer has not taken yet

    def window(self) -> memoryview:
        """See Sink."""
        return self._buffer[self._filled :]

    def advance(self, count: int) -> None:
        """See Sink."""
        self._filled += count

    async def wait(self) -> None:
        """See Sink."""
        await self._hand_over()
        self._converted = memoryview(self._decoder.convert(self._buffer[: self._filled]))
        self._filled = 0
        await self._hand_over()

    async def finish(self) -> None:
        """Hand over what is left."""
        await self.wait()
        self._converted = memoryview(self._decoder.finish())
        await self._hand_over()

    async def _hand_over(self) -> None:
        # Not by `write`, of which nobody knows how far it came when it is cancelled.
        while self._converted:
            if window := self._writer.window():
                count = min(len(window), len(self._converted))
                window[:count] = self._converted[:count]
                self._writer.advance(count)
                self._converted = self._converted[count:]
            else:
                await self._writer.wait()


async def download(exchange: Exchange, path: VirtualPath) -> Reply:
    """Send a file from the restart offset on. Raises as `upload` does."""
    exchange.path = path
    exchange.require_binary_offset()
    encoder = None if exchange.is_binary else AsciiEncoder()
    file_system = exchange.session.file_system
    async with file_system.open_reader(path, exchange.restart_offset) as reader:
        size = None if encoder else reader.info.size - reader.offset
        data = await exchange.open_data(replies.opening_data(size))
        try:
            while chunk := await reader.read():
                await data.send(encoder.convert(chunk) if encoder else chunk)
            if size is not None and data.sent != size:
                raise _ended_early(path, data.sent, size)  # before the client sees a clean end
            await data.finish()
        except StorageError as error:
            exchange.failure = error
            if error.kind not in (ErrorKind.CHANGED, ErrorKind.NOT_FOUND):
                raise
            # It was there when the transfer began, and a later try may well succeed.
            raise ProtocolError(replies.CHANGED_MEANWHILE) from error
        finally:
            data.abort()
    return replies.TRANSFER_COMPLETE


def _ended_early(path: VirtualPath, sent: int, size: int) -> StorageError:
    detail = f"{sent} of {size} bytes"
    return StorageError(
        ErrorKind.UNAVAILABLE, operation="read", key=path, temporary=True, detail=detail
    )


async def send_listing(
    exchange: Exchange,
    pages: AsyncGenerator[Sequence[FileInfo], None],
    formatter: Callable[[FileInfo], str],
) -> Reply:
    """Send what `formatter` makes of the entries, one page in memory at a time.

    The first page is asked for before anything is said, so that what is wrong with the path is told
    in time. Raises as `upload` does, and what `pages` raises.
    """
    limit = left = exchange.services.config.max_list_entries
    async with aclosing(pages):
        page = await anext(pages, None)
        data = await exchange.open_data(replies.OPENING_DATA)
        try:
            while page is not None and left >= len(page):
                await data.send(encode_entries(page, formatter))
                left -= len(page)
                page = await anext(pages, None)
            if page is not None:
                await data.send(encode_entries(page[:left], formatter))
            await data.finish()
        finally:
            data.abort()
    return replies.TRANSFER_COMPLETE if page is None else replies.listing_cut(limit)
