"""Plans that are flown with their tube: held to, renewed where one is found, and never left while the noise is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lipschitz_models import linear_model

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.tube import contracting_shape, tube
from controllers.tube_following import TubeFollower

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
K = np.array([[-8.0, -5.0]])
HORIZON, NOISE = 10, 0.01
MODEL = replace(linear_model(A, bend=0.05, activation="tanh"), matrix=np.hstack([A, B]))
SHAPE = contracting_shape(MODEL, K)
TUBE = tube(MODEL, K, SHAPE, NOISE)


def towards(x, y):
    """Inputs of a plan that moves the position to y."""
    u, found = x, []
    for _ in range(HORIZON):
        found.append(np.clip(K @ (u - [y[0], 0.0]), -1.0, 1.0))
        u = MODEL.step(u, found[-1])
    return np.array(found)


def test_the_state_stays_in_the_tube_of_whatever_plan_is_in_force():
    random = np.random.default_rng(0)
    failing = iter([False, True, True, False, False, True] * 20)
    follower = TubeFollower(MODEL, TUBE, lambda x, y: None if next(failing) else towards(x, y), HORIZON, every=3)
    x, used, old = np.array([-0.5, 0.0]), 0.0, 0
    for _ in range(100):
        before = follower.planned
        u = follower(x, np.array([0.3]))
        assert follower.deviation <= follower.radius * (1.0 + 1e-9) + 1e-12
        assert (follower.deviation == 0.0) is (follower.planned > before)
        used = max(used, follower.deviation / max(follower.radius, NOISE))
        old = max(old, follower.radius)
        push = random.standard_normal(2)
        x = MODEL.step(x, u) + NOISE * np.linalg.solve(SHAPE, push / np.linalg.norm(push))
    assert follower.kept > 10 and follower.lost == 0
    assert used > 0.3 and old == pytest.approx(TUBE.radii(HORIZON)[8])  # a plan went on for two more turns
    assert abs(x[0] - 0.3) < 0.1


def test_without_noise_the_plan_is_flown_as_it_is_and_its_end_is_told():
    plans = iter([towards(np.zeros(2), [0.5])])
    follower = TubeFollower(MODEL, TUBE, lambda x, y: next(plans, None), HORIZON, every=HORIZON)
    x, inputs = np.zeros(2), []
    for _ in range(HORIZON):
        inputs.append(follower(x, np.array([0.5])))
        x = MODEL.step(x, inputs[-1])
        assert follower.lost == 0
    np.testing.assert_allclose(inputs, towards(np.zeros(2), [0.5]), atol=1e-12)
    follower(x, np.array([0.5]))
    assert (follower.planned, follower.kept, follower.lost) == (1, 1, 1)


def test_no_plan_at_all_another_model_and_plans_that_leave_the_region_are_refused():
    with pytest.raises(InvalidInput, match="there is no plan from here"):
        TubeFollower(MODEL, TUBE, lambda x, y: None, HORIZON)(np.zeros(2), np.zeros(1))
    with pytest.raises(InvalidInput, match="of another model"):
        TubeFollower(replace(MODEL, matrix=0.9 * MODEL.matrix), TUBE, towards, HORIZON)
    with pytest.raises(InvalidInput, match="plans of 10 steps cannot be due every 11"):
        TubeFollower(MODEL, TUBE, towards, HORIZON, 11)
    local = tube(MODEL, K, SHAPE, NOISE, Box([-0.3, -2.0, -2.0], [0.3, 2.0, 2.0]))
    follower = TubeFollower(MODEL, local, towards, HORIZON)
    follower(np.zeros(2), np.array([0.1]))
    follower(np.zeros(2), np.array([0.6]))  # leads out of the box: the last plan goes on
    assert (follower.planned, follower.kept) == (1, 1)
