"""Who is connected and who is logged in: the counts that hold across sessions.

All limits that several identical processes may have to share go through `SessionLimits` and
nothing else. It must not know sockets or replies.
"""

from typing import Protocol

__all__ = ["LocalLimits", "SessionLimits"]


class SessionLimits(Protocol):
    """Admission of connections and logins. What was taken must be given back exactly once."""

    def take_connection(self) -> bool:
        """Count one more connection, unless there are too many."""
        ...

    def give_connection(self) -> None:
        """Count one connection less."""
        ...

    def take_login(self) -> bool:
        """Count one more session that is logged in, unless there are too many."""
        ...

    def give_login(self) -> None:
        """Count one login less."""
        ...


class LocalLimits:
    """The counts of one process; a maximum of 0 is none."""

    def __init__(self, *, max_connections: int, max_logins: int) -> None:
        self._max_connections = max_connections
        self._max_logins = max_logins
        self.connections = 0
        self.logins = 0

    def take_connection(self) -> bool:
        """See SessionLimits."""
        if 0 < self._max_connections <= self.connections:
            return False
        self.connections += 1
        return True

    def give_connection(self) -> None:
        """See SessionLimits."""
        self.connections -= 1

    def take_login(self) -> bool:
        """See SessionLimits."""
        if 0 < self._max_logins <= self.logins:
            return False
        self.logins += 1
        return True

    def give_login(self) -> None:
        """See SessionLimits."""
        self.logins -= 1
