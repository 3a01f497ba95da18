"""Plans to descend from: allowed, different, and points of the program; a search that has them ends no higher."""

from __future__ import annotations

import numpy as np
import pytest
from mip_toys import VALUES, case, walled

pytest.importorskip("highspy")

from controllers.planning.mip import neighbours
from controllers.planning.mip.neighbours import Neighbourhood, spread_plans
from controllers.planning.mip.planner import MipPlanner
from controllers.planning.mip.solve import solve
from controllers.planning.problem import TOLERANCE
from controllers.planning.rollout import BatchedRollout


@pytest.mark.parametrize("seed", range(3))
def test_spread_plans_are_allowed_differ_and_begin_with_the_cheapest(seed):
    problem, x0, goal, before = walled(seed, horizon=3, choices={"u0 [m]": VALUES})
    rng, rollout = np.random.default_rng(seed), BatchedRollout(problem.model)
    plans = np.array(spread_plans(problem, rollout, x0, goal, before, 500, rng))
    assert 1 < len(plans) <= neighbours.SPREAD
    assert np.array_equal(problem.limited(plans), plans)
    states = problem.model.rollout(x0, plans)
    assert problem.violation(states, plans).max() <= 2 * TOLERANCE  # single precision draws the line
    assert (np.diff(problem.cost(states, plans, goal, before)) >= -1e-5).all()
    width = problem.spec.input_upper - problem.spec.input_lower
    apart = np.abs((plans[:, None] - plans[None]) / width).mean((2, 3))
    assert apart[~np.eye(len(plans), dtype=bool)].min() > 0.2


def test_where_no_plan_is_allowed_there_is_none():
    problem, x0, goal, before = walled(0, horizon=2)
    (limit,) = problem.constraints
    limit.upper[:] = -1e3
    assert not spread_plans(
        problem, BatchedRollout(problem.model), x0, goal, before, 100, np.random.default_rng(0)
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_are_feasible_points_that_cost_what_their_rollout_costs(seed):
    problem, x0, goal, before = walled(seed, horizon=3)
    planner, rng = MipPlanner(problem), np.random.default_rng(seed)
    milp = planner.program(x0, goal, before)
    around = Neighbourhood(planner.encoding, x0, goal, before, rounds=1)
    plan = planner.sampled(x0, goal, None, before)[0]
    found = [point for k in range(12) if (point := around.near(plan.ravel(), k, rng)) is not None]
    assert found
    for point in found:
        inputs = point[milp.inputs].reshape(plan.shape)
        assert (inputs != plan).any(1).sum() <= problem.horizon
        cost = problem.cost(problem.model.rollout(x0, inputs), inputs, goal, before)
        assert milp.cost @ point == pytest.approx(cost, abs=1e-9)
        assert (point >= milp.column_lower - 1e-9).all() and (point <= milp.column_upper + 1e-9).all()


def test_more_neighbours_never_end_higher_and_no_time_for_them_is_none_at_all():
    lower = 0
    for seed in range(6):
        problem, x0, goal, before = case(seed, horizon=3, relus=8)
        planner = MipPlanner(problem)
        milp = planner.program(x0, goal, before)
        rest = np.zeros((3, 2))
        start = planner.encoding.point(problem.model.rollout(x0, rest), rest, goal, before)
        costs = []
        for rounds, seconds in ((0, np.inf), (30, np.inf), (30, -1.0)):
            best = [float(milp.cost @ start)]
            around = Neighbourhood(planner.encoding, x0, goal, before, rounds, seconds)
            solve(milp, [start], lambda i, best=best: best.append(i.objective), max_nodes=0, neighbourhood=around)
            costs.append(min(best))
        assert costs[1] <= costs[0] + 1e-9 <= costs[2] + 1e-6
        lower += costs[1] < costs[0] - 1e-6
    assert lower  # some of them were stuck


def test_draws_begin_anew_after_a_reset():
    problem, x0, goal, before = case(1, horizon=3)
    planner = MipPlanner(problem)
    first = np.array(planner.sampled(x0, goal, None, before))
    planner.reset()
    assert np.array_equal(first, np.array(planner.sampled(x0, goal, None, before)))
