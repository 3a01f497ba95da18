"""``fly --controller nmpc`` with a learned residual and an estimator: flown, and refused where it does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from residual_toys import drag_network

from control_stack.learning.residual_file import save_residual
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel

HOVER = ("--trajectory", "hover:duration=1")
NMPC = ("--vehicle", "x500", "--controller", "nmpc", *HOVER)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "fit"
    folder.mkdir()
    training = {"command": "", "seed": 0, "git_revision": "", "wall_time_s": 1.0, "hardware": {}}
    save_residual(
        folder / "model.safetensors", drag_network(), load_vehicle("x500"), CommandLevel.CTBR,
        logs=[], training=training, figures={},
    )  # fmt: skip
    return folder


def test_it_flies_at_the_level_of_the_model_without_torch_and_observes_the_rest(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = [
        "fly",
        "--no-ros",
        "--backend",
        "analytic",
        *NMPC,
        "--model",
        "fit",
        "--wind",
        "3,0,0",
        "--out",
        str(out),
    ]
    code = f"import sys; sys.modules['torch'] = None; from control_stack.cli import main; sys.exit(main({options!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])})  # fmt: skip
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["controller"] == f"nmpc:model={model.resolve()}"
    summary = yaml.safe_load((out / "summary.json").read_text())
    assert summary["level"] == "ctbr" and summary["landed_upright"]
    assert summary["position_rmse_m"] < 0.03  # wind and all


def test_an_observer_alone_keeps_the_controllers_best_level(fly) -> None:
    done = fly(*NMPC, "--estimator", "force", "--wind", "3,0,0")
    assert done.code == 0 and done.summary["level"] == "rotors"
    assert done.summary["controller"] == "nmpc:estimator=force" and done.summary["position_rmse_m"] < 0.03


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vehicle", "crazyflie", "--controller", "nmpc", "--model", "fit"], "vehicle is 'x500'"),
        ([*NMPC, "--model", "fit", "--level", "rotors"], "was fitted at level 'ctbr'"),
        (["--vehicle", "x500", "--controller", "geometric", "--model", "fit"], "--model is for --controller nmpc"),
        (["--vehicle", "x500", "--controller", "lqr", "--estimator", "wind"], "--estimator is for --controller nmpc"),
        ([*NMPC, "--model", "nowhere"], "nowhere"),
        ([*NMPC, "--model", ""], "--model needs a folder"),
        ([*NMPC, "--estimator", "gusts"], "unknown estimator 'gusts'; expected one of: none, force, wind"),
        ([*NMPC, "--air", "thin"], "unknown model of the air 'thin'; expected one of: linear, full"),
    ],
)
def test_what_does_not_fit_is_one_line(fly, model: Path, options: list[str], said: str) -> None:
    done = fly(*options)
    assert done.code == 2 and done.err.startswith("error: ") and len(done.err.splitlines()) == 1
    assert said in done.err and not done.folder.exists()
