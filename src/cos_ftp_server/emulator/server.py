"""The life of the embedded store: it opens a directory, listens, and closes both again.

Owns starting and stopping, and what tests may ask the store past HTTP. What happens to a request
is in `pipeline`.
"""

import errno
import os
import time
from collections.abc import Iterable
from functools import partial

from aiohttp import web

from cos_ftp_server.emulator.config import EmulatorConfig
from cos_ftp_server.emulator.faults import Faults
from cos_ftp_server.emulator.index import Index
from cos_ftp_server.emulator.listing import END_OF_KEYS
from cos_ftp_server.emulator.lookup import object_rows, upload_rows
from cos_ftp_server.emulator.pipeline import Pipeline
from cos_ftp_server.emulator.recorder import RequestLog
from cos_ftp_server.emulator.records import Address
from cos_ftp_server.emulator.store import Store

__all__ = ["Emulator"]

_CLOSE_TIMEOUT_S = 2.0  # for requests in flight when the server stops; then they are cancelled
_RECEIVE_BYTES = 256 * 1024  # what uvloop reads from a socket at most


class Emulator:
    """A COS endpoint on a directory: buckets by host name (`<bucket>.…`) or as first path segment.

    An asynchronous context manager that starts and closes it. It is started once, and used only
    from the event loop that started it (uvloop, for speed). `port` and `url` are valid from then
    on; `faults` and `requests` always.
    """

    def __init__(self, config: EmulatorConfig, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.requests = RequestLog()
        self.port = config.port
        self._config = config
        self._store = Store(
            config.directory, fsync=config.fsync, list_lag_s=lambda: self.faults.list_lag_s
        )
        self._pipeline = Pipeline(config, self._store, self.faults, self.requests)
        server = web.Server(
            self._pipeline.handle,
            access_log=None,
            auto_decompress=False,  # content is stored as it was sent, Content-Encoding or not
            read_bufsize=_RECEIVE_BYTES,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_CLOSE_TIMEOUT_S)

    @property
    def url(self) -> str:
        """The base URL: `http://HOST:PORT`."""
        host = self._config.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def __aenter__(self) -> "Emulator":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Open the directory and listen.

        Raises:
            OSError: the port is taken, or the directory cannot be used or is in use.
            sqlite3.Error: the directory holds something that is not an index.
        """
        await self._store.open()
        try:
            await self._runner.setup()
            await self._listen()
        except BaseException:
            await self.aclose()
            raise
        self.port = self._runner.addresses[0][1]

    async def _listen(self) -> None:
        host, port = self._config.host, self._config.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            # The event loop repeats host and port in words of its own.
            number = error.errno or 0
            words = os.strerror(number) if number in errno.errorcode else error.strerror
            reason = f"cannot listen on {host} port {port}: {words}"
            raise OSError(number, reason) from error

    async def aclose(self) -> None:
        """Stop listening, let requests in flight finish for a short time, close the directory."""
        self._pipeline.cancel_held()
        await self._runner.cleanup()
        await self._pipeline.end_all(_CLOSE_TIMEOUT_S)
        await self._store.aclose()

    async def load(self, bucket: str, objects: Iterable[tuple[str, bytes]]) -> None:
        """Put many small objects past HTTP, quickly: a test's way to a large bucket."""
        await self._store.load(bucket, objects, int(time.time()))

    async def object_names(self, bucket: str) -> list[str]:
        """Return the keys of all objects, in order, past HTTP and list lag."""
        return await self._store.ask(
            lambda connection: [
                row.key.decode() for row in object_rows(connection, bucket)(b"", END_OF_KEYS)
            ]
        )

    async def object_bytes(self, bucket: str, key: str) -> bytes:
        """Return an object's content, past HTTP and faults.

        Raises:
            KeyError: there is no such object.
        """
        found = await self._store.open_object(Address(bucket, key))
        if found is None:
            raise KeyError(key)
        try:
            return b"".join([chunk async for chunk in found.read(0, found.meta.size)])
        finally:
            found.close()

    async def open_uploads(self, bucket: str) -> list[tuple[str, str]]:
        """Return key and UploadId of all multipart uploads in progress, in order."""
        return await self._store.ask(
            lambda connection: [
                (row.key.decode(), row.upload_id)
                for row in upload_rows(connection, bucket, None)(b"", END_OF_KEYS)
            ]
        )

    async def abort_uploads(self, bucket: str) -> None:
        """End all multipart uploads in progress and drop their parts, past HTTP and faults."""
        for key, upload_id in await self.open_uploads(bucket):
            address = Address(bucket, key)
            await self._store.write(partial(Index.abort, address=address, upload_id=upload_id))
