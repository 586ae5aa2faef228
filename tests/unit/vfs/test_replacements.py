"""Which files may not be resumed."""

from cos_ftp_server.vfs.replacements import Replacements


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_broke_off_is_forgotten_when_something_else_happens() -> None:
    replacements = Replacements()
    replacements.break_off(replacements.begin("f"), is_begun=True)
    assert replacements.has_broken_off("f")
    assert not replacements.has_broken_off("g")
    replacements.settle("f")
    assert not replacements.has_broken_off("f")


def test_one_that_was_overtaken_does_not_count() -> None:
    replacements = Replacements()
    late = replacements.begin("f")
    assert replacements.is_under_way("f")
    replacements.settle("f")
    assert late.is_overtaken
    assert not replacements.is_under_way("f")
    replacements.break_off(late, is_begun=True)
    assert not replacements.has_broken_off("f")


def test_each_of_several_is_under_way() -> None:
    replacements = Replacements()
    first, second = replacements.begin("f"), replacements.begin("f")
    replacements.break_off(first, is_begun=False)
    assert replacements.is_under_way("f")
    assert not replacements.has_broken_off("f")
    replacements.break_off(second, is_begun=True)
    assert not replacements.is_under_way("f")
    assert replacements.has_broken_off("f")


def test_what_broke_off_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    replacements = Replacements(clock)
    replacements.break_off(replacements.begin("f"), is_begun=True)
    clock.now = 3599
    assert replacements.has_broken_off("f")
    clock.now = 3600
    assert not replacements.has_broken_off("f")


def test_a_client_may_be_trying_again_for_two_minutes() -> None:
    clock = Clock()
    replacements = Replacements(clock)
    assert not replacements.is_interrupted("f")
    first = replacements.begin("f")
    assert replacements.is_interrupted("f")
    replacements.break_off(first, is_begun=True)
    clock.now = 119
    assert replacements.is_interrupted("f")
    clock.now = 120
    assert not replacements.is_interrupted("f")


def test_there_are_never_many() -> None:
    replacements = Replacements()
    for number in range(10_001):
        replacements.break_off(replacements.begin(f"f{number}"), is_begun=True)
    assert not replacements.has_broken_off("f0")
    assert replacements.has_broken_off("f1")
