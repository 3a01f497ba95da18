"""Writes the figures and pictures of docs/foundation.md from benchmarks/results/foundation.json.

Run: python scripts/foundation_figures.py, in the clone with .venv activated, after
control-stack bench foundation --json benchmarks/results/foundation.json [--teachers DIR] [--ablation DIR]
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

REPORT, PAGE = ROOT / "benchmarks" / "results" / "foundation.json", ROOT / "docs" / "foundation.md"
BEGIN, END = "<!-- begin: scripts/foundation_figures.py -->", "<!-- end: scripts/foundation_figures.py -->"
WRAPPED = ", with wrapper"
JOINT = (", where both survive", ", lost ones 1 m")  # a target on an error holds only for both
CHECKS = ("peer's survival off the facts", "peer's RMSE off the facts")
ANSWER = {True: "yes", False: "no", None: "-"}
WAY = "way: "
Row = Mapping[str, Any]


def table_lines(rows: Sequence[Row], asked: bool) -> list[str]:
    """One line for each figure that is asked for, or for each other; bare and with the wrapper side by side."""
    known = {(row["test"], row["metric"]): row for row in rows}
    lines = [
        "| test | figure | RAPTOR | ours | RAPTOR, wrapper | ours, wrapper | to reach | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (test, metric), bare in known.items():
        if test.endswith(WRAPPED) or not _compared(bare):
            continue
        wrapped = known.get((test + WRAPPED, metric))
        judged = wrapped if wrapped is not None and wrapped["target"] else bare
        if bool(judged["target"]) is not asked or "median" in metric:
            continue
        cells = [test, f"{metric}, {bare['unit']}", _value(bare, "peer"), _value(bare, "value")]
        cells += [_value(wrapped, "peer"), _value(wrapped, "value")]
        target = f"{judged['target']}{' (wrapper)' if judged is wrapped else ''}" if judged["target"] else "-"
        lines.append(f"| {' | '.join([*cells, target, ANSWER[_met(judged, known)]])} |")
    return lines


def _compared(row: Row) -> bool:
    """Whether the row sets both policies side by side on a test of the battery."""
    metric = row["metric"]
    if row["test"].startswith(("teachers' airframes", "student ", WAY)) or "lead" in row["test"]:
        return False
    return metric == "survived" or metric.endswith((*JOINT, "median where both survive"))


def _met(row: Row, known: Mapping[tuple[str, str], Row]) -> bool | None:
    if row["holds"] is None:
        return None
    for ending, other in (JOINT, JOINT[::-1]):
        twin = known.get((row["test"], row["metric"].removesuffix(ending) + other))
        if row["metric"].endswith(ending) and twin is not None and twin["holds"] is not None:
            return bool(row["holds"] and twin["holds"])
    return bool(row["holds"])


def _value(row: Row | None, key: str) -> str:
    if row is None or row[key] is None:
        return "-"
    span = row.get({"value": "interval", "peer": "peer_interval"}[key])
    text = number(float(row[key]))
    return f"{text} ({number(float(span[0]))} .. {number(float(span[1]))})" if span else text


def way_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each figure, a column for each way of training. None where the report has no ways."""
    known = {(row["test"], row["metric"]): row for row in rows if row["test"].startswith(WAY)}
    ways, metrics = (list(dict.fromkeys(key[k] for key in known)) for k in (0, 1))
    if not known:
        return []
    told = "Ways of training one student, told on [its page](training_foundation.md#what-the-teachers-bring):"
    heads = " | ".join(way.removeprefix(WAY) for way in ways)
    lines = [told, "", f"| figure | {heads} |", f"|---|{'---|' * len(ways)}"]
    for metric in metrics:
        cells = " | ".join(_value(known.get((way, metric)), "value") for way in ways)
        lines.append(f"| {metric}, {known[ways[0], metric]['unit']} | {cells} |")
    return lines


def other_lines(rows: Sequence[Row], asked: bool) -> list[str]:
    """Everything else: step time, which is asked for, PyBullet, probes, leads, teachers, students."""
    lines = ["| test | figure | RAPTOR | ours, or as named | to reach | met |", "|---|---|---|---|---|---|"]
    for row in rows:
        if _compared(row) or row["metric"] in CHECKS or bool(row["target"]) is not asked:
            continue
        if row["test"].startswith(WAY):
            continue
        cells = [row["test"], f"{row['metric']}, {row['unit']}", _value(row, "peer"), _value(row, "value")]
        lines.append(f"| {' | '.join([*cells, row['target'] or '-', ANSWER[row['holds']]])} |")
    return lines


def figures(report: Mapping[str, Any]) -> str:
    """The markdown between the marks."""
    from benchmarks.foundation import reproduced

    machine, rows = report["machine"], report["rows"]
    known = {(row["test"], row["metric"]): row for row in rows}
    judged = [_met(row, known) for row in rows if row["holds"] is not None and row["metric"] not in CHECKS]
    lines = [
        f"Measured by `control-stack bench foundation` at revision {report['git_revision']} on {machine['cpu']},",
        f"{machine['cores']} cores; 95 % intervals in brackets.",
        f"{sum(map(bool, judged))} of the {len(judged)} figures with a target meet it.",
        "",
        *table_lines(rows, asked=True),
        "",
        *other_lines(rows, asked=True),
        "",
        "![Precision, survival and lost airframes of both policies](foundation.png)",
        "",
        *_wrapped(reproduced(report)),
        "",
        *way_lines(rows),
        "",
        "<details><summary>Everything else that was measured</summary>",
        "",
        *table_lines(rows, asked=False),
        "",
        *other_lines(rows, asked=False),
        "",
        "</details>",
    ]
    if report.get("details", {}).get("probes"):
        what = "Linear probes of the hidden state; small students by hidden size and teachers"
        lines += ["", f"![{what}](foundation_insight.png)"]
    return "\n".join([BEGIN, *lines, END])


def _wrapped(text: str, width: int = 110) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)


def main() -> int:
    """Replaces what is between the marks and draws the pictures."""
    from benchmarks.foundation_picture import draw, draw_insight

    report = json.loads(REPORT.read_text(encoding="utf-8"))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + figures(report) + rest.partition(END)[2], encoding="utf-8")
    draw(report, PAGE.with_suffix(".png"))
    draw_insight(report, PAGE.with_name("foundation_insight.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
