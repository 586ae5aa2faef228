"""The FTP server as a whole: its listeners, its sessions, and how both come to an end.

It must not know commands.
"""

import asyncio
import logging
import socket
from collections.abc import Collection
from functools import partial

from cos_ftp_server.accounts import Authenticator
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.config import ServerConfig
from cos_ftp_server.server.control import ControlConnection
from cos_ftp_server.server.dispatch import Dispatcher
from cos_ftp_server.server.limits import LocalLimits, SessionLimits
from cos_ftp_server.server.masquerade import PublicAddress, Resolve, resolve_ipv4
from cos_ftp_server.server.session import Services

__all__ = ["FtpServer"]

_log = logging.getLogger(__name__)

_BACKLOG = 512
"""Connections that the kernel holds while the loop is busy; the kernel's own limit caps it."""


class FtpServer:
    """Serves FTP on the addresses of `config`. Start it once, and `aclose` it in every case."""

    def __init__(
        self,
        config: ServerConfig,
        authenticator: Authenticator,
        limits: SessionLimits | None = None,
        resolve: Resolve = resolve_ipv4,
    ) -> None:
        """Prepare a server; `limits` are shared with other servers, or its own by default.

        `resolve` finds the addresses of `masquerade_address`.
        """
        name = config.masquerade_address
        self._services = Services(
            config,
            authenticator,
            limits
            or LocalLimits(max_connections=config.max_connections, max_logins=config.max_logins),
            PublicAddress(name, config.masquerade_ttl_seconds, resolve) if name else None,
        )
        self._listeners: list[asyncio.Server] = []
        self._sessions: dict[asyncio.Task[None], Dispatcher] = {}
        self._count = 0
        self._is_stopping = False

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of every listener, in the order of the configured hosts."""
        return tuple(
            sock.getsockname()[:2] for listener in self._listeners for sock in listener.sockets
        )

    @property
    def session_count(self) -> int:
        """Clients connected now."""
        return len(self._sessions)

    async def start(self) -> None:
        """Listen on all addresses. Raises OSError, and then listens on none."""
        config = self._services.config
        loop = asyncio.get_running_loop()
        try:
            for host in config.hosts:
                sock = _bind(host, config.port)
                try:
                    listener = await loop.create_server(
                        partial(ControlConnection, self._connected), sock=sock, backlog=_BACKLOG
                    )
                except BaseException:
                    sock.close()
                    raise
                self._listeners.append(listener)
        except BaseException:
            self._stop_listening()
            raise

    async def drain(self) -> None:
        """Accept nobody, tell idle clients to go, and give the others time to finish.

        Returns when all have gone or `shutdown_grace_seconds` are over.
        """
        self._stop_listening()
        for dispatcher in self._sessions.values():
            dispatcher.stop(replies.SHUTTING_DOWN)
        if self._sessions:
            await asyncio.wait(
                set(self._sessions), timeout=self._services.config.shutdown_grace_seconds
            )

    def end_sessions(self, users: Collection[str]) -> None:
        """End the sessions of `users`, each as soon as its transfer has finished."""
        for dispatcher in self._sessions.values():
            if dispatcher.user in users:
                dispatcher.stop(replies.ACCOUNT_REMOVED)

    async def aclose(self) -> None:
        """Stop now. Returns when all transfers are aborted and all sockets closed."""
        self._stop_listening()
        for task in self._sessions:
            task.cancel()
        if self._sessions:
            await asyncio.wait(set(self._sessions))

    def _stop_listening(self) -> None:
        self._is_stopping = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _connected(self, control: ControlConnection) -> None:
        names = control.socket_names()
        if names is None:
            control.abort()
            return
        if self._is_stopping:  # it was accepted just before
            _refuse(control, replies.SHUTTING_DOWN)
            return
        if not self._services.limits.take_connection():
            _log.warning("too many connections: %s refused", names[1][0])
            _refuse(control, replies.TOO_MANY_CONNECTIONS)
            return
        self._count += 1
        local, peer = names
        dispatcher = Dispatcher(control, self._services, number=self._count, local=local, peer=peer)
        task = asyncio.get_running_loop().create_task(dispatcher.run())
        self._sessions[task] = dispatcher
        task.add_done_callback(self._disconnected)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._sessions.pop(task).abandon()
        self._services.limits.give_connection()


def _refuse(control: ControlConnection, reply: Reply) -> None:
    control.write(reply.encode())
    control.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit the others: that costs nothing, and even their first bytes count.
        # ABOR comes as urgent data, which must stay in line (RFC 959 section 4.1.3, RFC 1123 4.2).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            # IPv4 clients must look like IPv4 clients: PASV and the peer check depend on it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        reason = f"cannot listen on {host} port {port}: {error.strerror}"
        raise OSError(error.errno, reason) from error
    except BaseException:
        sock.close()
        raise
    return sock
