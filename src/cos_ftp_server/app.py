"""The composition root: settings in, a running gateway out. Everything is wired here and only here.

A reader who wants to know who gets what starts at `Gateway.__init__`.
"""

import asyncio
from contextlib import AsyncExitStack

from cos_ftp_server.accounts import Account, Accounts, Login
from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.dialect import COS
from cos_ftp_server.cos.transport import Transport, create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.server.config import ServerConfig
from cos_ftp_server.server.server import FtpServer
from cos_ftp_server.settings import AccountSettings, Settings
from cos_ftp_server.vfs.buffers import BufferPool
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.parts import PartLadder
from cos_ftp_server.vfs.upload import UploadEngine

__all__ = ["Gateway"]

_UNLIMITED = 0
"""Connections to COS: sessions and buffer memory bound them already, and a limit here would let
sessions that wait for a slow COS hold up the others."""


class Gateway:
    """An FTP server in front of the buckets that `settings` name.

    Several gateways may run in one process; they share nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._resources = AsyncExitStack()
        self._server: FtpServer | None = None

    @property
    def url(self) -> str:
        """Where clients connect: `ftp://HOST:PORT/` of the first listener."""
        if self._server is None:
            raise RuntimeError("the gateway has not been started")
        host, port = self._server.addresses[0][:2]
        return f"ftp://[{host}]:{port}/" if ":" in host else f"ftp://{host}:{port}/"

    async def start(self) -> None:
        """Return when clients can connect. Raises OSError when an address cannot be bound."""
        resources = self._resources
        transport = await resources.enter_async_context(create_transport(_UNLIMITED))
        cleanups = Cleanups()
        resources.push_async_callback(cleanups.aclose, self._settings.optional.stop_timeout)
        accounts = Accounts(self._logins(transport, cleanups))
        resources.callback(accounts.close)
        server = FtpServer(server_config(self._settings), accounts)
        resources.push_async_callback(server.aclose)
        await server.start()
        self._server = server

    async def drain(self) -> None:
        """Take no new log-ins, and give transfers in flight `stop_timeout` seconds to finish."""
        if self._server is not None:
            await self._server.drain()

    async def aclose(self) -> None:
        """Stop now; what is under way is aborted cleanly."""
        await self._resources.aclose()

    def _logins(self, transport: Transport, cleanups: Cleanups) -> list[Login]:
        optional = self._settings.optional
        pool = BufferPool(optional.buffer_memory, smallest_part=COS.min_part_bytes)
        slots = asyncio.Semaphore(optional.upload_thread_num)
        ladder = PartLadder(
            first=optional.min_part_size,
            max_file=self._settings.file_option.single_file_max_size,
            max_parts=COS.max_parts,
            max_part=COS.max_part_bytes,
        )
        logins = []
        for account in self._settings.accounts:
            client = cos_client(transport, account)
            engine = UploadEngine(client=client, pool=pool, ladder=ladder, slots=slots)
            file_system = CosFileSystem(engine, cleanups)
            name = account.ftp_login_user_name
            password = account.ftp_login_user_password.get_secret_value()
            logins.append(Login(Account(name, file_system, permissions(account)), password))
        return logins


def cos_client(transport: Transport, account: AccountSettings) -> CosClient:
    """Return the client of one account's bucket."""
    address = BucketAddress(
        bucket=account.cos_bucket,
        region=account.cos_region or "",
        endpoint=account.cos_endpoint or "",
        scheme=account.cos_protocol,
    )
    credentials = Credentials(account.cos_secretid, account.cos_secretkey.get_secret_value())
    return CosClient(transport, address, StaticCredentials(credentials))


def permissions(account: AccountSettings) -> Permission:
    """Return what an account may do. Deleting is writing, too."""
    granted = Permission.NONE
    if "R" in account.authority:
        granted |= Permission.READ
    if "W" in account.authority:
        granted |= Permission.WRITE
        if account.delete_enable:
            granted |= Permission.DELETE
    return granted


def server_config(settings: Settings) -> ServerConfig:
    """Return what the FTP server itself is told."""
    network, optional = settings.network, settings.optional
    return ServerConfig(
        hosts=network.listen_address,
        port=network.listen_port,
        passive_ports=network.passive_port,
        masquerade_address=network.masquerade_address,
        max_connections=optional.max_connection_num,
        max_logins=optional.max_login_users,
        max_list_entries=optional.max_list_file,
        idle_timeout_seconds=optional.idle_timeout,
        shutdown_grace_seconds=optional.stop_timeout,
    )
