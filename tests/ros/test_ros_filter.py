"""The filter in the controller node: a flight over ROS through walls, and what the node tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_stack import Stack

from control_stack.ros import messages, qos
from control_stack.safety.events import Event, Severity

pytest.importorskip("daqp")


def test_a_flight_over_ros_is_filtered_and_counted(tmp_path: Path, domain: str) -> None:
    scene, out = tmp_path / "walls.yaml", tmp_path / "run"
    scene.write_text("name: walls\nfence: {x: [-0.5, 0.5]}\nmargin: {wind: 1.0}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "control_stack.cli", "fly", "--backend", "analytic", "--controller", "geometric",
        "--filter", str(scene), "--trajectory", "eight:laps=1", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "ROS_DOMAIN_ID": domain}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["filter_changed"] > 50 and summary["filter_fallback"] == 0
    assert summary["filter_time_p99_s"] > 0.0
    assert summary["least_distance_m"] > 0.0
    names = [event["name"] for event in summary["events"]]
    told = [name for name in names if name.startswith("filter_")]
    assert told and told == ["filter_changed", "filter_quiet"] * (len(told) // 2)  # it begins, and it ceases
    assert names.index("filter_changed") > names.index("takeoff_done")


def test_the_log_has_the_events_of_this_vehicles_controller_alone(stack: Stack) -> None:
    """/diagnostics is one topic for all vehicles of a domain: others may be on it in namespaces of their own."""
    stack.start()
    publisher = stack.node.create_publisher(DiagnosticArray, "/diagnostics", qos.EVENTS)
    stack.until(lambda: publisher.get_subscription_count() == 2, "the vehicle node and the client on /diagnostics")
    stack.spin_for(0.2)
    heard = stack.client.t
    for node in ("/controller", "/other/controller", "/sim"):
        told = Event(heard, Severity.WARN, "filter_fallback", f"by {node}", {"controller": "mine"})
        publisher.publish(messages.event_message(told, node))
    stack.spin_for(0.3)
    events = [event for event in stack.record().events if event.name == "filter_fallback"]
    assert [event.message for event in events] == ["by /controller"]
    assert (events[0].severity, events[0].values) == (Severity.WARN, {"controller": "mine"})
    assert events[0].t == pytest.approx(heard, abs=1e-6)
