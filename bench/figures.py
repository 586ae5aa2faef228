"""One measurement, and what several of the same kind come to. Pure but for `measure`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure import cpu_seconds, peak_rss_bytes, reset_peak, rss_bytes

__all__ = ["Figures", "Results", "best", "measure"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one system needed for one work. Times in seconds, memory in bytes.

    `units` is how much was done in the work's unit (operations or GiB).
    """

    cpu_s: float
    wall_s: float
    units: float
    operations: int
    rss_before: int
    rss_after: int
    """While the clients are still connected."""
    rss_peak: int
    latency_s: float
    """Median of the operations."""
    first_byte_s: float
    longest_stall_s: float
    failure: str
    """Why the work was not finished, "" if it was; the other figures mean little then."""

    @property
    def cpu_per_unit_s(self) -> float:
        """CPU time of an operation, or of a GiB."""
        return self.cpu_s / self.units

    @property
    def rss_added(self) -> int:
        """How far memory grew at the most."""
        return self.rss_peak - self.rss_before


Results = dict[str, dict[str, Figures]]
"""By work, then by system."""


def measure(pid: int, run: Callable[[], dict[str, Any]], unit_bytes: int) -> Figures:
    """Let clients do their work, and see what process `pid` has used meanwhile.

    `unit_bytes` is 0 when the unit is an operation.
    """
    reset_peak(pid)
    rss_before, cpu_before = rss_bytes(pid), cpu_seconds(pid)
    outcome = run()
    cpu_s = cpu_seconds(pid) - cpu_before
    operations = max(outcome["operations"], 1)
    return Figures(
        cpu_s=cpu_s,
        wall_s=outcome["wall_s"],
        units=max(outcome["bytes"], 1) / unit_bytes if unit_bytes else operations,
        operations=operations,
        rss_before=rss_before,
        rss_after=rss_bytes(pid),
        rss_peak=peak_rss_bytes(pid),
        latency_s=outcome["latencies_s_median"],
        first_byte_s=outcome["first_byte_s_median"],
        longest_stall_s=outcome["longest_stall_s"],
        failure=outcome["failure"],
    )


def best(rounds: Sequence[Figures]) -> Figures:
    """Return the least of each time, and of memory what the rounds reached together.

    What else runs on the machine can only add to a time, never take away from it.
    """
    first = rounds[0]
    return Figures(
        cpu_s=min(figures.cpu_s for figures in rounds),
        wall_s=min(figures.wall_s for figures in rounds),
        units=first.units,
        operations=first.operations,
        rss_before=first.rss_before,
        rss_after=rounds[-1].rss_after,
        rss_peak=max(figures.rss_peak for figures in rounds),
        latency_s=min(figures.latency_s for figures in rounds),
        first_byte_s=min(figures.first_byte_s for figures in rounds),
        longest_stall_s=max(figures.longest_stall_s for figures in rounds),
        failure=next((figures.failure for figures in rounds if figures.failure), ""),
    )
