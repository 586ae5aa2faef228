"""The composition root: settings in, a running gateway out. Everything is wired here and only here.

A reader who wants to know who gets what starts at `Gateway.start`; what belongs to the store alone
is wired in `storage`.
"""

import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack

from cos_ftp_server.accounts import Account, Accounts, Login
from cos_ftp_server.cos.credentials import METADATA_URL
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.server.config import ServerConfig
from cos_ftp_server.server.server import FtpServer
from cos_ftp_server.settings import AccountSettings, Settings
from cos_ftp_server.storage import Storage
from cos_ftp_server.sweep import record_files
from cos_ftp_server.vfs.cleanup import Cleanups
from cos_ftp_server.vfs.turns import LATE_S

__all__ = ["Gateway"]

_log = logging.getLogger(__name__)

_CLEANUP_SECONDS = 10.0 + LATE_S
"""For what must be aborted in the store when transfers are cut off: a few retries, once nothing
that got no answer can come late."""

_HASTY_CLEANUP_SECONDS = 2.0
"""The same, when somebody does not want to wait."""


class Gateway:
    """An FTP server in front of the buckets that `settings` name.

    Several gateways may run in one process; they share nothing.
    """

    def __init__(self, settings: Settings, metadata_url: str = METADATA_URL) -> None:
        """Prepare a gateway; `metadata_url` is where the keys of a CVM's role come from."""
        self._settings = settings
        self._metadata_url = metadata_url
        self._resources = AsyncExitStack()
        self._server: FtpServer | None = None
        self._cleanups = Cleanups()
        self._accounts = Accounts(())
        self._logins: dict[AccountSettings, Login] = {}
        self._storage: Storage | None = None

    @property
    def url(self) -> str:
        """Where clients connect: `ftp://HOST:PORT/` of the first listener."""
        if self._server is None:
            raise RuntimeError("the gateway has not been started")
        host, port = self._server.addresses[0][:2]
        return f"ftp://[{host}]:{port}/" if ":" in host else f"ftp://{host}:{port}/"

    async def start(self) -> None:
        """Return when clients can connect. Raises OSError when an address cannot be bound.

        The store is looked at afterwards, and what is wrong with it is logged; multipart uploads
        that an earlier process has left behind are aborted.
        """
        resources = self._resources
        transport = await resources.enter_async_context(create_transport())
        records = record_files(self._settings)
        resources.callback(records.close)
        resources.push_async_callback(self._cleanups.aclose, _HASTY_CLEANUP_SECONDS)
        resources.callback(self._accounts.close)
        self._storage = Storage(
            self._settings, transport, self._cleanups, records, self._metadata_url
        )
        resources.push_async_callback(self._storage.aclose)
        await self._storage.recall()
        self._take_accounts(self._settings)
        server = FtpServer(server_config(self._settings), self._accounts)
        resources.push_async_callback(server.aclose)
        await server.start()
        self._server = server
        self._storage.look_at(self._settings.accounts)
        self._storage.keep_swept(lambda: self._settings.accounts)

    def reload(self, settings: Settings) -> None:
        """Take over the accounts of `settings`; name what else has changed in a warning.

        New log-ins get them from now on. A session goes on as it began, but those of accounts
        that are gone end after their transfer.
        """
        if self._server is None or self._storage is None:
            raise RuntimeError("the gateway has not been started")
        users = {account.ftp_login_user_name for account in self._settings.accounts}
        gone = users - {account.ftp_login_user_name for account in settings.accounts}
        kept = self._logins.keys() & set(settings.accounts)
        for name in _changed_keys(self._settings, settings):
            _log.warning("%s has changed, which needs a restart", name)
        self._take_accounts(settings)
        self._settings = self._settings.model_copy(update={"accounts": settings.accounts})
        self._server.end_sessions(gone)
        self._storage.look_at(self._logins.keys() - kept)
        _log.info(
            "reloaded: %d accounts, %d of them new or changed; removed: %s",
            len(settings.accounts),
            len(settings.accounts) - len(kept),
            ", ".join(map(repr, sorted(gone))) or "none",
        )

    async def drain(self) -> None:
        """Take no new log-ins, give transfers in flight `stop_timeout` seconds to finish, and
        abort the others.
        """
        if self._server is not None:
            await self._server.drain()
            await self._server.aclose()
            await self._cleanups.aclose(_CLEANUP_SECONDS)

    async def aclose(self) -> None:
        """Stop now; what is under way is aborted cleanly."""
        await self._resources.aclose()

    def _take_accounts(self, settings: Settings) -> None:
        """Let these accounts log in; what has not changed keeps its file system."""
        before = self._logins
        self._logins = {
            account: before.get(account) or self._new_login(account)
            for account in settings.accounts
        }
        self._accounts.replace(self._logins.values())

    def _new_login(self, account: AccountSettings) -> Login:
        if self._storage is None:
            raise RuntimeError("the gateway has not been started")
        file_system = self._storage.file_system(account)
        name = account.ftp_login_user_name
        password = account.ftp_login_user_password.get_secret_value()
        return Login(
            Account(name, file_system, permissions(account), account.max_sessions), password
        )


_RELOADED = frozenset({"log_level"})
"""Keys that others take over."""


def _changed_keys(old: Settings, new: Settings) -> Iterator[str]:
    """Yield what differs outside of the accounts, as the file calls it."""
    for section in ("network", "file_option", "optional"):
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).keys():  # noqa: SIM118 -- no dict
            if key == "buffer_memory" and key not in after.model_fields_set:
                continue  # its default was fitted to this machine at the start
            if key not in _RELOADED and getattr(before, key) != getattr(after, key):
                yield f"[{section.upper()}] {key}"


def permissions(account: AccountSettings) -> Permission:
    """Return what an account may do. Deleting is writing, too.

    Renaming needs no leave to delete, although a store does it by copying and deleting: what was
    stored is still there.
    """
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
        keep_interrupted=optional.interrupted_upload == "keep",
        idle_timeout_seconds=optional.idle_timeout,
        shutdown_grace_seconds=optional.stop_timeout,
    )
