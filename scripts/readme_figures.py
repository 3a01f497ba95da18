"""Writes the table of figures in README.md from benchmarks/results/sim.json: python scripts/readme_figures.py

In the clone, with .venv activated, after control-stack bench sim --json benchmarks/results/sim.json. A test compares
both files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from control_stack.artefacts.tables import number

ROOT = Path(__file__).resolve().parents[1]
REPORT, README = ROOT / "benchmarks" / "results" / "sim.json", ROOT / "README.md"
BEGIN, END = "<!-- begin: scripts/readme_figures.py -->", "<!-- end: scripts/readme_figures.py -->"
# What a reader asks first: how well, how fast. Rows that miss their target are added, whichever they are.
SHOWN = (
    ("eight, defaults", "RMSE"),
    ("eight, --sensors vio", "RMSE"),
    ("eight, --wind 1,0,0", "RMSE"),
    ("eight, --wind dryden:light", "RMSE"),
    ("eight, --vehicle x500", "RMSE"),
    ("eight, --controller lqr", "RMSE"),
    ("geometric controller, rotors, one vehicle", "p50"),
    ("analytic + geometric at rotors, in process", "real-time factor p50"),
    ("torch float32 batch 4096, CPU threads 2, compiled", "p50"),
    ("bullet + geometric over ROS, lockstep, two processes", "real-time factor"),
    ("bullet + geometric over ROS, real time, 100 Hz", "period error p99"),
)


def shown_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The chosen rows that the report has, and all that miss their target, in the report's order."""
    return [row for row in report["rows"] if (row["test"], row["metric"]) in SHOWN or row["holds"] is False]


def figures(report: dict[str, Any]) -> str:
    """The markdown between the marks."""
    machine, judged = report["machine"], [row["holds"] for row in report["rows"] if row["holds"] is not None]
    verdict = f"All {len(judged)} rows with a target meet it."
    if not all(judged):
        verdict = f"{sum(judged)} of the {len(judged)} rows with a target meet it; every one that does not is below."
    answer = {True: "yes", False: "no", None: "-"}
    lines = [
        f"Measured by `control-stack bench sim` at revision {report['git_revision']} on {machine['cpu']}, "
        f"{machine['cores']} cores;",
        "[benchmarks/results/sim.json](benchmarks/results/sim.json) has every row, p99 too, and the versions.",
        verdict,
        "",
        "| test | metric | value | unit | target | met |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{row['test']}` | {row['metric']} | {number(row['value'])} | {row['unit']} | {row['target'] or '-'} "
            f"| {answer[row['holds']]} |"
            for row in shown_rows(report)
        ),
    ]
    return "\n".join([BEGIN, *lines, END])


def main() -> int:
    """Replaces what is between the marks; says which chosen rows the report lacks."""
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(before + figures(report) + rest.partition(END)[2], encoding="utf-8")
    known = {(row["test"], row["metric"]) for row in report["rows"]}
    for test, metric in SHOWN:
        if (test, metric) not in known:
            print(f"not in the report, so not in the table: {test}, {metric}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
