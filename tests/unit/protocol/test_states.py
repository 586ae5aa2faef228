"""The state tables: total, closed, and what they refuse changes nothing."""

import enum
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.protocol.states import (
    DATA_SETUP,
    LOGIN,
    DataSetupEvent,
    DataSetupState,
    LoginEvent,
    LoginState,
    StateMachine,
)

TABLES: list[tuple[Mapping[Any, Any], type[enum.Enum], type[enum.Enum]]] = [
    (LOGIN, LoginState, LoginEvent),
    (DATA_SETUP, DataSetupState, DataSetupEvent),
]


@pytest.mark.parametrize(("table", "states", "events"), TABLES)
def test_a_table_is_total(
    table: Mapping[Any, Any], states: type[enum.Enum], events: type[enum.Enum]
) -> None:
    assert set(table) == {(state, event) for state in states for event in events}
    for target in table.values():
        if isinstance(target, Reply):
            assert target.code == replies.RNFR_FIRST.code
        else:
            assert target in states


@pytest.mark.parametrize(("table", "states", "events"), TABLES)
def test_a_refused_event_changes_nothing(
    table: Mapping[Any, Any], states: type[enum.Enum], events: type[enum.Enum]
) -> None:
    for (state, event), target in table.items():
        machine = StateMachine(table, state)
        if isinstance(target, Reply):
            with pytest.raises(ProtocolError) as caught:
                machine.fire(event)
            assert caught.value.reply is target
            assert machine.state is state
        else:
            assert machine.check(event) is target
            assert machine.state is state
            machine.fire(event)
            assert machine.state is target


@given(st.lists(st.sampled_from(LoginEvent)))
def test_nobody_is_logged_in_but_by_a_password_right_after_a_user(events: list[LoginEvent]) -> None:
    machine = StateMachine(LOGIN, LoginState.CONNECTED)
    for event in events:
        before = machine.state
        try:
            machine.fire(event)
        except ProtocolError:
            continue
        if machine.state is LoginState.LOGGED_IN:
            assert (before, event) == (LoginState.USER_GIVEN, LoginEvent.ACCEPTED)
