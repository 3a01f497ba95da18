"""Beside a clone called control_stack, as it is after git clone, scripts find the installed package's data."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def installed() -> bool:
    try:
        importlib.metadata.distribution("control-stack")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not installed(), reason="control-stack is not installed")
def test_scripts_in_the_folder_above_a_clone_find_vehicles_and_weights(tmp_path: Path) -> None:
    (tmp_path / "control_stack").symlink_to(ROOT)
    code = (
        "from control_stack.quadrotor.parameters import load_vehicle; from control_stack.foundation import weights\n"
        "print(load_vehicle('crazyflie').name, weights.shipped_path().is_file())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split()[-1:] == ["True"], done.stderr
