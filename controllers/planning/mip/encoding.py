"""A planning problem as one mixed-integer linear program; built once, filled in for each state and goal.

    h >= z,   h <= z - l (1 - a),   h <= u a,   a in {0, 1},   l <= z <= u          for each ReLU and step

The pattern of the matrix never changes. A call writes bounds of rows and columns and the big-M coefficients (l, u and
those of obstacles) into flat arrays; a ReLU whose sign is known has its binary fixed by the column's bounds, which the
solver's presolve removes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.bounds.step import StepTemplate
from control_stack.errors import InvalidInput
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.mip.boxes import Boxes
from controllers.planning.mip.program import Milp
from controllers.planning.mip.rows import Rows
from controllers.planning.problem import Problem


class Encoding:
    """The program of a problem with cost "l1" or "linf".

    Attributes:
        problem, template: What it encodes.
        state_columns: (T + 1, nx) of x_0 .. x_T.
        binaries: Of ReLUs, choices and obstacles' faces together.

    Raises:
        InvalidInput: The cost is quadratic.
    """

    def __init__(self, problem: Problem, template: StepTemplate):
        if problem.stage == "quadratic":
            raise InvalidInput(
                "HiGHS solves no quadratic cost with integers: take stage l1 or linf, or the Pyomo model"
            )
        self.problem, self.template = problem, template
        self._rows = Rows()
        self._count = 0
        self._integer: list[Array] = []
        p, horizon = problem, problem.horizon
        self._x = self.state_columns = self._columns(horizon + 1, p.nx)
        self._u = self._columns(horizon, p.nu)
        self._d, self._h = self._columns(horizon, p.nx), self._columns(horizon, template.relus)
        self._a = self._columns(horizon, template.relus, integer=True)
        self._dynamics()
        self._goal_rows()
        self._effort = self._absolute(p.effort, None)
        self._change = self._absolute(p.change, self._u)
        self._constraints()
        self._choices = {name: self._choice(name, np.asarray(v, float)) for name, v in p.choices.items()}
        self._faces = [self._obstacle(k) for k in range(len(p.obstacles))]
        self._finish()

    def fill(self, x0: Array, goal: Goal, before: Array | None, boxes: Boxes) -> Milp:
        """The program for one state.

        Args:
            x0: (nx,). goal: As checked. before: (nu,) the last input; None counts as zero.
            boxes: That hold every state and argument reachable from x0.
        """
        p, spec = self.problem, self.problem.spec
        low, high = self._lower.copy(), self._upper.copy()
        row_low, row_high, values = self._row_lower.copy(), self._row_upper.copy(), self._values.copy()
        low[self._x], high[self._x] = boxes.state_lower, boxes.state_upper
        low[self._x[0]] = high[self._x[0]] = x0
        low[self._d], high[self._d] = boxes.change_lower, boxes.change_upper
        lower, upper = boxes.argument_lower, boxes.argument_upper
        low[self._h], high[self._h] = np.maximum(lower, 0.0), np.maximum(upper, 0.0)
        low[self._a], high[self._a] = lower >= 0.0, upper > 0.0
        high[self._a] = np.maximum(low[self._a], high[self._a])
        values[self._at_low], values[self._at_high] = -lower, -upper
        row_high[self._relu_low] = self.template.constants - lower
        reach = np.stack([goal.free + goal.target, goal.free - goal.target])
        counted = (spec.weights > 0.0) & np.isfinite(goal.free)  # else 0 times infinity, which is no number
        row_high[self._error] = np.where(counted, spec.weights * np.where(counted, reach, 0.0), np.inf)
        if p.change is not None:
            first = np.zeros(p.nu) if before is None else before
            row_high[self._change[1][0]] = np.stack([first, -first])
        for obstacle, (binary, row, at, normal) in zip(p.obstacles, self._faces, strict=True):
            positive, negative = np.maximum(normal, 0.0), np.minimum(normal, 0.0)
            state_low, state_high = boxes.state_lower[1:], boxes.state_upper[1:]
            least = state_low @ positive.T + state_high @ negative.T  # (T, points faces)
            most = state_high @ positive.T + state_low @ negative.T
            offsets = obstacle.sides(p.horizon).reshape(p.horizon, -1)
            slack = np.maximum(offsets - least, 0.0)
            values[at], row_low[row] = -slack, offsets - slack
            low[binary], high[binary] = least >= offsets, most >= offsets
            high[binary] = np.maximum(low[binary], high[binary])
        return Milp(
            self._cost, low, high, row_low, row_high, self._starts, self._indices, values, self._is_integer,
            *self._named,
        )  # fmt: skip

    def point(self, states: Array, inputs: Array, goal: Goal, before: Array | None) -> Array:
        """All columns of a rollout: feasible where the rollout keeps the constraints, with its cost as objective."""
        p, spec, template = self.problem, self.problem.spec, self.template
        v = np.zeros(self._count)
        v[self._x], v[self._u], v[self._d] = states, inputs, np.diff(states, axis=0)
        n_in = p.nx + p.nu
        known = np.concatenate([states[:-1], inputs, np.zeros((p.horizon, template.relus))], 1)
        arguments = np.zeros((p.horizon, template.relus))
        start = 0
        for units in template.units:  # a row reads only units of earlier layers
            rows = slice(start, start + len(units))
            arguments[:, rows] = known @ template.arguments[rows].T + template.constants[rows]
            known[:, n_in + start : n_in + rows.stop] = np.maximum(arguments[:, rows], 0.0)
            start = rows.stop
        v[self._h], v[self._a] = known[:, n_in:], arguments > 0.0
        error = np.abs(states[1:] @ spec.outputs.T - goal.target) - goal.free
        excess = spec.weights * np.maximum(error, 0.0)
        v[self._e] = excess if p.stage == "l1" else excess.max(1, keepdims=True)
        if p.effort is not None:
            v[self._effort[0]] = np.abs(inputs)
        if p.change is not None:
            first = np.zeros(p.nu) if before is None else before
            v[self._change[0]] = np.abs(np.diff(inputs, axis=0, prepend=first[None]))
        for name, columns in self._choices.items():
            options = np.asarray(p.choices[name], float)
            chosen = np.abs(inputs[:, spec.inputs.index(name), None] - options).argmin(1)
            v[columns[np.arange(p.horizon), chosen]] = 1.0
        for obstacle, (binary, _, _, normal) in zip(p.obstacles, self._faces, strict=True):
            offsets = obstacle.sides(p.horizon)
            faces = (states[1:] @ normal.T).reshape(offsets.shape) - offsets
            v[binary.reshape(faces.shape)] = (faces >= 0.0) | (faces >= faces.max(-1, keepdims=True))
        return v

    def _columns(self, *shape: int, integer: bool = False) -> Any:
        n = int(np.prod(shape))
        self._integer.append(np.full(n, integer))
        self._count += n
        return np.arange(self._count - n, self._count).reshape(shape)

    def _dynamics(self) -> None:
        p, t, horizon = self.problem, self.template, self.problem.horizon
        every = np.concatenate([self._x[:-1], self._u, self._h], 1)  # (T, columns of [x, u, h])
        next_row = self._rows.add((horizon, p.nx), 0.0, 0.0)
        for columns, sign in ((self._x[1:], 1.0), (self._x[:-1], -1.0), (self._d, -1.0)):
            self._rows.put(next_row, columns, sign)
        change = self._rows.add((horizon, p.nx), t.drift, t.drift)
        self._rows.put(change, self._d, 1.0)
        self._rows.matrix(change, every, -t.change)
        self._above = above = self._rows.add((horizon, t.relus), t.constants, np.inf)  # h - Z v >= z0
        self._relu_low = self._rows.add((horizon, t.relus), -np.inf, 0.0)  # h - Z v - l a <= z0 - l
        on = self._rows.add((horizon, t.relus), -np.inf, 0.0)  # h - u a <= 0
        for row in (above, self._relu_low, on):
            self._rows.put(row, self._h, 1.0)
        for row in (above, self._relu_low):
            self._rows.matrix(row, every, -t.arguments)
        self._low_slot = self._rows.put(self._relu_low, self._a, 1.0)
        self._high_slot = self._rows.put(on, self._a, 1.0)

    def _goal_rows(self) -> None:
        p, spec = self.problem, self.problem.spec
        ny = len(spec.weights)
        self._e = self._columns(p.horizon, ny if p.stage == "l1" else 1)
        e = np.broadcast_to(self._e, (p.horizon, ny))
        self._error = self._rows.add((p.horizon, 2, ny), -np.inf, 0.0)  # +- w (y - target) - e <= w free
        for k, sign in enumerate((1.0, -1.0)):
            self._rows.matrix(self._error[:, k], self._x[1:], sign * spec.weights[:, None] * spec.outputs)
            self._rows.put(self._error[:, k], e, -1.0)

    def _absolute(self, weights: Array | None, before: Any) -> tuple[Any, Any]:
        """Columns (T, nu) that are at least |u_t|, or |u_t - u_{t-1}|, and their rows (T, 2, nu)."""
        if weights is None:
            return None, None
        p = self.problem
        size = self._columns(p.horizon, p.nu)
        rows = self._rows.add((p.horizon, 2, p.nu), -np.inf, 0.0)
        for k, sign in enumerate((1.0, -1.0)):
            self._rows.put(rows[:, k], self._u, sign)
            self._rows.put(rows[:, k], size, -1.0)
            if before is not None:
                self._rows.put(rows[1:, k], before[:-1], -sign)
        return size, rows

    def _constraints(self) -> None:
        for c in self.problem.constraints:
            horizon = self.problem.horizon
            rows = self._rows.add((horizon, len(c.state)), *c.sides(horizon))
            self._rows.matrix(rows, self._x[1:], c.state)
            if c.inputs is not None:
                self._rows.matrix(rows, self._u, c.inputs)

    def _choice(self, name: str, options: Array) -> Any:
        p = self.problem
        binary = self._columns(p.horizon, len(options), integer=True)
        rows = self._rows.add((p.horizon, 2), [0.0, 1.0], [0.0, 1.0])
        self._rows.put(rows[:, :1], self._u[:, [p.spec.inputs.index(name)]], 1.0)
        self._rows.matrix(rows, binary, np.stack([-options, np.ones(len(options))]))
        return binary

    def _obstacle(self, k: int) -> tuple[Any, Any, Any, Array]:
        """Binaries and rows (T, points faces), the binaries' entries, and normals over states (points faces, nx)."""
        o, horizon = self.problem.obstacles[k], self.problem.horizon
        normal = np.einsum("fd,kdn->kfn", o.normals, o.points).reshape(-1, self.problem.nx)
        binary = self._columns(horizon, len(normal), integer=True)
        row = self._rows.add((horizon, len(normal)), 0.0, np.inf)  # n . x - M b >= offset - M
        self._rows.matrix(row, self._x[1:], normal)
        slot = self._rows.put(row, binary, 1.0)
        one = self._rows.add((horizon, len(o.points)), 1.0, np.inf)
        each = np.repeat(np.arange(len(o.points)), len(o.normals))
        self._rows.put(one[:, each], binary, 1.0)
        return binary, row, slot, normal

    def _finish(self) -> None:
        p, n = self.problem, self._count
        self._row_lower, self._row_upper = self._rows.sides()
        self._starts, self._indices, self._values, place = self._rows.compressed()
        self._at_low, self._at_high = place[self._low_slot], place[self._high_slot]
        self._faces = [(binary, row, place[slot], normal) for binary, row, slot, normal in self._faces]
        self._lower, self._upper = np.zeros(n), np.full(n, np.inf)
        self._lower[self._u], self._upper[self._u] = p.limits
        integer = np.concatenate(self._integer)
        self._upper[integer] = 1.0
        self._is_integer = integer.astype(np.int32)
        self._cost = np.zeros(n)
        self._cost[self._e] = p.stage_weights()[:, None]
        for weights, absolute in ((p.effort, self._effort), (p.change, self._change)):
            if weights is not None:
                self._cost[absolute[0]] = weights
        self._named = [a.ravel().astype(np.int32) for a in (self._u, self._a, self._h, self._above)]
        self.binaries = int(integer.sum())
