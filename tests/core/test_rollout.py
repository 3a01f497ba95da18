"""Rollouts: one step after the other, over whatever leading dimensions states, inputs and parameters have."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.rollout import rollout

A, B, C = np.array([[0.9, 0.1], [-0.2, 0.8]]), np.array([[0.0], [1.0]]), np.array([[0.5], [0.0]])


def step(x, u, p):
    return x @ A.T + u @ B.T + (np.zeros(1) if p is None else p) @ C.T


@pytest.mark.parametrize(
    ("start", "inputs", "parameters", "batch"),
    [
        ((), (), (), ()),
        ((), (4,), (), (4,)),
        ((3, 1), (4,), (), (3, 4)),
        ((), (), (5,), (5,)),
        ((4,), (), (3, 1), (3, 4)),
    ],
)
def test_each_of_a_batch_is_its_own_rollout(start, inputs, parameters, batch):
    rng = np.random.default_rng(1)
    x0, us, p = rng.normal(size=(*start, 2)), rng.normal(size=(*inputs, 6, 1)), rng.normal(size=(*parameters, 1))
    found = rollout(step, x0, us, p)
    assert found.shape == (*batch, 7, 2)
    x = np.broadcast_to(x0, (*batch, 2))
    for t in range(6):
        np.testing.assert_allclose(found[..., t, :], x, rtol=1e-10)
        x = step(x, np.broadcast_to(us, (*batch, 6, 1))[..., t, :], np.broadcast_to(p, (*batch, 1)))
    np.testing.assert_allclose(found[..., 6, :], x, rtol=1e-10)


def test_no_steps_are_the_start():
    assert rollout(step, np.ones(2), np.zeros((3, 0, 1))).shape == (3, 1, 2)
    np.testing.assert_array_equal(rollout(step, np.ones(2), np.zeros((0, 1))), np.ones((1, 2)))
