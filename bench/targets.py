"""What the gateway is to reach: each a figure, a bound, and where the figure comes from. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Figures, Results

__all__ = ["TARGETS", "Target", "Verdict", "judge"]

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure; `is_floor` when the figure must not be below it."""

    text: str
    bound: float
    works: Sequence[str]
    figure: Callable[[Results], float]
    unit: str = "×"
    is_floor: bool = False
    other: str = ""
    """The system that is compared with."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a target was met."""

    target: Target
    value: float

    @property
    def is_met(self) -> bool:
        """Whether it was."""
        if self.target.is_floor:
            return self.value >= self.target.bound
        return self.value <= self.target.bound


def judge(results: Results) -> list[Verdict]:
    """Return the verdicts on all targets whose works were measured."""
    return [
        Verdict(target, _figure(target, results))
        for target in TARGETS
        if all(_is_comparable(results.get(work, {}), target) for work in target.works)
    ]


def _is_comparable(systems: Mapping[str, Figures], target: Target) -> bool:
    return "gateway" in systems and target.other in ("", *systems)


def _figure(target: Target, results: Results) -> float:
    """Return the figure, or one that meets no bound when the work was not even finished."""
    systems = [results[work]["gateway"] for work in target.works]
    return math.nan if any(figures.failure for figures in systems) else target.figure(results)


def _cpu_ratio(text: str, work: str, other: str, bound: float) -> Target:
    return Target(
        f"CPU of {text} against {other}",
        bound,
        (work,),
        lambda results: (
            results[work]["gateway"].cpu_per_unit_s / results[work][other].cpu_per_unit_s
        ),
        other=other,
    )


def _gateway(work: str, figure: Callable[[Figures], float]) -> Callable[[Results], float]:
    return lambda results: figure(results[work]["gateway"])


def _small(verb: str, kind: str, stock: float, rclone: float) -> list[Target]:
    """Return the targets for 4 KiB files, in each of the four works on them."""
    return [
        _cpu_ratio(f"4 KiB {verb}, {sessions} session(s), {latency}", work, other, bound)
        for other, bound in (("stock", stock), ("rclone", rclone))
        for sessions in (1, 32)
        for latency in ("0 ms", "20 ms")
        for work in [f"{kind}-4k-{sessions}-{latency.replace(' ', '')}"]
    ]


def _files_per_second(figures: Figures) -> float:
    return figures.operations / figures.wall_s


def _mib_per_second(figures: Figures) -> float:
    return figures.units * 1024 / figures.wall_s


TARGETS: Sequence[Target] = (
    *_small("STOR", "store", 1 / 6, 1 / 3),
    *_small("RETR", "retrieve", 1 / 7, 2 / 3),
    _cpu_ratio("1 GiB STOR", "store-1g", "floor", 1.5),
    _cpu_ratio("1 GiB RETR", "retrieve-1g", "floor", 1.5),
    Target(
        "files per second of 100 sessions at 20 ms, against stock",
        50,
        ("store-4k-100-20ms",),
        lambda results: (
            _files_per_second(results["store-4k-100-20ms"]["gateway"])
            / _files_per_second(results["store-4k-100-20ms"]["stock"])
        ),
        is_floor=True,
        other="stock",
    ),
    Target(
        "4 KiB STOR of one session in store round trips of 20 ms",
        1.3,
        ("store-4k-1-20ms",),
        _gateway("store-4k-1-20ms", lambda figures: figures.latency_s / 0.020),
        unit="round trips",
    ),
    Target(
        "1 GiB RETR from a store of 50 MiB/s for each connection",
        200,
        ("retrieve-1g-50mib",),
        _gateway("retrieve-1g-50mib", _mib_per_second),
        unit="MiB/s",
        is_floor=True,
    ),
    Target(
        "1 GiB STOR to a store of 50 MiB/s for each connection",
        200,
        ("store-1g-50mib",),
        _gateway("store-1g-50mib", _mib_per_second),
        unit="MiB/s",
        is_floor=True,
    ),
    Target(
        "memory of 500 uploads at once, beyond the buffers' 256 MiB",
        100,
        ("store-500",),
        _gateway("store-500", lambda figures: figures.rss_peak / MIB - 256),
        unit="MiB",
    ),
    Target(
        "longest time without progress of any of 500 uploads at once",
        10,
        ("store-500",),
        _gateway("store-500", lambda figures: figures.longest_stall_s),
        unit="s",
    ),
    Target(
        "time to the first byte of a LIST of 100 pages, in hundredths of the whole",
        2,
        ("list-100000",),
        _gateway("list-100000", lambda figures: figures.first_byte_s / figures.wall_s * 100),
        unit="pages",
    ),
    Target(
        "memory added by a LIST of 100,000 entries",
        20,
        ("list-100000",),
        _gateway("list-100000", lambda figures: figures.rss_added / MIB),
        unit="MiB",
    ),
    Target(
        "memory of an idle session, of 2,000",
        30,
        ("idle-2000",),
        _gateway(
            "idle-2000", lambda figures: (figures.rss_after - figures.rss_before) / 2000 / 1024
        ),
        unit="KiB",
    ),
    Target(
        "CPU of a log-in with a plain password",
        0.5,
        ("login",),
        _gateway("login", lambda figures: figures.cpu_per_unit_s * 1000),
        unit="ms",
    ),
)
