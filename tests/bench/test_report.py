"""Figures become ratios, tables and verdicts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.figures import Figures, best
from bench.machine import Machine, kernel_series
from bench.report import (
    machines_text,
    read_results,
    results_json,
    results_table,
    verdicts_table,
)
from bench.targets import TARGETS, judge
from bench.works import WORKS, Work

MIB = 1024**2
FIGURES = Figures(
    cpu_s=1.0,
    wall_s=2.0,
    units=1.0,
    operations=1,
    rss_before=50 * MIB,
    rss_after=51 * MIB,
    rss_peak=60 * MIB,
    latency_s=0.02,
    first_byte_s=0.01,
    longest_stall_s=0.0,
    failure="",
)
MACHINE = Machine("2026-05-04", "some CPU", 2, "6.1", "3.11.7", {"aiohttp": "3.14.5"})


def test_the_least_time_and_the_most_memory_count() -> None:
    disturbed = replace(FIGURES, cpu_s=3.0, rss_peak=70 * MIB)
    assert best([disturbed, FIGURES]) == replace(FIGURES, rss_peak=70 * MIB)


def test_a_target_is_met_or_missed() -> None:
    for cpu_s, is_met in ((1.5, True), (1.6, False)):
        results = {"store-1g": {"gateway": replace(FIGURES, cpu_s=cpu_s), "floor": FIGURES}}
        (verdict,) = judge(results)
        assert verdict.value == cpu_s
        assert verdict.is_met is is_met
        assert ("**missed**" in verdicts_table([verdict])) is not is_met


def test_what_was_not_finished_meets_no_target() -> None:
    failed = replace(FIGURES, failure="connection lost")
    results = {"store-1g-50mib": {"gateway": failed}}
    verdicts = judge(results)
    assert [verdict.is_met for verdict in verdicts] == [False]
    table = results_table(results)
    assert "connection lost" in table
    report = results_json(dict.fromkeys(results, MACHINE), results, verdicts)
    assert json.loads(json.dumps(report, allow_nan=False))["targets"][0]["value"] is None


def test_every_target_has_its_work() -> None:
    names = [work.name for work in WORKS]
    assert len(names) == len(set(names))
    assert {name for target in TARGETS for name in target.works} <= set(names)
    everything = {work.name: dict.fromkeys(work.quick().systems, FIGURES) for work in WORKS}
    assert len(judge(everything)) == len(TARGETS)
    rows = results_table(everything).splitlines()
    assert len({len(row) for row in rows}) == 1


def test_a_work_keeps_where_and_when_it_was_measured() -> None:
    later = replace(MACHINE, date="2026-06-05", cpu="another CPU")
    kept = {"store-1g": MACHINE, "retrieve-1g": MACHINE}
    results = {work: {"gateway": FIGURES} for work in kept}
    report = json.loads(json.dumps(results_json(kept, results, [])))
    assert read_results(report) == (kept, results)
    measured = "2 cores of some CPU, Linux 6.1, Python 3.11.7, aiohttp 3.14.5"
    assert machines_text(kept) == f"Measured on 2026-05-04: {measured}."
    lines = machines_text({**kept, "retrieve-1g": later}).splitlines()
    assert lines[0] == f"- Measured on 2026-05-04: {measured}: 1 GiB STOR."
    assert lines[1].startswith("- Measured on 2026-06-05: 2 cores of another CPU, ")
    assert lines[1].endswith(": 1 GiB RETR.")


def test_the_build_of_a_kernel_is_nobodys_business() -> None:
    assert kernel_series("6.18.44-private") == "6.18"


def test_shorter_works_are_not_published() -> None:
    pytest.importorskip("matplotlib")
    from bench.__main__ import main

    result = CliRunner().invoke(main, ["--publish", "--quick", "--only", "nothing"])
    assert result.exit_code == 2
    assert "--quick measures shorter works" in result.output


def test_shorter_works_are_not_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from bench import __main__ as program

    def measured(_work: Work, systems: Sequence[str], _directory: Path) -> dict[str, Figures]:
        return dict.fromkeys(systems, FIGURES)

    monkeypatch.setattr(program, "_do", measured)
    monkeypatch.setattr(program, "_RESULTS", tmp_path)
    for arguments, is_judged in (([], True), (["--quick"], False)):
        result = CliRunner().invoke(program.main, [*arguments, "--only", "store-1g"])
        assert result.exit_code == 0
        assert "1 GiB STOR" in result.output
        assert ("target" in result.output) is is_judged


def test_a_name_that_no_work_has_is_refused() -> None:
    pytest.importorskip("matplotlib")
    from bench.__main__ import main

    result = CliRunner().invoke(main, ["--only", "nothing"])
    assert result.exit_code == 2
    assert "fits no work; there are store-4k" in result.output
