"""Which command may follow which (RFC 959 section 6), as tables of small independent machines.

A table is total: every event in every state leads to a state or to the reply that refuses it.
What the tables cannot say: a password is checked between `check(ACCEPTED)` and
`fire(ACCEPTED or REJECTED)`, so that one that nobody waits for is never looked at.
"""

import enum
from collections.abc import Mapping
from typing import Generic, TypeVar

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.replies import Reply

__all__ = [
    "DATA_SETUP",
    "LOGIN",
    "DataSetupEvent",
    "DataSetupState",
    "LoginEvent",
    "LoginState",
    "StateMachine",
]

State = TypeVar("State", bound=enum.Enum)
Event = TypeVar("Event", bound=enum.Enum)


class StateMachine(Generic[State, Event]):
    """A state, and the only way to change it. An illegal event leaves it as it is."""

    def __init__(self, table: Mapping[tuple[State, Event], State | Reply], initial: State) -> None:
        self._table = table
        self.state = initial

    def check(self, event: Event) -> State:
        """Return the state that `event` would lead to. Raises ProtocolError (503)."""
        target = self._table[self.state, event]
        if isinstance(target, Reply):
            raise ProtocolError(target)
        return target

    def fire(self, event: Event) -> None:
        """Move on. Raises ProtocolError (503)."""
        self.state = self.check(event)


class LoginState(enum.Enum):
    """How far a client has come (RFC 959 section 6, figure of the login sequence)."""

    CONNECTED = enum.auto()
    USER_GIVEN = enum.auto()
    LOGGED_IN = enum.auto()


class LoginEvent(enum.Enum):
    """USER, the two outcomes of PASS, and REIN."""

    USER = enum.auto()
    ACCEPTED = enum.auto()
    REJECTED = enum.auto()
    REIN = enum.auto()


LOGIN: Mapping[tuple[LoginState, LoginEvent], LoginState | Reply] = {
    (LoginState.CONNECTED, LoginEvent.USER): LoginState.USER_GIVEN,
    (LoginState.CONNECTED, LoginEvent.ACCEPTED): replies.USER_FIRST,
    (LoginState.CONNECTED, LoginEvent.REJECTED): replies.USER_FIRST,
    (LoginState.CONNECTED, LoginEvent.REIN): LoginState.CONNECTED,
    (LoginState.USER_GIVEN, LoginEvent.USER): LoginState.USER_GIVEN,
    (LoginState.USER_GIVEN, LoginEvent.ACCEPTED): LoginState.LOGGED_IN,
    (LoginState.USER_GIVEN, LoginEvent.REJECTED): LoginState.CONNECTED,
    (LoginState.USER_GIVEN, LoginEvent.REIN): LoginState.CONNECTED,
    # A new USER ends the old login at once (RFC 959 section 4.1.1).
    (LoginState.LOGGED_IN, LoginEvent.USER): LoginState.USER_GIVEN,
    (LoginState.LOGGED_IN, LoginEvent.ACCEPTED): replies.ALREADY_LOGGED_IN,
    (LoginState.LOGGED_IN, LoginEvent.REJECTED): replies.ALREADY_LOGGED_IN,
    (LoginState.LOGGED_IN, LoginEvent.REIN): LoginState.CONNECTED,
}


class DataSetupState(enum.Enum):
    """Which commands may set up a data connection (RFC 2428 section 4)."""

    ANY = enum.auto()
    EPSV_ONLY = enum.auto()


class DataSetupEvent(enum.Enum):
    """EPSV ALL; EPSV; and PASV, PORT, EPRT."""

    EPSV_ALL = enum.auto()
    EPSV = enum.auto()
    OTHER = enum.auto()


DATA_SETUP: Mapping[tuple[DataSetupState, DataSetupEvent], DataSetupState | Reply] = {
    (DataSetupState.ANY, DataSetupEvent.EPSV_ALL): DataSetupState.EPSV_ONLY,
    (DataSetupState.ANY, DataSetupEvent.EPSV): DataSetupState.ANY,
    (DataSetupState.ANY, DataSetupEvent.OTHER): DataSetupState.ANY,
    (DataSetupState.EPSV_ONLY, DataSetupEvent.EPSV_ALL): DataSetupState.EPSV_ONLY,
    (DataSetupState.EPSV_ONLY, DataSetupEvent.EPSV): DataSetupState.EPSV_ONLY,
    (DataSetupState.EPSV_ONLY, DataSetupEvent.OTHER): replies.EPSV_ONLY,
}
