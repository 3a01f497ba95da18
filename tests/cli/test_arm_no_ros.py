"""``control-stack arm --no-ros``: what a run leaves, what a load costs, and bad input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from control_stack.artefacts.joints import read_joints, topic_in
from control_stack.learning.shipped import arm_model

pytest.importorskip("pybullet")
SHORT = ("arm", "--no-ros", "--duration", "4", "--seed", "3")


@pytest.fixture
def arm(run: Callable, tmp_path: Path) -> Callable:
    """arm(*options) in process, 4 s."""

    def call(*options: str, out: str = "run"):
        done = run(*SHORT, "--out", str(tmp_path / out), *options)
        done.folder = tmp_path / out
        return done

    return call


def test_a_run_leaves_a_folder_whose_log_holds_what_a_fit_needs(arm: Callable) -> None:
    done = arm("--load", "2,0.05,0,0.1", "--drop", "2", "--model", "oracle")
    assert done.code == 0, done.err
    assert sorted(path.name for path in done.folder.iterdir()) == ["arm.mcap", "arm.png", "config.yaml", "summary.json"]
    summary = done.summary
    assert summary["completed"] and summary["statuses"] == {"ok": 200} and summary["flange_rmse_m"] < 0.01
    log = read_joints(done.folder / "arm.mcap")
    names = [f"panda_joint{k + 1}" for k in range(7)]
    states, commands = topic_in(log, "joint_states", "log"), topic_in(log, "actuators/command", "log")
    assert states.columns("position", names).shape == (201, 7) == states.columns("effort", names).shape
    assert commands.columns("effort", names).shape == (200, 7)
    np.testing.assert_allclose(np.diff(states.t), 0.02, atol=1e-9)
    # A fixed delay of a period: the command for the state at t begins to act at the next one.
    np.testing.assert_allclose(commands.t, states.t[1:], atol=1e-9)
    load = topic_in(log, "load", "log")
    np.testing.assert_allclose(load.t, [0.0, 2.0])
    np.testing.assert_allclose(load.fields["position"]["load.mass [kg]"], [2.0, 0.0])


def test_equal_seeds_give_equal_runs_and_the_tolerance_decides_the_exit_code(arm: Callable) -> None:
    options = ("--load", "3,0.05,0,0.1")
    one, two = arm(*options), arm(*options, "--tolerance", "0.001", out="again")
    assert one.summary["flange_rmse_m"] == two.summary["flange_rmse_m"] > 0.01
    assert one.code == int(one.summary["flange_rmse_m"] > 0.1)
    assert two.code == 1 and two.err == "failed: the flange's RMS error is above --tolerance 0.001 m\n"


def test_the_model_that_ships_has_a_name_and_a_fit_is_named_by_its_folder(arm: Callable, tmp_path: Path) -> None:
    shipped, fit = arm_model("panda"), tmp_path / "fit"
    fit.mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped.with_suffix(suffix), fit / f"model{suffix}")
    options = ("--load", "2,0.05,0,0.1")
    by_name, by_folder = (
        arm("--model", model, *options, out=out) for model, out in (("learned", "a"), (str(fit), "b"))
    )
    assert by_name.code == by_folder.code == 0, by_name.err + by_folder.err
    assert by_name.summary["flange_rmse_m"] == by_folder.summary["flange_rmse_m"] < 0.02
    assert by_name.summary["model"] == "learned" and by_folder.summary["model"] == str(fit)
    assert arm("--model", "learned", "--arm", "planar", out="c").code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "nowhere.safetensors"), "unknown arm model"),
        (("--controller", "pid"), "unknown arm controller"),
        (("--estimator", "guess"), "unknown estimator"),
        (("--load", "two"), "a load is MASS or MASS,X,Y,Z"),
        (("--load=-1",), "mass must not be negative"),
        (("--swap", "2"), "a change of load is T:MASS"),
        (("--swap", "9:1"), "comes after the reference's end"),
        (("--drop", "nan"), "--drop must be from"),
        (("--friction", "1000"), "--friction must be from"),
        (("--arm", "elephant"), "elephant"),
        (("--realtime",), "--realtime needs ROS"),
        (("--duration", "1"), "--duration must be from"),
        (("--settings", "nothing.json"), "cannot read the settings"),
        (("--seed", "-3"), "--seed must be from"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arm: Callable, options: tuple[str, ...], said: str) -> None:
    done = arm(*options)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1 and not done.folder.exists()


@pytest.mark.slow  # 2000 references are tried
def test_a_load_that_the_arm_cannot_carry_is_said_in_one_line(arm: Callable) -> None:
    done = arm("--load", "40")
    assert done.code == 2 and "torque limits" in done.err and done.err.count("\n") == 1
    assert not done.folder.exists()
