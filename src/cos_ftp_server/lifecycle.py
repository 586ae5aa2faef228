"""From "start" to "stopped": one service in one process, steered by signals.

Owns signals and the order of the phases. It must not know what the service does.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import uvloop

__all__ = ["Service", "run", "run_service"]

_log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Service(Protocol):
    """Something that listens."""

    @property
    def url(self) -> str:
        """Where it can be reached; valid once started."""
        ...

    async def start(self) -> None:
        """Return when clients can connect. Raises OSError, GatewayError."""
        ...

    async def aclose(self) -> None:
        """Stop now and release everything, also after a `start` that failed or was cancelled."""
        ...


def run(main: Coroutine[None, None, None]) -> None:
    """Run `main` on a uvloop event loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def run_service(
    service: Service,
    announce: Callable[[str], None],
    drain: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Start `service`, `announce` its URL, and return when SIGINT or SIGTERM has stopped it.

    The first signal lets `drain` finish what is under way; a second one, or one that comes
    before the service has started, stops at once. Raises what `start` raises.
    """
    request = _StopRequest(cast("asyncio.Task[None]", asyncio.current_task()))
    with request.on_signals():
        try:
            await service.start()
            request.is_serving = True
            announce(service.url)
            await request.graceful.wait()
            _log.info("stopping; a second signal stops at once")
            if drain is not None:
                await drain()
        except asyncio.CancelledError:
            if not request.is_forced:
                raise
            request.task.uncancel()
            _log.warning("stopping at once")
        finally:
            await service.aclose()


class _StopRequest:
    """What signals have asked for."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.graceful = asyncio.Event()
        self.is_forced = False
        self.is_serving = False
        self.task = task

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to signals within this context."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._receive)
        try:
            yield
        finally:
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)

    def _receive(self) -> None:
        if self.is_serving and not self.graceful.is_set():
            self.graceful.set()
        elif not self.is_forced:
            self.is_forced = True
            self.task.cancel()
