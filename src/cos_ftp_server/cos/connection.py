"""One HTTP/1.1 connection to a store: a request goes out, an answer comes in, one after the other.

Bodies of requests are sent from the caller's memory, and bodies of answers are received into it.
It must not know where connections come from, signing, or what an answer means.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from cos_ftp_server.cos.answer import Answer
from cos_ftp_server.cos.http_error import HttpError, Trouble
from cos_ftp_server.send_buffer import bound_when_near, unacknowledged_bytes

__all__ = ["Body", "Connection", "Patience"]

Body: TypeAlias = bytes | bytearray | memoryview

_JOINED_BYTES = 32 * 1024
"""Up to here one copy costs less than lending the memory out; and, being below the 64 KiB at
which an event loop pauses writers, such a body never has to wait."""

_SLICE_BYTES = 512 * 1024
"""Given to the event loop at a time: what it may encrypt at once, and hold."""

_MAX_HELD_BYTES = 16 * 1024**2
"""Of an answer that is wanted whole; a page of 1000 keys of 850 escaped bytes takes 3 MiB."""

_MAX_AHEAD_BYTES = 128 * 1024
"""Of a body of unknown length that comes faster than it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds.

    `idle_s`: without a byte in either direction, while it is the store's turn; it does not run
    while only the answer is missing and `answer_s` is set. `total_s`: for all of one attempt,
    connecting included; None: as long as bytes flow. `answer_s`: from the moment the store's system
    has all of the request until the answer is complete, or the head of one that is streamed, with
    bytes or without any; None: as long as the rest allows.
    """

    idle_s: float
    total_s: float | None
    answer_s: float | None


class Connection(asyncio.BufferedProtocol):
    """A connection that is made. One coroutine at a time uses it: `request`, then `end`.

    `scratch` is memory for what is parsed at once, shared by all connections of the event loop:
    between `get_buffer` and `buffer_updated` nobody else can run. `on_lost` is called in the end.
    """

    __slots__ = (
        "_answer",
        "_answer_s",
        "_deadline",
        "_failure",
        "_gone_at_check",
        "_gone_since",
        "_idle_s",
        "_is_sent",
        "_is_streamed",
        "_is_write_paused",
        "_least",
        "_loop",
        "_moved",
        "_moved_at_check",
        "_moved_since",
        "_on_lost",
        "_read_paused",
        "_received",
        "_scratch",
        "_transport",
        "_waiter",
        "_window",
        "_written",
        "idle_since",
        "is_reused",
    )

    def __init__(self, scratch: memoryview, on_lost: Callable[["Connection"], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._scratch = scratch
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self.is_reused = False
        """Whether it has served another request before."""
        self.idle_since = 0.0
        """When its last answer was complete, on the event loop's clock."""
        self._answer: Answer | None = None
        self._failure: HttpError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_write_paused = False
        self._is_sent = True
        self._is_streamed = False
        self._window: memoryview | None = None  # the reader's own memory
        self._received = 0  # bytes in the window
        self._least = 0  # bytes in the window that are worth waking the reader
        self._read_paused = False
        self._moved = 0  # bytes received by this connection
        self._moved_at_check = 0
        self._moved_since = 0.0
        self._written = 0  # bytes given to the transport
        self._gone_at_check = 0  # of them, those that the store's system had
        self._gone_since = 0.0  # when the last were seen to arrive before the answer began
        self._idle_s = 0.0
        self._answer_s: float | None = None
        self._deadline: float | None = None

    @property
    def is_usable(self) -> bool:
        """Whether a request may be sent: it stands, and nothing is under way."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        return self._answer is None and not self._failure

    @property
    def was_answered(self) -> bool:
        """Whether anything has come of the answer that is, or was, waited for."""
        return self._answer is not None and self._answer.has_head

    @property
    def _awaits_answer(self) -> bool:
        """Whether an answer has yet to come as far as the request asks for."""
        answer = self._answer
        if answer is None or answer.is_complete:
            return False
        return not (self._is_streamed and answer.has_head)

    async def request(
        self,
        head: bytes,
        body: Body,
        patience: Patience,
        deadline: float | None,
        *,
        has_body: bool,
        is_streamed: bool,
    ) -> Answer:
        """Send a request; return its answer once it is complete, or its head if it `is_streamed`.

        `deadline` is on the event loop's clock. Raises HttpError. Whatever the outcome, `end`
        must follow; until then `body` must not change.
        """
        answer = self._answer = Answer(has_body=has_body)
        self._is_streamed = is_streamed
        self._idle_s = patience.idle_s
        self._answer_s = patience.answer_s
        self._deadline = deadline
        self._moved_since = self._gone_since = self._loop.time()
        if len(body) <= _JOINED_BYTES:
            self._write(head + body if body else head)
        else:
            with memoryview(body).cast("B") as lent:
                await self._send(head, lent)
        while self._awaits_answer:
            await self._wait()
        return answer

    async def read_into(self, memory: memoryview, least: int = 1) -> int:
        """Receive bytes of a streamed body into `memory`; return how many, 0 at the end.

        They are at least `least` (not more than there is room for), unless the body ends or breaks
        off before, or what has come with the head is not as much. Raises HttpError.
        """
        answer = self._answer
        if answer is None:
            return 0
        if answer.held or answer.is_complete or answer.left is None:
            return await self._read_held(answer, memory)
        answer.bypass()
        self._window = memory[: answer.left]
        self._received = 0
        self._least = min(least, len(self._window))
        try:
            self._resume_reading()
            while self._received < self._least:
                await self._wait()
        except HttpError:
            if not self._received:  # else the next call will find it
                raise
        finally:
            self._window = None
            if not answer.is_complete:
                self._pause_reading()
        return self._received

    async def rest(self) -> None:
        """Return once a streamed answer is complete after all. Raises HttpError."""
        self._is_streamed = False
        while self._answer is not None and not self._answer.is_complete:
            self._resume_reading()
            await self._wait()

    async def end(self) -> bool:
        """Let go of the answer and of the memory of the body; say whether another may be asked for.

        A connection that still has some of the body to send, or to receive, is cut.
        """
        answer, self._answer = self._answer, None
        transport = self._transport
        if transport is None:
            return False
        is_unsent = not self._is_sent or transport.get_write_buffer_size() > 0
        if is_unsent or self._failure or not (answer and answer.is_complete and answer.keeps_alive):
            self.abort()
            if is_unsent:
                # The loop drops what it had queued in its next iteration.
                await asyncio.sleep(0)
            return False
        self.is_reused = True
        self.idle_since = self._loop.time()
        return True

    def check(self, now: float) -> None:
        """End a request that has run out of time; to be called every now and then."""
        if self._deadline is not None and now >= self._deadline:
            self._fail(HttpError(Trouble.TOO_SLOW))
            return
        gone = self._written - self._unacknowledged()
        if gone != self._gone_at_check and not self.was_answered:
            self._gone_at_check, self._gone_since = gone, now
        if self._is_answer_late(now):
            self._fail(HttpError(Trouble.TOO_SLOW))
            return
        moved = self._moved + gone
        if moved != self._moved_at_check or self._waiter is None or self._awaits_only_answer(gone):
            self._moved_at_check, self._moved_since = moved, now
        elif now - self._moved_since >= self._idle_s:
            self._fail(HttpError(Trouble.TIMEOUT))

    def _is_answer_late(self, now: float) -> bool:
        """Whether it takes too long, however many bytes come of it one by one."""
        if self._answer_s is None or not self._awaits_answer:
            return False
        return now - self._gone_since >= self._answer_s

    def _awaits_only_answer(self, gone: int) -> bool:
        """Whether only the answer is missing, which has a time of its own: no byte is expected."""
        has_all = self._is_sent and gone == self._written
        return has_all and self._answer_s is not None and self._awaits_answer

    def _unacknowledged(self) -> int:
        """Bytes on their way to the store: a slow line takes minutes for the kernel's part."""
        return 0 if self._transport is None else unacknowledged_bytes(self._transport)

    def abort(self) -> None:
        """Close at once; what is unsent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold the transport."""
        self._transport = cast(asyncio.Transport, transport)
        bound_when_near(self._transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the reader's memory, or some to parse from."""
        return self._scratch if self._window is None else self._window

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what has come."""
        self._moved += nbytes
        answer = self._answer
        if answer is None:  # nobody has asked for anything
            self.abort()
        elif self._window is None:
            self._parse(answer, self._scratch[:nbytes])
        else:
            answer.count(nbytes)
            self._received += nbytes
            self._window = self._window[nbytes:]
            if not self._window:
                self._window = None
                if not answer.is_complete:
                    self._pause_reading()
            if self._received >= self._least:
                self._wake()

    def eof_received(self) -> bool:
        """Close our side as well; the end may be that of the body."""
        if self._answer is not None:
            self._answer.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and the owner."""
        self._transport = None
        answer = self._answer
        if answer is not None and not answer.is_complete and self._failure is None:
            trouble = Trouble.BROKEN_OFF if answer.has_head else Trouble.UNANSWERED
            self._failure = HttpError(trouble, _words(exc))
        self._is_write_paused = False
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Make `_send` wait."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Let `_send` go on."""
        self._is_write_paused = False
        self._wake()

    # The rest

    def _write(self, data: bytes | memoryview) -> None:
        if self._transport is None:
            raise self._failure or HttpError(Trouble.UNANSWERED)
        self._transport.write(data)
        self._written += len(data)

    async def _send(self, head: bytes, body: memoryview) -> None:
        """Send a body from where it lies, unless the store answers before it has it all."""
        self._is_sent = False
        self._write(head)
        for start in range(0, len(body), _SLICE_BYTES):
            self._write(body[start : start + _SLICE_BYTES])
            while self._is_write_paused and not self.was_answered:
                await self._wait()
            if self.was_answered:
                return
        self._is_sent = True

    async def _read_held(self, answer: Answer, memory: memoryview) -> int:
        """Copy what has come with the head, or of a body that only the parser finds the end of."""
        while not answer.held and not answer.is_complete:
            self._resume_reading()
            await self._wait()
        piece = answer.take(len(memory))
        memory[: len(piece)] = piece
        return len(piece)

    def _parse(self, answer: Answer, data: memoryview) -> None:
        try:
            answer.feed(data)
        except HttpError as error:
            self._fail(error)
            return
        if answer.is_complete or (self._is_streamed and answer.has_head):
            if not answer.is_complete and (
                answer.left is not None or answer.held > _MAX_AHEAD_BYTES
            ):
                self._pause_reading()
            self._wake()
        elif answer.held > _MAX_HELD_BYTES:
            self._fail(HttpError(Trouble.BROKEN_OFF, f"longer than {_MAX_HELD_BYTES} bytes"))
        elif answer.has_head and not self._is_sent:
            self._wake()

    def _pause_reading(self) -> None:
        if not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and self._transport is not None:
            self._read_paused = False
            self._transport.resume_reading()

    def _fail(self, error: HttpError) -> None:
        if self._failure is None:
            self._failure = error
        self.abort()
        self._wake()

    async def _wait(self) -> None:
        """Return when something has happened. Raises HttpError when nothing more will."""
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _words(error: Exception | None) -> str:
    return f"({type(error).__name__}: {error})" if error is not None else ""
