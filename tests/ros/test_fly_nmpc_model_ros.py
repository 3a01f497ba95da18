"""A learned residual with its estimator flies over ROS as it flies in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from residual_toys import drag_network

from control_stack.learning.residual_file import save_residual
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel

OPTIONS = (
    "--vehicle", "x500", "--controller", "nmpc", "--backend", "analytic", "--trajectory", "hover:duration=2",
    "--wind", "4,-2,0", "--air", "full",
)  # fmt: skip


def flown(out: Path, domain: str, *options: str) -> dict:
    command = [sys.executable, "-m", "control_stack.cli", "fly", "--out", str(out), *OPTIONS, *options]
    env = {**os.environ, "ROS_DOMAIN_ID": domain}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "summary.json").read_text())


@pytest.mark.slow
def test_over_ros_the_model_is_flown_as_in_one_process(tmp_path: Path, domain: str) -> None:
    folder = tmp_path / "fit"
    folder.mkdir()
    training = {"command": "", "seed": 0, "git_revision": "", "wall_time_s": 1.0, "hardware": {}}
    save_residual(
        folder / "model.safetensors", drag_network(0.04), load_vehicle("x500"), CommandLevel.CTBR,
        logs=[], training=training, figures={},
    )  # fmt: skip
    ros = flown(tmp_path / "ros", domain, "--model", str(folder))
    alone = flown(tmp_path / "alone", domain, "--model", str(folder), "--no-ros")
    blown = flown(tmp_path / "blown", domain, "--model", str(folder), "--estimator", "none", "--no-ros")
    assert ros["ros"] and not alone["ros"] and ros["rejections"] == {}
    assert ros["controller"] == alone["controller"] and ros["level"] == alone["level"] == "ctbr"
    for key in ("position_rmse_m", "position_max_error_m"):
        assert ros[key] == pytest.approx(alone[key], abs=2e-5)
    assert alone["position_rmse_m"] < 0.5 * blown["position_rmse_m"]  # what the observer needs to settle included
