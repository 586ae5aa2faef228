"""What systemd is told about this process: ready, reloading, stopping (sd_notify(3)).

A socket address and a few words: smaller than any library for it. Without systemd it does nothing.
"""

import logging
import os
import socket
import time

__all__ = ["ServiceManager"]

_log = logging.getLogger(__name__)


class ServiceManager:
    """The service manager at `address`, a file or, behind an "@", an abstract name; "" for none."""

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls) -> "ServiceManager":
        """Return the one that has started this process."""
        return cls(os.environ.get("NOTIFY_SOCKET", ""))

    def ready(self) -> None:
        """Say that clients can connect, or that a reload is over."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is being read; `ready` must follow."""
        # CLOCK_MONOTONIC, which `Type=notify-reload` compares with when it sent the signal.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that no client is accepted any more."""
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(state.encode(), self._address)
        except OSError as error:
            _log.warning("systemd was not told %r: %s", state.partition("=")[0], error)
