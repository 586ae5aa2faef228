"""Figures become ratios, tables and verdicts."""

import json
from dataclasses import replace

from bench.figures import Figures, best
from bench.report import results_json, results_table, verdicts_table
from bench.targets import TARGETS, judge
from bench.works import WORKS

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
    report = results_json({}, results, verdicts)
    assert json.loads(json.dumps(report, allow_nan=False))["targets"][0]["value"] is None


def test_every_target_has_its_work() -> None:
    names = [work.name for work in WORKS]
    assert len(names) == len(set(names))
    assert {name for target in TARGETS for name in target.works} <= set(names)
    everything = {work.name: dict.fromkeys(work.quick().systems, FIGURES) for work in WORKS}
    assert len(judge(everything)) == len(TARGETS)
    rows = results_table(everything).splitlines()
    assert len({len(row) for row in rows}) == 1
