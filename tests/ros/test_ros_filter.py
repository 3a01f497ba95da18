"""The filter in the controller node: a flight over ROS through walls, and what the node tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
