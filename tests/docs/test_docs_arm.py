"""docs/arm.md: its programs run, and its tables name what exists."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import arm_names

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "arm.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_models_program_runs(capsys):
    exec(compile(PROGRAMS[0], "arm.md", "exec"), {})
    assert "[" in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("pybullet") is None, reason="pybullet is not installed")
def test_the_simulations_program_follows_its_reference(capsys):
    exec(compile(PROGRAMS[1], "arm.md", "exec"), {})
    error, saturation = capsys.readouterr().out.split(maxsplit=1)
    assert float(error) < 0.02 and np.array_equal(re.findall(r"[\d.]+", saturation), ["0."] * 7)


def test_tables_name_arms_and_methods_that_exist():
    sources = PAGE.split("## The model")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", sources, re.M)) == set(arm_names())
    from sim.arm.bullet import BulletArm

    for heading, owner in (("## The model", ArmDynamics), ("## The simulated arm", BulletArm)):
        section = PAGE.split(heading)[1].split("\n## ")[0]
        for cell in re.findall(r"^\| (`.*?) \|", section, re.M):
            for name in re.findall(r"`(\w+)[(`]", cell):
                assert hasattr(owner, name), name
