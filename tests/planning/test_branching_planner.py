"""Branch and bound finds the optimum, proves it, keeps its promises on the way, and refuses what cannot be meant."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mip_toys import VALUES, by_patterns, case, walled
from sampling_toys import goal_at, least_cost, point

torch = pytest.importorskip("torch")

from control_stack.errors import InvalidInput  # noqa: E402
from controllers.planning import branching, branching_tree  # noqa: E402
from controllers.planning.branching import BranchAndBound, Effort  # noqa: E402
from controllers.planning.mip.planner import MipPlanner  # noqa: E402
from controllers.planning.problem import (  # noqa: E402
    STAGE_COSTS,
    TOLERANCE,
    InfeasibleStart,
    LinearConstraint,
    Problem,
)

CHOICES = {"u0 [m]": VALUES, "u1 [m]": VALUES}


def checked(problem, plan, goal, before):
    """The plan is what it says it is."""
    states = problem.model.rollout(plan.states[0], plan.inputs)
    assert plan.cost == problem.cost(states, plan.inputs, goal, before)
    assert plan.bound <= plan.cost
    assert np.array_equal(problem.limited(plan.inputs), plan.inputs)
    return plan


@pytest.mark.parametrize("seed", range(8))
def test_optimum_is_that_of_all_patterns(seed):
    problem, x0, goal, before = case(seed)
    best = by_patterns(problem, x0, goal, before)
    plan = checked(problem, BranchAndBound(problem, max_nodes=None).plan(x0, goal, None, before), goal, before)
    assert plan.status == "optimal"
    assert plan.cost == pytest.approx(best, rel=2e-4, abs=1e-7)
    assert plan.bound <= best + 1e-9  # of the solver that tells the patterns' optimum


@pytest.mark.parametrize("nodes", [1, 4, 16, 64])
def test_cut_short_the_optimum_still_lies_between_bound_and_cost(nodes):
    for seed in range(2):
        problem, x0, goal, before = case(seed, relus=5)
        plan = BranchAndBound(problem, max_nodes=nodes, effort=Effort(boxes=2)).plan(x0, goal, None, before)
        best = by_patterns(problem, x0, goal, before)
        assert plan.bound - 1e-9 <= best <= plan.cost + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_choices_constraints_and_obstacles_give_the_optimum_of_enumeration(seed):
    problem, x0, goal, before = walled(seed, choices=CHOICES)
    plans = np.array(list(itertools.product(itertools.product(VALUES, VALUES), repeat=problem.horizon)))
    states = problem.model.rollout(x0, plans)
    kept = problem.violation(states, plans) <= TOLERANCE
    best = problem.cost(states, plans, goal, before)[kept].min(initial=np.inf)
    plan = checked(problem, BranchAndBound(problem, max_nodes=None).plan(x0, goal, None, before), goal, before)
    if np.isfinite(best):
        assert plan.status == "optimal" and plan.violation <= TOLERANCE
        assert plan.cost == pytest.approx(best, rel=1.01e-4)
    else:
        assert plan.status == "infeasible"


@pytest.mark.parametrize("seed", range(4))
def test_with_constraints_it_is_no_worse_than_mixed_integer_programming_and_bounds_it(seed):
    pytest.importorskip("highspy")
    problem, x0, goal, before = walled(seed)
    with MipPlanner(problem, max_nodes=None) as solver:
        exact = solver.plan(x0, goal, None, before)
    plan = checked(problem, BranchAndBound(problem, max_nodes=3000).plan(x0, goal, None, before), goal, before)
    assert plan.violation <= TOLERANCE
    assert plan.bound <= exact.cost
    assert plan.cost <= exact.cost * (1.0 + 1e-3) + 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_of_squares_no_sample_is_below_the_bound_and_none_much_below_the_plan(seed):
    problem, x0, goal, before = case(seed)
    problem = replace(problem, stage="quadratic")
    plan = checked(problem, BranchAndBound(problem, max_nodes=2000).plan(x0, goal, None, before), goal, before)
    points = np.random.default_rng(seed).uniform(-0.2, 0.2, (20_000, 2, 2))
    points[:5000] = np.clip(plan.inputs + 0.1 * (points[:5000]), -0.2, 0.2)
    sampled = problem.cost(problem.model.rollout(x0, points), points, goal, before).min()
    assert plan.bound <= sampled
    assert plan.cost <= sampled * (1.0 + 1e-4)
    assert plan.gap < 0.01


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), stage=st.sampled_from(STAGE_COSTS), nodes=st.sampled_from((1, 8, 40)))
def test_no_sample_of_any_problem_is_below_its_bound(seed, stage, nodes):
    problem, x0, goal, before = walled(seed, horizon=3, relus=6)
    problem = replace(problem, stage=stage)
    quick = Effort(samples=64, climbers=32, climbs=10, later_climbs=5, boxes=4)
    plan = checked(problem, BranchAndBound(problem, nodes, effort=quick).plan(x0, goal, None, before), goal, before)
    points = np.random.default_rng(seed).uniform(-0.2, 0.2, (4000, 3, 2))
    points[:2000] = np.clip(plan.inputs + 0.1 * points[:2000], -0.2, 0.2)
    states = problem.model.rollout(x0, points)
    kept = problem.violation(states, points) <= TOLERANCE
    assert plan.bound <= problem.cost(states, points, goal, before)[kept].min(initial=np.inf)
    assert plan.status != "infeasible" or not kept.any()


def test_a_model_without_relus_is_solved_at_the_root():
    problem = Problem(point(), 3)
    planner = BranchAndBound(problem)
    plan = planner.plan(np.zeros(2), goal_at(0.5, -0.3))
    assert plan.cost == pytest.approx(least_cost(np.zeros(2), (0.5, -0.3), 3), rel=1e-3)
    assert plan.status == "optimal"


@pytest.mark.parametrize("boxes", [1, 7, 64])
def test_the_result_does_not_depend_on_how_many_boxes_go_at_once(boxes):
    problem, x0, goal, before = case(11, horizon=2, relus=6)
    best = by_patterns(problem, x0, goal, before)
    plan = BranchAndBound(problem, max_nodes=None, effort=Effort(boxes=boxes)).plan(x0, goal, None, before)
    assert plan.status == "optimal"
    assert plan.cost == pytest.approx(best, rel=2e-4)


def test_equal_calls_give_equal_plans():
    problem, x0, goal, before = case(2)
    planner = BranchAndBound(problem, max_nodes=20)
    first, second = (planner.plan(x0, goal, None, before) for _ in range(2))
    assert np.array_equal(first.inputs, second.inputs) and first.bound == second.bound


def test_it_is_never_worse_than_its_start():
    for seed in range(4):
        problem, x0, goal, before = case(seed)
        best = BranchAndBound(problem, max_nodes=None).plan(x0, goal, None, before)
        weak = BranchAndBound(problem, max_nodes=1, effort=Effort(samples=8, climbers=4, climbs=1, followed=1))
        plan = weak.plan(x0, goal, best.inputs, before)
        assert plan.cost <= plan.start_cost == best.cost
        poor = np.full_like(best.inputs, 0.2)
        assert weak.plan(x0, goal, poor, before).cost <= weak.plan(x0, goal, poor, before).start_cost


def test_what_cannot_be_kept_is_called_infeasible():
    problem = Problem(point(), 2, constraints=(LinearConstraint("far", np.eye(2), np.ones(2), np.full(2, 2.0)),))
    plan = BranchAndBound(problem).plan(np.zeros(2), goal_at(0.0, 0.0))
    assert plan.status == "infeasible" and plan.violation > 0.5
    with pytest.raises(InfeasibleStart, match="far"):
        BranchAndBound(problem).plan(np.zeros(2), goal_at(0.0, 0.0), np.zeros((2, 2)))


class Clock:
    """Goes on by a step at each look."""

    def __init__(self, step: float):
        self.now, self.step = 100.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def test_no_round_begins_that_would_end_after_the_deadline(monkeypatch):
    problem, x0, goal, before = case(4, horizon=3, relus=8)
    clock = Clock(0.01)
    monkeypatch.setattr(branching_tree, "time", clock)
    monkeypatch.setattr(branching, "time", clock)
    began, nodes = clock.now, []
    for deadline in (0.06, 0.3, 1.0):
        planner = BranchAndBound(problem)
        began = clock.now
        plan = planner.plan(x0, goal, None, before, deadline)
        assert clock.now - began <= deadline + 0.02  # the answer looks at the clock as well
        assert plan.cost < np.inf and plan.bound <= plan.cost
        nodes.append(planner.nodes)
    assert nodes[0] <= nodes[1] <= nodes[2]


def test_under_a_real_deadline_there_is_always_a_plan():
    problem, x0, goal, before = case(4, horizon=3, relus=8)
    for deadline in (1e-4, 0.05):
        plan = checked(problem, BranchAndBound(problem).plan(x0, goal, None, before, deadline), goal, before)
        assert plan.status in ("feasible", "optimal")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"max_nodes": 0}, "max_nodes"), ({"device": "nowhere"}, "nowhere")],
)
def test_settings_that_cannot_be_meant_are_refused(arguments, words):
    with pytest.raises(InvalidInput, match=words):
        BranchAndBound(case(0)[0], **arguments)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x0": np.array([np.nan, 0.0])}, "not finite"),
        ({"start": np.full((2, 2), 9.0)}, "not allowed"),
        ({"start": np.zeros((3, 2))}, "start is"),
        ({"before": np.array([np.nan, 0.0])}, "before"),
        ({"deadline": 0.0}, "deadline"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(changes, words):
    problem, x0, goal, before = case(0)
    call = {"x0": x0, "goal": goal, "start": None, "before": before, "deadline": None} | changes
    with pytest.raises(InvalidInput, match=words):
        BranchAndBound(problem).plan(**call)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_optimum_is_the_same():
    problem, x0, goal, before = case(1)
    plan = BranchAndBound(problem, max_nodes=None, device="cuda").plan(x0, goal, None, before)
    assert plan.cost == pytest.approx(by_patterns(problem, x0, goal, before), rel=2e-4)
