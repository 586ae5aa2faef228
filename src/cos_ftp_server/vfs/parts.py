"""How large each part of a multipart upload is, when nobody knows how long the file will be."""

from dataclasses import dataclass
from functools import cached_property

__all__ = ["PartLadder"]

_RAMP_TARGET = 8 * 1024 * 1024
"""Bytes. From here on a part costs little more than its bytes: measured, a request costs the
gateway about 0.1 ms of CPU, 8 MiB of data about 5 ms."""

_RAMP_STEP = 8
"""Parts before the size doubles while it is still below the ramp's target."""


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

    def size(self, number: int) -> int:
        """Return the planned bytes of part `number`, counted from 1."""
        return self._size(number - 1, self._step)

    def capacity_after(self, number: int) -> int:
        """Return how many bytes the parts behind part `number` can hold."""
        return self._capacity(number, self._step)

    def may_end_early(self, number: int, end: int) -> bool:
        """Whether part `number` may stop at file offset `end` and the largest file still fit."""
        return self.capacity_after(number) >= self.max_file - end

    @cached_property
    def _step(self) -> int:
        """Parts before the size doubles: the slowest growth that holds enough."""
        spare = (self._capacity(0, 1) - self.max_file) // 2
        enough = self.max_file + min(max(spare, 0), self.max_file)
        slow, fast = self.max_parts, 1
        while slow > fast:
            middle = (slow + fast + 1) // 2
            if self._capacity(0, middle) >= enough:
                fast = middle
            else:
                slow = middle - 1
        return fast

    def _size(self, index: int, step: int) -> int:
        ramp = min(self.first << min(index // _RAMP_STEP, 40), max(_RAMP_TARGET, self.first))
        growth = self.first << min(index // step, 40)
        return min(max(ramp, growth), self.max_part)

    def _capacity(self, index: int, step: int) -> int:
        """Return the bytes of all parts from `index` on, a run of equal ones at a time."""
        total = 0
        while index < self.max_parts:
            size = self._size(index, step)
            end = self.max_parts
            if size < self.max_part:
                end = min(end, index + step - index % step)
            if size < _RAMP_TARGET:
                end = min(end, index + _RAMP_STEP - index % _RAMP_STEP)
            total += size * (end - index)
            index = end
        return total
