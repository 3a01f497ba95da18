"""Where else to descend from: plans spread over all there is, and neighbours of the best one known.

A descent ends in a local optimum, and branch and bound takes seconds to leave it. What leaves it in milliseconds are
descents from plans that go another way: around the object, say.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.mip.encoding import Encoding
from controllers.planning.problem import TOLERANCE, Problem
from controllers.planning.rollout import BatchedRollout

SPREAD = 24  # plans at most
_APART = 0.2  # mean distance of two, as a part of the inputs' range
_LOOKED_AT = 400  # of the cheapest
_DRAWN = 500  # at once, before the clock is looked at
_SIZES = (0.1, 0.3, 1.0)  # of a neighbour's changes, as parts of the inputs' range, in turn


def spread_plans(
    problem: Problem, rollout: BatchedRollout, x0: Array, goal: Goal, before: Array | None, count: int,
    rng: np.random.Generator, until: float = np.inf,
) -> list[Array]:  # fmt: skip
    """Of ``count`` random plans, or what is drawn ``until`` then (monotonic), good ones that differ; cheapest first."""
    drawn: list[tuple[Array, Array]] = []
    while count > 0 and (not drawn or time.monotonic() < until):
        drawn.append(_drawn(problem, rollout, x0, goal, before, min(count, _DRAWN), rng))
        count -= _DRAWN
    if not drawn:
        return []
    plans, cost = (np.concatenate(part) for part in zip(*drawn, strict=True))
    plans = plans[np.argsort(cost, kind="stable")[:_LOOKED_AT]]
    width = problem.spec.input_upper - problem.spec.input_lower
    width = np.where(width > 0.0, width, 1.0)
    chosen: list[Array] = []
    apart = np.ones(len(plans), dtype=bool)
    while apart.any() and len(chosen) < SPREAD:
        chosen.append(plans[apart.argmax()])
        apart &= np.abs((plans - chosen[-1]) / width).mean((1, 2)) > _APART
    return chosen


def _drawn(
    problem: Problem, rollout: BatchedRollout, x0: Array, goal: Goal, before: Array | None, count: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:  # fmt: skip
    """Random plans of two constant parts with some noise, those that keep the constraints, and their costs."""
    low, high = problem.spec.input_lower, problem.spec.input_upper
    shape = (count, problem.horizon, problem.nu)
    ends, turn = rng.random((count, 2, 1, problem.nu)), rng.random((count, 1, 1)) * problem.horizon
    share = np.where(np.arange(problem.horizon)[None, :, None] < turn, ends[:, 0], ends[:, 1])
    share += 0.5 * rng.random((count, 1, 1)) * (rng.random(shape) - 0.5)
    plans = problem.limited(low + (high - low) * np.clip(share, 0.0, 1.0))
    states = rollout(x0, plans).astype(float)
    kept = np.flatnonzero(problem.violation(states, plans) <= TOLERANCE)
    return plans[kept], problem.cost(states, plans, goal, before)[kept]


@dataclass(frozen=True)
class Neighbourhood:
    """Plans near another one, as points of the program.

    Attributes:
        encoding: Of the program. x0, goal, before: Of this call.
        rounds: Descents at most. seconds: In which all descents are to begin, those from starts included.
    """

    encoding: Encoding
    x0: Array
    goal: Goal
    before: Array | None
    rounds: int
    seconds: float = np.inf

    def near(self, inputs: Array, number: int, rng: np.random.Generator) -> Array | None:
        """All columns of a plan that differs from ``inputs`` (T nu,) in half of its steps; None if not allowed."""
        problem = self.encoding.problem
        plan = inputs.reshape(problem.horizon, problem.nu)
        size = _SIZES[number % len(_SIZES)] * (problem.spec.input_upper - problem.spec.input_lower)
        where = rng.random((problem.horizon, 1)) < 0.5
        plan = problem.limited(plan + where * size * (rng.random(plan.shape) - 0.5))
        states = problem.model.rollout(self.x0, plan)
        if problem.violation(states, plan) > TOLERANCE:
            return None
        return self.encoding.point(states, plan, self.goal, self.before)
