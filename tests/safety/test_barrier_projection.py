"""The nearest admissible thrust vector: in closed form, by DAQP, and by brute force, which knows neither."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from control_stack.safety.barrier.projection import project, solve

pytest.importorskip("daqp")


def _brute_force(wanted, rows, limits):
    """The nearest of all points where up to three rows are active, among those that keep every row."""
    best = None
    for count in range(4):
        for active in combinations(range(len(rows)), count):
            a = rows[list(active)]
            step = np.linalg.lstsq(a, limits[list(active)] - a @ wanted, rcond=None)[0] if count else np.zeros(3)
            point = wanted + step
            keeps = (rows @ point - limits).max() < 1e-7
            if keeps and (best is None or np.linalg.norm(point - wanted) < np.linalg.norm(best - wanted)):
                best = point
    return best


def test_one_broken_row_has_the_answer_of_the_solver_in_closed_form():
    rng, closed = np.random.default_rng(0), 0
    for _ in range(200):
        rows, wanted = rng.normal(size=(6, 3)), rng.normal(size=3)
        limits = rows @ wanted + rng.uniform(0.5, 2.0, 6)
        limits[2] = rows[2] @ wanted - rng.uniform(0.1, 1.0)
        found = project(wanted, rows, limits)
        closed += found.closed_form
        if found.vector is None:
            assert _brute_force(wanted, rows, limits) is None
        else:
            np.testing.assert_allclose(found.vector, solve(wanted, rows, limits), atol=1e-6)
    assert closed > 100


def test_many_broken_rows_have_the_answer_of_brute_force():
    rng, several = np.random.default_rng(1), 0
    for _ in range(100):
        rows = rng.normal(size=(9, 3))
        inside = rng.normal(size=3)
        limits = rows @ inside + rng.uniform(0.05, 0.5, 9)
        wanted = inside + rng.normal(size=3) * 3.0
        found = project(wanted, rows, limits)
        several += not found.closed_form
        assert (rows @ found.vector - limits).max() < 1e-6
        np.testing.assert_allclose(found.vector, _brute_force(wanted, rows, limits), atol=1e-5)
    assert several > 30


def test_what_is_admissible_comes_back_as_it_is():
    wanted = np.array([0.1, -0.2, 9.9])
    assert project(wanted, np.eye(3), np.full(3, 20.0)).vector is wanted


def test_rows_that_contradict_each_other_have_no_answer():
    rows = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    assert project(np.zeros(3), rows, np.array([-1.0, -1.0])).vector is None
    # One broken row alone, with nothing in it that could be changed.
    assert project(np.zeros(3), np.zeros((1, 3)), np.array([-1.0])).vector is None
