"""docs/ros.md against the real nodes: topics, services, parameters and diagnostics, all and no more."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documented import check_launch_arguments, check_parameters
from launch_files import launch_file

from control_stack.ros_layout import _OPTIONAL, SLOTS

pytest.importorskip("rclpy")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=[True, False], ids=["lockstep", "real time"])
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What both nodes really offer."""
    environment = {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(Path(__file__).with_name("surface_probe.py")), str(request.param).lower()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = (text for text in done.stdout.splitlines() if text.startswith("FOUND"))
    return {"lockstep": request.param, **json.loads(line.removeprefix("FOUND"))}


def quality(text: str, lockstep: bool) -> tuple[bool, int, bool, float | None]:
    """(reliable, depth, latched, lease s) as the table puts it."""
    first, *rest = [part.strip() for part in text.split(",")]
    kinds = first.split(" / ")
    kind = kinds[0] if lockstep or len(kinds) == 1 else kinds[1]
    assert kind in ("reliable", "best effort")
    lease = [float(part.split()[1]) for part in rest if part.startswith("lease")]
    return kind == "reliable", int(rest[0]), "latched" in rest, lease[0] if lease else None


@pytest.mark.parametrize("node", ["sim", "controller"])
def test_topics(page: Callable, found: dict[str, Any], node: str) -> None:
    documented = {
        (row["direction"], "/" + row["topic"].lstrip("/"), row["type"]): quality(row["QoS"], found["lockstep"])
        for row in page("ros").table(f"Topics of `{node}`")
    }
    if importlib.util.find_spec("tf2_msgs") is None:
        documented.pop(("out", "/tf", "tf2_msgs/TFMessage"), None)
    real = {(d, topic, kind): tuple(rest) for d, topic, kind, *rest in found[node]["topics"]}
    assert documented == real


def test_services(page: Callable, found: dict[str, Any]) -> None:
    documented = {(row["service"], row["type"]) for row in page("ros").table("Services")}
    assert documented == {tuple(service) for service in found["sim"]["services"]}
    assert not found["controller"]["services"]


def test_diagnostics_keys(page: Callable, found: dict[str, Any]) -> None:
    for row in page("ros").table("Diagnostics"):
        always, _, free = row["keys"].partition("; outside lockstep also ")
        wanted = always if found["lockstep"] else f"{always}, {free}".rstrip(", ")
        assert sorted(key.strip() for key in wanted.split(",")) == sorted(found[row["node"]]["keys"])


def declared(node: str) -> dict[str, Any]:
    from control_stack.ros.lifecycle import AUTOSTART
    from control_stack.ros.vehicle_node import VEHICLE_PARAMETERS
    from controllers import node as controller
    from hardware import node as hardware
    from sim import node as sim

    own = {
        "sim": (*sim.PARAMETERS, *VEHICLE_PARAMETERS),
        "hardware": (*hardware.PARAMETERS, *VEHICLE_PARAMETERS),
        "controller": controller.PARAMETERS,
    }[node]
    return {p.name: p for p in (*own, AUTOSTART)}


@pytest.mark.parametrize("node", ["sim", "hardware", "controller"])
def test_parameters(page: Callable, node: str) -> None:
    check_parameters(page("ros").table(f"Parameters of `{node}`"), declared(node))


def test_layout_of_the_actuator_topic(page: Callable) -> None:
    rows = {row["level"]: row for row in page("ros").table("The one actuator topic")}
    assert set(rows) == {level.value for level in SLOTS}
    for level, slots in SLOTS.items():
        row = rows[level.value]
        assert [n.strip() for n in row["names"].split(",")] == list(dict.fromkeys(name for name, _ in slots))
        for field in ("position", "velocity", "effort"):
            plain = row[field].replace("(", ",(").split(",")
            shown = [part.strip() for part in plain if part.strip() and "(" not in part and ")" not in part]
            assert shown == [name for name, f in slots if f == field], (level, field)
        optional = {name if len({f for n, f in slots if n == name}) > 1 else field for name, field in _OPTIONAL[level]}
        assert bool(row["may be left out"]) == bool(optional)


def test_launch_arguments(page: Callable) -> None:
    check_launch_arguments(page("ros").table("Start and watch"), launch_file("fly"))


def test_commands_name_topics_and_services_that_exist(page: Callable) -> None:
    ros = page("ros")
    rows = [row for node in ("sim", "controller") for row in ros.table(f"Topics of `{node}`")]
    topics = {row["topic"].lstrip("/"): row["type"] for row in rows}
    services = {row["service"]: row["type"] for row in ros.table("Services")}
    checked = 0
    for line in "".join(ros.blocks("sh")).splitlines():
        words = [word for word in line.split() if not word.startswith("-")]
        if words[:2] == ["ros2", "topic"]:
            name = words[3].lstrip("/")
            assert name in topics
            checked += 1
            if words[2] == "pub":
                assert words[4].replace("/msg/", "/") == topics[name]
        elif words[:2] == ["ros2", "service"]:
            assert words[4].replace("/srv/", "/") == services[words[3].lstrip("/")]
            checked += 1
        elif words[:3] == ["ros2", "param", "set"]:
            assert words[4] in declared(words[3].lstrip("/"))
            checked += 1
    assert checked >= 8


def test_rejection_reasons_are_the_ones_the_code_gives(page: Callable) -> None:
    text = page("ros").section("Diagnostics")
    described = {reason for row in re.findall(r"^\| (`.*?) \|", text, re.M) for reason in re.findall(r"`(\w+)`", row)}
    given = set()
    for folder in ("control_stack", "controllers", "hardware", "sim"):
        for file in (ROOT / folder).rglob("*.py"):
            given |= set(re.findall(r'InputRejected\("(\w+)"', file.read_text(encoding="utf-8")))
    assert described - {"sim", "controller"} == given
