"""From "start" to "stopped": one service in one process, steered by signals.

Owns signals, the order of the phases, and what the service manager is told of them. It must not
know what the service does.
"""

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import uvloop

from cos_ftp_server.sd_notify import ServiceManager

__all__ = ["Service", "run", "run_service"]

_log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Phase = Callable[[], Coroutine[Any, Any, None]]


_COLLECTED_AT_ONCE = 20_000
"""Objects made and not freed before the garbage collector looks at them; a few MiB."""


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
    _allow_many_files()
    _collect_rarely()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _allow_many_files() -> None:
    """Use as many descriptors as the system grants: shells offer 1024, and sockets take them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems and sandboxes grant less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _collect_rarely() -> None:
    """Leave what was imported alone, and look for cycles less often: next to nothing here is in
    one, and looking took 4 % of the CPU of a small upload.
    """
    gc.freeze()
    gc.set_threshold(_COLLECTED_AT_ONCE)


async def run_service(
    service: Service,
    announce: Callable[[str], None],
    drain: Phase | None = None,
    reload: Phase | None = None,
) -> None:
    """Start `service`, `announce` its URL, and return when SIGINT or SIGTERM has stopped it.

    The first signal lets `drain` finish what is under way; a second one, or one that comes
    before the service has started, stops at once. SIGHUP calls `reload`, once more if it comes
    again meanwhile; without a `reload` it stops like SIGTERM, as a terminal that is closed sends
    it, too. Where SIGHUP is ignored (nohup) it is left alone.
    Raises what `start` raises.
    """
    manager = ServiceManager.from_environment()
    signals = _Signals()
    with signals.received(can_reload=reload is not None):
        try:
            if await _until(signals.stop, service.start()):
                announce(service.url)
                _log.info("ready at %s", service.url)
                if reload is not None and _is_hangup_ignored():
                    _log.info("SIGHUP is ignored, as nohup wants it: to reload, start again")
                manager.ready()
                await _serve(signals, manager, reload)
                manager.stopping()
                _log.info("stopping; a second signal stops at once")
                if drain is not None and not await _until(signals.stop_now, drain()):
                    _log.warning("stopping at once")
        finally:
            await service.aclose()
        _log.info("stopped")


async def _serve(signals: "_Signals", manager: ServiceManager, reload: Phase | None) -> None:
    """Return when the service shall stop; a reload that is under way is given up then."""
    while await _until(signals.stop, signals.hangup.wait()):
        signals.hangup.clear()
        if reload is None:
            continue
        manager.reloading()
        try:
            await _until(signals.stop, reload())
        except Exception:
            _log.exception("reload failed")
        manager.ready()


async def _until(event: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Return True when `work` has ended, or False when `event` was first and has cancelled it.

    Raises what `work` raises.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_over = task.done()
        task.cancel()
        watch.cancel()
        await asyncio.wait({task, watch})
    if task.cancelled():
        return False
    task.result()
    return is_over


def _is_hangup_ignored() -> bool:
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class _Signals:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.stop_now = asyncio.Event()
        self.hangup = asyncio.Event()

    @contextmanager
    def received(self, *, can_reload: bool) -> Iterator[None]:
        """Listen to signals within this context."""
        actions = dict.fromkeys(_STOP_SIGNALS, self._stop)
        # nohup has SIGHUP ignored, and whoever uses it means that.
        if not _is_hangup_ignored():
            actions[signal.SIGHUP] = self.hangup.set if can_reload else self._stop
        loop = asyncio.get_running_loop()
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        (self.stop_now if self.stop.is_set() else self.stop).set()
