"""The README's figures are those of the benchmark report that lies beside it."""

from __future__ import annotations

import json
from pathlib import Path

from control_stack.artefacts.tables import number

ROOT = Path(__file__).resolve().parents[2]
HEADER = "| test | metric | value | unit | target |"


def test_every_figure_of_the_readme_is_a_row_of_the_report() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = lines.index(HEADER) + 2
    shown = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        shown.append(tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")))
    assert len(shown) > 10
    report = json.loads((ROOT / "benchmarks" / "results" / "sim.json").read_text(encoding="utf-8"))
    known = {
        (row["test"], row["metric"], number(row["value"]), row["unit"], row["target"] or "-") for row in report["rows"]
    }
    assert set(shown) <= known
    # No target that was measured is left out because it was missed.
    assert {row["test"] for row in report["rows"] if row["target"]} <= {row[0] for row in shown}


def test_the_report_carries_where_it_comes_from() -> None:
    report = json.loads((ROOT / "benchmarks" / "results" / "sim.json").read_text(encoding="utf-8"))
    assert {"rows", "seed", "git_revision", "versions", "machine"} <= set(report)
    assert not report["git_revision"].endswith("-dirty")
