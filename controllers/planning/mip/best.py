"""The best plan known during a solve, judged by its rollout under the model and never by the solver's word."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.mip.solve import Answer, Incumbent
from controllers.planning.problem import TOLERANCE, Plan, Problem

# |objective - cost of the rollout| <= AGREEMENT (1 + |cost|), else noted.
AGREEMENT = 1e-4


class Best:
    """Begins with a start, is offered incumbents, and ends as a Plan.

    Attributes:
        inputs: (T, nu). states: (T + 1, nx) their rollout; None while no plan that keeps the constraints is known.
        cost: Of the rollout. bound: Proven so far. notes: What went wrong.

    Raises:
        InfeasibleStart: The start breaks a constraint.
        InvalidInput: It breaks the inputs' limits, or has another shape.
    """

    def __init__(self, problem: Problem, x0: Array, goal: Goal, before: Array | None, start: Array | None):
        self._problem, self._x0, self._goal, self._before = problem, x0, goal, before
        self.notes: list[str] = []
        self.bound, self.cost = -np.inf, np.inf
        self.states: Array | None = None
        rest = problem.limited(np.zeros((problem.horizon, problem.nu)))
        self.inputs = rest if start is None else problem.check_start(start)
        if start is not None:
            problem.check_feasible(problem.model.rollout(x0, self.inputs), self.inputs)
        self.consider(self.inputs)
        self._given = start is not None
        self._start_cost = self.cost if self._given else np.inf
        self._first_cost = self.cost
        self._agreed = True

    def offer(self, found: Incumbent) -> None:
        """Judges an incumbent by its rollout."""
        self.bound = max(self.bound, found.bound)
        inputs = self._problem.limited(found.inputs.reshape(self.inputs.shape))
        cost, violation = self.consider(inputs)
        if abs(found.objective - cost) > AGREEMENT * (1.0 + abs(cost)):
            self._flag(f"the rollout of a solution costs {cost:.6g}, the program says {found.objective:.6g}")
        if violation > TOLERANCE:
            self._flag(f"the rollout of a solution breaks a constraint by {violation:.3g}: not taken")

    def consider(self, inputs: Array) -> tuple[float, float]:
        """Cost and violation of a plan (T, nu), which is taken if it keeps the constraints and costs less."""
        states = self._problem.model.rollout(self._x0, inputs)
        cost = float(self._problem.cost(states, inputs, self._goal, self._before))
        violation = float(self._problem.violation(states, inputs))
        if violation <= TOLERANCE and cost < self.cost:
            self.inputs, self.states, self.cost = inputs, states, cost
        return cost, violation

    def plan(self, answer: Answer, relative_gap: float, began: float, times: Mapping[str, float]) -> Plan:
        """The answer; a bound that a known cost refutes is none."""
        problem = self._problem
        if answer.note:
            self.notes.append(answer.note)
        bound = max(self.bound, answer.bound)
        status = self._status(answer, relative_gap)
        states = problem.model.rollout(self._x0, self.inputs) if self.states is None else self.states
        cost = float(problem.cost(states, self.inputs, self._goal, self._before))
        if self.states is None:
            bound = -np.inf
        elif bound > cost + AGREEMENT * (1.0 + abs(cost)):
            self.notes.append(f"the solver's bound {bound:.6g} lay above a known cost: nothing is proven")
            bound = -np.inf
        bound = min(bound, cost)
        return Plan(
            status=status, inputs=self.inputs, states=states, cost=cost, start_cost=self._start_cost,
            bound=bound, violation=float(problem.violation(states, self.inputs)),
            solve_s=time.monotonic() - began, times=times, notes=tuple(self.notes),
        )  # fmt: skip

    def _status(self, answer: Answer, relative_gap: float) -> str:
        """As in ``Plan``; a claim of the solver that a known plan refutes is noted and not passed on."""
        better = self.cost < self._first_cost
        if answer.status == "infeasible":
            if self.states is None:
                return "infeasible"
            self.notes.append("the solver calls the problem infeasible, but a plan that keeps the constraints is known")
        elif answer.status == "optimal":
            agreement = AGREEMENT * (1.0 + abs(self.cost))
            gap = self.cost - max(self.bound, answer.bound)
            if -agreement <= gap <= relative_gap * abs(self.cost) + agreement and self._agreed:
                return "optimal"
            self.notes.append("the solver's claim of an optimum does not agree with the rollouts")
        if self.states is None or answer.status == "failed":
            return "failed"
        return "feasible" if better or not self._given else "start"

    def _flag(self, note: str) -> None:
        self._agreed = False
        if note not in self.notes:
            self.notes.append(note)
