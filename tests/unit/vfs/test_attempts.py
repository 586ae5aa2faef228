"""Which files may not be resumed."""

from cos_ftp_server.vfs.attempts import Attempts
from tests.doubles.clock import Clock


def test_what_broke_off_is_forgotten_when_something_else_happens() -> None:
    attempts = Attempts()
    attempts.break_off(attempts.begin("f", is_whole=True))
    assert attempts.has_broken_off("f")
    assert not attempts.has_broken_off("g")
    attempts.settle("f")
    assert not attempts.has_broken_off("f")


def test_one_that_was_overtaken_does_not_count() -> None:
    attempts = Attempts()
    late = attempts.begin("f", is_whole=True)
    assert attempts.is_whole_under_way("f")
    attempts.settle("f")
    assert late.is_overtaken
    assert not attempts.is_whole_under_way("f")
    attempts.break_off(late)
    assert not attempts.has_broken_off("f")


def test_its_client_may_try_again_whatever_others_have_stored_there() -> None:
    attempts = Attempts()
    first, late = (attempts.begin("f", is_whole=True) for _ in range(2))
    attempts.break_off(first)
    attempts.settle("f")
    assert attempts.is_interrupted("f")
    attempts.break_off(late)
    assert attempts.is_interrupted("f")
    assert not attempts.has_broken_off("f")


def test_one_that_ends_well_is_no_attempt() -> None:
    attempts = Attempts()
    attempts.end(attempts.begin("f", is_whole=False))
    assert not attempts.is_interrupted("f")


def test_each_of_several_is_under_way() -> None:
    attempts = Attempts()
    first, second = attempts.begin("f", is_whole=True), attempts.begin("f", is_whole=True)
    attempts.break_off(first)
    assert attempts.is_whole_under_way("f")
    attempts.break_off(second)
    assert not attempts.is_whole_under_way("f")
    assert attempts.has_broken_off("f")


def test_what_broke_off_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    attempts.break_off(attempts.begin("f", is_whole=True))
    clock.now = 3599
    assert attempts.has_broken_off("f")
    clock.now = 3600
    assert not attempts.has_broken_off("f")


def test_a_client_may_be_trying_again_for_an_hour() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    assert not attempts.is_interrupted("f")
    first = attempts.begin("f", is_whole=True)
    assert attempts.is_interrupted("f")
    attempts.break_off(first)
    clock.now = 3599
    assert attempts.is_interrupted("f")
    clock.now = 3600
    assert not attempts.is_interrupted("f")


def test_what_came_behind_a_part_may_come_again() -> None:
    attempts = Attempts()
    resumed = attempts.begin("f", is_whole=False)
    assert not attempts.is_whole_under_way("f")
    attempts.break_off(resumed)
    assert attempts.is_interrupted("f")
    assert not attempts.has_broken_off("f")


def test_a_whole_file_that_broke_off_counts_whatever_follows() -> None:
    attempts = Attempts()
    attempts.break_off(attempts.begin("f", is_whole=True))
    attempts.break_off(attempts.begin("f", is_whole=False))
    assert attempts.has_broken_off("f")


def test_there_are_never_many() -> None:
    attempts = Attempts()
    for number in range(10_001):
        attempts.break_off(attempts.begin(f"f{number}", is_whole=True))
    assert not attempts.has_broken_off("f0")
    assert attempts.has_broken_off("f1")


class Written:
    """A journal to be read."""

    def __init__(self) -> None:
        self.written: list[tuple[object, ...]] = []

    def note_begin(self) -> None:
        self.written.append(())

    def note_change(self, key: str, *, is_whole: bool) -> None:
        self.written.append((key, is_whole))


def test_each_change_is_written_down() -> None:
    journal = Written()
    attempts = Attempts(journal=journal)
    attempts.break_off(attempts.begin("f", is_whole=True))
    attempts.settle("f")
    attempts.settle("f")
    attempts.settle("other")
    attempts.break_off(attempts.begin("g", is_whole=False))
    assert journal.written == [(), ("f", True), ("f", False), (), ("g", False)]


def test_what_was_written_down_ages_on() -> None:
    clock = Clock(10_000.0)
    attempts = Attempts(clock)
    attempts.recall("f", is_whole=True, seconds_ago=3000.0)
    attempts.recall("from the future", is_whole=True, seconds_ago=-3000.0)
    assert attempts.has_broken_off("f")
    clock.now += 700.0
    assert not attempts.has_broken_off("f")
    assert attempts.has_broken_off("from the future")
    clock.now += 3000.0
    assert not attempts.has_broken_off("from the future")


def test_any_may_have_broken_off_for_an_hour() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    assert not attempts.is_interrupted("f")
    attempts.suspect_all()
    assert attempts.is_interrupted("f")
    assert not attempts.has_broken_off("f")
    clock.now += 3601.0
    assert not attempts.is_interrupted("f")
