"""docs/failsafe.md: every row names a test that exists, and the time-outs are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from control_stack.safety.supervisor import _BLIND_SINK, SafetyConfig

ROOT = Path(__file__).resolve().parents[2]
HEADINGS = ("The controller", "The state", "What is watched", "The link", "What is asked for", "The processes")
ENDS = ("S1", "S2", "S3")


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_row_is_shown_by_a_test_that_exists(page: Callable, heading: str) -> None:
    for row in page("failsafe").table(heading):
        assert all(value for key, value in row.items() if key not in ("what it does", "end")), row
        file, _, name = row["shown by"].partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, row["shown by"]


def test_every_row_of_the_link_promises_an_end(page: Callable) -> None:
    assert {row["end"] for row in page("failsafe").table("The link")} == set(ENDS)


def test_every_test_named_anywhere_in_the_docs_exists() -> None:
    named = 0
    for file in (ROOT / "docs").glob("*.md"):
        for path, name in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", file.read_text(encoding="utf-8")):
            named += 1
            assert (ROOT / path).is_file(), f"{file.name}: {path}"
            assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8")
    assert named > 30


def test_time_outs(page: Callable) -> None:
    rows = {row["time-out"]: row["default"].split()[0] for row in page("failsafe").table("When things fail")}
    defaults = {key: value for key, value in vars(SafetyConfig()).items() if key.endswith(("_timeout", "_time"))}
    assert {key: float(rows[key]) for key in defaults} == defaults
    assert f"{1.0 - _BLIND_SINK:.0%}".replace("%", " %") in page("failsafe").text


def test_time_outs_of_ros(page: Callable) -> None:
    pytest.importorskip("rclpy")
    from control_stack.ros.qos import COMMAND
    from sim.node import PARAMETERS

    rows = {row["time-out"]: row["default"].split()[0] for row in page("failsafe").table("When things fail")}
    assert float(rows["liveliness lease"]) == COMMAND.liveliness_lease_duration.nanoseconds * 1e-9
    (patience,) = (p for p in PARAMETERS if p.name == "lockstep_timeout")
    assert float(rows["lockstep_timeout"]) == patience.default
