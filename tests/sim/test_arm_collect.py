"""Collecting from an arm: the same data however often it is stopped, truth that obeys the model, loads it can carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pybullet")

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.cli.main import main
from control_stack.learning.data import load
from control_stack.learning.lagrangian.features import periods
from control_stack.learning.lagrangian.labels import read_labels
from sim.arm import collect as collecting

STEPS = 160  # the shortest reference takes 3 s


def command(out: Path, *more: str) -> list[str]:
    words = ["collect", "arm", "--arm", "planar", "--episodes", "2", "--steps", str(STEPS), "--seed", "4"]
    return [*words, "--out", str(out), *more]


def test_what_was_stopped_goes_on_to_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "PART", 1)
    real, calls = collecting.episode, []

    def interrupted(*arguments):  # type: ignore[no-untyped-def]
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    assert main(command(tmp_path / "whole")) == 0
    monkeypatch.setattr(collecting, "episode", interrupted)
    assert main(command(tmp_path / "stopped")) == 130
    monkeypatch.setattr(collecting, "episode", real)
    assert main(command(tmp_path / "stopped")) == 0
    whole, stopped = load(tmp_path / "whole"), load(tmp_path / "stopped")
    np.testing.assert_array_equal(whole.states, stopped.states)
    np.testing.assert_array_equal(whole.inputs, stopped.inputs)
    assert not (tmp_path / "stopped" / "parts").exists()
    assert (tmp_path / "whole" / "picture.png").stat().st_size > 5000


def test_the_stored_truth_obeys_the_model_with_its_labels() -> None:
    arm = load_arm("planar")
    for number in range(2):
        episode = collecting.episode(arm, 4, number, STEPS)
        seen = periods(episode.states, episode.inputs, 1.0 / collecting.RATE_HZ)
        true = ArmDynamics(arm.with_friction_scaled(episode.friction), 1.0)
        error = seen.torque - true.inverse(seen.q, seen.qd, seen.qdd, episode.load)
        own = seen.torque - ArmDynamics(arm, 1.0).inverse(seen.q, seen.qd, seen.qdd)
        assert np.sqrt(np.square(error).mean()) < 0.1 * np.sqrt(np.square(own).mean())
        assert (np.abs(episode.inputs) <= arm.torque_limit).all()
        low, high = collecting.FRICTION
        assert (episode.friction >= low).all() and (episode.friction <= high).all()


def test_labels_lie_beside_the_data(tmp_path: Path) -> None:
    assert main(command(tmp_path)) == 0
    data = load(tmp_path)
    labels = read_labels(tmp_path, data, 2)
    assert labels is not None and labels.load.shape == (2, STEPS, 10)
    changes = np.abs(np.diff(labels.load, axis=1)).max(-1) > 0.0
    assert data.card["stretches"] == changes.sum() + 2
    assert data.card["sensors"]["velocity_std"] > 0.0 and data.spec.dt == 0.02


def test_bad_orders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, reason in (
        (["--arm", "nosuch"], "unknown arm"),
        (["--steps", "50"], "150 steps"),
        (["--episodes", "0"], "--episodes"),
        (["--workers", "0"], "--workers"),
    ):
        assert main(command(tmp_path / more[1], *more)) == 2
        assert reason in capsys.readouterr().err
    assert main(["collect", "piecewise", "--arm", "panda", "--out", str(tmp_path / "p")]) == 2
    assert "--arm" in capsys.readouterr().err
