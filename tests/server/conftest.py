from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.server import FtpServer, ServerConfig
from cos_ftp_server.vfs.base import FileSystem
from tests.doubles.accounts import ALL_PERMISSIONS, OneUser
from tests.doubles.ftp_client import RawClient
from tests.doubles.memory_fs import MemoryFileSystem


class Servers:
    """Starts servers on ports of their own choice, and stops them after the test."""

    def __init__(self) -> None:
        self.started: list[FtpServer] = []

    async def __call__(
        self,
        files: FileSystem,
        permissions: Permission = ALL_PERMISSIONS,
        **config: Any,
    ) -> FtpServer:
        defaults: dict[str, Any] = {
            "hosts": ("127.0.0.1",),
            "port": 0,
            "passive_ports": (0, 0),
            "login_failure_delay_seconds": 0.01,
        }
        server = FtpServer(ServerConfig(**defaults | config), OneUser(files, permissions))
        self.started.append(server)
        await server.start()
        return server


@pytest.fixture
async def serve(no_leaks: None) -> AsyncIterator[Servers]:
    """Start a server: `await serve(file_system, permissions, **config)`."""
    servers = Servers()
    yield servers
    for server in servers.started:
        await server.aclose()
        assert server.session_count == 0


Login = Callable[..., AbstractAsyncContextManager[RawClient]]


@pytest.fixture
def log_in(serve: Servers) -> Login:
    """A client logged in on a server of its own: `async with log_in(file_system, **config)`."""

    @asynccontextmanager
    async def connect(*args: Any, **config: Any) -> AsyncIterator[RawClient]:
        server = await serve(*args, **config)
        async with RawClient(server.addresses[0]) as client:
            await client.login()
            yield client

    return connect


@pytest.fixture
def file_system() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
async def client(log_in: Login, file_system: MemoryFileSystem) -> AsyncIterator[RawClient]:
    """A client logged in on a server over `file_system`."""
    async with log_in(file_system) as connected:
        yield connected
