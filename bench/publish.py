"""The measured part of docs/performance.md, between its two marks, and the plot beside it."""

from collections.abc import Sequence
from pathlib import Path

from bench.figures import Results
from bench.plot import draw
from bench.report import Machines, machines_text, results_table, verdicts_table
from bench.targets import Verdict

__all__ = ["publish"]

_DOCS = Path(__file__).parents[1] / "docs"
_BEGIN, _END = "<!-- begin of figures -->", "<!-- end of figures -->"


def publish(machines: Machines, results: Results, verdicts: Sequence[Verdict]) -> None:
    """Put the tables into the page, and draw the plot."""
    page = _DOCS / "performance.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    text = (
        f"{machines_text(machines)}\n\n"
        f"### Targets\n\n{verdicts_table(verdicts)}\n\n"
        f"### All figures\n\n{results_table(results)}\n"
    )
    page.write_text(f"{before}{_BEGIN}\n{text}{_END}{after}", encoding="utf-8")
    draw(results, _DOCS / "performance.png")
