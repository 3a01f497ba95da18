"""What all samplers share: candidates, budgets, the best plan ever seen, and the answer.

A sampler draws plans around a mean, rolls them out together, and moves the mean towards those that cost little. It
draws in z, where every input's limits are -1 and 1 and half its range is one unit. Inputs with choices take the one
next to what was drawn. Constraints are a penalty on the largest violation; of all plans ever seen, that with the least
violation is best, and among those that keep the constraints the one of least cost.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from typing import Any, ClassVar, TypeVar

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.problem import TOLERANCE, Plan, Problem
from controllers.planning.rollout import BatchedRollout

_SEARCH_TOLERANCE = 0.5 * TOLERANCE  # in float32, so that what passes here passes there
_PENALTY = 1e3  # cost of a unit of violation: far above what a plan can gain by it
_LAST = 3  # rollouts in float64 that end every call: start, best and mean
_LEAST = 4  # candidates in a round

Proposals = Callable[[Array, Goal], Array]  # x0 (nx,), goal -> (k, T, nu) plans to try as well
Critic = Callable[[Array, Goal], Array]  # last states (..., nx), goal -> (...) cost to go
SettingsType = TypeVar("SettingsType", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """Of every sampler.

    Attributes:
        rollouts: Of the model in one call, all counted. With a deadline as many as fit, in rounds of the same sizes.
        iterations: Rounds of drawing and moving that they are spent in.
        spread: Standard deviation of the first draws, in halves of the inputs' ranges.
        beta: Colour of the noise: its power falls with 1 / f^beta over the horizon; 0 is white.
    """

    rollouts: int = 512
    iterations: int = 4
    spread: float = 0.5
    beta: float = 0.0

    # What ``tuning`` draws from: (least, most, on a logarithmic scale).
    SPACE: ClassVar[Mapping[str, tuple[float, float, bool]]] = {
        "iterations": (2, 10, True),
        "spread": (0.1, 1.5, True),
        "beta": (0.0, 3.0, False),
    }

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.rollouts < _LAST + _LEAST * self.iterations:
            raise InvalidInput(
                f"sampling: {self.iterations} iterations need at least {_LAST + _LEAST * max(self.iterations, 1)} "
                f"rollouts, got {self.rollouts}"
            )
        for name in ("spread", "beta"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0) or (name == "spread" and value == 0.0):
                raise InvalidInput(f"sampling: {name} must be a number above zero, got {value}")

    def sizes(self) -> list[int]:
        """Candidates in each round; with the last rollouts they make ``rollouts``."""
        return divided(self.rollouts - _LAST, np.ones(self.iterations))

    @classmethod
    def read(cls: type[SettingsType], values: Mapping[str, Any]) -> SettingsType:
        """From a file's mapping. Raises InvalidInput for unknown names and values of another type."""
        kinds = {field.name: type(getattr(cls(), field.name)) for field in fields(cls)}
        for name, value in values.items():
            if name not in kinds:
                raise InvalidInput(f"settings of {cls.__name__}: no '{name}', there are {', '.join(kinds)}")
            if isinstance(value, bool) or not isinstance(value, int if kinds[name] is int else int | float):
                raise InvalidInput(f"settings of {cls.__name__}: {name} must be {kinds[name].__name__}, got {value!r}")
        return cls(**{name: kinds[name](value) for name, value in values.items()})

    def within(self: SettingsType, rollouts: int) -> SettingsType:
        """The same with another budget."""
        return replace(self, rollouts=rollouts)

    def values(self) -> dict[str, Any]:
        """As a mapping, ready for a file."""
        return asdict(self)


def divided(total: int, shares: Array, least: int = _LEAST) -> list[int]:
    """Whole numbers with this sum, at least ``least`` each, otherwise about proportional to the shares."""
    spare = total - least * len(shares)
    edges = np.round(np.cumsum(shares) / np.sum(shares) * spare).astype(int)
    return [least + int(part) for part in np.diff(edges, prepend=0)]


@dataclass
class Seen:
    """Candidates of a round with what they cost.

    Attributes:
        z: (S, T, nu). score: (S,) cost, critic and penalty.
    """

    z: Array
    score: Array


class Sampler(ABC):
    """A planner that draws plans (``problem.Planner``). Equal seeds and calls give equal plans without a deadline.

    Args:
        problem: What to plan.
        settings: Of this sampler.
        seed: Of all draws.
        proposals: Further plans to try in the first round, such as a policy's.
        critic: Cost to go of the last state. It takes part in what is best; the cost of a plan is without it, so
            that a plan may then cost more than its start.
        device: Of torch, where plans are rolled out; None for NumPy.

    Raises:
        InvalidInput: No such device. MissingDependency: torch is not installed, and a device is named.
    """

    def __init__(
        self, problem: Problem, settings: Settings, seed: int = 0,
        proposals: Proposals | None = None, critic: Critic | None = None, device: str | None = None,
    ):  # fmt: skip
        spec = problem.spec
        self.problem, self.settings, self.proposals, self.critic = problem, settings, proposals, critic
        self._seed = seed
        self._rollout = BatchedRollout(problem.model, device)
        self._middle = 0.5 * (spec.input_upper + spec.input_lower)
        self._half = np.maximum(0.5 * (spec.input_upper - spec.input_lower), 1e-12)
        self.reset()

    def reset(self) -> None:
        """Forgets earlier calls: the next one is as the first."""
        self._calls = 0
        self.rollouts = 0  # of the last call

    def warm(self) -> None:  # noqa: B027
        """Nothing to start."""

    def close(self) -> None:  # noqa: B027
        """Nothing to end."""

    @abstractmethod
    def _begin(self, mean: Array) -> None:
        """A new search about a mean (T, nu)."""

    @abstractmethod
    def _draw(self, rng: np.random.Generator, size: int) -> Array:
        """(size, T, nu) candidates; limits are kept by the caller."""

    @abstractmethod
    def _move(self, seen: Seen) -> None:
        """Learns from a round."""

    @abstractmethod
    def _mean(self) -> Array:
        """(T, nu) where the search stands."""

    def _carried(self) -> Array:
        """(k, T, nu) candidates of an earlier call that are worth a try; none by default."""
        return np.zeros((0, self.problem.horizon, self.problem.nu))

    def plan(
        self, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None,
        deadline: float | None = None, once: bool = False,
    ) -> Plan:  # fmt: skip
        """See ``problem.Planner``. With a deadline it begins anew about the best plan when its rounds are over.

        Args:
            once: Ends when its rounds are over, however much time is left.

        Raises:
            InfeasibleStart: The start breaks a constraint.
            InvalidInput: A state, goal or start that cannot be meant.
        """
        began = time.perf_counter()
        problem, spec = self.problem, self.problem.spec
        x0, goal = spec.check_state(x0), spec.check_goal(goal)
        if start is not None:
            start = problem.check_start(start)
            problem.check_feasible(problem.model.rollout(x0, start), start)
        rng = np.random.default_rng((self._seed, self._calls))
        self._calls += 1
        best = _Best()

        def evaluate(z: Array) -> Seen:
            z = self._inside(z)
            inputs = self._inputs(z)
            states: Any = self._rollout(x0, inputs)
            score = problem.cost(states, inputs, goal, before) + self._to_go(states, goal)
            broken = np.maximum(problem.violation(states, inputs) - _SEARCH_TOLERANCE, 0.0)
            self.rollouts += len(z)
            best.offer(z, score, broken)
            return Seen(z, score + _PENALTY * broken)

        self.rollouts = 0
        rest = np.zeros((problem.horizon, problem.nu))
        mean = self._inside(rest if start is None else self._scaled(start))
        extra = self._extra(x0, goal, mean)
        sizes, slowest = self.settings.sizes(), 0.0
        for k in count():
            at = time.perf_counter()
            if (deadline is None or once) and k == len(sizes):
                break
            # The answer takes time as well, less than half a round.
            if deadline is not None and k > 0 and at - began + 1.5 * slowest > deadline:
                break
            size = sizes[k % len(sizes)]
            if k % len(sizes) == 0:
                self._begin(mean if k == 0 else best.z)
            own = extra[:size] if k == 0 else extra[:0]
            self._move(evaluate(np.concatenate([own, self._draw(rng, size - len(own))])))
            slowest = max(slowest, time.perf_counter() - at)
        found = [self._inputs(best.z), self._inputs(self._inside(self._mean()))]
        return self._answer(x0, goal, start, before, found, began)

    def _extra(self, x0: Array, goal: Goal, mean: Array) -> Array:
        """Candidates that are not drawn: the start, what is left of the last call, proposals."""
        parts = [mean[None], self._carried()]
        if self.proposals is not None:
            proposed = np.asarray(self.proposals(x0, goal), dtype=float)
            if proposed.ndim != 3 or proposed.shape[1:] != mean.shape or not np.isfinite(proposed).all():
                raise InvalidInput(f"proposals have shape {proposed.shape}, expected finite (k, {mean.shape})")
            parts.insert(1, self._scaled(proposed))
        return np.concatenate(parts)

    def _answer(
        self, x0: Array, goal: Goal, start: Array | None, before: Array | None, found: list[Array], began: float
    ) -> Plan:
        """The best of start and found, compared in float64; the start wins a tie."""
        problem = self.problem
        inputs = np.array(([] if start is None else [start]) + found)
        self.rollouts += _LAST
        states = problem.model.rollout(x0, inputs)
        cost, violation = problem.cost(states, inputs, goal, before), problem.violation(states, inputs)
        order = np.lexsort((cost + self._to_go(states, goal), np.maximum(violation - TOLERANCE, 0.0)))
        k = int(order[0])
        status = "start" if start is not None and k == 0 else "feasible"
        if violation[k] > TOLERANCE:
            status = "infeasible"
        seconds = time.perf_counter() - began
        return Plan(
            status=status, inputs=inputs[k], states=states[k], cost=float(cost[k]),
            start_cost=float("inf") if start is None else float(cost[0]), bound=-float("inf"),
            violation=float(violation[k]), solve_s=seconds, times={"search": seconds},
        )  # fmt: skip

    def _to_go(self, states: Array, goal: Goal) -> Array | float:
        return 0.0 if self.critic is None else np.asarray(self.critic(states[..., -1, :], goal))

    def _scaled(self, inputs: Array) -> Array:
        return (inputs - self._middle) / self._half

    def _inside(self, z: Array) -> Array:
        return np.clip(z, -1.0, 1.0)

    def _inputs(self, z: Array) -> Array:
        """Inputs of candidates: within the limits, and among the choices where there are any."""
        return self.problem.limited(self._middle + self._half * z)


class _Best:
    """The best candidate so far: of least violation, then of least score."""

    def __init__(self) -> None:
        self.z: Array = np.zeros(0)
        self._key = (np.inf, np.inf)

    def offer(self, z: Array, score: Array, broken: Array) -> None:
        k = int(np.lexsort((score, broken))[0])
        key = (float(broken[k]), float(score[k]))
        if key < self._key or not len(self.z):
            self._key, self.z = key, z[k]
