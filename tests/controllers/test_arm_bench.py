"""What ``bench arm`` makes of runs, on errors whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.arm import LEARNED, WINDOW, groups, interval, recovery, rows_of, scores
from benchmarks.arm_runs import RIVALS, Run
from control_stack.errors import InvalidInput


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
    low, high = interval(values)
    assert low < values.mean() < high < values.max()


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


def test_a_missing_model_is_said_before_anything_runs() -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        groups(["nowhere.safetensors"])
