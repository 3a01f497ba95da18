"""Samplers: the optimum of what is convex, never worse than the start, equal budgets, limits, choices, constraints."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sampling_toys import STEP, goal_at, least_cost, point, random_net

from control_stack.errors import InvalidInput, UnknownName
from controllers.planning import sampling
from controllers.planning.factory import SAMPLERS, make_planner, sampler
from controllers.planning.problem import TOLERANCE, InfeasibleStart, LinearConstraint, Obstacle, Problem
from controllers.planning.rollout import BatchedRollout

every = pytest.mark.parametrize("name", SAMPLERS)
X0 = np.zeros(2)
GOAL = goal_at(0.55, -0.35)


def made(name: str, problem: Problem, rollouts: int = 512, seed: int = 0, **changes):
    kind, settings = sampler(name)
    return kind(problem, replace(settings(), rollouts=rollouts, **changes.pop("settings", {})), seed, **changes)


@every
def test_the_optimum_of_a_convex_problem_is_found(name: str):
    goal = goal_at(0.35, -0.3)
    best = least_cost(X0, goal.target, 3)
    plan = made(name, Problem(point(), 3), 4000, settings={"iterations": 15}).plan(X0, goal)
    assert plan.status == "feasible" and best - 1e-9 <= plan.cost < 1.02 * best
    assert plan.start_cost == np.inf and plan.bound == -np.inf and plan.violation == 0.0


@every
@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_never_worse_than_its_start(name: str, seed: int):
    rng = np.random.default_rng(seed)
    problem = Problem(random_net(seed), 6, effort=np.full(2, 0.1), change=np.full(2, 0.1))
    planner = made(name, problem, 64)
    for _ in range(5):
        start, x0, before = rng.uniform(-STEP, STEP, (6, 2)), rng.uniform(-1.0, 1.0, 2), rng.uniform(-STEP, STEP, 2)
        plan = planner.plan(x0, GOAL, start, before)
        assert plan.start_cost == pytest.approx(problem.cost(problem.model.rollout(x0, start), start, GOAL, before))
        assert plan.cost <= plan.start_cost and (plan.status == "start") == (plan.cost == plan.start_cost)


@every
def test_the_best_start_comes_back_as_it_was(name: str):
    start = np.array([[STEP, -STEP], [STEP, -0.15], [0.15, 0.0], [0.0, 0.0]])
    plan = made(name, Problem(point(), 4)).plan(X0, GOAL, start)
    assert plan.status == "start" and plan.cost == pytest.approx(least_cost(X0, GOAL.target, 4))
    np.testing.assert_array_equal(plan.inputs, start)


@every
def test_equal_seeds_and_calls_give_equal_plans(name: str):
    problem = Problem(random_net(1), 5)

    def calls(planner) -> list:
        return [planner.plan(x, GOAL).inputs for x in np.random.default_rng(0).uniform(-1, 1, (3, 2))]

    one, other = made(name, problem, seed=7), made(name, problem, seed=7)
    first = calls(one)
    np.testing.assert_array_equal(first, calls(other))
    one.reset()
    np.testing.assert_array_equal(first, calls(one))
    assert not np.array_equal(first, calls(made(name, problem, seed=8)))


@every
@pytest.mark.parametrize("rollouts", [35, 100, 513])
def test_the_budget_is_spent_and_not_exceeded(name: str, rollouts: int):
    planner = made(name, Problem(random_net(0), 5), rollouts, proposals=lambda x, goal: np.zeros((3, 5, 2)))
    counted, honest = [], planner._rollout
    planner._rollout = lambda x0, inputs: counted.append(len(inputs)) or honest(x0, inputs)
    start = None
    for _ in range(3):  # later calls carry plans over
        counted.clear()
        start = planner.plan(X0, GOAL, start).inputs
        assert planner.rollouts == rollouts == sum(counted) + 3  # start, best and mean in float64


@every
def test_what_is_reported_is_the_rollout_in_double_precision(name: str):
    problem = Problem(random_net(3), 5, stage="quadratic", terminal=3.0)
    plan = made(name, problem).plan(X0, GOAL)
    states = problem.model.rollout(X0, plan.inputs)
    np.testing.assert_allclose(plan.states, states, atol=1e-13)
    assert plan.cost == pytest.approx(problem.cost(states, plan.inputs, GOAL), rel=1e-13)


def test_the_fast_rollout_is_the_models():
    model = random_net(2, units=20)
    inputs = np.random.default_rng(0).uniform(-STEP, STEP, (50, 6, 2))
    np.testing.assert_allclose(BatchedRollout(model)(X0, inputs), model.rollout(X0, inputs), rtol=1e-5, atol=1e-5)


@every
def test_torch_rolls_out_what_numpy_does_and_samplers_find_as_good_plans(name: str):
    pytest.importorskip("torch")
    model = random_net(2, units=20)
    inputs = np.random.default_rng(0).uniform(-STEP, STEP, (50, 6, 2))
    found = BatchedRollout(model, "cpu")(X0, inputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, BatchedRollout(model)(X0, inputs), rtol=1e-5, atol=1e-5)
    plans = [made(name, Problem(point(), 3), 2000, device=device).plan(X0, GOAL) for device in (None, "cpu")]
    assert plans[1].cost == pytest.approx(plans[0].cost, rel=1e-3)
    with pytest.raises(InvalidInput, match="no device 'abacus'"):
        made(name, Problem(point(), 3), device="abacus")


@every
def test_choices_are_kept_and_the_best_of_all_is_found(name: str):
    values = (-STEP, 0.0, 0.5 * STEP)
    problem = Problem(point(), 3, choices={"u0 [m]": values, "u1 [m]": (-STEP, STEP)})
    plan = made(name, problem, 2000, settings={"spread": 1.0}).plan(X0, GOAL)
    assert set(plan.inputs[:, 0]) <= set(values) and set(plan.inputs[:, 1]) <= {-STEP, STEP}
    costs = []
    for rows in itertools.product(itertools.product(values, (-STEP, STEP)), repeat=3):
        inputs = np.array(rows)
        costs.append(problem.cost(problem.model.rollout(X0, inputs), inputs, GOAL))
    assert plan.cost == pytest.approx(min(costs))


@every
def test_constraints_are_kept_where_the_best_plan_without_would_break_them(name: str):
    wall = LinearConstraint("wall", np.array([[1.0, 0.0]]), np.array([-np.inf]), np.array([0.3]))
    free, walled = Problem(point(), 5), Problem(point(), 5, constraints=[wall])
    settings = {"iterations": 12}
    loose, kept = (made(name, problem, 3000, settings=settings).plan(X0, GOAL) for problem in (free, walled))
    assert walled.violation(loose.states, loose.inputs) > 0.1
    assert kept.status == "feasible" and kept.violation <= TOLERANCE
    # Best is to stop at the wall: 0.25 too far from the goal in x from the second step on.
    assert kept.cost < 1.1 * (0.35 + 4 * 0.25 + least_cost(0.0, [-0.35], 5))


@every
def test_obstacles_are_passed_on_the_outside(name: str):
    box = Obstacle(
        "box", np.eye(2)[None], np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), np.array([0.3, -0.1, 0.1, 0.1])
    )
    plan = made(name, Problem(point(), 8, obstacles=[box]), 4000, settings={"iterations": 10}).plan(
        X0, goal_at(0.5, 0.0)
    )
    assert plan.status == "feasible" and plan.violation <= TOLERANCE
    assert (np.abs(plan.states[1:, 1]).max() > 0.09) and plan.states[-1, 0] > 0.35


@every
def test_a_constraint_that_cannot_be_kept_is_told(name: str):
    far = LinearConstraint("far", np.array([[1.0, 0.0]]), np.array([5.0]), np.array([np.inf]))
    plan = made(name, Problem(point(), 3, constraints=[far])).plan(X0, GOAL)
    assert plan.status == "infeasible" and plan.violation == pytest.approx(4.8, abs=0.05)


@every
def test_a_start_that_cannot_be_flown_is_refused_by_name(name: str):
    wall = LinearConstraint("wall", np.array([[1.0, 0.0]]), np.array([-np.inf]), np.array([0.3]))
    planner = made(name, Problem(point(), 3, constraints=[wall]))
    with pytest.raises(InfeasibleStart, match="'wall' at step 3"):
        planner.plan(X0, GOAL, np.full((3, 2), STEP))
    with pytest.raises(InvalidInput, match=r"u1 \[m\] = 0.3 at step 1"):
        planner.plan(X0, GOAL, np.array([[0.0, 0.0], [0.0, 0.3], [0.0, 0.0]]))


@every
@pytest.mark.parametrize("x0", [np.array([np.nan, 0.0]), np.zeros(3)])
def test_states_and_goals_that_cannot_be_meant_are_refused(name: str, x0):
    planner = made(name, Problem(point(), 3))
    with pytest.raises(InvalidInput, match="state of point"):
        planner.plan(x0, GOAL)
    with pytest.raises(InvalidInput, match="outside"):
        planner.plan(X0, goal_at(0.0, 9.0))


@every
def test_proposals_are_tried_and_checked(name: str):
    best = np.array([[STEP, -STEP], [STEP, -0.15], [0.15, 0.0], [0.0, 0.0]])
    problem = Problem(point(), 4)
    plan = made(name, problem, 35, proposals=lambda x, goal: best[None]).plan(X0, GOAL)
    assert plan.cost == pytest.approx(least_cost(X0, GOAL.target, 4)) and plan.status == "feasible"
    with pytest.raises(InvalidInput, match="proposals"):
        made(name, problem, proposals=lambda x, goal: best).plan(X0, GOAL)


@every
def test_a_critic_pulls_the_end_and_is_no_part_of_the_cost(name: str):
    problem = Problem(point(), 3)
    plan = made(name, problem, 2000, critic=lambda x, goal: 50.0 * np.abs(x[..., 0] + 0.4)).plan(X0, GOAL)
    assert plan.states[-1, 0] == pytest.approx(-0.4, abs=0.03)
    assert plan.cost == pytest.approx(problem.cost(plan.states, plan.inputs, GOAL))


@every
def test_a_deadline_is_filled_with_rounds_and_then_kept(name: str, monkeypatch: pytest.MonkeyPatch):
    """With a clock that goes on by 10 ms whenever it is read: two readings a round."""
    readings = itertools.count()
    monkeypatch.setattr(sampling.time, "perf_counter", lambda: 0.01 * next(readings))
    planner = made(name, Problem(point(), 4), 100)
    few = planner.plan(X0, GOAL, deadline=0.03)
    short = planner.rollouts
    many = planner.plan(X0, GOAL, deadline=1.0)
    assert few.solve_s < 0.06 and many.solve_s <= 1.0
    assert short < 100 < 900 < planner.rollouts and many.cost <= few.cost


def test_icem_tries_the_elites_of_the_last_call_a_step_later():
    problem = Problem(point(), 4)
    planner = made("icem", problem, 2000)
    first = planner.plan(X0, GOAL)
    carried = planner._inputs(planner._carried())
    assert len(carried) > 0
    assert np.abs(carried[0] - np.vstack([first.inputs[1:], first.inputs[-1:]])).max() < 1e-9
    planner.reset()
    assert len(planner._carried()) == 0


def test_unknown_names_and_settings_are_refused():
    problem = Problem(point(), 3)
    with pytest.raises(UnknownName, match="cem, icem, mppi"):
        make_planner("simplex", problem)
    with pytest.raises(InvalidInput, match="no 'temperature'"):
        make_planner("cem", problem, settings={"temperature": 1.0})
    with pytest.raises(InvalidInput, match="iterations must be int"):
        make_planner("cem", problem, settings={"iterations": 2.5})
    with pytest.raises(InvalidInput, match="rollouts"):
        make_planner("mppi", problem, settings={"rollouts": 10})
