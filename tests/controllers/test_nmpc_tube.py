"""Tube NMPC: plans leave room for what the tube says, and the loop then keeps what a plain plan would break."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lipschitz_models import linear_model
from nmpc_toys import pendulum_problem

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.tube import contracting_shape, tube

pytest.importorskip("casadi")
from controllers.nmpc.problem import Problem
from controllers.nmpc.solver import Nmpc, Settings
from controllers.nmpc.tube import with_tube

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]])
K = np.array([[-8.0, -5.0]])
WALL, HORIZON, NOISE = 1.0, 12, 0.01
ROWS, UPPER = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.array([WALL, 1.0, 1.0])


def problem(bend: float = 0.05) -> Problem:
    model = replace(linear_model(A, bend=bend, activation="tanh"), matrix=np.hstack([A, B]))
    return Problem(
        model, HORIZON, lambda x, u, p, y: x[0] - y[0], lambda x, p, y: 10.0 * (x[0] - y[0]), 1,
        np.array([-4.0]), np.array([4.0]), np.zeros(1), input_change=np.array([0.05]),
    )  # fmt: skip


def test_plans_give_way_by_the_margins_and_the_loop_keeps_the_wall():
    plain = problem()
    shape = contracting_shape(plain.model, K)
    found = tube(plain.model, K, shape, NOISE)
    robust = with_tube(plain, found, ROWS, UPPER)
    solver = Nmpc(robust.problem, lambda x, p: np.zeros(1), Settings("sqp"))
    wanted = robust.reference(np.full((HORIZON + 1, 1), 1.5))  # behind the wall
    x = np.array([0.8, 0.0])
    solution = solver.solve(x, wanted)
    assert solution.status == "ok"
    radii = found.radii(HORIZON)
    margins = found.state_margins(radii, ROWS)
    assert (solution.states[1:] @ ROWS.T + margins[1:] <= UPPER + 1e-6).all()
    effort = found.input_margins(radii, np.eye(1))[:-1]
    assert (np.abs(solution.inputs) + effort <= 4.0 + 1e-6).all()
    assert solution.states[-1, 0] > WALL - margins[-1, 0] - 0.02  # no more room than is needed
    random = np.random.default_rng(0)
    worst = -np.inf
    for _ in range(200):  # the plan is flown with its feedback against noise of the stated size, mostly to the wall
        state = x
        for k in range(HORIZON):
            u = robust.command(solution.inputs[k], solution.states[k], state)
            assert np.abs(u).max() <= 4.0 + 1e-6
            push = np.array([1.0, 0.3]) + random.standard_normal(2)
            state = plain.model.step(state, u) + NOISE * np.linalg.solve(shape, push / np.linalg.norm(push))
            assert np.linalg.norm(shape @ (state - solution.states[k + 1])) <= radii[k + 1] * (1.0 + 1e-9)
            worst = max(worst, state[0])
    assert worst <= WALL
    nominal = worst - solution.states[-1, 0]
    assert nominal > 0.0  # the noise does push beyond the plan: without margins it would cross


def test_what_cannot_be_made_robust_is_refused():
    plain = problem()
    shape = contracting_shape(plain.model, K)
    found = tube(plain.model, K, shape, NOISE)
    with pytest.raises(InvalidInput, match="a tube needs a model with a certificate, got Pendulum"):
        with_tube(pendulum_problem(), found, ROWS, UPPER)
    with pytest.raises(InvalidInput, match="do not fit 2 states"):
        with_tube(plain, found, np.eye(3), np.ones(3))
    with pytest.raises(InvalidInput, match=r"u0 \[N\] would have to give way"):
        with_tube(plain, tube(plain.model, K, shape, 50.0), ROWS, UPPER)
    with pytest.raises(InvalidInput, match="made of another model than the problem's"):
        with_tube(problem(bend=0.04), found, ROWS, UPPER)


def test_plans_keep_to_the_region_of_a_local_gamma_with_their_tube():
    plain = problem()
    shape = contracting_shape(plain.model, K)
    box = Box([-0.2, -0.6, -3.0], [0.6, 0.6, 3.0])
    found = tube(plain.model, K, shape, NOISE, box)
    robust = with_tube(plain, found, ROWS, UPPER)
    solver = Nmpc(robust.problem, lambda x, p: np.zeros(1), Settings("sqp"))
    solution = solver.solve(np.zeros(2), robust.reference(np.full((HORIZON + 1, 1), 1.5)))
    assert solution.status == "ok"
    radii = found.radii(HORIZON)
    found.check_region(solution.states + [1e-6, 0.0], solution.inputs, radii - 1e-6)
    assert solution.states[-1, 0] > 0.6 - found.state_margins(radii, ROWS)[-1, 0] - 0.02  # by the box
    with pytest.raises(InvalidInput, match="may leave the box"):
        found.check_region(solution.states + [0.05, 0.0], solution.inputs, radii)
