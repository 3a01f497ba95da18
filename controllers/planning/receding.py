"""Planning in closed loop: plan, apply the first input, plan again from where that led."""

from __future__ import annotations

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.problem import InfeasibleStart, Plan, Planner, shifted


class RecedingHorizon:
    """Every call plans; the last plan, shifted by a step, is where the next begins.

    Args:
        planner: Of the plans.
        deadline: Wall time of a plan, s; None takes the planner's own budget.
        delayed: The input of a call acts one step later, when the input of the call before has: plans are made from
            where the model sees that lead.
    """

    def __init__(self, planner: Planner, deadline: float | None = None, delayed: bool = False):
        self.planner, self.deadline, self.delayed = planner, deadline, delayed
        self.reset()

    def reset(self) -> None:
        """Begins anew, with nothing applied."""
        self.planner.reset()
        self._last: Plan | None = None

    @property
    def applied(self) -> Array:
        """(nu,) input of the last call; zero before the first."""
        return np.zeros(self.planner.problem.nu) if self._last is None else self._last.inputs[0]

    def __call__(self, x: Array, goal: Goal) -> Plan:
        """The plan from state x (nx,); its first input is to be applied next."""
        problem, before = self.planner.problem, self.applied
        if self.delayed:
            x = problem.model.step(x, before)
        start = None if self._last is None else shifted(self._last.inputs)
        try:
            self._last = self.planner.plan(x, goal, start, before, self.deadline)
        except InfeasibleStart:  # the model led the last plan past a constraint that the true state is nearer to
            self._last = self.planner.plan(x, goal, None, before, self.deadline)
        return self._last
