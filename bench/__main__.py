"""`python -m bench`: measures, prints the tables, and writes JSON.

Everything runs on loopback, in processes that end with this one. `make bench` is the same with all
that it needs installed.
"""

import json
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from bench.figures import Figures, Results, best, measure
from bench.machine import this_machine
from bench.publish import publish
from bench.report import Machines, read_results, report_text, results_json
from bench.systems import SYSTEMS, running_load, running_store
from bench.targets import judge
from bench.works import WORKS, Work

_RESULTS = Path(__file__).parent / "results"


def _do(work: Work, systems: Sequence[str], directory: Path) -> dict[str, Figures]:
    """Return what each system needed for a work; they are started for it, and take turns."""
    rounds: dict[str, list[Figures]] = {system: [] for system in systems}
    with ExitStack() as running:
        store = running.enter_context(running_store(directory))
        store.set(latency_ms=work.latency_ms, rate=work.rate)
        if work.order.kind == "list":
            store.set(warm=work.order.size)
        under_test = {
            system: running.enter_context(SYSTEMS[system](directory, store)) for system in systems
        }
        for number in range(work.rounds):
            for system, process in under_test.items():
                store.set(forget=1)
                order = replace(work.order, label=f"{system}-{number}")
                with running_load(directory, process.account, order) as load:
                    unit_bytes = work.unit.amount if work.unit.is_bytes else 0
                    rounds[system].append(measure(process.pid, load.run, unit_bytes))
    return {system: best(figures) for system, figures in rounds.items()}


def _published() -> tuple[Machines, Results]:
    """Return the figures of docs/performance.md: those of works that are not done again stay."""
    target = _RESULTS / "latest.json"
    return read_results(json.loads(target.read_text())) if target.exists() else ({}, {})


@click.command()
@click.option("--only", multiple=True, metavar="TEXT", help="Works whose name contains TEXT.")
@click.option("--system", multiple=True, type=click.Choice(list(SYSTEMS)), help="Only these.")
@click.option("--rounds", type=click.IntRange(1), help="Instead of the works' own.")
@click.option("--quick", is_flag=True, help="Less of everything, once: a first impression.")
@click.option("--publish", "is_published", is_flag=True, help="Write docs/performance.md as well.")
def main(
    only: Sequence[str],
    system: Sequence[str],
    rounds: int | None,
    quick: bool,
    is_published: bool,
) -> None:
    """Measure what transfers cost this gateway and others."""
    if quick and is_published:
        raise click.UsageError("--quick measures shorter works, which are not for --publish")
    works = [work for work in WORKS if not only or any(text in work.name for text in only)]
    if not works:
        names = ", ".join(work.name for work in WORKS)
        raise click.UsageError(f"--only fits no work; there are {names}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    machine = this_machine()
    machines: Machines = {}
    results: Results = {}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for work in works:
            chosen = work.quick() if quick else work
            chosen = replace(chosen, rounds=rounds or chosen.rounds)
            systems = [name for name in work.systems if not system or name in system]
            if systems:
                click.echo(f"{time.monotonic() - begin:5.0f} s  {work.title}", err=True)
                results[work.name] = _do(chosen, systems, Path(directory))
                machines[work.name] = machine
    if is_published:
        kept_machines, kept_results = _published()
        machines, results = {**kept_machines, **machines}, {**kept_results, **results}
    verdicts = [] if quick else judge(results)  # the targets are for whole works
    click.echo(report_text(results, verdicts))
    report = results_json(machines, results, verdicts)
    _RESULTS.mkdir(exist_ok=True)
    name = "latest" if is_published else time.strftime("%Y%m%d-%H%M%S")
    target = _RESULTS / f"{name}.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    click.echo(f"\nwritten: {target}", err=True)
    if is_published:
        publish(machines, results, verdicts)


if __name__ == "__main__":
    main()
