"""Connections to stores: made when needed, kept for the next request, watched while in use.

It must not know what is asked of a store.
"""

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import aiohappyeyeballs

from cos_ftp_server.cos.address import Origin
from cos_ftp_server.cos.connection import Connection
from cos_ftp_server.cos.http_error import HttpError, Trouble

__all__ = ["ConnectionPool"]

_SCRATCH_BYTES = 64 * 1024
"""What one read may bring of a head, and of the body behind it."""

_KEPT_S = 15.0
"""How long a connection waits for another request; servers close idle ones after a minute or so."""

_DNS_TTL_S = 60.0  # COS: host names of buckets may move
_NEXT_ADDRESS_S = 0.25  # RFC 8305 section 5: until another address is tried as well
_CHECKS_PER_IDLE = 4
_LONGEST_TICK_S = 1.0

_Addresses: TypeAlias = Sequence[tuple[int, int, int, str, Any]]


class ConnectionPool:
    """Any number of connections, for all origins together. Needs a running loop.

    Sessions and the memory for data bound them already, and a limit of their own would let requests
    that wait for a slow store hold up the others.

    `connect_s` is for TCP and TLS; `idle_s` is the least time after which some request may have run
    out of patience, and determines how often all of them are looked at.
    """

    def __init__(self, *, connect_s: float, idle_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect_s = connect_s
        self._tick_s = min(idle_s / _CHECKS_PER_IDLE, _LONGEST_TICK_S)
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._tls: ssl.SSLContext | None = None
        self._names = _Names()
        self._made: set[Connection] = set()
        self._busy: set[Connection] = set()
        self._idle: dict[Origin, deque[Connection]] = {}  # the one used last is at the end
        self._ticking: asyncio.TimerHandle | None = None
        self._is_closed = False

    def take(self, origin: Origin) -> Connection | None:
        """Return a connection that stands already, if there is one. Give it back with `release`."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                self._busy.add(connection)
                return connection
        return None

    async def connect(self, origin: Origin) -> Connection:
        """Return a new connection. Give it back with `release`. Raises HttpError."""
        self._refuse_if_closed(origin)
        connection = await self._make(origin)
        self._made.add(connection)
        self._busy.add(connection)
        if self._ticking is None:
            self._schedule_tick()
        return connection

    async def release(self, connection: Connection, origin: Origin) -> None:
        """Take a connection back: for the next request, or else to close it."""
        self._busy.discard(connection)
        if await connection.end() and not self._is_closed:
            self._idle.setdefault(origin, deque()).append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close all connections, and make no more: what is under way fails."""
        self._is_closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        for connection in self._made:
            connection.abort()
        self._names.close()
        await asyncio.sleep(0)  # for the loop to close the sockets

    async def _make(self, origin: Origin) -> Connection:
        try:
            async with asyncio.timeout(self._connect_s):
                addresses = await self._names.resolve(origin)
                sock = await aiohappyeyeballs.start_connection(
                    addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S
                )
                connection = await self._begin(sock, origin)
        except TimeoutError as error:
            self._names.forget(origin)
            raise HttpError(Trouble.CONNECT_TIMEOUT) from error
        except ssl.SSLCertVerificationError as error:
            detail = f"{origin.host}: {error.verify_message}"
            raise HttpError(Trouble.CERTIFICATE, detail) from error
        except ssl.SSLError as error:
            raise HttpError(Trouble.HANDSHAKE, f"{origin.host}: {_words(error)}") from error
        except OSError as error:
            self._names.forget(origin)
            detail = f"{origin.host}:{origin.port}: {_words(error)}"
            raise HttpError(Trouble.UNREACHABLE, detail) from error
        if self._is_closed:
            connection.abort()
        self._refuse_if_closed(origin)
        if not connection.is_usable:
            raise HttpError(Trouble.UNREACHABLE, f"{origin.host}:{origin.port}: closed at once")
        return connection

    async def _begin(self, sock: socket.socket, origin: Origin) -> Connection:
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._scratch, self._lost),
                sock=sock,
                ssl=self._tls_context() if origin.is_secure else None,
                server_hostname=origin.host if origin.is_secure else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _refuse_if_closed(self, origin: Origin) -> None:
        if self._is_closed:
            detail = f"{origin.host}:{origin.port}: no more connections are made"
            raise HttpError(Trouble.UNREACHABLE, detail)

    def _lost(self, connection: Connection) -> None:
        self._made.discard(connection)
        self._busy.discard(connection)
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)

    # One timer for all requests: none of them pays for one of its own.

    def _schedule_tick(self) -> None:
        self._ticking = self._loop.call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        self._schedule_tick()  # before anything can fail: it watches all requests
        now = self._loop.time()
        for connection in tuple(self._busy):
            connection.check(now)
        for origin, idle in tuple(self._idle.items()):
            while idle and now - idle[0].idle_since > _KEPT_S:
                idle.popleft().abort()
            if not idle:
                del self._idle[origin]
        if not self._made and self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None


class _Names:
    """Addresses of hosts, asked for once a minute however many connections are made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._known: dict[Origin, tuple[float, _Addresses]] = {}
        self._asking: dict[Origin, asyncio.Task[_Addresses]] = {}

    async def resolve(self, origin: Origin) -> _Addresses:
        """Return the addresses of a host. Raises HttpError(DNS)."""
        expires, addresses = self._known.get(origin, (0.0, ()))
        if expires > self._loop.time():
            return addresses
        asking = self._asking.get(origin)
        if asking is None:
            asking = self._asking[origin] = self._loop.create_task(self._ask(origin))
            asking.add_done_callback(partial(self._asked, origin))
        await asyncio.wait((asking,))
        if asking.cancelled():  # by `close`
            raise HttpError(Trouble.DNS, f"{origin.host}: no longer asked for")
        return asking.result()

    def _asked(self, origin: Origin, asking: asyncio.Task[_Addresses]) -> None:
        del self._asking[origin]
        if not asking.cancelled():
            asking.exception()  # it has been seen, even if nobody waits any more

    async def _ask(self, origin: Origin) -> _Addresses:
        try:
            addresses = await self._loop.getaddrinfo(
                origin.host, origin.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            detail = f"{origin.host}: {_words(error)}"
            raise HttpError(Trouble.DNS, detail) from error
        except UnicodeError as error:  # an empty label, or one of more than 63 bytes
            raise HttpError(Trouble.DNS, f"{origin.host}: no name of a host") from error
        self._known[origin] = (self._loop.time() + _DNS_TTL_S, addresses)
        return addresses

    def forget(self, origin: Origin) -> None:
        """Ask anew next time: nobody answers at these addresses."""
        self._known.pop(origin, None)

    def close(self) -> None:
        """Ask for nothing any more."""
        for asking in self._asking.values():
            asking.cancel()


def _words(error: OSError) -> str:
    """Return what the system says, if it does."""
    if reason := getattr(error, "reason", None):  # ssl.SSLError's, in place of a page of detail
        return str(reason)
    if error.errno and error.errno > 0:  # in place of which call has failed; below 0: getaddrinfo's
        return os.strerror(error.errno)
    return error.strerror or str(error) or "closed by the other side"
