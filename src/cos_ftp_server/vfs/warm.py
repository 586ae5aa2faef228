"""Memory that was in use a moment ago, kept for whoever needs as much next.

Owns mappings that nobody uses, and how much of each is resident: to fill a page that was touched
before costs next to nothing, a fresh one a fault (0.4 s of CPU per GiB). They are mapped and not on
the heap, so that they can be given back to the system one by one. It must not know who needs
memory, nor how much there may be.
"""

import mmap
from collections import deque

__all__ = ["WarmMemory"]


class WarmMemory:
    """Mappings by size, the one that was used last on top; `bytes` of them are resident."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stacks: dict[int, deque[tuple[mmap.mmap, int]]] = {}

    def take(self, size: int, most: int) -> tuple[mmap.mmap, int]:
        """Return `size` bytes and how many of them are resident, which are not above `most`."""
        stack = self._stacks.get(size)
        if stack and stack[-1][1] <= most:
            self.bytes -= stack[-1][1]
            return stack.pop()
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), 0

    def keep(self, memory: mmap.mmap, resident: int) -> None:
        """Take memory back of which `resident` bytes may have been touched."""
        self._stacks.setdefault(len(memory), deque()).append((memory, resident))
        self.bytes += resident

    def cool_down(self, most: int) -> None:
        """Unmap until at most `most` bytes are resident: the largest first, and of those the one
        that has not been used for longest.
        """
        while self.bytes > most:
            stack = self._stacks[max(size for size, kept in self._stacks.items() if kept)]
            self.bytes -= stack.popleft()[1]
