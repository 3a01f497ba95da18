"""Logs as data sets: by stamps and names, whatever else is in the file; what would spoil a training is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from control_stack.artefacts.log import FlightLog
from control_stack.errors import InvalidInput
from control_stack.learning.data import load

RNG = np.random.default_rng(0)
X, U = RNG.standard_normal((9, 2)), RNG.standard_normal((8, 1))
NAMES, INPUTS, DT = ["position [m]", "velocity [m/s]"], ["force [N]"], 0.05


def written(path: Path, x=X, u=U, *, t=None, lag: float = 0.0, names=NAMES, prefix: str = "") -> Path:
    """A log with states at t and commands ``lag`` s later."""
    t = DT * np.arange(len(x)) if t is None else t
    with FlightLog(path) as log:
        log.clock(0.0)
        for k, row in enumerate(x):
            log.joints(f"{prefix}joint_states", t[k], names, position=row, frame="map")
            if k < len(u):
                log.joints(f"{prefix}actuators/command", t[k] + lag, INPUTS, effort=u[k], frame="inputs")
    return path


def test_states_and_inputs_come_back(tmp_path):
    data = load(written(tmp_path / "a.mcap", prefix="robot/"))
    np.testing.assert_array_equal(data.states[0], X)
    np.testing.assert_array_equal(data.inputs[0], U)
    assert data.spec.state == tuple(NAMES) and data.spec.inputs == tuple(INPUTS) and data.spec.dt == DT


def test_a_command_holds_until_the_next_and_states_before_the_first_are_left_out(tmp_path):
    data = load(written(tmp_path / "a.mcap", lag=0.01))
    np.testing.assert_array_equal(data.states[0], X[1:])
    np.testing.assert_array_equal(data.inputs[0], U[:-1])


def test_a_folder_of_logs_is_as_many_episodes(tmp_path):
    for k in range(3):
        (tmp_path / f"run{k}").mkdir()
        written(tmp_path / f"run{k}" / "push.mcap", X[: 9 - k] + k, U[: 8 - k])
    data = load(tmp_path)
    assert data.lengths.tolist() == [8, 7, 6]
    np.testing.assert_array_equal(data.states[2, :7], X[:7] + 2)


def test_names_without_a_unit_get_that_of_a_joint(tmp_path):
    data = load(written(tmp_path / "a.mcap", names=["elbow", "wrist [rad]"]))
    assert data.spec.state == ("elbow [m|rad]", "wrist [rad]")


def test_a_log_that_was_cut_is_read_up_to_the_cut(tmp_path):
    path = written(tmp_path / "a.mcap", *(np.tile(values, (60, 1)) + RNG.standard_normal((60 * len(values), 1))
                                          for values in (X, U)))  # fmt: skip
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    data = load(path)
    assert 10 < data.steps < 9 * 60


def mixed(path):
    return written(path, t=np.array([0, 1, 2, 3, 4.5, 5, 6, 7, 8]) * DT)


def hollow(path):
    x = X.copy()
    x[4, 1] = np.nan
    return written(path, x)


def constant(path):
    return written(path, np.hstack([X[:, :1], np.ones((9, 1))]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (mixed, r"0\.225 s: mixed sample times"),
        (hollow, r"position of 'velocity \[m/s\]' is nan at 0\.200 s"),
        (constant, r"velocity \[m/s\] has the same value everywhere"),
        (lambda path: written(path, u=U[:0]), "0 JointState topics 'actuators/command'"),
        (lambda path: written(path, lag=1.0), "no two states after the first command"),
    ],
)
def test_logs_that_would_spoil_a_training_are_refused(tmp_path, make, message):
    with pytest.raises(InvalidInput, match=message):
        load(make(tmp_path / "a.mcap"))


def test_logs_of_different_robots_are_refused(tmp_path):
    written(tmp_path / "a.mcap")
    written(tmp_path / "b.mcap", names=["angle [rad]", "rate [rad/s]"])
    with pytest.raises(InvalidInput, match=r"b\.mcap: columns angle"):
        load(tmp_path)


def test_no_log_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="cannot read"):
        load(tmp_path / "none.mcap")
    (tmp_path / "text.mcap").write_text("hello")
    with pytest.raises(InvalidInput, match="is not an MCAP log"):
        load(tmp_path / "text.mcap")


def test_data_without_a_task_is_given_one(tmp_path):
    data = load(written(tmp_path / "a.mcap"))
    spec = data.task("cart", {"position [m]": 2.0})
    assert spec.task == "cart" and spec.output_names == ("position [m]",) and spec.dt == DT
    np.testing.assert_array_equal(X @ spec.outputs.T, X[:, :1])
    np.testing.assert_allclose(spec.input_lower, U.min(axis=0))
    reach = np.ptp(X, axis=0)
    np.testing.assert_allclose(spec.state_upper - spec.state_lower, 2.0 * reach)
    np.testing.assert_allclose(spec.cost(X[0], goal_of(X[0, :1] + 0.5)), 1.0)
    for weights in ({}, {"height [m]": 1.0}):
        with pytest.raises(InvalidInput, match=r"position \[m\], velocity"):
            data.task("cart", weights)


def goal_of(target):
    from control_stack.learning.spec import Goal

    return Goal(target, np.ones(1), np.zeros(1))
