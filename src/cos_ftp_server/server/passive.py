"""Data connections that the client opens: one listener for one transfer (PASV, EPSV).

Owns the listening socket and the check of who connects. It must not know commands or replies.
"""

import asyncio
import secrets
import socket
from functools import partial

from cos_ftp_server.server.data import DataConnection, NoDataConnectionError, SocketName

__all__ = ["PassiveListener"]

_MAX_PORT_TRIES = 1024
"""Ports tried per PASV: all of a usual range, about 10 ms of work when it is used up."""

_TRIES_PER_TURN = 64
"""Ports tried before others have their turn: less than a millisecond."""

_STRIDE = 65539
"""From one port to the next to be tried. A prime beyond any number of ports, so that each comes up
once, and neighbours of a port that is in use, which often are as well, are not tried in a row."""

_BACKLOG = 8
"""Connections are accepted at once; the queue only has to hold strangers between two polls."""


class PassiveListener:
    """Listens where the control connection is, accepts its peer once, and turns others away.

    The peer check and the random port are those of RFC 2577 sections 4 and 8: nobody else may take
    or feed the transfer. The listener is closed as soon as the right peer is there.
    """

    __slots__ = ("_connection", "_peer_host", "_server", "_waiter", "port")

    def __init__(self, peer_host: str) -> None:
        self._peer_host = peer_host
        self._server: asyncio.Server | None = None
        self._connection: DataConnection | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.port = 0

    @classmethod
    async def open(
        cls, local: SocketName, peer_host: str, *, ports: tuple[int, int], stall_seconds: float
    ) -> "PassiveListener":
        """Listen on the address of `local`, a socket name, on one of `ports`.

        `ports` is an inclusive range; (0, 0) leaves the choice to the kernel. Raises
        NoDataConnectionError.
        """
        listener = cls(peer_host)
        loop = asyncio.get_running_loop()
        factory = partial(DataConnection, stall_seconds, listener._accepted)
        low, high = ports
        count = high - low + 1
        start = secrets.randbelow(count)
        failure: OSError | None = None
        for number in range(min(count, _MAX_PORT_TRIES)):
            if number % _TRIES_PER_TURN == _TRIES_PER_TURN - 1:
                await asyncio.sleep(0)
            port = low + (start + number * _STRIDE) % count
            try:
                sock = _bind(local, port)
            except OSError as exc:
                failure = exc
                continue
            try:
                listener._server = await loop.create_server(factory, sock=sock, backlog=_BACKLOG)
            except OSError as exc:  # bound by another process, too, which was first to listen
                sock.close()
                failure = exc
                continue
            except BaseException:
                sock.close()
                raise
            listener.port = port or listener._server.sockets[0].getsockname()[1]
            return listener
        raise NoDataConnectionError("no passive port is free") from failure

    async def connect(self, timeout_seconds: float) -> DataConnection:
        """Return the client's connection, waiting for it. Raises NoDataConnectionError."""
        if self._connection is None:
            if self._server is None:
                raise NoDataConnectionError("the data listener was closed")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._waiter
            except TimeoutError as exc:
                raise NoDataConnectionError("no data connection came in time") from exc
            finally:
                self._waiter = None
        connection, self._connection = self._connection, None
        if connection is None:
            raise NoDataConnectionError("the data listener was closed")
        return connection

    def close(self) -> None:
        """Stop listening and drop a connection that no transfer took."""
        self._stop_listening()
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        self._wake()

    def _accepted(self, connection: DataConnection) -> None:
        if self._server is None or connection.peer_host != self._peer_host:
            connection.abort()
            return
        self._connection = connection
        self._stop_listening()
        self._wake()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _bind(local: SocketName, port: int) -> socket.socket:
    host, _, *flow_and_scope = local  # an IPv6 socket name has them
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port, *flow_and_scope))
    except BaseException:
        sock.close()
        raise
    return sock
