"""The README's figures are those of the benchmark report that lies beside it, and none that fails is left out."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from launch_files import module_at

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return module_at(ROOT / "scripts" / "readme_figures.py")


@pytest.fixture
def report() -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / "sim.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def shown(text: str) -> list[tuple[str, ...]]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip("`") for cell in row) for row in rows]


def test_the_readme_is_as_the_tool_writes_it(tool: ModuleType, report: dict[str, Any]) -> None:
    assert tool.figures(report) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_figure_is_the_reports(tool: ModuleType, report: dict[str, Any]) -> None:
    known = {(row["test"], row["metric"]): row for row in report["rows"]}
    rows = shown((ROOT / "README.md").read_text(encoding="utf-8").partition(tool.BEGIN)[2].partition(tool.END)[0])
    assert 8 <= len(rows) <= 15
    for test, metric, value, unit, target, met in rows:
        row = known[test, metric]
        assert float(value) == pytest.approx(row["value"], rel=6e-4)  # four digits
        assert (unit, target) == (row["unit"], row["target"] or "-")
        assert met == {True: "yes", False: "no", None: "-"}[row["holds"]]


def test_what_misses_its_target_is_shown_and_counted(tool: ModuleType, report: dict[str, Any]) -> None:
    spoilt = copy.deepcopy(report)
    judged = [row for row in spoilt["rows"] if row["target"]]
    hidden = [row for row in judged if (row["test"], row["metric"]) not in tool.SHOWN]
    assert hidden  # with a target, met, and not chosen to be shown: the case to be honest about
    for row in judged:
        row["holds"] = row not in hidden
    text = tool.figures(spoilt)
    failing = {(row[0], row[1]) for row in shown(text) if row[-1] == "no"}
    assert failing == {(row["test"], row["metric"]) for row in hidden}
    assert f"{len(judged) - len(hidden)} of the {len(judged)} rows with a target meet it; every one" in text
    for row in judged:
        row["holds"] = True
    assert f"All {len(judged)} rows with a target meet it." in tool.figures(spoilt)


def test_flights_change_one_thing_at_a_time(tool: ModuleType) -> None:
    benchmark = (ROOT / "benchmarks" / "sim.py").read_text(encoding="utf-8")
    conditions = re.findall(r'^    \("(--[a-z-]+)", "([^"]+)"\),$', benchmark, re.M)
    assert len(conditions) >= 9
    assert not any("+" in value for _, value in conditions)
    # Names of flights in the table are those that the benchmark gives.
    names = {"eight, defaults", *(f"eight, {option} {value}" for option, value in conditions)}
    assert {test for test, _ in tool.SHOWN if test.startswith("eight")} <= names


def test_the_report_carries_where_it_comes_from(report: dict[str, Any]) -> None:
    assert {"rows", "seed", "git_revision", "versions", "machine"} <= set(report)
    assert not report["git_revision"].endswith("-dirty")
