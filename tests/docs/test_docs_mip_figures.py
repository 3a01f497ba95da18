"""docs/mip_figures.md: what its tool writes says what the report says, and the page is what it writes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from launch_files import module_at

from benchmarks import mip_branching, mip_closed_loop, mip_open_loop, mip_prediction
from benchmarks.mip_fits import Fit
from control_stack.artefacts.tables import BenchRow, Findings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return module_at(ROOT / "scripts" / "mip_figures.py")


def plans(cost: float) -> list[dict[str, Any]]:
    one = {"cost": cost, "start_cost": 9.0, "bound": 0.5, "seconds": 0.1, "status": "feasible"}
    return [one, {**one, "cost": 2.0 * cost}]


def rung(error: float, relus: int) -> dict[str, Any]:
    part = {"rmse": [error] * 5}
    return {"relus": relus, "linear_units": 4, "test": part, "validation": part}


def flown(cost: float) -> list[dict[str, Any]]:
    return [{"cost": cost, "success": True, "late": 0, "plans": 9, "error": 0.1, "error_ahead": None}] * 3


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """As the bench makes it, of costs that are known."""
    rungs = {"dense": {64: rung(0.1, 64)}, "gates": {16: rung(0.15, 16)}, "lasso": {16: rung(0.3, 16)}}
    costs = {"mip": 1.0, "branching": 1.5, "cem": 1.2}
    timed = {(name, d): plans(cost) for name, cost in costs.items() for d in mip_open_loop.DEADLINES}
    words = {name: f"{name} on 16 ReLUs (gates), horizon 5" for name in ("mip", "cem")}
    found: dict[str, Findings] = {
        "rope: prediction": mip_prediction.measure([Fit(Path("."), "rope", 0, "gates", rungs)], 0, False),
        "rope: open loop": mip_open_loop.summary("rope", timed, [1.1, 2.0], []),
        "rope: branch and bound": Findings(mip_branching.summary("rope, 16 ReLUs", timed), {}),
        "rope: closed loop": mip_closed_loop.summary("rope", words, {name: flown(costs[name]) for name in words}),
        "time": Findings([BenchRow("scripts/fit_tasks.py", "collect + fit", 60.0, "min", "<= 75")], {}),
    }
    rows = [{**asdict(row), "holds": row.holds} for part in found.values() for row in part.rows]
    details = {name: part.details for name, part in found.items() if part.details}
    machine = {"cpu": "a processor", "cores": 2}
    return json.loads(
        json.dumps({"rows": rows, "details": details, "git_revision": "abc", "machine": machine}, default=list)
    )


def lines_of(text: str, title: str) -> list[list[str]]:
    part = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]


def test_tables_have_the_reports_figures(tool: ModuleType, report: dict[str, Any]) -> None:
    text = tool.figures(report)
    assert ["rope", "gates", "1", "-", "0.1500"] in lines_of(text, "Prediction")
    (line,) = [line for line in lines_of(text, "Plans in equal time") if line[0] == "rope, mip, plans in 0.3 s"]
    assert line[1] == "0.000" and line[2] == "20.00 (cem)" and line[5] == "yes"
    head, _, own, peer = lines_of(text, "In closed loop")
    assert own[1] == "mip on 16 ReLUs (gates), horizon 5" and own[2] == "1.000 (1.000 .. 1.000)"
    assert own[3] == "0.8333 (0.8333 .. 0.8333)" and own[head.index("met")] == "yes" and peer[3] == "-"
    (line,) = [line for line in lines_of(text, "Own branch and bound beside HiGHS") if "in 1 s" in line[0]]
    assert line[1] == "50.00 / 0.000" and line[-2:] == ["no", "no"]


def test_no_figure_with_a_target_is_left_out_and_the_count_is_right(tool: ModuleType, report: dict[str, Any]) -> None:
    text = tool.figures(report)
    asked = [row for row in report["rows"] if row["target"]]
    shown = lines_of(text, "All figures with a target")[2:]
    assert [line[0] for line in shown] == [row["test"] for row in asked]
    met = sum(bool(row["holds"]) for row in asked)
    assert f"{met} of the {len(asked)} figures" in text and {line[-1] for line in shown} == {"yes", "no"}


def test_the_page_is_as_the_tool_writes_it_once_there_is_a_report(tool: ModuleType) -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page.count(tool.BEGIN) == page.count(tool.END) == 1
    if tool.REPORT.is_file():
        assert tool.figures(json.loads(tool.REPORT.read_text(encoding="utf-8"))) in page
    else:
        assert "No report lies in the source tree yet." in page
