"""docs/push.md: its tables are those of the nodes and of the launch file, its settings are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documented import check_launch_arguments, check_parameters
from launch_files import launch_file

from controllers.planning.factory import PLANNERS, make_planner, read_settings
from controllers.planning.problem import Problem

ROOT = Path(__file__).resolve().parents[2]


def declared(node: str) -> dict[str, Any]:
    pytest.importorskip("rclpy")
    from control_stack.ros.lifecycle import AUTOSTART
    from controllers.planning import node as planner
    from sim.tasks import node as task

    own = {"task": task.PARAMETERS, "planner": planner.PARAMETERS}[node]
    return {p.name: p for p in (*own, AUTOSTART)}


@pytest.mark.parametrize("node", ["task", "planner"])
def test_parameters(page: Callable[[str], Any], node: str) -> None:
    check_parameters(page("push").table(f"Parameters of `{node}`"), declared(node))


def test_launch_arguments(page: Callable[[str], Any]) -> None:
    check_launch_arguments(page("push").table("Over ROS 2"), launch_file("push"))


def test_every_planner_has_its_row(page: Callable[[str], Any]) -> None:
    assert [row["controller"] for row in page("push").table("Controllers")] == list(PLANNERS)


def test_the_settings_are_read(page: Callable[[str], Any], tmp_path: Path) -> None:
    from sampling_toys import point

    (text,) = re.findall(r"`(\{\"settings\".*?\}\}\})`|`(\{\"settings\".*?\}\})`", page("push").section("Settings"))
    file = tmp_path / "settings.json"
    file.write_text(next(filter(None, text)))
    assert set(json.loads(file.read_text())["settings"]) == {"icem", "mip"}
    assert make_planner("icem", Problem(point(), 3), settings=read_settings(file, "icem")).settings.rollouts == 1000
    assert read_settings(file, "mip") == {"max_nodes": 200}


def test_the_picture_is_there_and_small() -> None:
    assert 10_000 < (ROOT / "docs" / "push.png").stat().st_size < 80_000
