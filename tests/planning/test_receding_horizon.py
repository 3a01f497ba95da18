"""Planning in closed loop: plans are carried over, and a delay is planned for."""

from __future__ import annotations

import numpy as np
import pytest
from sampling_toys import goal_at, point

from controllers.planning.factory import make_planner
from controllers.planning.problem import LinearConstraint, Problem
from controllers.planning.receding import RecedingHorizon

GOAL = goal_at(0.7, -0.5)


def told(planner) -> list:
    """What the planner is asked, call by call."""
    calls, honest = [], planner.plan

    def plan(x0, goal, start=None, before=None, deadline=None):
        calls.append((x0, start, before, deadline))
        return honest(x0, goal, start, before, deadline)

    planner.plan = plan
    return calls


def test_each_plan_begins_from_the_last_one_shifted():
    problem = Problem(point(), 4)
    controller = RecedingHorizon(make_planner("cem", problem))
    calls, x = told(controller.planner), np.zeros(2)
    np.testing.assert_array_equal(controller.applied, 0.0)
    plans = []
    for _ in range(4):
        plans.append(controller(x, GOAL))
        x = problem.model.step(x, controller.applied)
    assert calls[0][1] is None
    for last, (_, start, before, _) in zip(plans, calls[1:], strict=False):
        np.testing.assert_array_equal(start, np.vstack([last.inputs[1:], last.inputs[-1:]]))
        np.testing.assert_array_equal(before, last.inputs[0])
    assert all(plan.cost <= plan.start_cost for plan in plans[1:])
    controller.reset()
    controller(np.zeros(2), GOAL)
    assert calls[-1][1] is None


@pytest.mark.parametrize("delayed", [False, True])
def test_plans_are_made_from_the_state_in_which_their_input_acts(delayed: bool):
    """With a true model, whatever the delay."""
    problem = Problem(point(), 4)
    controller = RecedingHorizon(make_planner("icem", problem), delayed=delayed)
    calls, x, pending = told(controller.planner), np.zeros(2), np.zeros(2)
    for _ in range(6):
        u = controller(x, GOAL).inputs[0]
        acts_at = problem.model.step(x, pending) if delayed else x
        np.testing.assert_allclose(calls[-1][0], acts_at, atol=1e-12)
        x, pending = problem.model.step(x, pending if delayed else u), u


def test_a_last_plan_that_breaks_a_constraint_now_is_dropped():
    """The true state is nearer to the wall than the model had it."""
    wall = LinearConstraint("wall", np.array([[1.0, 0.0]]), np.array([-np.inf]), np.array([0.5]))
    controller = RecedingHorizon(make_planner("cem", Problem(point(), 4, constraints=[wall])))
    controller(np.zeros(2), GOAL)
    plan = controller(np.array([0.45, 0.0]), GOAL)
    assert plan.status == "feasible" and plan.start_cost == np.inf
