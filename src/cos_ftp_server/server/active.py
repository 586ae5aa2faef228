"""Data connections that the server opens (PORT, EPRT).

Must not know commands or replies. Who may be connected to is decided before (RFC 2577).
"""

import asyncio
from functools import partial

from cos_ftp_server.server.data import DataConnection, NoDataConnectionError

__all__ = ["ActiveTarget"]


class ActiveTarget:
    """The client's own listener; connected to from the address of the control connection."""

    __slots__ = ("_host", "_local_host", "_port", "_stall_seconds")

    def __init__(self, host: str, port: int, *, local_host: str, stall_seconds: float) -> None:
        self._host = host
        self._port = port
        self._local_host = local_host
        self._stall_seconds = stall_seconds

    async def connect(self, timeout_seconds: float) -> DataConnection:
        """Connect. Raises NoDataConnectionError."""
        loop = asyncio.get_running_loop()
        factory = partial(DataConnection, self._stall_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                _, connection = await loop.create_connection(
                    factory, self._host, self._port, local_addr=(self._local_host, 0)
                )
        except OSError as exc:  # TimeoutError is one
            raise NoDataConnectionError("cannot connect to your data port") from exc
        return connection

    def close(self) -> None:
        """Nothing is held before `connect`."""
