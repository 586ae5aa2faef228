"""Results as JSON and as Markdown tables, which read well in a terminal too. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import Figures, Results
from bench.machine import Machine
from bench.targets import Verdict
from bench.works import WORKS, Work

__all__ = [
    "Machines",
    "machines_text",
    "read_results",
    "report_text",
    "results_json",
    "results_table",
    "verdicts_table",
]

MIB = 1024**2
_COLUMNS = ("gateway", "stock", "rclone", "floor")

Machines = dict[str, Machine]
"""By work: where and when it was measured."""


def results_json(
    machines: Machines, results: Results, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """Return everything as JSON's values."""
    return {
        "works": {
            work: {
                "machine": asdict(machines[work]),
                "systems": {system: asdict(figures) for system, figures in systems.items()},
            }
            for work, systems in results.items()
        },
        "targets": [
            {
                "text": verdict.target.text,
                "value": None if math.isnan(verdict.value) else verdict.value,
                "bound": verdict.target.bound,
                "at_least": verdict.target.is_floor,
                "unit": verdict.target.unit,
                "met": verdict.is_met,
            }
            for verdict in verdicts
        ],
    }


def read_results(report: Mapping[str, Any]) -> tuple[Machines, Results]:
    """Return what `results_json` was made of."""
    works = report["works"]
    machines = {work: Machine(**measured["machine"]) for work, measured in works.items()}
    results = {
        work: {system: Figures(**figures) for system, figures in measured["systems"].items()}
        for work, measured in works.items()
    }
    return machines, results


def machines_text(machines: Machines) -> str:
    """Return where and when the works were measured; which ones, unless all were in one place."""
    titles: dict[str, list[str]] = {}
    for work in WORKS:
        if work.name in machines:
            titles.setdefault(str(machines[work.name]), []).append(work.title)
    if len(titles) == 1:
        return f"Measured on {next(iter(titles))}."
    return "\n".join(f"- Measured on {told}: {'; '.join(names)}." for told, names in titles.items())


def report_text(results: Results, verdicts: Sequence[Verdict]) -> str:
    """Return the table of all works, and that of the targets, where any were judged."""
    tables = [results_table(results)]
    if verdicts:
        tables.append(verdicts_table(verdicts))
    return "\n\n".join(tables)


def results_table(results: Results) -> str:
    """Return CPU, wall time and memory of all works, with the gateway's CPU as a ratio."""
    rows: list[tuple[str, ...]] = [
        ("work", "system", "CPU", "gateway's CPU is", "wall", "speed", "peak memory"),
        ("---", "---", "---:", "---:", "---:", "---:", "---:"),
    ]
    for work in WORKS:
        systems = results.get(work.name, {})
        for system in _COLUMNS:
            if system in systems:
                title = work.title if system == "gateway" else ""
                rows.append((title, *_cells(work, system, systems)))
    failures = [
        f"Failed: {work.title}, {system}: {figures.failure}."
        for work in WORKS
        for system, figures in results.get(work.name, {}).items()
        if figures.failure
    ]
    return "\n".join([_align(rows), *(f"\n{line}" for line in failures)])


def _cells(work: Work, system: str, systems: Mapping[str, Figures]) -> tuple[str, ...]:
    figures, own = systems[system], systems.get("gateway")
    ratio = ""
    if own is not None and system != "gateway":
        ratio = f"{own.cpu_per_unit_s / figures.cpu_per_unit_s:.2f} ×"
    if work.unit.is_bytes:
        cpu = f"{figures.cpu_per_unit_s:.2f} s/GiB"
        speed = f"{figures.units * 1024 / figures.wall_s:,.0f} MiB/s"
    else:
        cpu = _duration(figures.cpu_per_unit_s)
        speed = f"{figures.operations / figures.wall_s:,.0f} /s"
    wall = f"{figures.wall_s:.2f} s"
    if figures.failure:
        cpu, ratio, speed = "", "", "failed"
    return system, cpu, ratio, wall, speed, f"{figures.rss_peak / MIB:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 0.01 else f"{seconds * 1e6:,.0f} µs"


def verdicts_table(verdicts: Sequence[Verdict]) -> str:
    """Return the targets, each with its figure and whether it was met."""
    rows: list[tuple[str, ...]] = [
        ("target", "bound", "measured", ""),
        ("---", "---:", "---:", "---"),
    ]
    for verdict in verdicts:
        target = verdict.target
        sign = "≥" if target.is_floor else "≤"
        rows.append(
            (
                target.text,
                f"{sign} {target.bound:.3g} {target.unit}",
                "—" if math.isnan(verdict.value) else f"{verdict.value:.3g} {target.unit}",
                "met" if verdict.is_met else "**missed**",
            )
        )
    return _align(rows)


def _align(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for text, width, rule in zip(row, widths, rows[1], strict=True):
            if row is rows[1]:
                cells.append("-" * (width - 1) + (":" if rule.endswith(":") else "-"))
            else:
                cells.append(text.rjust(width) if rule.endswith(":") else text.ljust(width))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
