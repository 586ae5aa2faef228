"""Learning the store's time from its refusals."""

import pytest

from cos_ftp_server.cos.clock import StoreClock

NOON = 1605268800.0
DATE = "Fri, 13 Nov 2020 12:00:00 GMT"


@pytest.mark.parametrize(
    ("ahead", "code", "message", "corrected"),
    [
        (3600, "RequestTimeTooSkewed", "", True),
        (5, "RequestTimeTooSkewed", "", True),
        (-5, "AccessDenied", "Request has expired", True),
        (0, "AccessDenied", "Request has expired", False),
        (-31, "", "", True),
        (29, "", "", False),
        (29, "AccessDenied", "Access Denied.", False),
    ],
)
def test_correct(ahead: float, code: str, message: str, corrected: bool) -> None:
    clock = StoreClock(lambda: NOON - ahead)
    assert clock.correct(0, code, message, DATE) is corrected
    assert clock.offset_s == (ahead if corrected else 0)
    assert clock.now() == (NOON if corrected else NOON - ahead)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_date_nothing_is_learnt(date: str) -> None:
    assert not StoreClock().correct(0, "RequestTimeTooSkewed", "", date)


def test_a_request_signed_before_the_correction_gets_its_second_try_too() -> None:
    clock = StoreClock(lambda: NOON - 1000)
    assert clock.correct(0, "", "", DATE)
    assert clock.correct(0, "", "", DATE)
    assert not clock.correct(clock.offset_s, "", "", DATE)
    assert clock.offset_s == 1000
