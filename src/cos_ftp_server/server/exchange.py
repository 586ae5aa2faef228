"""One command being served: what its handler is told, and how it may talk meanwhile.

A handler returns its one final reply or raises; what comes before that goes through here. It must
not know any command.
"""

import time
from collections.abc import Callable

from cos_ftp_server.errors import StorageError
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import Command
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.features import TransferType
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.control import ControlConnection
from cos_ftp_server.server.data import DataConnection, DataConnectionError
from cos_ftp_server.server.session import Services, Session
from cos_ftp_server.server.ticker import Ticker
from cos_ftp_server.vfs.base import ObjectWriter

__all__ = ["Exchange"]

_LEAST_GRACE_SECONDS = 0.02
_MOST_GRACE_SECONDS = 0.2
"""How long after the end of the data a client may still turn out to be gone. A client that was
killed closes both sockets at once, but the data socket first (Linux closes the newest first):
measured, the other followed within 0.5 ms on an idle machine and within 20 ms on one with three
busy processes for each core. Over a network the two FINs arrive about a round trip apart."""


class Exchange:
    """A command, its session, and the replies that precede the final one."""

    __slots__ = (
        "_control",
        "_is_abort_waiting",
        "_promised",
        "announced_size",
        "cancelled_by",
        "command",
        "data",
        "failure",
        "is_aborted",
        "is_binary",
        "is_continued",
        "is_interrupted",
        "is_keeping",
        "keeps_interrupted",
        "path",
        "restart_is_lost",
        "restart_offset",
        "session",
        "started",
        "writer",
    )

    def __init__(
        self,
        session: Session,
        control: ControlConnection,
        command: Command,
        *,
        is_abort_waiting: Callable[[], bool],
    ) -> None:
        self.session = session
        self.command = command
        self.started = time.monotonic()
        self.is_binary = session.transfer_type is TransferType.BINARY
        """Whether data goes as it is (TYPE I)."""
        self.restart_offset = session.restart_offset
        """From a REST that still holds for this command."""
        self.restart_is_lost = session.restart_is_lost
        self.announced_size = session.announced_size
        """From ALLO, bytes; None without one."""
        self.path = ""
        """What is transferred, for the log and STAT."""
        self.data: DataConnection | None = None
        self.writer: ObjectWriter | None = None
        self.failure: StorageError | None = None
        """What the store made of it, for the log."""
        self.cancelled_by = replies.CONTROL_CONNECTION_LOST
        """What it means that a transfer is cancelled, or that its client turns out to be gone."""
        self.is_continued = False
        """Whether a line like `226-` was sent: only the reply of that code may follow."""
        self.keeps_interrupted = session.services.config.keep_interrupted
        """Whether an upload that ends early is stored as far as it came."""
        self.is_keeping = False
        """Whether just that is being done: nothing that the client does changes it any more."""
        self.is_interrupted = False
        """Whether the client of an upload that is kept turned out to be gone, or has aborted it."""
        self.is_aborted = False
        """Whether a command that aborts it was found waiting, which is yet to be served."""
        self._control = control
        self._is_abort_waiting = is_abort_waiting  # whether such a command is there now
        self._promised: Reply | None = None  # what was said to be still to come

    @property
    def services(self) -> Services:
        """What all sessions share."""
        return self.session.services

    @property
    def is_publishing(self) -> bool:
        """Whether it is too late to break off: only the outcome tells what is stored."""
        return self.is_keeping or (self.writer is not None and self.writer.is_publishing)

    @property
    def _is_overtaken(self) -> bool:
        """Whether something else was stored at the path since the upload began."""
        return self.writer is not None and self.writer.is_overtaken

    @property
    def seconds(self) -> float:
        """Since the command was begun."""
        return time.monotonic() - self.started

    @property
    def moved(self) -> int:
        """Bytes of data received and sent."""
        return self.data.received + self.data.sent if self.data else 0

    def require_endpoint(self) -> None:
        """Raise ProtocolError (425) if no data connection can come about."""
        if self.session.endpoint is None:
            raise ProtocolError(replies.USE_PASSIVE_FIRST)

    def require_binary_offset(self) -> None:
        """Raise ProtocolError (501) if a REST holds that counts bytes which TYPE A changes."""
        if self.restart_offset and not self.is_binary:
            raise ProtocolError(replies.REST_NEEDS_BINARY)

    async def open_data(self, opening: Reply) -> DataConnection:
        """Send the preliminary reply and return the data connection, to be closed by the caller.

        The reply goes first, because some clients connect only then. Raises ProtocolError
        and NoDataConnectionError.
        """
        endpoint = self.session.endpoint
        if endpoint is None:
            raise ProtocolError(replies.USE_PASSIVE_FIRST)
        self._control.write(opening.encode())
        self.data = await endpoint.connect(self.services.config.data_connect_timeout_seconds)
        return self.data

    def begin_keeping(self) -> bool:
        """Return whether an upload is to be stored even if it has ended early.

        It is if anything came, and nothing else was stored there since: its client may have lost
        the connection long ago, and sent the file anew.
        """
        self.is_keeping = self.keeps_interrupted and self.moved > 0 and not self._is_overtaken
        return self.is_keeping

    def interrupt(self) -> None:
        """Take note that the client of an upload that is kept aborts it, or is gone, if in time."""
        is_publishing = self.writer is not None and self.writer.is_publishing
        self.is_interrupted = self.is_interrupted or (self.is_keeping and not is_publishing)

    def is_wanted(self) -> bool:
        """Whether what came may still replace a file; asked last, as parts take their time.

        What is only a part must not if something else has been stored there meanwhile.
        """
        return not (self.is_interrupted and self._is_overtaken)

    def stop_keeping(self) -> None:
        """Let an upload that ends early leave no trace after all: the server is being stopped."""
        self.keeps_interrupted = self.is_keeping = False

    async def confirm_client(self) -> None:
        """Return if the control connection still stands after it had time to break, and nothing
        came on it that aborts the transfer, be it not served yet.

        Raises ProtocolError if not: then the end of the data was no end of a file. Where what came
        is kept nevertheless, that is only noted.
        """
        is_gone = await self._control.is_gone_within(_LEAST_GRACE_SECONDS, _MOST_GRACE_SECONDS)
        if self._is_abort_waiting():
            self.is_aborted = True
            self.cancelled_by = replies.ABORTED
        elif not is_gone:
            return
        if not self.is_keeping:
            raise ProtocolError(self.cancelled_by)
        self.is_interrupted = True

    def has_enough(self, error: Exception) -> bool:
        """Whether `error` is that the client reads no further: many want a part of a file only."""
        is_lost = isinstance(error, DataConnectionError) and not error.timed_out
        return is_lost and self.writer is None

    def keep_alive(self, reply: Reply) -> Ticker:
        """Return a context that says every few seconds that `reply` is still to come.

        After the first such line, an error can only be told by closing the connection. Where that
        would be taken for a reason to repeat an upload, no reply is begun instead.
        """
        self._promised = reply
        return Ticker(self.services.config.finalise_keepalive_seconds, self._say_alive)

    @property
    def must_fail_for_good(self) -> bool:
        """Whether the client is not to hear that it may try again; see Session."""
        return self.command.spec.is_upload and self.session.repeats_uploads_badly

    def explain(self, reply: Reply) -> None:
        """Say what has gone wrong, for people, in a line of the reply that will have no end."""
        if self._promised is not None:
            why = Reply.of(self._promised.code, f"Failed: {reply.text}")
            self._control.write(why.encode_continuation())

    def _say_alive(self) -> None:
        if self._promised is None:
            return
        if self.must_fail_for_good:
            self._control.write(replies.STILL_STORING.encode())
            return
        self.is_continued = True
        self._control.write(self._promised.encode_continuation())
