"""Writes the figures and the picture of docs/mip_figures.md from benchmarks/results/mip.json.

Run: python scripts/mip_figures.py, in the clone with .venv activated, after
control-stack bench mip --fits fits --json benchmarks/results/mip.json and, for the pictures of runs,
python scripts/task_runs.py fits
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from control_stack.artefacts.tables import number  # noqa: E402

REPORT, PAGE = ROOT / "benchmarks" / "results" / "mip.json", ROOT / "docs" / "mip_figures.md"
RUNS = "tasks/{}-mip.png"  # of scripts/task_runs.py, from the page
BEGIN, END = "<!-- begin: scripts/mip_figures.py -->", "<!-- end: scripts/mip_figures.py -->"
ANSWER = {True: "yes", False: "no", None: "-"}
_RATIO = " over the best sampler's"
Row = Mapping[str, Any]


def figures(report: Mapping[str, Any]) -> str:
    """The markdown between the marks."""
    machine, rows = report["machine"], report["rows"]
    judged = [row["holds"] for row in rows if row["holds"] is not None]
    lines = [
        f"Measured by `control-stack bench mip` at revision {report['git_revision']} on {machine['cpu']},",
        f"{machine['cores']} cores; 95 % intervals in brackets. {sum(judged)} of the {len(judged)} figures with a",
        "target meet it; all of them are in the last table.",
        "",
        "![Error by ReLUs, regret by time, cost in closed loop, of each task](mip_figures.png)",
    ]
    for title, table in (
        ("Prediction", [*_ladders(report["details"]), "", *_plain(rows, (" ReLUs by ", "dense nets"), True)]),
        ("Plans in equal time", _open_loop(rows)),
        ("In closed loop", [*_closed_loop(rows), "", *_runs(report["details"])]),
        ("At 10 Hz", _plain(rows, (", 10 Hz,",))),
        ("Own branch and bound beside HiGHS", _branching(rows)),
        ("Beside OMLT", _plain(rows, ("beside OMLT",))),
        ("Transitions near the planner's own", _plain(rows, ("count more",))),
        ("Bounds", _plain(rows, ("bounds, ",))),
        ("HiGHS's presolve", _plain(rows, ("enumerated programs",))),
        ("Time", _plain(rows, ("bench mip", "scripts/fit_tasks.py"))),
        ("All figures with a target", _plain([row for row in rows if row["target"]], ("",))),
    ):
        if any(line for line in table):
            lines += ["", f"## {title}", "", *table]
    return "\n".join([BEGIN, *lines, END])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*titles: str) -> list[str]:
    return [_line(titles), "|" + "---|" * len(titles)]


def _value(row: Row | None, key: str = "value") -> str:
    """With its interval."""
    if row is None or row[key] is None:
        return "-"
    span = row.get({"value": "interval", "peer": "peer_interval"}[key])
    told = number(float(row[key]))
    if not span:
        return told
    return f"{told} ({' .. '.join('inf' if side is None else number(float(side)) for side in span)})"


def _plain(rows: Sequence[Row], tests: Sequence[str], asked: bool = False) -> list[str]:
    """A line for each figure of the tests that have one of these words; ``asked``: of those with a target only."""
    of = [row for row in rows if any(word in row["test"] for word in tests) and (row["target"] or not asked)]
    lines = [
        _line([row["test"], f"{row['metric']}, {row['unit']}", _value(row), _value(row, "peer"), row["target"] or "-",
               ANSWER[row["holds"]]])
        for row in of
    ]  # fmt: skip
    return [*_head("test", "figure", "ours", "peer", "to reach", "met"), *lines] if lines else []


def _ladders(details: Mapping[str, Any]) -> list[str]:
    """By task and method the error a step ahead at each number of ReLUs, medians over fits."""
    lines = []
    found = {name.split(":")[0]: part for name, part in details.items() if name.endswith(": prediction")}
    relus = sorted(
        {int(n) for part in found.values() for rungs in part["errors"].values() for n in rungs}, reverse=True
    )
    for task, part in found.items():
        for method, rungs in part["errors"].items():
            cells = [number(float(rungs[str(n)][0])) if str(n) in rungs else "-" for n in relus]
            lines.append(_line([task, method, str(part["counts"][method]), *cells]))
    return [*_head("task", "method", "fits", *(f"{n} ReLUs" for n in relus)), *lines] if lines else []


def _tests(rows: Sequence[Row], word: str) -> Iterator[tuple[str, dict[str, Row]]]:
    """Each test with this word, and its rows by metric without what is said of the peer."""
    grouped: dict[str, dict[str, Row]] = {}
    for row in rows:
        if word in row["test"]:
            grouped.setdefault(row["test"], {})[row["metric"].split(", peer: ")[0]] = row
    yield from grouped.items()


def _peer_of(row: Row) -> str:
    return str(row["metric"].partition(", peer: ")[2])


def _open_loop(rows: Sequence[Row]) -> list[str]:
    lines = []
    for test, of in _tests(rows, ", plans in "):
        own, ratio = of["median regret"], of["median regret" + _RATIO]
        better = of.get("better than that and the sampled start", of["better than the plan given"])
        lines.append(_line([test, _value(own), f"{_value(own, 'peer')} ({_peer_of(own)})", _value(ratio),
                            ratio["target"] or "-", ANSWER[ratio["holds"]], _value(better),
                            _value(of["proven optimal"]), _value(of["median proven gap"])]))  # fmt: skip
    titles = ("plans", "median regret, %", "best sampler's", "ratio", "to reach", "met", "better than start, %",
              "proven, %", "median gap, %")  # fmt: skip
    return [*_head(*titles), *lines] if lines else []


def _closed_loop(rows: Sequence[Row]) -> list[str]:
    lines = []
    for test, of in _tests(rows, ", closed loop, "):
        ratio = of.get("mean cost" + _RATIO)
        task, pilot = test.split(", closed loop, ")
        lines.append(_line([
            task, pilot, _value(of["mean cost"]), _value(ratio), (ratio or {}).get("target") or "-",
            ANSWER[ratio["holds"] if ratio else None], _value(of["goals held at the end"]),
            _value(of["commands a step late or more"]), _value(of["model error met, 1 step"]),
            _value(of["model error met, over the horizon"]),
        ]))  # fmt: skip
    titles = ("task", "pilot", "mean cost", "over the sampler's", "to reach", "met", "goals held, %", "late, %",
              "model error, 1 step", "over the horizon")  # fmt: skip
    return [*_head(*titles), *lines] if lines else []


def _branching(rows: Sequence[Row]) -> list[str]:
    lines = []
    for test, of in _tests(rows, "branch and bound in "):
        cells = [f"{_value(of[name])} / {_value(of[name], 'peer')}" for name in
                 ("mean regret", "median regret", "median gap", "proven optimal")]  # fmt: skip
        met = [ANSWER[of[f"{name} over mip's"]["holds"]] for name in ("mean regret", "median gap")]
        lines.append(_line([test, *cells, *met]))
    titles = ("own / HiGHS", "mean regret, %", "median regret, %", "median gap, %", "proven, %",
              "regret no more than HiGHS's", "gap no more than HiGHS's")  # fmt: skip
    gpu = _plain(rows, ("on a GPU",))
    return ([*_head(*titles), *lines] if lines else []) + (["", *gpu] if gpu else [])


def _runs(details: Mapping[str, Any]) -> list[str]:
    """Pictures of runs, as far as they have been made."""
    tasks = [name.split(":")[0] for name in details if name.endswith(": closed loop")]
    there = [task for task in tasks if (PAGE.parent / RUNS.format(task)).is_file()]
    cells = [f"![{task} by the mixed-integer planner]({RUNS.format(task)})" for task in there]
    pairs = [_line((cells[k : k + 2] + [""])[:2]) for k in range(0, len(cells), 2)]
    told = "The planner as above, from start 0 of each task, whatever came of it:"
    return [told, "", *_head("", ""), *pairs] if pairs else []


def main() -> int:
    """Replaces what is between the marks and draws the picture."""
    from benchmarks.mip_picture import draw

    report = json.loads(REPORT.read_text(encoding="utf-8"))
    draw(report, PAGE.with_suffix(".png"))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + figures(report) + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
