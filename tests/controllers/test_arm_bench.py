"""What ``bench arm`` makes of runs, on errors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import arm_runs
from benchmarks.arm import groups, health_rows, rows_of
from benchmarks.arm_models import LEARNED, chosen, contenders, identity, parity, presence
from benchmarks.arm_runs import RIVALS, Contender, Run, Runs, carry_out
from benchmarks.arm_statistics import WINDOW, recovery, scores
from benchmarks.paired import estimate
from control_stack.errors import InputRejected, InvalidInput
from control_stack.types import JointCommand


def test_recovery_is_the_end_of_the_first_window_that_is_near_the_settled_run() -> None:
    settled, changed = np.full((2, 200), 1.0), np.full((2, 200), 1.0)
    changed[:, 100:130] = 10.0
    changed[1, 100:] = 10.0  # never
    found = recovery(changed, settled, 100, 200)
    # One step of 10 among 25 makes an RMS of 2.2: none may be left in the window.
    assert found[0] == pytest.approx(0.02 * (30 + WINDOW)) and found[1] >= 0.02 * 100
    assert recovery(settled, settled, 100, 200)[0] == pytest.approx(0.02 * WINDOW)


def test_scores_are_of_the_part_asked_for_and_the_interval_holds_the_mean() -> None:
    error = np.concatenate([np.full((3, 50), 0.001), np.full((3, 50), 0.003)], axis=1)
    np.testing.assert_allclose(scores({"x": error}, 0.5, 1.0)["x"], 3.0)
    values = np.random.default_rng(0).uniform(1.0, 2.0, (3, 30))
    mean, (low, high) = estimate(lambda m: m["x"], {"x": values})
    assert mean == pytest.approx(values.mean()) and low < mean < high < values.max()


def test_a_ratio_of_runs_on_the_same_loads_is_as_certain_as_it_is_the_same() -> None:
    """Loads differ much, and all controllers meet the same ones."""
    peer = np.random.default_rng(0).uniform(1.0, 20.0, 30)
    ratio, (low, high) = estimate(lambda m: m["own"] / m["peer"], {"own": 0.5 * peer[None], "peer": peer})
    assert ratio == pytest.approx(0.5) and low == pytest.approx(0.5) and high == pytest.approx(0.5)
    seeds = np.array([[0.3], [0.5], [0.7]]) * peer  # models of three seeds that differ
    ratio, (low, high) = estimate(lambda m: m["own"] / m["peer"], {"own": seeds, "peer": peer})
    assert ratio == pytest.approx(0.5) and low < 0.4 and high > 0.6


def test_the_learned_model_is_held_to_the_issue() -> None:
    found = {"nominal": np.full(4, 10.0), "oracle": np.full(4, 1.0), "payload EKF": np.full(4, 2.0)}
    rows = {row.metric: row for row in rows_of("steady", {**found, LEARNED: np.full((3, 4), 2.0)}, steady=True)}
    assert rows["below nominal"].value == pytest.approx(80.0) and rows["below nominal"].holds
    assert rows["gap to oracle closed"].value == pytest.approx(100.0 * 8.0 / 9.0) and rows["gap to oracle closed"].holds
    assert rows["error over payload EKF's"].value == pytest.approx(1.0)
    (last,) = [row for row in rows_of("drop", {**found, LEARNED: np.full((3, 4), 2.5)}) if row.target]
    assert last.value == pytest.approx(1.25) and not last.holds


def test_runs_are_stored_under_all_that_makes_them() -> None:
    keys = {Run(c, kind, k, 0).key for c in RIVALS for kind in ("steady", "changes") for k in range(3)}
    assert len(keys) == len(RIVALS) * 2 * 3


class Failing:
    """A controller that has no answer now and then, and then a state that is no number."""

    last_duration, counts = 0.001, {"ok": 7, "shifted": 2, "safe": 1}

    def __init__(self) -> None:
        self.calls = 0

    def reset(self) -> None:
        self.calls = 0

    def __call__(self, t, state, reference):
        self.calls += 1
        if self.calls % 2:
            raise InputRejected("nan", "the model's")
        return JointCommand(np.array([1e3] + [0.0] * 6))


def test_a_run_whose_controller_fails_ends_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pybullet")
    monkeypatch.setattr(arm_runs, "_kept", lambda contender: Failing())
    found = carry_out(Run(Contender("nominal"), "steady", 0, 0, 4.0))
    assert found["calls"] == 200 and found["refused"] == 100 and len(found["error"]) == 200
    assert np.isfinite(found["error"]).all() and found["saturation"] == [1.0] + [0.0] * 6
    rows = {row.metric.partition(",")[0]: row.value for row in health_rows("steady", {"x": [[found]]})}
    assert rows == {"commands at a torque limit": 100.0, "fallbacks: plan before": 51.5}


def test_an_oracle_is_told_of_friction_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pybullet")
    made = []

    def note(arm, controller, model, *more, **named):
        made.append((model, arm.friction.amplitude[0]))
        raise StopIteration

    monkeypatch.setattr(arm_runs, "make_controller", note)
    arm_runs._kept.cache_clear()
    for contender in RIVALS[:2]:
        with pytest.raises(StopIteration):
            carry_out(Run(contender, "strong friction", 0, 0, 4.0))
    own = arm_runs.load_arm("panda").friction.amplitude[0]
    assert made == [("nominal", own), ("oracle", pytest.approx(3.0 * own))]


def test_runs_are_carried_out_once_and_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    done = []
    monkeypatch.setattr(arm_runs, "carry_out", lambda run: done.append(run) or {"error": [float(run.number)]})
    wanted = [Run(RIVALS[0], "steady", k, 0) for k in range(3)]
    runs = Runs(tmp_path, workers=0)
    assert [r["error"] for r in runs(wanted)] == [[0.0], [1.0], [2.0]] == [r["error"] for r in runs(wanted)]
    assert Runs(tmp_path, workers=0)(wanted[1:])[0]["error"] == [1.0] and len(done) == 3


def test_models_are_counted_and_named_and_their_weights_make_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = chosen(None)
    rows = {row.metric: row for row in presence(shipped[:1])}
    assert rows["seeds of training"].value == 1.0 and not rows["seeds of training"].holds
    assert not rows["black boxes"].holds and "warning: 1 of 3 seeds" in capsys.readouterr().err
    assert [c.label for c in contenders(shipped[:1])] == [*(c.label for c in RIVALS), LEARNED]
    assert identity(shipped[:1]) != identity([]) and identity(None) == identity(shipped)


def test_torch_and_casadi_agree_on_the_model_that_ships() -> None:
    pytest.importorskip("torch")
    assert max(parity(chosen(None)[0], 0)) < 1e-6


def test_a_missing_model_is_said_before_anything_runs() -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        groups(["nowhere.safetensors"])
