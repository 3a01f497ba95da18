"""What a planner is asked: inputs over a horizon that cost least under a model, and what one answers.

    min over u_0 .. u_{T-1} of  sum_{t=1..T} g_t l(outputs @ x_t) + sum_{t<T} effort . |u_t| + change . |u_t - u_{t-1}|
    x_{t+1} = f(x_t, u_t),   u_t within the input limits (or among their choices),   constraints at t = 1 .. T

with g_t = 1 but for the last step, and of the excess e_i = w_i max(0, |y_i - target_i| - free_i) the stage cost
l = sum e ("l1"), max e ("linf") or sum e^2 ("quadratic"). All costs that planners report are of this float64 rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, cast

import numpy as np

from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.learning.spec import Goal, TaskSpec
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

STAGE_COSTS = ("l1", "linf", "quadratic")
TOLERANCE = 1e-4  # of constraints, on the float64 rollout


class InfeasibleStart(InvalidInput):
    """A start that breaks a constraint.

    Attributes:
        constraint: Its name. step: t = 1 .. T. violation: By how much.
    """

    def __init__(self, constraint: str, step: int, violation: float):
        self.constraint, self.step, self.violation = constraint, step, violation
        super().__init__(f"planning: the start breaks '{constraint}' at step {step} by {violation:.3g}")


@dataclass(frozen=True)
class LinearConstraint:
    """``lower <= state @ x_t + inputs @ u_{t-1} <= upper`` at t = 1 .. T.

    Attributes:
        name: By which it is named in errors and results.
        state: (m, nx). inputs: (m, nu); None without inputs.
        lower, upper: (m,), or (T, m) where they change over the horizon; -inf and inf where there is none.
    """

    name: str
    state: Array
    lower: Array
    upper: Array
    inputs: Array | None = None

    @classmethod
    def of(
        cls, spec: DynamicsSpec, name: str, terms: Mapping[str, float], lower: float = -np.inf, upper: float = np.inf
    ) -> LinearConstraint:
        """lower <= sum of factors times states and inputs, which go by their names in the spec <= upper.

        Raises:
            UnknownName: No such state or input.
            InvalidInput: No terms, a factor that is not finite, or limits that leave nothing.
        """
        columns = (*spec.state, *spec.inputs)
        row = np.zeros((1, len(columns)))
        for column, factor in terms.items():
            if column not in columns:
                raise UnknownName("state or input", column, columns)
            row[0, columns.index(column)] = factor
        if not (np.isfinite(row).all() and row.any() and lower <= upper):
            raise InvalidInput(f"constraint '{name}': needs terms with finite factors and lower <= upper")
        state, inputs = row[:, : len(spec.state)], row[:, len(spec.state) :]
        return cls(name, state, np.array([lower]), np.array([upper]), inputs if inputs.any() else None)

    def sides(self, horizon: int) -> tuple[Array, Array]:
        """Lower and upper of each step, (T, m)."""
        shape = (horizon, len(self.state))
        return np.broadcast_to(self.lower, shape), np.broadcast_to(self.upper, shape)


@dataclass(frozen=True)
class Obstacle:
    """A convex polytope that points stay out of: for each point and t = 1 .. T at least one face has
    ``normals[f] @ (point @ x_t) >= offsets[f]``.

    Attributes:
        name: As of a constraint.
        points: (k, d, nx), each maps the state to a point.
        normals: (faces, d), outward.
        offsets: (faces,), or (T, k, faces) where they change over the horizon.
    """

    name: str
    points: Array
    normals: Array
    offsets: Array

    def sides(self, horizon: int) -> Array:
        """Offsets of each step, point and face, (T, k, faces)."""
        return np.broadcast_to(self.offsets, (horizon, len(self.points), len(self.normals)))


@dataclass(frozen=True)
class Problem:
    """A model, a cost and constraints; built once, asked for many states and goals.

    Attributes:
        model: Its spec must be a TaskSpec.
        horizon: T.
        stage: One of STAGE_COSTS.
        terminal: g_T.
        effort, change: (nu,) weights; None costs nothing.
        constraints, obstacles: Linear ones, and disjunctions.
        choices: Values that an input may take, by its name; others are continuous.
        input_margins: (T, nu) by which u_t stays away from either of its limits; None: not at all.

    Raises:
        InvalidInput: Shapes do not fit, limits are not finite or leave nothing between them, an input is unknown or a
            name is used twice.
    """

    model: SparseReLUDynamics
    horizon: int
    stage: str = "l1"
    terminal: float = 1.0
    effort: Array | None = None
    change: Array | None = None
    constraints: Sequence[LinearConstraint] = ()
    obstacles: Sequence[Obstacle] = ()
    choices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    input_margins: Array | None = None

    def __post_init__(self) -> None:
        spec = self.model.spec
        if not isinstance(spec, TaskSpec):
            raise InvalidInput("planning needs a model whose card has a task: outputs, weights and limits")
        if self.horizon < 1 or self.stage not in STAGE_COSTS or not self.terminal >= 0.0:
            raise InvalidInput(f"planning: horizon >= 1, terminal >= 0, stage one of {', '.join(STAGE_COSTS)}")
        for kind, columns, low, high in (
            ("state", spec.state, spec.state_lower, spec.state_upper),
            ("input", spec.inputs, spec.input_lower, spec.input_upper),
        ):
            for k in np.flatnonzero(~(np.isfinite(low) & np.isfinite(high) & (low <= high)))[:1]:
                raise InvalidInput(f"planning needs finite limits of {kind} {columns[k]}, got {low[k]} .. {high[k]}")
        for name, value in (("effort", self.effort), ("change", self.change)):
            if value is not None and (np.shape(value) != (self.nu,) or not np.all(np.asarray(value) >= 0.0)):
                raise InvalidInput(f"planning: {name} needs {self.nu} weights that are not negative")
        names = [*(part.name for part in self.constraints), *(part.name for part in self.obstacles)]
        for name in names:
            if names.count(name) > 1:
                raise InvalidInput(f"planning: two constraints are called '{name}'")
        self._check_shapes()
        for name, values in self.choices.items():
            if name not in spec.inputs:
                raise InvalidInput(f"planning: no input '{name}', there are {', '.join(spec.inputs)}")
            j = spec.inputs.index(name)
            low, high = (side[:, j] for side in self.limits)
            inside = [bool((low <= value).all() and (value <= high).all()) for value in values]
            if not inside or not all(inside):
                raise InvalidInput(f"planning: choices of {name} must lie within its limits, and be at least one")

    def _check_shapes(self) -> None:
        margins = self.input_margins
        if margins is not None and (np.shape(margins) != (self.horizon, self.nu) or not (margins >= 0.0).all()):
            raise InvalidInput(f"planning: input_margins are {(self.horizon, self.nu)} numbers that are not negative")
        for t, j in np.argwhere(self.limits[0] > self.limits[1])[:1]:
            raise InvalidInput(f"planning: its margin leaves nothing of {self.spec.inputs[j]} at step {t}")
        for c in self.constraints:
            m = len(c.state)
            fits = c.state.shape == (m, self.nx) and self._fit(c.lower, m) and self._fit(c.upper, m)
            if not fits or (c.inputs is not None and c.inputs.shape != (m, self.nu)):
                raise InvalidInput(f"constraint '{c.name}': shapes do not fit {self.nx} states and {self.nu} inputs")
            if not np.all(c.lower <= c.upper):
                raise InvalidInput(f"constraint '{c.name}': lower lies above upper")
        for o in self.obstacles:
            d = o.points.shape[1] if o.points.ndim == 3 else -1
            fits = o.points.shape[2:] == (self.nx,) and o.normals.ndim == 2 and o.normals.shape[1] == d
            if not fits or not self._fit(o.offsets, len(o.normals), len(o.points)):
                raise InvalidInput(f"obstacle '{o.name}': shapes do not fit {self.nx} states")

    def _fit(self, sides: Array, m: int, *of_each: int) -> bool:
        """Whether these are m numbers for all steps, or for each."""
        return np.shape(sides) in ((m,), (self.horizon, *of_each, m))

    @property
    def spec(self) -> TaskSpec:
        """Of the model."""
        return cast(TaskSpec, self.model.spec)

    @property
    def nx(self) -> int:
        """States."""
        return self.model.nx

    @property
    def nu(self) -> int:
        """Inputs."""
        return len(self.model.spec.inputs)

    @cached_property
    def limits(self) -> tuple[Array, Array]:
        """Least and most of each u_t, (T, nu)."""
        margins = np.zeros((self.horizon, self.nu)) if self.input_margins is None else self.input_margins
        return self.spec.input_lower + margins, self.spec.input_upper - margins

    def limited(self, inputs: Array) -> Array:
        """(..., T, nu) within the limits, and for inputs with choices the nearest of them; (nu,) counts as u_0."""
        spec = self.spec
        low, high = (side[0] if np.ndim(inputs) == 1 else side for side in self.limits)
        inside = np.clip(inputs, low, high)
        for name, values in self.choices.items():
            j, allowed = spec.inputs.index(name), np.asarray(values, dtype=float)
            nearest = np.abs(inside[..., j, None] - allowed).argmin(-1)
            inside[..., j] = allowed[nearest]
        return inside

    def check_start(self, start: Array) -> Array:
        """A plan (T, nu) to begin from, as float64, moved by rounding errors at most.

        Raises:
            InvalidInput: Wrong shape, not finite, or an input outside its limits or not among its choices.
        """
        plan = np.asarray(start, dtype=float)
        if plan.shape != (self.horizon, self.nu) or not np.isfinite(plan).all():
            raise InvalidInput(f"planning: a start is {(self.horizon, self.nu)} finite numbers, got {plan.shape}")
        inside = self.limited(plan)
        off = np.abs(plan - inside) > 1e-6 * np.maximum(1.0, np.abs(inside))
        for t, j in np.argwhere(off)[:1]:
            raise InvalidInput(f"planning: start has {self.spec.inputs[j]} = {plan[t, j]:.6g} at step {t}: not allowed")
        return inside

    def stage_weights(self) -> Array:
        """(T,) g_t."""
        weights = np.ones(self.horizon)
        weights[-1] = self.terminal
        return weights

    def stage_cost(self, x: Array, goal: Goal) -> Array:
        """l(outputs @ x); (..., nx) -> (...)."""
        spec = self.spec
        excess = spec.weights * np.maximum(np.abs(x @ spec.outputs.T - goal.target) - goal.free, 0.0)
        if self.stage == "l1":
            return excess.sum(-1)
        return excess.max(-1) if self.stage == "linf" else np.square(excess).sum(-1)

    def cost(self, states: Array, inputs: Array, goal: Goal, before: Array | None = None) -> Array:
        """Of a rollout.

        Args:
            states: (..., T + 1, nx). inputs: (..., T, nu). before: (nu,) input u_{-1}; None counts as zero.
        """
        total = self.stage_cost(states[..., 1:, :], goal) @ self.stage_weights()
        if self.effort is not None:
            total = total + np.abs(inputs).sum(-2) @ self.effort
        if self.change is not None:
            first = np.zeros(self.nu) if before is None else before
            first = np.broadcast_to(first, (*inputs.shape[:-2], 1, self.nu))
            total = total + np.abs(np.diff(inputs, axis=-2, prepend=first)).sum(-2) @ self.change
        return np.asarray(total)

    def check(self, x0: Array, goal: Goal, before: Array | None, deadline: float | None) -> tuple[Array, Goal]:
        """State and goal of a planning call as they can be used. Raises InvalidInput for what cannot be meant."""
        if before is not None and (np.shape(before) != (self.nu,) or not np.isfinite(before).all()):
            raise InvalidInput(f"planning: the input before needs {self.nu} finite numbers")
        if deadline is not None and not deadline > 0.0:
            raise InvalidInput(f"planning: a deadline must be above zero, got {deadline}")
        return self.spec.check_state(x0), self.spec.check_goal(goal)

    def violations(self, states: Array, inputs: Array) -> dict[str, Array]:
        """By name of constraint or obstacle, its largest violation at t = 1 .. T of a rollout, (..., T); <= 0 holds."""
        after = states[..., 1:, :]
        found = {}
        for c in self.constraints:
            value = after @ c.state.T + (0.0 if c.inputs is None else inputs @ c.inputs.T)
            lower, upper = c.sides(self.horizon)
            found[c.name] = np.maximum(lower - value, value - upper).max(-1)
        for o in self.obstacles:
            points = np.einsum("kdn,...tn->...tkd", o.points, after)
            faces = o.sides(self.horizon) - points @ o.normals.T
            found[o.name] = faces.min(-1).max(-1)  # how far from the nearest face
        return found

    def violation(self, states: Array, inputs: Array) -> Array:
        """Largest violation of constraints and obstacles in a rollout, 0 where all hold; (...)."""
        worst = np.zeros(inputs.shape[:-2])
        for value in self.violations(states, inputs).values():
            worst = np.maximum(worst, value.max(-1))
        return np.asarray(worst)

    def check_feasible(self, states: Array, inputs: Array) -> None:
        """Raises InfeasibleStart if this rollout breaks a constraint by more than ``TOLERANCE``."""
        for name, value in self.violations(states, inputs).items():
            if value.max() > TOLERANCE:
                raise InfeasibleStart(name, int(value.argmax()) + 1, float(value.max()))


def shifted(inputs: Array) -> Array:
    """Plans (..., T, nu) seen from a step later: the first input is gone, the last one is held."""
    return np.concatenate([inputs[..., 1:, :], inputs[..., -1:, :]], axis=-2)


@dataclass(frozen=True)
class Plan:
    """A planner's answer.

    Attributes:
        status: "optimal" (proven within the solver's tolerance), "feasible", "start" (nothing better than the start
            was found), "infeasible" (no plan keeps the constraints; inputs are the start's) or "failed" (the solver
            gave no answer; inputs are the best that was known without one, the start's if nothing is better).
        inputs: (T, nu). states: (T + 1, nx) their rollout under the model.
        cost: Of that rollout. start_cost: Of the start's; inf without a start.
        bound: Proven lower bound of the cost; -inf without one, or where a known cost refutes it. Never above ``cost``.
        violation: Largest violation of constraints in the rollout.
        solve_s: Wall time of the whole call. times: Of its parts, s.
        notes: What went wrong on the way, one line each.
    """

    status: str
    inputs: Array
    states: Array
    cost: float
    start_cost: float
    bound: float
    violation: float
    solve_s: float
    times: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """(cost - bound) / max(|cost|, 1e-9); inf without a bound."""
        return (self.cost - self.bound) / max(abs(self.cost), 1e-9)

    def values(self) -> dict[str, str]:
        """Its figures as text, for logs and diagnostics."""
        numbers = ("cost", "start_cost", "bound", "violation", "solve_s")
        told = {name: f"{getattr(self, name):.9g}" for name in numbers}
        return {"status": self.status, **told, **({"notes": "; ".join(self.notes)} if self.notes else {})}


class Planner(Protocol):
    """MIP, samplers and branch and bound alike."""

    problem: Problem

    def plan(
        self, x0: Array, goal: Goal, start: Array | None = None, before: Array | None = None,
        deadline: float | None = None,
    ) -> Plan:  # fmt: skip
        """Inputs from x0 on.

        Args:
            start: (T, nu) a plan to improve, such as the last one shifted; what comes back is never worse.
            before: (nu,) the input applied last.
            deadline: Wall time of the whole call, s; None takes the planner's own budget.
        """

    def warm(self) -> None:
        """Starts what takes time to start, so that the first deadline finds it ready."""

    def reset(self) -> None:
        """Forgets earlier calls."""

    def close(self) -> None:
        """Ends what it started, such as solver processes. May be called twice."""
