"""The plot of docs/performance.md: CPU of each system, as a multiple of this gateway's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench.figures import Figures, Results
from bench.works import WORKS

__all__ = ["draw"]

_SYSTEMS = {
    "floor": ("bare relay", "#b8b8b8"),
    "gateway": ("this gateway", "#0b6bcb"),
    "rclone": ("rclone serve ftp", "#e0a100"),
    "stock": ("pyftpdlib + official SDK", "#c0392b"),
}
_LEFT_OUT = ("idle-2000", "store-500")
_BAR = 0.8 / len(_SYSTEMS)


def draw(results: Results, path: Path) -> None:
    """Write the plot of all works that were measured with others."""
    works = [
        work
        for work in WORKS
        if "gateway" in results.get(work.name, {}) and work.name not in _LEFT_OUT
    ]
    figure = Figure(figsize=(9, 0.62 * len(works) + 1.2), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    for index, (system, (label, color)) in enumerate(_SYSTEMS.items()):
        places, lengths = _bars([results[work.name] for work in works], system, index)
        bars = axes.barh(places, lengths, _BAR * 0.92, label=label, color=color)
        if system != "gateway":  # always 1
            axes.bar_label(bars, fmt="%.2g", padding=3, fontsize=7, color="#404040")
    axes.set_yticks(range(len(works)), [work.title for work in works], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xscale("log")
    axes.axvline(1, color="#0b6bcb", linewidth=0.8)
    axes.set_xlabel("CPU time of the gateway process for the same work, this gateway = 1 (log)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.35, 1.0), ncols=4, frameon=False, fontsize=8)
    figure.savefig(path)


def _bars(
    works: Sequence[Mapping[str, Figures]], system: str, index: int
) -> tuple[list[float], list[float]]:
    places, lengths = [], []
    for place, systems in enumerate(works):
        if system in systems:
            places.append(place + (index - (len(_SYSTEMS) - 1) / 2) * _BAR)
            lengths.append(systems[system].cpu_per_unit_s / systems["gateway"].cpu_per_unit_s)
    return places, lengths
