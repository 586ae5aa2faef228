"""How large each part of a multipart upload is, when nobody knows how long the file will be."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

__all__ = ["PartLadder"]

_RAMP_TARGET = 8 * 1024 * 1024
"""Bytes. From here on a part costs little more than its bytes: measured, a request costs the
gateway about 0.1 ms of CPU, 8 MiB of data about 5 ms."""

_RAMP_STEP = 8
"""Parts before the size doubles while it is still below the ramp's target."""


_index = attrgetter("index")


@dataclass(frozen=True, slots=True)
class _Run:
    """Parts of one `size` from `index` on, counted from 0; those in front hold `before` bytes."""

    index: int
    size: int
    before: int


@dataclass(frozen=True)
class PartLadder:
    """Part sizes that start at `first` bytes and grow fast enough for `max_file` bytes.

    Sizes double every 8 parts up to 8 MiB, which costs an upload of unknown length little
    memory, and then every so many parts that `max_parts` of them hold the largest file, and half
    of what they could hold beyond it, at most as much again: parts that end early, because
    others wait for memory, need that room.

    >>> ladder = PartLadder(first=1 << 20, max_file=200 << 30)
    >>> ladder.size(1), ladder.size(9), ladder.size(25), ladder.capacity_after(0) >= 200 << 30
    (1048576, 2097152, 8388608, True)
    """

    first: int
    max_file: int
    max_parts: int = 10_000
    max_part: int = 5 * 1024**3

    @cached_property
    def _capacity_after_first(self) -> int:
        return self.capacity_after(1)

    def size(self, number: int) -> int:
        """Return the planned bytes of part `number`, counted from 1."""
        if number == 1:  # all that a small file asks for
            return self.first
        return self._run_at(number - 1).size

    def capacity_after(self, number: int) -> int:
        """Return how many bytes the parts behind part `number` can hold."""
        run = self._run_at(number)
        taken = run.before + run.size * (number - run.index)
        return max(0, self._runs[-1].before - taken)

    def may_end_early(self, number: int, end: int) -> bool:
        """Whether part `number` may stop at file offset `end` and the largest file still fit."""
        capacity = self._capacity_after_first if number == 1 else self.capacity_after(number)
        return capacity >= self.max_file - end

    def _run_at(self, index: int) -> _Run:
        return self._runs[bisect_right(self._runs, index, key=_index) - 1]

    @cached_property
    def _runs(self) -> list[_Run]:
        """The slowest growth that holds enough; worked out once, as every upload asks."""
        spare = (self._growth(1)[-1].before - self.max_file) // 2
        enough = self.max_file + min(max(spare, 0), self.max_file)
        slow, fast = self.max_parts, 1
        while slow > fast:
            middle = (slow + fast + 1) // 2
            if self._growth(middle)[-1].before >= enough:
                fast = middle
            else:
                slow = middle - 1
        return self._growth(fast)

    def _growth(self, step: int) -> list[_Run]:
        """Return sizes that double every `step` parts; the last run is behind all parts."""
        runs = []
        index = before = 0
        while index < self.max_parts:
            size = self._size(index, step)
            runs.append(_Run(index, size, before))
            end = self.max_parts
            if size < self.max_part:
                end = min(end, index + step - index % step)
            if size < _RAMP_TARGET:
                end = min(end, index + _RAMP_STEP - index % _RAMP_STEP)
            before += size * (end - index)
            index = end
        return [*runs, _Run(index, self._size(index, step), before)]

    def _size(self, index: int, step: int) -> int:
        ramp = min(self.first << min(index // _RAMP_STEP, 40), max(_RAMP_TARGET, self.first))
        growth = self.first << min(index // step, 40)
        return min(max(ramp, growth), self.max_part)
