"""Which files may not be resumed."""

from cos_ftp_server.vfs.broken_off import BrokenOff


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_forgotten_when_something_else_happens() -> None:
    broken_off = BrokenOff()
    broken_off.add("f")
    assert "f" in broken_off
    assert "g" not in broken_off
    broken_off.discard("f")
    broken_off.discard("f")
    assert "f" not in broken_off


def test_it_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    broken_off = BrokenOff(clock)
    broken_off.add("f")
    clock.now = 3599
    assert "f" in broken_off
    clock.now = 3600
    assert "f" not in broken_off


def test_there_are_never_many() -> None:
    broken_off = BrokenOff()
    for number in range(10_001):
        broken_off.add(f"f{number}")
    assert "f0" not in broken_off
    assert "f1" in broken_off
