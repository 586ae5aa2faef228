"""One task per control connection: takes commands in order and gives each exactly one final reply.

A command that moves data runs as a child task, so that the table's `during_transfer` commands are
served meanwhile; all others wait. What may run is read from the command table's columns. It must
not know what any verb does.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from cos_ftp_server.errors import StorageError
from cos_ftp_server.logs import SessionLogger, Transfer
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import Command, CommandSpec
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.control import BadLine, ControlConnection
from cos_ftp_server.server.data import DataConnectionError, SocketName
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.handlers import HANDLERS, OVERTAKING
from cos_ftp_server.server.outcome import is_client_mistake, reply_to
from cos_ftp_server.server.session import Services, Session

__all__ = ["Dispatcher"]

_log = logging.getLogger(__name__)

_MAX_BAD_LINES = 20
"""Lines in a row that are no command before the client is cut off: it speaks something else, such
as HTTP sent by a browser that was tricked into it."""

_LINGER_SECONDS = 10.0
"""For the last reply to be read by the client's kernel before the socket is closed anyway."""


@dataclass(slots=True)
class _Transfer:
    exchange: Exchange
    task: asyncio.Task[Reply]
    is_running: bool = True  # not task.done(), which is true before `_idle_since` tells when

    @property
    def has_ended(self) -> bool:
        """Whether its reply is due, and not to be left to the command that has aborted it."""
        return not (self.is_running or self.exchange.is_aborted)

    @property
    def outcome(self) -> Reply:
        """The final reply; while the task still runs, what it is cancelled with."""
        if not self.task.done() or self.task.cancelled():
            return self.exchange.cancelled_by
        return self.task.result()


class Dispatcher:
    """Serves one control connection: `run` it as a task; `stop` or cancel that task to end it."""

    __slots__ = (
        "_bad_lines",
        "_control",
        "_idle_since",
        "_is_over",
        "_loop",
        "_parting",
        "_services",
        "_serving",
        "_session",
        "_timer",
        "_transfer",
        "_wakeup",
    )

    def __init__(
        self,
        control: ControlConnection,
        services: Services,
        *,
        number: int,
        local: SocketName,
        peer: SocketName,
    ) -> None:
        self._control = control
        self._services = services
        self._session = Session(
            services,
            SessionLogger(_log, session=number, peer=peer[0]),
            local=local,
            peer=peer,
            abort_transfer=self._abort_transfer,
        )
        self._loop = asyncio.get_running_loop()
        self._transfer: _Transfer | None = None
        self._parting: Reply | None = None  # no more commands; to be said after the transfer
        self._wakeup: asyncio.Future[None] | None = None
        self._bad_lines = 0
        self._serving: Exchange | None = None  # in this task, not as a transfer
        self._is_over = False
        self._idle_since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        control.on_event = self._wake

    async def run(self) -> None:
        """Greet, serve until the client or the server has had enough, and release everything."""
        session = self._session
        session.log.bind()
        session.log.debug("connected")
        self._schedule_deadline_check()
        try:
            await self._send(replies.service_ready(self._services.config.banner))
            await self._serve()
        except asyncio.CancelledError:
            if not self._is_reply_open():
                self._control.write(replies.SHUTTING_DOWN.encode())
            if self._transfer is not None:
                self._stop_transfer(self._transfer.exchange)
            raise
        except Exception:
            session.log.exception("session failed")
        finally:
            await self._release()
            session.log.debug("disconnected")

    @property
    def user(self) -> str:
        """Who is logged in, "" for nobody."""
        return self._session.account.name if self._session.is_logged_in else ""

    def stop(self, parting: Reply) -> None:
        """End the session with `parting` as soon as nothing is running."""
        if self._parting is None:
            self._parting = parting
            self._wake()

    def abandon(self) -> None:
        """Close the connection if `run` has not: a task that is cancelled at once never begins."""
        self._control.abort()

    async def _release(self) -> None:
        """End transfer, login and connection; return when the socket is closed."""
        self._session.drop_discarded()  # nobody waits for the reply any more
        try:
            if self._transfer is not None:
                await self._break_off(self._transfer)
            self._control.close()
            self._set_timer(_LINGER_SECONDS, self._control.abort)
            while not self._control.is_lost:
                await self._next_event()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._control.abort()
            self._session.log_out()

    async def _serve(self) -> None:
        while not self._is_over:
            transfer = self._transfer
            if transfer is not None and transfer.has_ended:
                await self._end_transfer(transfer)
            elif transfer is None and self._parting is not None:
                self._is_over = True
                await self._send(self._parting)
            elif (line := self._next_line()) is not None:
                await self._answer(line)
            elif self._control.is_gone:
                self._is_over = True
            else:
                await self._next_event()

    def _next_line(self) -> Command | BadLine | None:
        """Return the next line that may be answered now.

        While a transfer runs, that is the first in the queue, if it may run meanwhile, or one
        that overtakes; while a reply is held open or the session is ending, only the latter.
        """
        queue = self._control.queue
        if not queue or self._control.is_lost:
            return None
        if self._transfer is None:
            return self._control.take()
        first = queue[0]
        if (
            isinstance(first, Command)
            and first.spec.during_transfer
            and self._parting is None
            and not self._transfer.exchange.is_continued
        ):
            return self._control.take()
        index = self._find_overtaking()
        return None if index is None else self._control.take(index)

    def _find_overtaking(self) -> int | None:
        """Return where in the queue the first command is that is served before its turn."""
        for index, line in enumerate(self._control.queue):
            if isinstance(line, Command) and line.spec.canonical in OVERTAKING:
                return index
        return None

    def _is_abort_waiting(self) -> bool:
        """Whether a transfer has been aborted, which this task may not be free to see yet."""
        return self._find_overtaking() is not None

    async def _answer(self, line: Command | BadLine) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            self._session.log.debug("<- %s", line.loggable)
        if isinstance(line, BadLine):
            await self._answer_bad(line)
            return
        self._bad_lines = 0
        spec = line.spec
        refusal = self._refusal(spec)
        exchange = self._begin(line)
        if refusal is not None:
            await self._finish(exchange, refusal)
        elif spec.opens_data:
            self._transfer = self._start_transfer(exchange)
        else:
            self._serving = exchange
            reply = await self._perform(exchange)
            self._serving = None
            await self._finish(exchange, reply)

    async def _answer_bad(self, line: BadLine) -> None:
        self._bad_lines += 1
        if self._bad_lines >= _MAX_BAD_LINES:
            self._parting = replies.TOO_MANY_ERRORS
        else:
            await self._send(line.error.reply)

    def _refusal(self, spec: CommandSpec) -> Reply | None:
        session = self._session
        if not spec.needs_login:
            return None
        if not session.is_logged_in:
            return replies.NOT_LOGGED_IN
        if spec.permission not in session.account.permissions:
            return replies.PERMISSION_DENIED
        return None

    def _begin(self, command: Command) -> Exchange:
        """Return the exchange, and forget what held for this command only."""
        session, spec = self._session, command.spec
        exchange = Exchange(
            session, self._control, command, is_abort_waiting=self._is_abort_waiting
        )
        if not spec.keeps_restart:
            session.drop_restart(is_used=spec.opens_data)
        if spec.opens_data:
            session.announced_size = None
        return exchange

    async def _perform(self, exchange: Exchange) -> Reply:
        """Run the handler; whatever it raises becomes a reply."""
        command = exchange.command
        try:
            return await HANDLERS[command.spec.canonical](exchange, command.argument)
        except asyncio.CancelledError:
            if exchange.failure is None:
                raise
            return self._explain(exchange, exchange.failure)  # that came first
        except Exception as error:
            return self._explain(exchange, error)

    def _explain(self, exchange: Exchange, error: Exception) -> Reply:
        """Log what went wrong, and return what the client is told of it."""
        reply = reply_to(error)
        log, command = self._session.log, exchange.command
        if reply is None:
            log.error("%s failed unexpectedly", command.loggable, exc_info=error)
            return replies.LOCAL_ERROR
        if isinstance(error, StorageError):
            exchange.failure = error
        if exchange.must_fail_for_good:
            self._session.has_asked_directory = False  # it may be repeated from now on
            if isinstance(error, StorageError | DataConnectionError):
                reply = replies.for_good(reply)
        is_usual = is_client_mistake(error) or exchange.has_enough(error)
        level = logging.DEBUG if is_usual else logging.WARNING
        log.log(level, "%s failed: %s", command.loggable, error)
        return reply

    async def _finish(self, exchange: Exchange, reply: Reply) -> None:
        """Give the final reply, or none where none can be read correctly any more."""
        if self._is_over:
            return
        session = self._session
        if not exchange.command.spec.keeps_rename:
            session.pending_rename = None
        if exchange.is_continued and not reply.is_positive:
            # The client has seen the beginning of a success; only a missing end tells it otherwise.
            exchange.explain(reply)
            session.log.warning("%s: closing after a late failure", exchange.command.loggable)
            self._is_over = True
        elif session.is_ending and self._parting is None:
            self._parting = reply
        else:
            await self._send(reply)
        self._idle_since = self._loop.time()

    async def _send(self, reply: Reply) -> None:
        self._control.write(reply.encode())
        if self._control.is_write_paused:
            await self._control.drain()

    # Transfers

    def _start_transfer(self, exchange: Exchange) -> _Transfer:
        self._session.transfer = exchange
        transfer = _Transfer(exchange, self._loop.create_task(self._perform(exchange)))

        def ended(_: asyncio.Task[Reply]) -> None:
            # Together: the timer may fire before this session's own task hears of the end.
            transfer.is_running = False
            self._idle_since = self._loop.time()
            self._wake()

        transfer.task.add_done_callback(ended)
        return transfer

    async def _end_transfer(self, transfer: _Transfer) -> None:
        self._transfer = self._session.transfer = None
        self._session.drop_endpoint()
        exchange, outcome = transfer.exchange, transfer.outcome
        self._log_transfer(exchange, outcome)
        await self._finish(exchange, outcome)

    async def _abort_transfer(self) -> bool:
        transfer = self._transfer
        if transfer is None:
            return False
        transfer.exchange.cancelled_by = replies.ABORTED
        transfer.exchange.interrupt()
        if not transfer.exchange.is_publishing:
            transfer.task.cancel()
        await asyncio.wait({transfer.task})
        await self._end_transfer(transfer)
        return True

    def _log_transfer(self, exchange: Exchange, reply: Reply) -> None:
        self._session.log.transfer(
            Transfer(
                verb=exchange.command.verb,
                path=exchange.path,
                bytes=exchange.moved,
                seconds=exchange.seconds,
                outcome=reply.code,
                reply=reply.text,
                is_binary=exchange.is_binary,
                failure=exchange.failure,
            )
        )

    async def _break_off(self, transfer: _Transfer) -> None:
        """End a transfer whose client is gone; return when it has ended, and the log says how."""
        transfer.exchange.interrupt()
        try:
            if not transfer.exchange.is_keeping:
                transfer.task.cancel()
            await asyncio.wait({transfer.task})
        except asyncio.CancelledError:  # now the server is being stopped as well
            self._stop_transfer(transfer.exchange)
            transfer.task.cancel()
            await asyncio.wait({transfer.task})
            raise
        finally:
            self._log_transfer(transfer.exchange, transfer.outcome)
            # The frames of the task's exception refer to this dispatcher: this breaks the cycle.
            self._transfer = self._session.transfer = None

    @staticmethod
    def _stop_transfer(exchange: Exchange) -> None:
        """Let a transfer that is cancelled next leave nothing, whatever is usual."""
        exchange.cancelled_by = replies.SHUTTING_DOWN
        exchange.stop_keeping()

    def _is_reply_open(self) -> bool:
        exchange = self._transfer.exchange if self._transfer is not None else self._serving
        return exchange is not None and exchange.is_continued

    # Waiting, and its limits

    def _next_event(self) -> "asyncio.Future[None]":
        """Return a future that is done as soon as anything has happened."""
        self._wakeup = self._loop.create_future()
        return self._wakeup

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _set_timer(self, delay_seconds: float, action: Callable[[], None]) -> None:
        """Replace the session's only timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, delay_seconds), action)

    def _schedule_deadline_check(self) -> None:
        self._set_timer(self._deadline() - self._loop.time(), self._check_deadline)

    def _deadline(self) -> float:
        """Return when the client must have sent something, a login at first."""
        config, session, transfer = self._services.config, self._session, self._transfer
        if self._serving is not None or (transfer is not None and transfer.is_running):
            return self._loop.time() + config.idle_timeout_seconds
        idle = self._idle_since + config.idle_timeout_seconds
        if session.is_logged_in:
            return idle
        return min(idle, session.anonymous_since + config.login_timeout_seconds)

    def _check_deadline(self) -> None:
        """Armed once, and again when it finds that things have moved: no timer per command."""
        if self._deadline() > self._loop.time():
            self._schedule_deadline_check()
        elif self._control.is_write_paused:
            self._control.abort()  # nor would the client read that it is too late
        elif self._parting is None:
            self._parting = replies.TIMEOUT
            self._wake()
            self._set_timer(_LINGER_SECONDS, self._control.abort)
