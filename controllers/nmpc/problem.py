"""What is minimised: least squares along a horizon, under a model and constraints.

    min over u_0 .. u_{N-1}  sum_{k<N} 1/2 |r(x_k, u_k, p, y_k)|^2 + 1/2 |r_N(x_N, p, y_N)|^2
                             + sum_{k<N} 1/2 |c (u_k - u_{k-1})|^2 + sum_i rho_i (s_i + s_i^2 / 2)
    x_0 = the state now,  x_{k+1} = f(x_k, u_k, p),  input_lower <= u_k <= input_upper,  |u_k - u_{k-1}| <= dt rate
    constraints: lower - s <= h(x, u, p, y) <= upper + s,  s >= 0, and s = 0 where a constraint is hard

p are the model's parameters and y_k the references of step k. Both are arguments of every solve, so what is to change
in flight (payload, wind, weights of a residual network, an obstacle's place, a cost's weights) belongs in p or y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from control_stack.errors import InvalidInput, UnknownName
from control_stack.protocols import Dynamics, DynamicsSpec
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array

Expression = Callable[[Any, Any, Any, Any], Any]  # symbols x, u, p, y -> column of symbols
TerminalExpression = Callable[[Any, Any, Any], Any]  # symbols x, p, y -> column of symbols


@runtime_checkable
class Linearised(Protocol):
    """A model that knows a cheaper linearisation than the chain rule through its step.

    An arm has one: with inverse dynamics ID(q, qd, qdd), dqdd/d(q, qd) = -M^-1 dID/d(q, qd) and dqdd/dtau = M^-1.
    """

    def linearise(self) -> Any:
        """casadi.Function (x, u, p) -> (x+, A, B) with A = df/dx, B = df/du."""


@dataclass(frozen=True)
class Constraint:
    """``lower <= h <= upper``.

    Attributes:
        name: By which results name it.
        expression: h(x, u, p, y), a column of m symbols.
        lower, upper: (m,), -inf and inf where there is none.
        inputs: True: holds at (x_k, u_k), k = 0 .. N-1. False: h does not read u and holds at x_k, k = 1 .. N.
        soft: rho, cost of a unit of violation; None: hard, and a state from which it cannot hold is infeasible.
        shared: Of a soft one: each row and side has one slack for all steps, which pays for the worst of them. With
            many rows that makes a much smaller program.
    """

    name: str
    expression: Expression
    lower: Array
    upper: Array
    inputs: bool = False
    soft: float | None = None
    shared: bool = False


@dataclass(frozen=True)
class Problem:
    """A model, a cost and constraints; see the module for the equations.

    Attributes:
        model: Anything with ``spec`` and ``to_casadi()``; with ``linearise()`` as well that is used.
        horizon: N, of steps of the model.
        residual: r(x, u, p, y), weights included. terminal: r_N(x, p, y).
        reference_size: Components of y_k.
        input_lower, input_upper: (nu,) finite.
        rest_input: (nu,) where the first plan begins, such as hover.
        input_rate: (nu,) largest change per second; None: free.
        input_change: (nu,) c, weights of changes from step to step; None: free.
        constraints: Beyond those of the inputs.
        blocks: Lengths of the stretches over which an input is held, of sum N; None: one step each.

    Raises:
        InvalidInput: Shapes that do not fit, limits out of order, blocks that do not add up, a name used twice.
    """

    model: Dynamics
    horizon: int
    residual: Expression
    terminal: TerminalExpression
    reference_size: int
    input_lower: Array
    input_upper: Array
    rest_input: Array
    input_rate: Array | None = None
    input_change: Array | None = None
    constraints: Sequence[Constraint] = ()
    blocks: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.horizon < 1 or self.reference_size < 0:
            raise InvalidInput("nmpc: the horizon is at least 1 step, the reference at least 0 numbers")
        for name in ("input_lower", "input_upper", "rest_input", "input_rate", "input_change"):
            value = getattr(self, name)
            if value is not None and (np.shape(value) != (self.nu,) or not np.isfinite(value).all()):
                raise InvalidInput(f"nmpc: {name} needs {self.nu} finite numbers, one of each input")
        if not (np.asarray(self.input_lower) < np.asarray(self.input_upper)).all():
            raise InvalidInput("nmpc: input_lower must lie below input_upper")
        if (self.input_rate is not None and min(self.input_rate) <= 0.0) or (
            self.input_change is not None and min(self.input_change) < 0.0
        ):
            raise InvalidInput("nmpc: input_rate must be positive and input_change not negative")
        if sum(self.block_lengths) != self.horizon or min(self.block_lengths) < 1:
            raise InvalidInput(f"nmpc: blocks {list(self.block_lengths)} do not add up to {self.horizon} steps")
        names = [c.name for c in self.constraints]
        for c in self.constraints:
            lower, upper = np.asarray(c.lower), np.asarray(c.upper)
            if lower.ndim != 1 or lower.shape != upper.shape or not (lower <= upper).all():
                raise InvalidInput(f"nmpc: constraint '{c.name}' needs as many lower as upper limits, in order")
            if names.count(c.name) > 1:
                raise InvalidInput(f"nmpc: two constraints are called '{c.name}'")
            if c.soft is not None and not (c.soft > 0.0 and math.isfinite(c.soft)):
                raise InvalidInput(f"nmpc: constraint '{c.name}': soft must be a positive number")
            if c.shared and c.soft is None:
                raise InvalidInput(f"nmpc: constraint '{c.name}': a hard one has no slack to share")

    @property
    def spec(self) -> DynamicsSpec:
        """Of the model."""
        return self.model.spec

    @property
    def nx(self) -> int:
        """States."""
        return len(self.spec.state)

    @property
    def nu(self) -> int:
        """Inputs."""
        return len(self.spec.inputs)

    @property
    def block_lengths(self) -> tuple[int, ...]:
        """Of all blocks."""
        return (1,) * self.horizon if self.blocks is None else tuple(self.blocks)


def state_limits(
    name: str,
    spec: DynamicsSpec,
    limits: Mapping[str, tuple[float, float]],
    soft: float | None = None,
    shared: bool = False,
) -> Constraint:
    """Bounds of states by name, e.g. {"velocity_w.z": (-1.0, 1.0)}; names with or without their unit.

    Raises:
        UnknownName: There is no such state.
    """
    known = {full.partition(" ")[0]: k for k, full in enumerate(spec.state)}
    for key in limits:
        if key.partition(" ")[0] not in known:
            raise UnknownName("state", key, known)
    index = [known[key.partition(" ")[0]] for key in limits]
    lower, upper = np.array([list(limits[key]) for key in limits], dtype=float).T
    return Constraint(name, lambda x, u, p, y: x[index], lower, upper, soft=soft, shared=shared)


def keep_out(name: str, point: Expression, centre: Expression, radius: float, soft: float | None = 1e3) -> Constraint:
    """``|point - centre| >= radius``: a ball that a point of the robot stays out of.

    Args:
        point, centre: Columns (x, u, p, y) -> position, m; a centre that moves is read from y, else a constant.
        radius: m, of the ball and the robot together.
        soft: As of a constraint; hard (None) is infeasible from inside.
    """
    ca = import_casadi()

    def distance(x: Any, u: Any, p: Any, y: Any) -> Any:
        gap = point(x, u, p, y) - centre(x, u, p, y)
        return ca.sqrt(ca.sumsqr(gap) + 1e-9)  # smooth where both coincide

    return Constraint(name, distance, np.array([radius]), np.array([np.inf]), soft=soft)
