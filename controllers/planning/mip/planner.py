"""Planning by mixed-integer programming: exact for the model, anytime, never worse than where it starts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

import numpy as np

from control_stack.bounds.step import step_template
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.mip.best import Best
from controllers.planning.mip.boxes import boxes_from
from controllers.planning.mip.encoding import Encoding
from controllers.planning.mip.neighbours import Neighbourhood, spread_plans
from controllers.planning.mip.pool import SolverPair
from controllers.planning.mip.program import Milp
from controllers.planning.mip.solve import RELATIVE_GAP, Answer, solve
from controllers.planning.problem import TOLERANCE, Plan, Problem
from controllers.planning.rollout import BatchedRollout
from controllers.planning.sampling_mppi import MPPI, MPPISettings

MAX_NODES = 100
# Short searches by sampling for somewhere to start from, and the rollouts of each; as many rollouts go into plans that
# are spread over all there is. Descents from several places end in better ones than a single longer search.
SEARCHES, SAMPLES = 2, 2000
# Descents from neighbours of the best plan in calls without a deadline; with one, the part of it for all descents.
NEIGHBOURS, NEIGHBOURS_SHARE = 20, 0.6
# The part of a deadline in which sampling ends, if it has not before.
_START_SHARE = 0.3
# The part of a deadline that is left when the solver is told to stop: for its last words and the answer.
_STOP_SHARE, _STOP_S, _ANSWER_S = 0.1, 0.010, 0.001
_STOPPED_BY_DEADLINE = Answer("stopped")


class MipPlanner:
    """A planner (``problem.Planner``). Without a deadline it solves in this process until ``max_nodes``, and the same
    calls give the same plans; with one it solves in a worker process that can be interrupted, and killed.

    Args:
        problem: With stage cost "l1" or "linf".
        max_nodes: Of branch and bound in calls without a deadline; None until proven.
        relative_gap: At which a plan counts as optimal.
        samples: Rollouts of each of the searches for a start; 0 for none, and for no neighbours either.
        seed: Of those.

    Raises:
        InvalidInput: The cost is quadratic, or the model has layers other than affine and ReLU ones.
    """

    def __init__(
        self, problem: Problem, max_nodes: int | None = MAX_NODES,
        relative_gap: float = RELATIVE_GAP, samples: int = SAMPLES, seed: int = 0,
    ):  # fmt: skip
        self.problem, self.max_nodes, self.relative_gap = problem, max_nodes, relative_gap
        model = problem.model.collapsed()
        self._template, self._stored = step_template(model.to_network(), problem.nx), model.bounds
        self.encoding = Encoding(problem, self._template)
        self._samples, self._seed = samples, seed
        self._sampler = MPPI(problem, MPPISettings(rollouts=samples), seed) if samples else None
        self._rollout = BatchedRollout(problem.model)
        self._rng = np.random.default_rng(seed)
        self._workers: SolverPair | None = None

    def __enter__(self) -> MipPlanner:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def workers(self) -> SolverPair:
        """The solver's processes; the first use starts them."""
        if self._workers is None:
            self._workers = SolverPair()
        return self._workers

    def warm(self) -> None:
        """Starts the solver's processes, and runs once what a call runs here, so that the first deadline is kept too.

        As after ``reset``, draws for starts begin anew.
        """
        self.workers.wait_until_ready()
        spec = self.problem.spec
        low, high = spec.output_range()
        x0, goal = 0.5 * (spec.state_lower + spec.state_upper), Goal(0.5 * (low + high), high - low, 0.0 * low)
        self._begin(Best(self.problem, x0, goal, None, None), x0, goal, None, None, np.inf)
        self.reset()

    def reset(self) -> None:
        """Draws for starts begin anew."""
        self._rng = np.random.default_rng(self._seed)
        if self._sampler is not None:
            self._sampler.reset()

    def close(self) -> None:
        """Ends the solver's processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def program(self, x0: Array, goal: Goal, before: Array | None = None) -> Milp:
        """What is solved for one state."""
        boxes = boxes_from(self._template, x0, *self.problem.limits, stored=self._stored)
        return self.encoding.fill(x0, goal, before, boxes)

    def plan(
        self, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None,
        deadline: float | None = None,
    ) -> Plan:  # fmt: skip
        """See ``problem.Planner``.

        Raises:
            InfeasibleStart: The start breaks a constraint.
            InvalidInput: A state, goal, start or input that cannot be meant.
        """
        began = time.monotonic()
        problem = self.problem
        x0, goal = problem.check(x0, goal, before, deadline)
        best = Best(problem, x0, goal, before, start)
        until = np.inf if deadline is None else began + _START_SHARE * deadline
        milp, points, times = self._begin(best, x0, goal, start, before, until)
        if deadline is None:
            answer = self._here(milp, points, best, self._neighbours(x0, goal, before, NEIGHBOURS, np.inf))
        else:
            seconds = NEIGHBOURS_SHARE * (began + deadline - time.monotonic())
            around = self._neighbours(x0, goal, before, sys.maxsize, seconds)
            answer = self._in_worker(milp, points, best, began + deadline, around)
        times["solve"] = time.monotonic() - began - times["build"] - times["start"]
        return best.plan(answer, self.relative_gap, began, times)

    def _begin(
        self, best: Best, x0: Array, goal: Goal, start: Array | None, before: Array | None, until: float
    ) -> tuple[Milp, list[Array], dict[str, float]]:  # fmt: skip
        """The program, its points to descend from and what both took; ``best`` has seen the points."""
        began, problem = time.monotonic(), self.problem
        plans = np.array([*self.sampled(x0, goal, start, before, until), best.inputs])
        states = problem.model.rollout(x0, plans)
        allowed = np.flatnonzero(problem.violation(states, plans) <= TOLERANCE)
        if len(allowed):
            best.consider(plans[allowed[problem.cost(states, plans, goal, before)[allowed].argmin()]])
        sampled = time.monotonic()
        milp = self.program(x0, goal, before)
        points = [self.encoding.point(states[k], plans[k], goal, before) for k in allowed]
        return milp, points, {"start": sampled - began, "build": time.monotonic() - sampled}

    def sampled(
        self, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None, until: float = np.inf
    ) -> list[Array]:  # fmt: skip
        """Plans (T, nu) that a call begins with besides its start; after ``reset`` they are the same again.

        Args:
            until: Time (monotonic) after which no round of sampling begins but the very first.
        """
        if self._sampler is None:
            return []
        found: list[Array] = []
        for k in range(SEARCHES):
            left = max(until - time.monotonic(), 0.0)
            if k > 0 and left == 0.0:
                return found
            # What is left is for the other searches and the plans that are spread as well.
            seconds = None if until == np.inf else left / (SEARCHES + 1 - k)
            found.append(self._sampler.plan(x0, goal, start, before, seconds, once=True).inputs)
        if time.monotonic() < until:
            found += spread_plans(self.problem, self._rollout, x0, goal, before, self._samples, self._rng, until)
        return found

    def _neighbours(
        self, x0: Array, goal: Goal, before: Array | None, rounds: int, seconds: float
    ) -> Neighbourhood | None:  # fmt: skip
        return Neighbourhood(self.encoding, x0, goal, before, rounds, seconds) if self._samples else None

    def _here(self, milp: Milp, points: list[Array], best: Best, around: Neighbourhood | None) -> Answer:
        try:
            return solve(
                milp, points, best.offer, max_nodes=self.max_nodes, relative_gap=self.relative_gap,
                neighbourhood=around,
            )  # fmt: skip
        except ImportError as error:
            return Answer("failed", note=f"HiGHS cannot be used: {error}")

    def _in_worker(
        self, milp: Milp, points: list[Array], best: Best, until: float, around: Neighbourhood | None
    ) -> Answer:  # fmt: skip
        """Collects what the worker streams; past the deadline it is left to stop, or be replaced by the next call."""
        left = until - time.monotonic()
        if left <= _ANSWER_S:
            return _STOPPED_BY_DEADLINE
        worker, notes = self.workers.idle()
        best.notes += notes
        worker.wait_until_ready(until - _ANSWER_S)  # what is handed over before may block
        if not (worker.ready or worker.broken):
            return replace(_STOPPED_BY_DEADLINE, note="the solver was not up yet")
        worker.start(milp, points, self.relative_gap, around)
        answer = _collect(worker.receive, best, until - min(_STOP_SHARE * left, _STOP_S))
        if answer is None:
            worker.stop()
            answer = _collect(worker.receive, best, until - _ANSWER_S)
        return _STOPPED_BY_DEADLINE if answer is None else answer


def _collect(receive: Callable[[float], tuple | None], best: Best, until: float) -> Answer | None:
    """Until the worker is done, or this time (monotonic) has come."""
    while (message := receive(until)) is not None:
        kind, content = message
        if kind == "incumbent":
            best.offer(content)
        elif kind == "bound":
            best.bound = max(best.bound, content)
        elif kind == "done":
            return content
        else:
            return Answer("failed", note=content)
    return None
