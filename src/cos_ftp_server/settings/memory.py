"""How much memory settings can need, and how much there is.

Owns both numbers and where they come from. It must not know files of settings.

Measured on Linux x86-64, CPython 3.11, as resident memory. A server with 100 downloads and then 100
uploads over plain HTTP had 104 MiB with 32 MiB of `buffer_memory`, and 277 MiB with 256 MiB. What
the formula has beyond that is for TLS, which was measured one connection at a time.
"""

from dataclasses import dataclass
from pathlib import Path

from cos_ftp_server.settings.model import COS_MAX_PART, COS_MAX_PARTS, COS_MIN_PART, MIB

__all__ = ["MEMORY_SHARE", "Need", "available_memory", "largest_file", "largest_part"]

_PARTS_IN_MEMORY = 8
"""Parts that `buffer_memory` must hold at least: a part is in memory as a whole until it is stored,
and several uploads must get on."""

MEMORY_SHARE = 0.6
"""Share of the free memory that settings may ask for (`config_check_enable`)."""

_BASE = 64 * MIB
"""The program with its libraries: 53 MiB, and room for two password hashes at a time."""

_CONNECTION = 8 * 1024
"""A connection that is idle: 4 to 6 KiB."""

_TRANSFER = 3 * MIB // 2
"""A transfer that stands still, beside `buffer_memory`: with TLS to the store 0.9 MiB of a download
lie in the buffers of its connections, and 1.4 MiB of an upload; without TLS 0.3 MiB."""

_BUFFER_PARTS = 9, 8
"""What it holds is carried by more connections than one for each transfer: with TLS 0.6 MiB for
each 8 MiB read ahead, in half of it, and 1.4 MiB for each part on its way, 16 by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What the memory depends on; 0 connections or logins means that there is no limit."""

    buffer_memory: int
    connections: int
    logins: int

    @property
    def bytes(self) -> int:
        """How many bytes that is. What has no limit of its own is bounded by the other one."""
        return self._fixed + self.buffer_memory * _BUFFER_PARTS[0] // _BUFFER_PARTS[1]

    def largest_buffer(self, limit: int) -> int:
        """Return the largest `buffer_memory` with which `limit` bytes suffice; may be negative."""
        return (limit - self._fixed) * _BUFFER_PARTS[1] // _BUFFER_PARTS[0]

    @property
    def _fixed(self) -> int:
        bounds = [bound for bound in (self.connections, self.logins) if bound]
        transfers = min(bounds, default=0)
        return _BASE + self.connections * _CONNECTION + transfers * _TRANSFER


def largest_part(buffer_memory: int) -> int:
    """Return how many bytes a part may have."""
    return max(COS_MIN_PART, min(COS_MAX_PART, buffer_memory // _PARTS_IN_MEMORY))


def largest_file(buffer_memory: int) -> int:
    """Return how many bytes a file may have. All but the first few parts can be of the largest."""
    return largest_part(buffer_memory) * (COS_MAX_PARTS - COS_MAX_PARTS // 100)


def available_memory(
    proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the bytes that can be had without swapping, None where the system does not say.

    That is MemAvailable (proc(5)), or the limit of a control group that this process is in
    (cgroups(7), version 1 or 2) if that is less.
    """
    found = _cgroup_limits(proc, cgroups)
    for line in _lines(proc / "meminfo"):
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            found.append(int(amount.split()[0]) * 1024)
    return min(found, default=None)


def _cgroup_limits(proc: Path, cgroups: Path) -> list[int]:
    found = []
    for line in _lines(proc / "self" / "cgroup"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if hierarchy == "0":
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = root / group.strip("/")
        # In a container the names may be those outside of it, and only the root is there.
        for directory in (inner, *inner.parents):
            found += [int(limit) for limit in _lines(directory / name) if limit.isdecimal()]
            if directory == root:
                break
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
