"""Direct multiple shooting with Gauss-Newton steps: real-time iteration, converged SQP, or ipopt, of one problem.

Real-time iteration (Diehl, Bock, Schloeder 2005, SIAM J. Control Optim. 43(5)): every call linearises at the last plan
moved on in time, and takes one full Gauss-Newton step. "sqp" repeats that until the step is small; "ipopt" hands
the same problem, exact Hessian and all, to an interior point method. The fallback is the same for all three.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from control_stack.errors import InputRejected, InvalidInput, UnknownName
from control_stack.types import Array
from controllers.nmpc.gauss_newton import Asked, GaussNewton, Guess
from controllers.nmpc.interior import InteriorPoint
from controllers.nmpc.problem import Problem
from controllers.nmpc.stages import Stages

METHODS = ("rti", "sqp", "ipopt")


@dataclass(frozen=True)
class Settings:
    """How a problem is solved.

    Attributes:
        method: "rti", "sqp" or "ipopt".
        qp_iterations: Most changes of the active set in one quadratic program.
        iterations: Most steps of sqp or ipopt.
        tolerance: sqp ends at steps below this (inputs relative to half their range, gaps in their units); ipopt's tol.
        deadline: s of a call, what its caller says to have spent included; None: only iterations are counted. Once it
            has passed no quadratic program is begun: rti falls back, sqp answers with its best. ipopt is told it as
            its time limit.
        torn: Gaps of a plan over its own way, above which it is no place to linearise at and its inputs are rolled out
            first, which costs a second linearisation; inf: never.
        patience: Steps of the model for which the last good plan is flown on before the safe input takes its place.
    """

    method: str = "rti"
    qp_iterations: int = 300
    iterations: int = 50
    tolerance: float = 1e-7
    deadline: float | None = None
    torn: float = 0.5
    patience: float = 5.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownName("nmpc method", self.method, METHODS)
        if min(self.qp_iterations, self.iterations) < 1 or not self.tolerance > 0.0 or not self.patience >= 0.0:
            raise InvalidInput("nmpc: iterations are at least 1, the tolerance is positive, patience not negative")
        if not self.torn > 0.0:
            raise InvalidInput("nmpc: torn is a positive share, or inf")
        if self.deadline is not None and not self.deadline > 0.0:
            raise InvalidInput("nmpc: a deadline is a positive number of seconds, or None")


@dataclass(frozen=True)
class Solution:
    """A solver's answer.

    Attributes:
        status: "ok"; "limit" (sqp or ipopt: iterations or time used up, the best so far); "shifted" (the last good
            plan, moved on in time); "safe" (the safe input).
        reason: Of a fallback: "infeasible", "qp_iterations", "unbounded", "not_finite", "deadline", "qp_failed",
            "ipopt_failed"; otherwise empty.
        inputs: (N, nu). states: (N + 1, nx).
        cost: Of the plan, without slacks; nan in a fallback.
        violation: Largest violation of a soft constraint that the plan accepts.
        step: Length of the last step, as Settings.tolerance measures it; inf without one.
        iterations: Steps taken.
        solve_time: s, of the whole call. times: Of its parts, s.
    """

    status: str
    reason: str
    inputs: Array
    states: Array
    cost: float = math.nan
    violation: float = 0.0
    step: float = math.inf
    iterations: int = 0
    solve_time: float = 0.0
    times: dict[str, float] = field(default_factory=dict)

    @property
    def fell_back(self) -> bool:
        """Whether this is no answer to the problem that was asked."""
        return self.status in ("shifted", "safe")


class Nmpc:
    """A problem with a method, built once; called for many states, references and parameters.

    Fallback, when a call has no answer: the last good plan, moved on to now, for up to ``patience`` steps of the model;
    from then on ``safe(x, p)``, held over the horizon. ``counts`` counts calls by status and by reason, and answers
    that came after the deadline ("late": they are the newest there are, so they are used).

    Args:
        problem: What is minimised.
        safe: (x, p) -> (nu,) input that is safe without a plan; it is clipped to the limits.
        settings: How.
    """

    def __init__(self, problem: Problem, safe: Callable[[Array, Array], Array], settings: Settings | None = None):
        self.problem, self.settings, self._safe = problem, settings or Settings(), safe
        self.counts: Counter[str] = Counter()
        self._stages = Stages(problem)
        s = self.settings
        self._newton = GaussNewton(problem, self._stages, s.qp_iterations, s.torn)
        exact = s.method == "ipopt"
        self._interior = InteriorPoint(self._stages, s.iterations, s.deadline, s.tolerance) if exact else None
        lengths = problem.block_lengths
        self._first = np.cumsum([0, *lengths[:-1]])  # step at which each block begins
        self._of_step = np.repeat(np.arange(len(lengths)), lengths)
        self.reset()

    def reset(self) -> None:
        """Forgets the plan; the next call begins at rest in its state."""
        self._guess: Guess | None = None
        self._before = np.array(self.problem.rest_input, dtype=float)
        self._age = math.inf  # steps since the last good plan was made

    def solve(
        self,
        x: Array,
        reference: Array,
        p: Array | None = None,
        elapsed: float | None = None,
        before: Array | None = None,
        spent: float = 0.0,
        anew: Callable[[], Guess] | None = None,
    ) -> Solution:
        """The plan from state x on.

        Args:
            x: (nx,). reference: (N + 1, ny) y_0 .. y_N. p: Parameters; None takes the model's defaults.
            elapsed: s since the last call, by which its plan is moved on; None: one step of the model.
            before: (nu,) input in force now; None: the first of the last plan.
            spent: s of the deadline that the caller has used already.
            anew: Gives a plan to begin at in place of the last one, for a state that this one did not foresee. The
                last one stays what a fallback carries out.

        Raises:
            InputRejected: "nan" or "shape": x, reference, p or before; nothing changes.
        """
        started = time.perf_counter()
        problem = self.problem
        elapsed = problem.spec.dt if elapsed is None else elapsed
        asked = self._checked(x, reference, problem.spec.defaults if p is None else p, elapsed, before)
        steps = elapsed / problem.spec.dt
        if self._guess is None or steps > problem.horizon:
            self._age, guess = math.inf, self._begin(asked.x)
        else:
            guess = self._moved_on(self._guess, steps)
        begin = guess if anew is None else anew()
        if self._interior is None:
            until = math.inf if self.settings.deadline is None else started + self.settings.deadline - spent
            solution = self._newton_steps(begin, guess, asked, until)
        else:
            solution = self._exact(self._interior, begin, guess, asked)
        self._before = solution.inputs[0]
        return self._counted(replace(solution, solve_time=time.perf_counter() - started), spent)

    def guess(self, states: Array, inputs: Array) -> Guess:
        """A plan to begin at, of states (N + 1, nx) and inputs (N, nu); each block takes its first step's input."""
        return Guess(states, inputs[self._first])

    def _checked(self, x: Array, reference: Array, p: Array, elapsed: float, before: Array | None) -> Asked:
        problem = self.problem
        wanted = {
            "state": (problem.nx,),
            "reference": (problem.horizon + 1, problem.reference_size),
            "parameters": (len(problem.spec.parameters),),
            "input in force": (problem.nu,),
        }
        given = (x, reference, p, self._before if before is None else before)
        arrays = [np.asarray(a, dtype=float) for a in given]
        for (name, shape), array in zip(wanted.items(), arrays, strict=True):
            if array.shape != shape:
                raise InputRejected("shape", f"nmpc: {name} has shape {array.shape}, not {shape}")
            if not np.isfinite(array).all():
                raise InputRejected("nan", f"nmpc: {name}")
        return Asked(arrays[0], arrays[1], arrays[2], arrays[3], elapsed)

    def _begin(self, x: Array) -> Guess:
        """At rest."""
        problem = self.problem
        return Guess(np.tile(x, (problem.horizon + 1, 1)), np.tile(problem.rest_input, (len(self._first), 1)))

    def _moved_on(self, guess: Guess, steps: float) -> Guess:
        """The plan as it looks some steps later, held at its end: states in between by interpolation, inputs mixed
        by the share of the step that is over."""
        self._age += max(steps, 0.0)
        n = self.problem.horizon
        if steps <= 0.0:
            return guess
        at = np.minimum(np.arange(n + 1) + steps, n)
        low = np.minimum(at.astype(int), n - 1)
        share = (at - low)[:, None]
        states = (1.0 - share) * guess.states[low] + share * guess.states[low + 1]
        inputs = guess.blocks[self._of_step]
        at = np.minimum(self._first + steps, n - 1)
        low = at.astype(int)
        share = (at - low)[:, None]
        return Guess(states, (1.0 - share) * inputs[low] + share * inputs[np.minimum(low + 1, n - 1)])

    def _newton_steps(self, guess: Guess, last: Guess, asked: Asked, until: float) -> Solution:
        """From a guess; ``last`` is the last plan. until: Of time.perf_counter()."""
        s, times = self.settings, dict[str, float]()
        most = 1 if s.method == "rti" else s.iterations
        done, reason, length, cost, violation = 0, "", math.inf, math.nan, 0.0
        while done < most and length > s.tolerance:
            step = self._newton.step(guess, asked, until, times)
            if isinstance(step, str):
                reason = step
                break
            length, cost, violation = step.length, step.cost, step.violation
            if most == 1:
                guess = Guess(step.start.states + step.states, step.start.blocks + step.inputs)
            else:
                guess = self._newton.shortened(step, asked)
            done += 1
        if not guess.is_finite():
            reason, done = "not_finite", 0
        if reason and not (done and reason == "deadline"):
            return self._fall_back(last, asked, reason, times)
        status = "ok" if most == 1 or length <= s.tolerance else "limit"
        return self._found(guess, Solution(status, "", *self._plan(guess), cost, violation, length, done, times=times))

    def _exact(self, solver: InteriorPoint, guess: Guess, last: Guess, asked: Asked) -> Solution:
        found, cost, violation, done, status = solver(guess, asked)
        if status not in ("ok", "limit") or not found.is_finite():
            return self._fall_back(last, asked, "not_finite" if status in ("ok", "limit") else status, {})
        length = 0.0 if status == "ok" else math.inf
        return self._found(found, Solution(status, "", *self._plan(found), cost, violation, length, done))

    def _plan(self, guess: Guess) -> tuple[Array, Array]:
        return guess.blocks[self._of_step], guess.states

    def _found(self, guess: Guess, solution: Solution) -> Solution:
        self._guess, self._age = guess, 0.0
        return solution

    def _fall_back(self, guess: Guess, asked: Asked, reason: str, times: dict[str, float]) -> Solution:
        """The last good plan while it lasts, then the safe input."""
        problem = self.problem
        if self._age <= self.settings.patience:
            self._guess = guess
            return Solution("shifted", reason, *self._plan(guess), times=times)
        self._guess = None  # what has failed for so long is no place to begin at
        safe = np.clip(self._safe(asked.x, asked.p), problem.input_lower, problem.input_upper)
        inputs, states = np.tile(safe, (problem.horizon, 1)), np.tile(asked.x, (problem.horizon + 1, 1))
        return Solution("safe", reason, inputs, states, times=times)

    def _counted(self, solution: Solution, spent: float) -> Solution:
        self.counts[solution.status] += 1
        if solution.reason:
            self.counts[solution.reason] += 1
        if self.settings.deadline is not None and solution.solve_time + spent > self.settings.deadline:
            self.counts["late"] += 1
        return solution
