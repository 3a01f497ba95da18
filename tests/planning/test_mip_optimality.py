"""Claimed optima against enumeration: of activation patterns by linear programs, of choices by rollouts, and Pyomo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mip_toys import VALUES, by_patterns, case, enumerated, walled
from sampling_toys import goal_at, point

from control_stack.learning.spec import Goal
from controllers.planning.mip import MipPlanner
from controllers.planning.mip.best import AGREEMENT
from controllers.planning.problem import TOLERANCE, Plan, Problem

CHOICES = {"u0 [m]": VALUES, "u1 [m]": VALUES[::2]}
ATOL = 1e-5


def solved(problem: Problem, x0, goal, before, samples: int = 0) -> Plan:
    return MipPlanner(problem, max_nodes=None, relative_gap=1e-7, samples=samples).plan(x0, goal, None, before)


def check(plan: Plan, problem: Problem, x0, goal, before, optimum: float) -> None:
    """Optimal, of this cost, by its own rollout, and with a bound that nothing known lies below."""
    assert plan.status == "optimal" and not plan.notes
    assert plan.cost == pytest.approx(optimum, abs=ATOL)
    states = problem.model.rollout(x0, plan.inputs)
    assert plan.cost == problem.cost(states, plan.inputs, goal, before) and (states == plan.states).all()
    assert problem.violation(states, plan.inputs) <= TOLERANCE
    assert plan.bound <= min(plan.cost, optimum + ATOL) and plan.cost - plan.bound <= 2.0 * AGREEMENT * (
        1.0 + plan.cost
    )


def patterns(seeds) -> None:
    for seed in seeds:
        problem, x0, goal, before = case(seed)
        check(solved(problem, x0, goal, before), problem, x0, goal, before, by_patterns(problem, x0, goal, before))


def choices(seeds) -> None:
    for seed in seeds:
        problem, x0, goal, before = walled(seed, horizon=2, relus=5, choices=CHOICES)
        optimum, plan = enumerated(problem, x0, goal, before), solved(problem, x0, goal, before)
        if np.isinf(optimum):
            assert plan.status == "infeasible" and plan.bound == -np.inf and plan.violation > TOLERANCE
        else:
            check(plan, problem, x0, goal, before, optimum)


def test_the_optimum_of_all_activation_patterns():
    patterns(range(6))


def test_the_optimum_of_all_choices_between_walls():
    choices(range(16))


@pytest.mark.slow
def test_the_optimum_of_all_activation_patterns_of_a_hundred_cases():
    patterns(range(100, 200))


@pytest.mark.slow
def test_the_optimum_of_all_choices_between_walls_of_a_hundred_cases():
    choices(range(100, 200))


@pytest.mark.parametrize("stage", ["l1", "linf"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_an_output_that_does_not_matter_costs_nothing(stage: str, weight: float):
    """Free everywhere, with a weight or without: as if it were not there."""
    problem, x0, goal, before = case(0, horizon=2, relus=4)
    spec = replace(problem.spec, weights=problem.spec.weights * [1.0, 1.0, weight])
    problem = replace(problem, stage=stage, model=replace(problem.model, spec=spec))
    without = replace(spec, weights=spec.weights[:2], outputs=spec.outputs[:2], output_names=spec.output_names[:2])
    fewer = replace(problem, model=replace(problem.model, spec=without))
    ends = Goal(goal.target[:2], goal.half_width[:2], goal.free[:2])
    plan = solved(problem, x0, replace(goal, free=np.array([*goal.free[:2], np.inf])), before, samples=500)
    assert plan.status == "optimal" and not plan.notes
    assert plan.cost == pytest.approx(solved(fewer, x0, ends, before).cost, abs=ATOL)


@pytest.mark.parametrize("method", ["lp", "mip"])
def test_bounds_that_a_model_keeps_cut_what_can_be_and_change_no_optimum(method: str):
    cut = 0
    for seed in range(6):
        problem, x0, goal, before = case(seed, horizon=3, relus=6)
        limits = {"state_lower": np.full(2, -0.5), "state_upper": np.full(2, 0.5)}
        problem = replace(problem, model=replace(problem.model, spec=replace(problem.spec, **limits)))
        kept = replace(problem, model=problem.model.collapsed().bounded(method))
        x0, goal = 0.3 * x0, replace(goal, target=0.0 * goal.target)
        plain, tight = (MipPlanner(p, samples=0).program(x0, goal, before) for p in (problem, kept))
        assert (tight.column_upper <= plain.column_upper).all() and (tight.column_lower >= plain.column_lower).all()
        cut += (tight.column_upper < plain.column_upper).sum()
        plans = [solved(p, x0, goal, before) for p in (problem, kept)]
        assert plans[0].status == plans[1].status == "optimal"
        assert plans[1].cost == pytest.approx(plans[0].cost, abs=ATOL)
    assert cut > 0


def test_bounds_that_a_model_keeps_are_not_used_where_a_plan_may_leave_their_box():
    problem, _, goal, before = case(0, horizon=3, relus=6)
    kept = replace(problem, model=problem.model.collapsed().bounded("lp"))
    bare = Problem(point().bounded("lp"), 3)  # without any ReLU there is nothing to cut
    assert solved(bare, np.zeros(2), goal_at(0.3, 0.1), None).status == "optimal"
    outside = np.array([6.0, -6.0])  # limits of states are -2 and 2
    plain, same = (MipPlanner(p, samples=0).program(outside, goal, before) for p in (problem, kept))
    assert (plain.column_upper == same.column_upper).all() and (plain.values == same.values).all()


@pytest.mark.parametrize("seed", range(6))
def test_pyomo_finds_the_same_optimum(seed: int):
    pyo = pytest.importorskip("pyomo.environ")
    from controllers.planning.mip.algebraic import planned_inputs, pyomo_model

    make = walled if seed % 3 else case
    problem, x0, goal, before = make(seed, relus=6, choices={"u1 [m]": VALUES} if seed % 2 else {})
    plan = solved(problem, x0, goal, before)
    model = pyomo_model(problem, x0, goal, before)
    solver = pyo.SolverFactory("appsi_highs")
    solver.config.load_solution = False
    solver.highs_options = {"presolve": "off"}  # it is not right with these programs
    result = solver.solve(model, load_solutions=False)
    if plan.status == "infeasible":
        assert result.solver.termination_condition == pyo.TerminationCondition.infeasible
        return
    solver.load_vars()
    assert pyo.value(model.cost) == pytest.approx(plan.cost, abs=1e-4)
    states = problem.model.rollout(x0, inputs := problem.limited(planned_inputs(model)))
    assert problem.cost(states, inputs, goal, before) == pytest.approx(plan.cost, abs=1e-4)
    assert problem.violation(states, inputs) <= TOLERANCE


def test_pyomo_has_the_quadratic_cost_of_a_rollout():
    """With the inputs fixed, all else follows once the excess is as small as it may be."""
    pyo = pytest.importorskip("pyomo.environ")
    from controllers.planning.mip.algebraic import pyomo_model

    problem, x0, goal, before = case(0)
    problem = replace(problem, stage="quadratic")
    inputs = np.random.default_rng(0).uniform(-0.2, 0.2, (2, 2))
    model = pyomo_model(problem, x0, goal, before)
    for (t, j), u in model.u.items():
        u.fix(inputs[t, j])
    model.cost.deactivate()
    parts = [part.values() for part in (model.excess, model.size, model.moved)]
    model.least = pyo.Objective(expr=sum(v for part in parts for v in part))
    pyo.SolverFactory("appsi_highs").solve(model)
    states = problem.model.rollout(x0, inputs)
    assert pyo.value(model.cost) == pytest.approx(problem.cost(states, inputs, goal, before), abs=1e-5)
