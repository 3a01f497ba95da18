"""A planning problem from one state on as a single implicit ReLU network of its inputs, linear parts multiplied out.

    z = A u + C h + d,   h = max(z, 0),   C strictly lower block-triangular by layer,   u = (u_0, .., u_{T-1}) flat
    s = P u + Q h + r    what the cost is made of,   cost = sum over "sum" rows of c s^+
                         + per step c max s^+ ("max" rows) + sum over "square" rows of c (s^+)^2
    v = G u + H h + g    what must not be positive: constraints, widened by their tolerance, and faces of obstacles, of
                         each group one at least

States do not appear: what cancels between them cancels exactly. Every row has a slack for what rounding costs. It
covers the true function and the float64 rollout alike, since the rollout's states obey the same equations with a
rounding error in each operation (Higham, see ``control_stack.bounds.rounding``), so bounds hold for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from control_stack.bounds.rounding import TINY, gamma
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.problem import TOLERANCE, Problem

SUM, MAX, SQUARE = 0, 1, 2


@dataclass
class Rows:
    """on_u @ u + on_h @ h + constant, within slack.

    Attributes:
        on_u: (rows, n). on_h: (rows, m). constant, slack: (rows,).
    """

    on_u: Array
    on_h: Array
    constant: Array
    slack: Array

    def __add__(self, other: Rows) -> Rows:
        """These rows, then those."""
        return Rows(*(np.concatenate(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def chosen(self, which: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(*(value[which] for value in vars(self).values()))

    def scaled(self, by: NDArray[np.bool_]) -> Rows:
        """Each row times 0 or 1."""
        return Rows(*((value.T * by).T for value in vars(self).values()))

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.constant)


@dataclass
class Form:
    """What is searched.

    Attributes:
        lower, upper: (n,) of the inputs.
        layers: Where each layer's units lie in h, in order.
        units: Arguments z.
        cost: Rows s; ``weight`` c, ``kind`` (SUM, MAX or SQUARE) and ``step`` (by which MAX rows go together) of each.
        limits: Rows v; ``face`` is -1 for constraints, and a number common to the faces of which one must hold.
        choices: Values allowed by position in u, sorted.
        z_size: (m,) largest |z|.
    """

    lower: Array
    upper: Array
    layers: list[slice]
    units: Rows
    cost: Rows
    weight: Array
    kind: Array
    step: Array
    limits: Rows
    face: Array
    z_size: Array
    choices: dict[int, Array] = field(default_factory=dict)


class _Builder:
    """Composes rows; knows the largest |u| and |h| so far."""

    def __init__(self, problem: Problem, count: int):
        self.nu, self.m = problem.nu, count
        self.lower, self.upper = (side.ravel() for side in problem.limits)
        self.u_size = np.maximum(np.abs(self.lower), np.abs(self.upper))
        self.h_size = np.zeros(count)

    def constant(self, value: Array) -> Rows:
        k = len(value)
        return Rows(np.zeros((k, len(self.lower))), np.zeros((k, self.m)), np.array(value, dtype=float), np.zeros(k))

    def inputs(self, t: int) -> Rows:
        rows = self.constant(np.zeros(self.nu))
        rows.on_u[:, t * self.nu : (t + 1) * self.nu] = np.eye(self.nu)
        return rows

    def size(self, rows: Rows) -> Array:
        """(rows,) sum of the terms' largest absolute values."""
        terms = np.abs(rows.on_u) @ self.u_size + np.abs(rows.on_h) @ self.h_size
        return terms + np.abs(rows.constant) + rows.slack + TINY

    def combined(self, parts: list[tuple[Array, Rows]], bias: Array) -> Rows:
        """sum_j matrix_j rows_j + bias; its slack covers rounding here and, once more, in a rollout."""
        out, terms, count = self.constant(bias), np.abs(bias) + TINY, 2
        for matrix, rows in parts:
            out = Rows(
                out.on_u + matrix @ rows.on_u,
                out.on_h + matrix @ rows.on_h,
                out.constant + matrix @ rows.constant,
                out.slack + np.abs(matrix) @ rows.slack,
            )
            terms = terms + np.abs(matrix) @ self.size(rows)
            count += matrix.shape[1] + 2
        out.slack = 1.0000001 * out.slack + 4.0 * gamma(count) * terms
        return out


def build(problem: Problem, x0: Array, goal: Goal, before: Array | None) -> Form:
    """The form from a state on; see the module."""
    *hidden, last = problem.model.layers
    T, nx = problem.horizon, problem.nx
    b = _Builder(problem, T * problem.model.relus)
    x, units, states = b.constant(x0), b.constant(np.zeros(0)), []
    layers: list[slice] = []
    for t in range(T):
        sources = [x + b.inputs(t)]
        for layer in hidden:
            z = b.combined([(layer.weights[j], sources[j]) for j in sorted(layer.weights)], layer.bias)
            relu, passed = (np.array([g == gate for g in layer.gates]) for gate in ("relu", "identity"))
            put = z.scaled(passed)
            if relu.any():
                start = layers[-1].stop if layers else 0
                layers.append(slice(start, start + int(relu.sum())))
                b.h_size[layers[-1]] = b.size(z)[relu]
                put.on_h[relu, layers[-1]] = np.eye(int(relu.sum()))
                units = units + z.chosen(relu)
            sources.append(put)
        x = b.combined([(np.eye(nx), x)] + [(last.weights[j], sources[j]) for j in sorted(last.weights)], last.bias)
        states.append(x)
    cost, weight, kind, step = _cost(problem, b, states, goal, before)
    limits, face = _limits(problem, b, states)
    choices = {
        t * problem.nu + problem.spec.inputs.index(name): np.array(sorted(set(values)), dtype=float)
        for name, values in problem.choices.items()
        for t in range(T)
    }
    lower, upper = b.lower.copy(), b.upper.copy()
    for i, values in choices.items():
        lower[i], upper[i] = values[0], values[-1]
    return Form(lower, upper, layers, units, cost, weight, kind, step, limits, face, b.size(units), choices)


def _cost(
    problem: Problem, b: _Builder, states: list[Rows], goal: Goal, before: Array | None
) -> tuple[Rows, Array, Array, Array]:
    spec = problem.spec
    counted = np.flatnonzero((spec.weights > 0.0) & np.isfinite(goal.free))
    w = spec.weights[counted]
    kind = {"l1": SUM, "linf": MAX, "quadratic": SQUARE}[problem.stage]
    parts, weights, kinds, steps = [b.constant(np.zeros(0))], [], [], []

    def add(rows: Rows, weight: Array, of: int, t: int) -> None:
        priced = weight > 0.0
        parts.append(rows.chosen(priced))
        weights.append(weight[priced])
        kinds.append(np.full(int(priced.sum()), of))
        steps.append(np.full(int(priced.sum()), t))

    for t, g in enumerate(problem.stage_weights()):
        matrix = w[:, None] * spec.outputs[counted]
        for sign in (1.0, -1.0):
            bias = -w * (sign * goal.target[counted] + goal.free[counted])
            add(b.combined([(sign * matrix, states[t])], bias), np.full(len(w), g), kind, t)
        for price, previous in ((problem.effort, False), (problem.change, True)):
            if price is None or not np.any(price):
                continue
            eye, zero = np.eye(problem.nu), np.zeros(problem.nu)
            for sign in (1.0, -1.0):
                terms, bias = [(sign * eye, b.inputs(t))], zero
                if previous and t > 0:
                    terms.append((-sign * eye, b.inputs(t - 1)))
                elif previous and before is not None:
                    bias = -sign * np.asarray(before, dtype=float)
                add(b.combined(terms, bias), np.asarray(price, dtype=float), SUM, t)
    rows = parts[0]
    for part in parts[1:]:
        rows = rows + part
    return rows, np.concatenate(weights), np.concatenate(kinds), np.concatenate(steps)


def _limits(problem: Problem, b: _Builder, states: list[Rows]) -> tuple[Rows, Array]:
    rows, faces, group = b.constant(np.zeros(0)), [np.zeros(0, dtype=int)], 0
    for t, x in enumerate(states):
        for c in problem.constraints:
            lower, upper = (side[t] for side in c.sides(problem.horizon))
            for sign, side in ((1.0, upper), (-1.0, -lower)):
                kept = np.flatnonzero(np.isfinite(side))
                terms = [(sign * c.state[kept], x)]
                if c.inputs is not None:
                    terms.append((sign * c.inputs[kept], b.inputs(t)))
                rows = rows + b.combined(terms, -side[kept] - TOLERANCE)
                faces.append(np.full(len(kept), -1))
        for o in problem.obstacles:
            for point, offsets in zip(o.points, o.sides(problem.horizon)[t], strict=True):
                place = b.combined([(point, x)], np.zeros(len(point)))
                rows = rows + b.combined([(-o.normals, place)], offsets - TOLERANCE)
                faces.append(np.full(len(offsets), group))
                group += 1
    return rows, np.concatenate(faces)
