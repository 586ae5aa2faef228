"""Who is connected and who is logged in: the counts that hold across sessions.

All limits that several identical processes may have to share go through `SessionLimits` and
nothing else. It must not know sockets or replies.
"""

import enum
from collections import Counter
from typing import Protocol

__all__ = ["Full", "LocalLimits", "SessionLimits"]


class Full(enum.Enum):
    """What has no place for another login."""

    SERVER = "server"
    USER = "user"


class SessionLimits(Protocol):
    """Admission of connections and logins. What was taken must be given back exactly once."""

    def take_connection(self) -> bool:
        """Count one more connection, unless there are too many."""
        ...

    def give_connection(self) -> None:
        """Count one connection less."""
        ...

    def take_login(self, user: str, max_sessions: int) -> Full | None:
        """Count one more session of `user` and return None, or what is full.

        `max_sessions`: those of this user at once; 0 = no limit.
        """
        ...

    def give_login(self, user: str) -> None:
        """Count one login of `user` less."""
        ...


class LocalLimits:
    """The counts of one process; a maximum of 0 is none."""

    def __init__(self, *, max_connections: int, max_logins: int) -> None:
        self._max_connections = max_connections
        self._max_logins = max_logins
        self.connections = 0
        self._logins: Counter[str] = Counter()

    @property
    def logins(self) -> int:
        """Sessions logged in now."""
        return self._logins.total()

    def take_connection(self) -> bool:
        """See SessionLimits."""
        if 0 < self._max_connections <= self.connections:
            return False
        self.connections += 1
        return True

    def give_connection(self) -> None:
        """See SessionLimits."""
        self.connections -= 1

    def take_login(self, user: str, max_sessions: int) -> Full | None:
        """See SessionLimits."""
        if 0 < self._max_logins <= self.logins:
            return Full.SERVER
        if 0 < max_sessions <= self._logins[user]:
            return Full.USER
        self._logins[user] += 1
        return None

    def give_login(self, user: str) -> None:
        """See SessionLimits."""
        self._logins[user] -= 1
        if not self._logins[user]:
            del self._logins[user]
