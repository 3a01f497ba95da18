"""The planner in this process: never worse than its start, honest about what the solver says, clear about bad input."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from mip_toys import VALUES, case, walled
from sampling_toys import HEAD_ON_SEED, goal_at, head_on, least_cost, point

from control_stack.bounds import Affine, Input, Network, Slice, Sum, Tanh
from control_stack.errors import InvalidInput
from control_stack.learning.sparse_relu import SparseReLUDynamics
from controllers.planning.mip import MipPlanner, planner, pool
from controllers.planning.mip.best import AGREEMENT, Best
from controllers.planning.mip.solve import Answer, Incumbent, solve
from controllers.planning.problem import InfeasibleStart, LinearConstraint, Obstacle, Problem
from sim.tasks.factory import make_task

X0, GOAL = np.zeros(2), goal_at(0.55, -0.35)


def feasible_start(problem: Problem, x0, seed: int):
    rng = np.random.default_rng(seed)
    plans = problem.limited(rng.uniform(-0.2, 0.2, (300, problem.horizon, 2)))
    kept = np.flatnonzero(problem.violation(problem.model.rollout(x0, plans), plans) <= 0.0)
    return plans[kept[0]] if len(kept) else None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("nodes", [0, 5])
def test_an_answer_is_never_worse_than_its_start(seed: int, nodes: int):
    problem, x0, goal, before = walled(seed, horizon=3, relus=6, choices={"u1 [m]": VALUES} if seed % 2 else {})
    start = feasible_start(problem, x0, seed)
    plan = MipPlanner(problem, nodes).plan(x0, goal, start, before)
    states = problem.model.rollout(x0, start)
    assert plan.start_cost == problem.cost(states, start, goal, before)
    assert plan.bound <= plan.cost < plan.start_cost and plan.violation <= 1e-4 and plan.status != "start"
    again = MipPlanner(problem, nodes).plan(x0, goal, plan.inputs, before)
    assert again.cost <= plan.cost and again.start_cost == plan.cost


def test_of_a_convex_problem_the_optimum_is_known():
    planner = MipPlanner(Problem(point(), 4), samples=0)
    plan = planner.plan(X0, GOAL)
    assert plan.status == "optimal" and plan.cost == pytest.approx(least_cost(X0, GOAL.target, 4), abs=1e-7)
    again = planner.plan(X0, GOAL, plan.inputs)
    assert again.status == "optimal" and (again.inputs == plan.inputs).all() and again.gap <= 1e-4


def test_equal_planners_give_equal_plans_and_a_reset_begins_anew():
    problem, x0, goal, before = case(3, horizon=3, relus=6)
    first = MipPlanner(problem, 5)
    plan = first.plan(x0, goal, None, before)
    first.reset()
    for other in (first, MipPlanner(problem, 5)):
        assert (other.plan(x0, goal, None, before).inputs == plan.inputs).all()


def test_warming_up_changes_no_plan():
    problem, x0, goal, before = case(3, horizon=3, relus=6)
    cold, warm = MipPlanner(problem, 5), MipPlanner(problem, 5)
    with warm:
        warm.warm()
        assert (cold.plan(x0, goal, None, before).inputs == warm.plan(x0, goal, None, before).inputs).all()


def test_sampling_ends_with_its_time_after_one_round():
    problem, x0, goal, before = case(3, horizon=3, relus=6)
    made = MipPlanner(problem, 0)
    whole = made.sampled(x0, goal, None, before)
    made.reset()
    assert len(made.sampled(x0, goal, None, before, until=time.monotonic() + 600.0)) == len(whole) > planner.SEARCHES
    late = made.sampled(x0, goal, None, before, until=time.monotonic())
    assert len(late) == 1 and made._sampler.rollouts < planner.SAMPLES // 3


def test_a_disc_is_pushed_through_a_contact():
    """From where the first inputs change no cost at all: the pusher does not touch the disc yet."""
    task = make_task("pushing-disc")
    x0, goal = task.reset(HEAD_ON_SEED), task.goal(HEAD_ON_SEED)
    problem = Problem(head_on(), 6)
    plan = MipPlanner(problem, None, samples=0).plan(x0, goal)
    assert plan.status == "optimal" and plan.cost < 0.95 * problem.cost(
        problem.model.rollout(x0, np.zeros((6, 2))), np.zeros((6, 2)), goal
    )


def test_a_problem_without_a_plan_is_called_infeasible():
    wall = LinearConstraint("wall", np.array([[1.0, 0.0]]), np.array([1.5]), np.array([2.0]))
    plan = MipPlanner(Problem(point(), 3, constraints=(wall,))).plan(X0, GOAL)
    assert plan.status == "infeasible" and plan.bound == -np.inf and plan.violation == pytest.approx(1.5)
    assert (plan.inputs == 0.0).all()


# What a solver says is checked against what is known


def told(answer: Answer, *found: Incumbent):
    def solver(milp, starts, take, **_):
        for incumbent in found:
            take(incumbent)
        return answer

    return solver


@pytest.fixture
def lied_to(monkeypatch):
    """A plan from a resting start under a solver that says this."""
    problem = Problem(point(), 3)

    def plan(answer: Answer, *found: Incumbent):
        monkeypatch.setattr(planner, "solve", told(answer, *found))
        return MipPlanner(problem, samples=0).plan(X0, GOAL, np.zeros((3, 2)))

    return plan


def test_a_bound_above_a_known_cost_proves_nothing_and_is_noted(lied_to):
    plan = lied_to(Answer("optimal", 5.0))
    assert plan.bound == -np.inf and plan.gap == np.inf and plan.cost == plan.start_cost and plan.status == "start"
    assert any("bound 5 lay above" in note for note in plan.notes) and any("claim" in note for note in plan.notes)


def test_a_bound_above_a_known_cost_by_rounding_is_that_cost(lied_to):
    cost = lied_to(Answer("stopped")).cost
    plan = lied_to(Answer("optimal", cost + 0.5 * AGREEMENT))
    assert plan.bound == plan.cost and plan.status == "optimal" and plan.notes == ()


def test_an_objective_that_no_rollout_has_is_noted(lied_to):
    moved = np.tile([0.1, -0.1], 3)
    plan = lied_to(Answer("optimal", 0.0), Incumbent(moved, 0.0, 0.0))
    assert plan.status == "feasible" and plan.cost > AGREEMENT
    assert any("the program says 0" in note for note in plan.notes)


def test_infeasible_is_not_believed_where_a_plan_is_known(lied_to):
    plan = lied_to(Answer("infeasible"))
    assert plan.status == "start" and any("infeasible" in note for note in plan.notes)


def test_a_failed_solver_leaves_the_start(lied_to):
    plan = lied_to(Answer("failed", note="HiGHS failed: out of memory"))
    assert plan.status == "failed" and plan.cost == plan.start_cost and plan.notes == ("HiGHS failed: out of memory",)


def test_without_highs_the_start_comes_back_flagged(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    plan = MipPlanner(Problem(point(), 3), samples=0).plan(X0, GOAL, np.full((3, 2), 0.1))
    assert plan.status == "failed" and "HiGHS cannot be used" in plan.notes[0] and (plan.inputs == 0.1).all()


@pytest.mark.parametrize("deadline", [None, 60.0])
def test_what_sampling_found_without_highs_is_kept_but_flagged(monkeypatch, deadline):
    """The parent has no HiGHS, or its worker has none."""
    monkeypatch.setitem(sys.modules, "highspy", None)
    monkeypatch.setattr(pool, "_COMMAND", "import sys; sys.modules['highspy'] = None; " + pool._COMMAND)
    with MipPlanner(Problem(point(), 3)) as made:
        plan = made.plan(X0, GOAL, np.zeros((3, 2)), deadline=deadline)
    assert plan.status == "failed" and plan.cost < plan.start_cost and plan.bound == -np.inf
    assert any("HiGHS cannot be used" in note for note in plan.notes)


def test_an_incumbent_that_breaks_a_constraint_is_not_taken():
    wall = LinearConstraint("wall", np.array([[1.0, 0.0]]), np.array([-1.0]), np.array([0.3]))
    best = Best(Problem(point(), 3, constraints=(wall,)), X0, GOAL, None, np.zeros((3, 2)))
    best.offer(Incumbent(np.full(6, 0.2), 1.0, 0.0))
    assert (best.inputs == 0.0).all() and "breaks a constraint by 0.3" in best.notes[-1]


# Bad input


def test_a_start_that_breaks_a_constraint_is_named():
    wall = LinearConstraint("wall", np.array([[1.0, 0.0]]), np.array([-1.0]), np.array([0.3]))
    normals = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    post = Obstacle("post", np.eye(2)[None], normals, np.array([-0.15, 0.25, 0.05, 0.05]))
    start = np.tile([0.2, 0.0], (3, 1))
    with pytest.raises(InfeasibleStart, match="'wall' at step 3 by 0.3") as broken:
        MipPlanner(Problem(point(), 3, constraints=(wall,))).plan(X0, GOAL, start)
    assert (broken.value.constraint, broken.value.step) == ("wall", 3)
    with pytest.raises(InfeasibleStart, match="'post' at step 1"):
        MipPlanner(Problem(point(), 3, obstacles=(post,))).plan(X0, goal_at(0.5, 0.0), -start)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"x0": np.array([0.0, np.nan])}, "x1 .m. is nan"),
        ({"x0": np.zeros(3)}, "needs 2 numbers"),
        ({"goal": goal_at(3.0, 0.0)}, "x0 .m. = 3 lies outside"),
        ({"start": np.zeros((2, 2))}, "a start is"),
        ({"start": np.full((3, 2), 0.5)}, "u0 .m. = 0.5 at step 0"),
        ({"before": np.zeros(3)}, "input before needs 2"),
        ({"deadline": 0.0}, "deadline must be above zero"),
    ],
)
def test_bad_input_is_named(changed: dict, named: str):
    with pytest.raises(InvalidInput, match=named):
        MipPlanner(Problem(point(), 3)).plan(**{"x0": X0, "goal": GOAL, **changed})


def test_inputs_without_limits_are_named():
    model = point()
    spec = replace(model.spec, input_upper=np.array([0.2, np.inf]))
    with pytest.raises(InvalidInput, match="finite limits of input u1 .m."):
        MipPlanner(Problem(replace(model, spec=spec), 3))


def test_choices_of_an_unknown_input_are_named():
    with pytest.raises(InvalidInput, match="no input 'thrust'"):
        MipPlanner(Problem(point(), 3, choices={"thrust": VALUES}))


def test_a_model_of_other_layers_is_named():
    class Smooth(SparseReLUDynamics):
        def collapsed(self):
            return self

        def to_network(self) -> Network:
            x = Input(4)
            return Network(Sum(Slice(x, 0, 2), Tanh(Affine(x, np.ones((2, 4))))))

    made = point()
    with pytest.raises(InvalidInput, match="layer 3 is Tanh|layer 2 is Tanh"):
        MipPlanner(Problem(Smooth(made.spec, made.layers), 3))


def test_a_quadratic_cost_is_named():
    with pytest.raises(InvalidInput, match="quadratic"):
        MipPlanner(Problem(point(), 3, stage="quadratic"))


def test_a_program_that_highs_refuses_fails_by_name():
    problem, x0, goal, before = case(0)
    milp = MipPlanner(problem).program(x0, goal, before)
    answer = solve(replace(milp, columns=milp.columns + len(milp.cost)), (), lambda incumbent: None)
    assert answer.status == "failed" and "refused" in answer.note
