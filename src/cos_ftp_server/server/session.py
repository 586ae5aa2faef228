"""What one control connection has agreed on so far. No I/O but closing a data endpoint.

It must not know the dispatcher or how commands are carried out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cos_ftp_server.accounts import Account, Authenticator
from cos_ftp_server.logs import SessionLogger
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.features import TransferType
from cos_ftp_server.protocol.listing import MLST_FACTS
from cos_ftp_server.protocol.states import (
    DATA_SETUP,
    LOGIN,
    DataSetupEvent,
    DataSetupState,
    LoginEvent,
    LoginState,
    StateMachine,
)
from cos_ftp_server.server.config import ServerConfig
from cos_ftp_server.server.data import DataConnection, DataEndpoint, SocketName
from cos_ftp_server.server.limits import SessionLimits
from cos_ftp_server.server.masquerade import PublicAddress
from cos_ftp_server.vfs.base import FileSystem, Rename, VirtualPath
from cos_ftp_server.vfs.paths import ROOT, resolve

if TYPE_CHECKING:  # an exchange knows its session; a session only keeps hold of the exchange
    from cos_ftp_server.server.exchange import Exchange

__all__ = ["Services", "Session"]


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a server share."""

    config: ServerConfig
    authenticator: Authenticator
    limits: SessionLimits
    public_address: PublicAddress | None = None
    """What PASV tells, if not where the control connection is."""


class Session:
    """The state of one client. `local` and `peer` are socket names of the control connection."""

    __slots__ = (
        "_account",
        "_discarding",
        "_endpoint",
        "abort_transfer",
        "announced_size",
        "anonymous_since",
        "client",
        "data_setup",
        "facts",
        "has_asked_directory",
        "is_ending",
        "local",
        "log",
        "login",
        "login_failures",
        "peer",
        "pending_rename",
        "restart_is_lost",
        "restart_offset",
        "services",
        "sized",
        "transfer",
        "transfer_type",
        "user",
        "working_directory",
    )

    def __init__(
        self,
        services: Services,
        log: SessionLogger,
        *,
        local: SocketName,
        peer: SocketName,
        abort_transfer: Callable[[], Awaitable[bool]],
    ) -> None:
        self.services = services
        self.log = log
        self.local = local
        self.peer = peer
        self.abort_transfer = abort_transfer
        """Cancels the running transfer and gives its final reply; returns whether there was one."""
        self.transfer: Exchange | None = None
        """The transfer that is running."""
        self.is_ending = False
        """Set it to close the connection after the reply, and after a running transfer."""
        self.client = ""
        """What the client's program calls itself, by CLNT."""
        self.login_failures = 0
        self.anonymous_since = asyncio.get_running_loop().time()
        """Since when nobody has been logged in, on the event loop's clock."""
        self.login: StateMachine[LoginState, LoginEvent] = StateMachine(LOGIN, LoginState.CONNECTED)
        self.data_setup: StateMachine[DataSetupState, DataSetupEvent] = StateMachine(
            DATA_SETUP, DataSetupState.ANY
        )
        self._account: Account | None = None
        self._endpoint: DataEndpoint | None = None
        self._discarding: DataConnection | None = None
        self._reset()

    @property
    def is_logged_in(self) -> bool:
        """Whether USER and PASS have been accepted."""
        return self._account is not None

    @property
    def account(self) -> Account:
        """The account logged in. Raises ProtocolError (530) without one."""
        if self._account is None:
            raise ProtocolError(replies.NOT_LOGGED_IN)
        return self._account

    @property
    def repeats_uploads_badly(self) -> bool:
        """Whether an upload of this client that fails for now must be told to fail for good.

        lftp repeats it by itself, but what it has sent already it takes from a buffer, and goes on
        behind what SIZE tells, as if that were its own: the end would be half a file, or a
        mixture with the old one, that looks complete to both sides (observed with 4.9.2).
        """
        return self.client.startswith("lftp/")

    @property
    def may_be_repeating(self) -> bool:
        """Whether such a client may have connected again by itself, to repeat an upload.

        lftp asks for the directory when it begins, and not again when it has lost the connection.
        """
        return self.repeats_uploads_badly and not self.has_asked_directory

    @property
    def file_system(self) -> FileSystem:
        """The account's files."""
        return self.account.file_system

    def resolve(self, argument: str) -> VirtualPath:
        """Return the path that `argument` means in the working directory."""
        return resolve(self.working_directory, argument)

    def log_in(self, account: Account) -> None:
        """Begin a login, which must have been counted by the limits."""
        self._account = account
        self.log.user = account.name

    def log_out(self) -> None:
        """End the login, if any, and forget everything that was agreed on."""
        if self._account is not None:
            self.services.limits.give_login(self._account.name)
            self._account = None
            self.anonymous_since = asyncio.get_running_loop().time()
        self.log.user = ""
        self.drop_endpoint()
        self.drop_discarded()
        self._reset()

    @property
    def endpoint(self) -> DataEndpoint | None:
        """Where the next data connection will come from."""
        return self._endpoint

    def replace_endpoint(self, endpoint: DataEndpoint) -> None:
        """Drop the endpoint there is, and take this one, which the session closes in the end."""
        self.drop_endpoint()
        self.drop_discarded()
        self._endpoint = endpoint

    def drop_endpoint(self) -> None:
        """Close the endpoint, if any, with a connection that no transfer has used."""
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None

    def discard(self, connection: DataConnection) -> None:
        """Throw away the rest of an upload that has failed, until the client wants the next one."""
        connection.discard()
        self._discarding = connection

    def drop_discarded(self) -> None:
        """Close a data connection whose rest is thrown away, if there is one."""
        if self._discarding is not None:
            self._discarding.abort()
            self._discarding = None

    def _reset(self) -> None:
        self.user = ""
        self.working_directory = ROOT
        self.transfer_type = TransferType.ASCII  # RFC 959 section 5.1: the default
        self.restart_offset = 0
        self.restart_is_lost = False
        """Whether a REST was dropped that a client may still count on."""
        self.announced_size: int | None = None
        self.pending_rename: Rename | None = None
        self.facts: tuple[str, ...] = MLST_FACTS
        self.has_asked_directory = False
        """Whether PWD was among the commands since the log-in, or since an upload has failed."""
        self.sized: VirtualPath | None = None
        """What the client has last asked the size of."""

    def drop_restart(self, *, is_used: bool) -> None:
        """Forget a REST: a transfer has used it, or another command came in between."""
        self.restart_is_lost = not is_used and (self.restart_is_lost or self.restart_offset > 0)
        self.restart_offset = 0
