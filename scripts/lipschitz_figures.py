"""Writes figures of docs/lipschitz.md, safety.md, gp_cem.md and imitation.md from benchmarks/results/lipschitz.json.

Run: python scripts/lipschitz_figures.py, in the clone with .venv activated, after
control-stack bench lipschitz --json benchmarks/results/lipschitz.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from control_stack.artefacts.tables import number  # noqa: E402

REPORT, DOCS = ROOT / "benchmarks" / "results" / "lipschitz.json", ROOT / "docs"
BEGIN, END = "<!-- begin: scripts/lipschitz_figures.py -->", "<!-- end: scripts/lipschitz_figures.py -->"
# Page and how the tests of its rows begin; the first that fits takes a row.
PAGES: Mapping[str, tuple[str, ...]] = {
    "imitation.md": ("imitation,",),
    "safety.md": ("filter,", "8 crossing"),
    "gp_cem.md": ("eight in ", "gp_cem", "quadrotor through", "scenes"),
    "lipschitz.md": ("piecewise,", "cartpole,", "planar-quadrotor,", "quadrotor in wind,"),
}
ANSWER = {True: "yes", False: "**no**", None: "-"}
Row = Mapping[str, Any]


def of_page(rows: Sequence[Row], page: str) -> list[Row]:
    """The rows of a page, in the report's order. What no page claims goes to gp_cem.md: its scenes name themselves."""

    def claimed(row: Row) -> str:
        for name, starts in PAGES.items():
            if row["test"].startswith(starts):
                return name
        return "gp_cem.md"

    return [row for row in rows if claimed(row) == page]


def figures(report: Mapping[str, Any] | None, page: str) -> str:
    """The markdown between the marks."""
    if report is None:
        text = (
            "Not measured yet: `control-stack bench lipschitz --json benchmarks/results/lipschitz.json` fills this in."
        )
        return "\n".join([BEGIN, text, END])
    machine, rows = report["machine"], of_page(report["rows"], page)
    judged = [row["holds"] for row in rows if row["holds"] is not None]
    lines = [
        f"Measured by `control-stack bench lipschitz` at revision {report['git_revision']} on {machine['cpu']},",
        f"{machine['cores']} cores; 95 % intervals in brackets.",
        f"{sum(judged)} of the {len(judged)} figures with a target meet it.",
        "",
        "| test | figure | ours | peer | to reach | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        unit = f", {row['unit']}" if row["unit"] not in ("", "1") else ""
        cells = [row["test"], row["metric"] + unit, _value(row, "value"), _value(row, "peer")]
        lines.append(f"| {' | '.join([*cells, row['target'] or '-', ANSWER[row['holds']]])} |")
    return "\n".join([BEGIN, *lines, END])


def _value(row: Row, key: str) -> str:
    if row[key] is None:  # a value that was not measured is null in JSON
        return "-"
    span = row.get({"value": "interval", "peer": "peer_interval"}[key])
    text = number(float(row[key]))
    return f"{text} ({number(float(span[0]))} .. {number(float(span[1]))})" if span else text


def main() -> int:
    """Replaces what is between the marks of all pages."""
    report = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.is_file() else None
    for page in PAGES:
        path = DOCS / page
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        path.write_text(before + figures(report, page) + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
