"""What a process has used, as the kernel tells: CPU time and memory. Linux only (proc(5))."""

import time
from pathlib import Path

__all__ = ["cpu_seconds", "peak_rss_bytes", "reset_peak", "rss_bytes"]


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads of a process, those that have ended included.

    This is the process's CPU-time clock (clock_getcpuclockid(3), whose encoding of the id is
    part of the kernel's interface): the sum of utime and stime in /proc/PID/stat, but in
    nanoseconds instead of ticks of 10 ms.
    """
    cpuclock_sched = 2
    return time.clock_gettime((~pid << 3) | cpuclock_sched)


def rss_bytes(pid: int) -> int:
    """Return the resident memory."""
    return _status(pid, "VmRSS")


def peak_rss_bytes(pid: int) -> int:
    """Return the most resident memory since `reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Let the peak begin anew from what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise ValueError(f"no {name} in the status of process {pid}")
