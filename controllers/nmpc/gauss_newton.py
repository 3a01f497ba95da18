"""Gauss-Newton steps of a plan: linearise, condense, solve one quadratic program, move."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from control_stack.types import Array
from controllers.nmpc.condense import Condenser
from controllers.nmpc.problem import Problem
from controllers.nmpc.quadratic import QuadraticProgram
from controllers.nmpc.stages import Stages

_SMALLEST = 1.0 / 64.0  # of a full step that converged SQP shrinks to


@dataclass(frozen=True)
class Asked:
    """One call. x: (nx,). y: (N + 1, ny). p: (np,). before: (nu,) input in force since ``elapsed`` s."""

    x: Array
    y: Array
    p: Array
    before: Array
    elapsed: float


@dataclass(frozen=True)
class Guess:
    """A plan: states (N + 1, nx), and the inputs of its blocks (blocks, nu)."""

    states: Array
    blocks: Array

    def is_finite(self) -> bool:
        """Whether all of it is."""
        return bool(np.isfinite(self.states).all() and np.isfinite(self.blocks).all())


@dataclass(frozen=True)
class Step:
    """Where a step leads.

    Attributes:
        start: The guess that it starts from: the one given, or where its gaps were wide, its inputs rolled out.
        states, inputs: (N + 1, nx), (blocks, nu) changes.
        length: Largest change of an input over its half range, or gap of the plan that it closes.
        cost: Of the plan after it, by the quadratic model.
        violation: Largest of a soft constraint after it, as far as the program sees.
    """

    start: Guess
    states: Array
    inputs: Array
    length: float
    cost: float
    violation: float


class GaussNewton:
    """Steps of one problem; everything is built here, nothing in ``step``."""

    def __init__(self, problem: Problem, stages: Stages, qp_iterations: int, torn: float):
        """``qp_iterations``, ``torn``: As of ``solver.Settings``."""
        self.problem, self._stages, self._torn = problem, stages, torn
        self._condenser = Condenser(problem, stages.kinds)
        self._qp = QuadraticProgram(self._condenser, qp_iterations)
        self._of_step = np.repeat(np.arange(len(problem.block_lengths)), problem.block_lengths)

    def step(self, guess: Guess, asked: Asked, until: float, times: dict[str, float]) -> Step | str:
        """The full step from a guess, or why there is none.

        Args:
            until: Of time.perf_counter(): from then on no quadratic program is begun ("deadline").
            times: Durations of the parts, s, are added to it.
        """
        clock = time.perf_counter()
        s, c, x, y, p = self._stages, self._condenser, guess.states, asked.y, asked.p
        u = guess.blocks[self._of_step]
        after, a, b = s.dynamics(x[:-1], u, p)
        way = np.abs(np.diff(x, axis=0)).sum()
        if math.isfinite(self._torn) and not np.abs(after[:, 0] - x[1:]).sum() <= self._torn * way:
            x = np.concatenate([asked.x[None], s.rollout(asked.x, u, p)[0][:, 0]])
            after, a, b = s.dynamics(x[:-1], u, p)
        r, rx, ru = s.cost(x[:-1], u, p, y[:-1])
        last, last_x = s.terminal(x[-1], p, y[-1])
        mixed = s.mixed(x[:-1], u, p, y[:-1]) if s.mixed else None
        limits = s.states(x[1:], p, y[1:]) if s.states else None
        gap = after[:, 0] - x[1:]
        start = asked.x - x[0]
        clock = _lap(times, "linearise", clock)
        c.dynamics(a, b, gap, start)
        c.cost(r[:, 0], rx, ru, last[0, 0], last_x[0], guess.blocks, asked.before)
        c.constraints(mixed, limits, guess.blocks, asked.before, asked.elapsed)
        clock = _lap(times, "condense", clock)
        if clock > until:
            return "deadline"
        v, reason = self._qp()
        _lap(times, "qp", clock)
        if reason != "ok":
            return reason
        z, slack = v[: c.nz], v[c.nz :]
        states, inputs = c.expand(z)
        length = max(float(np.abs(z).max()), float(np.abs(gap).max()), float(np.abs(start).max()))
        return Step(Guess(x, guess.blocks), states, inputs, length, c.cost_after(z), float(slack.max(initial=0.0)))

    def shortened(self, step: Step, asked: Asked) -> Guess:
        """The guess after the step, shortened until cost with slacks or infeasibility gets better (a filter).

        From a plan that is far away a full step may lead further away; near the answer it is taken.
        """
        guess, share = step.start, 1.0
        cost, infeasible = self._merit(guess, asked)
        while True:
            moved = Guess(guess.states + share * step.states, guess.blocks + share * step.inputs)
            new_cost, new_infeasible = self._merit(moved, asked)
            better = new_infeasible <= (1.0 - 0.1 * share) * infeasible or new_cost < cost - 1e-9 * abs(cost)
            if share <= _SMALLEST or (better and math.isfinite(new_cost + new_infeasible)):
                return moved
            share *= 0.5

    def _merit(self, guess: Guess, asked: Asked) -> tuple[float, float]:
        """Cost with that of soft violations, and sum of gaps and hard violations."""
        s, x, y, p = self._stages, guess.states, asked.y, asked.p
        u = guess.blocks[self._of_step]
        cost = s.cost_of(x, guess.blocks, y, p, asked.before)
        gaps = s.after(x[:-1], u, p)[0][:, 0] - x[1:]
        infeasible = float(np.abs(gaps).sum() + np.abs(asked.x - x[0]).sum())
        mixed = s.mixed_values(x[:-1], u, p, y[:-1])[0] if s.mixed_values else None
        limits = s.state_values(x[1:], p, y[1:])[0] if s.state_values else None
        for value, rows in zip((mixed, limits), s.kinds, strict=True):
            if value is None:
                continue
            sides = np.maximum([rows.lower - value[:, 0], value[:, 0] - rows.upper], 0.0)
            slacks = np.where(rows.shared, sides.max(axis=1, keepdims=True) / len(value), sides)
            squares = np.where(rows.shared, sides.max(axis=1, keepdims=True) ** 2 / len(value), sides**2)
            cost += float((slacks + 0.5 * squares).sum((0, 1)) @ rows.soft)
            excess = sides.sum(0)
            infeasible += float(excess[:, rows.soft == 0.0].sum())
        return cost, infeasible


def _lap(times: dict[str, float], name: str, since: float) -> float:
    now = time.perf_counter()
    times[name] = times.get(name, 0.0) + now - since
    return now
