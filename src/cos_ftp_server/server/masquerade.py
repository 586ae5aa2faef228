"""The address that PASV tells instead of the server's own, when that is behind NAT.

Owns the name's resolution and what is remembered of it. It must not know commands or replies.
"""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence

__all__ = ["PublicAddress", "Resolve", "resolve_ipv4"]

_log = logging.getLogger(__name__)

_RESOLVE_SECONDS = 5.0
"""For an answer, after which the last one stands: resolv.conf(5) gives each name server as long."""

_RETRY_SECONDS = 5.0
"""From a failure to the next attempt, so that clients do not queue up behind a dead name server."""

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Name → IPv4 addresses. Raises OSError."""


async def resolve_ipv4(name: str) -> Sequence[str]:
    """Return the IPv4 addresses of `name`, asked for in a thread of the loop. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class PublicAddress:
    """What `name`, an IPv4 address or a host name, stands for; asked again every `ttl_seconds`."""

    def __init__(self, name: str, ttl_seconds: float, resolve: Resolve = resolve_ipv4) -> None:
        self._name = name
        self._ttl_seconds = ttl_seconds
        self._resolve = resolve
        self._lock = asyncio.Lock()
        self._address = name if _is_address(name) else ""
        self._failure: OSError | None = None
        self._valid_until = float("inf") if self._address else 0.0

    async def get(self) -> str:
        """Return the IPv4 address, the last known one if there is no answer.

        Raises OSError when none has ever been known.
        """
        if time.monotonic() >= self._valid_until:
            async with self._lock:  # one question at a time; the others share its answer
                if time.monotonic() >= self._valid_until:
                    await self._ask()
        if not self._address:
            raise self._failure or OSError(f"{self._name} is not known")
        return self._address

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await self._resolve(self._name)
        except OSError as error:  # TimeoutError is one
            self._failure = error
            self._valid_until = time.monotonic() + _RETRY_SECONDS
            if self._address:
                _log.warning(
                    "%s cannot be resolved, PASV goes on with %s: %s",
                    self._name,
                    self._address,
                    error or "no answer in time",
                )
            return
        self._valid_until = time.monotonic() + self._ttl_seconds
        # Of several addresses, the one that clients have been told stays.
        if self._address not in found:
            self._address = found[0]
            _log.info("%s is %s", self._name, self._address)


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
