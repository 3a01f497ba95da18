"""docs/lagrangian.md: its program runs, its tables name what exists, and its figures are the shipped card's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from control_stack.learning.lagrangian import LagrangianDynamics, load
from control_stack.learning.lagrangian.structures import STRUCTURES
from control_stack.learning.shipped import arm_model
from control_stack.types import ArmState, JointCommand

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lagrangian.md").read_text(encoding="utf-8")


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("casadi")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(program, "lagrangian.md", "exec"), {})
    assert "lagrangian_inverse" in capsys.readouterr().out


def test_tables_name_methods_and_structures_that_exist() -> None:
    first, second = PAGE.split("## What is learned")
    for cell in re.findall(r"^\| (`.*?) \|", first, re.M):
        for name in re.findall(r"`(\w+)[(`]", cell):
            assert hasattr(LagrangianDynamics, name), name
    assert set(re.findall(r"^\| `(\w+)` \|", second.split("\n## ")[0], re.M)) == set(STRUCTURES)


def test_the_figures_are_those_of_the_shipped_card() -> None:
    card = json.loads(arm_model("panda").with_suffix(".json").read_text(encoding="utf-8"))
    found, data = card["figures"]["test"], card["training"]["data"]
    section = PAGE.split("## What the shipped model saw")[1]
    for text, key in (("torques", "torque_share"), ("mass matrix", "mass_share"), ("accelerations", "qdd_rmse")):
        (row,) = re.findall(rf"^\| {text}[^|]*\| ([\d.]+)[^|]*\| ([\d.]+)[^|]*\|$", section, re.M)
        for told, who in zip(row, ("nominal", "model"), strict=True):
            assert float(told) == pytest.approx(found[who][key], rel=0.02)
    assert f"{data['loads']} loads" in section and f"{data['of_these_trained_on']} of {data['episodes']}" in section


def test_the_shipped_model_rests_at_the_nominal_arm_and_its_estimator_runs() -> None:
    model = load(arm_model("panda"))
    estimator, home = model.estimator(), model.arm.home
    torque = JointCommand(model.inverse(home, 0.0 * home, 0.0 * home))
    for k in range(60):
        p, std = estimator.update(0.02 * k, ArmState(home, 0.0 * home), torque)
    held = model.inverse(home, 0.0 * home, 0.0 * home, p)
    np.testing.assert_allclose(held, torque.effort, atol=0.05)  # no load is there, and none is found
    assert std.min() < 0.3 and arm_model("panda").stat().st_size < 300_000
