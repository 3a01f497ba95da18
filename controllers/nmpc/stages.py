"""The CasADi side: model, cost and constraints with their derivatives, for all steps of the horizon in one call.

Buffers are made once and written in place: a call costs no conversion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array
from controllers.nmpc.problem import Constraint, Linearised, Problem


@dataclass
class Rows:
    """Linear constraints of one kind, softened row by row: the layout of their part of the program.

    Attributes:
        lower, upper: (m,) limits of one step. soft: (m,) rho; 0 for hard rows. shared: (m,) one slack for all steps.
    """

    lower: Array
    upper: Array
    soft: Array
    shared: np.ndarray

    @classmethod
    def of(cls, constraints: list[Constraint]) -> Rows:
        """All rows of these constraints, in order."""
        soft = [np.full(len(c.lower), c.soft or 0.0) for c in constraints]
        parts = ([c.lower for c in constraints], [c.upper for c in constraints], soft)
        shared = [np.full(len(c.lower), c.shared) for c in constraints]
        flags = np.concatenate([np.zeros(0, dtype=bool), *shared])
        lower, upper, softness = (np.concatenate([np.zeros(0), *part]) for part in parts)
        return cls(lower, upper, softness, flags)


class Buffered:
    """A casadi.Function on NumPy memory.

    A matrix of a function that is mapped over n steps appears as (n, columns, rows): CasADi stores columns.
    """

    def __init__(self, function: Any, steps: int = 1):
        self._buffer, self._trigger = function.buffer()
        self.inputs = [np.zeros(function.nnz_in(i)) for i in range(function.n_in())]
        self.outputs: list[Array] = []
        for i, array in enumerate(self.inputs):
            self._buffer.set_arg(i, array.data)
        for i in range(function.n_out()):
            rows, columns = function.size_out(i)
            array = np.zeros(rows * columns)
            self._buffer.set_res(i, array.data)
            self.outputs.append(array.reshape(steps, columns // steps, rows))
        self._function = function  # owns the memory that the buffer points at

    def __call__(self, *arguments: Array) -> list[Array]:
        """Evaluates at these values; the outputs are views that the next call overwrites."""
        for target, value in zip(self.inputs, arguments, strict=True):
            target[:] = value.ravel()
        self._trigger()
        return self.outputs


class Stages:
    """Functions of a problem: at the N steps, at the N states that follow, and at the end.

    Attributes:
        dynamics: (X, U, P) -> X+, A, B. cost: (X, U, P, Y) -> r, dr/dx, dr/du. terminal: (x, p, y) -> r, dr/dx.
        mixed: (X, U, P, Y) -> h, dh/dx, dh/du of constraints with inputs; None without any.
        states: (X, P, Y) -> h, dh/dx at x_1 .. x_N; None without any.
        kinds: Limits of mixed and states.
        rollout: (x_0, U, p) -> x_1 .. x_N.
        step, residual, last, mixed_value, state_value: The same without derivatives, of one step, as casadi.Functions.
        after, residuals, ends, mixed_values, state_values: These over the horizon.
    """

    def __init__(self, problem: Problem):
        self.problem = problem
        ca = self._ca = import_casadi()
        n = problem.horizon
        model = problem.model.to_casadi()
        self._check(model)
        self._x, self._u = ca.SX.sym("x", problem.nx), ca.SX.sym("u", problem.nu)
        self._p = ca.SX.sym("p", len(problem.spec.parameters))
        self._y = ca.SX.sym("y", problem.reference_size)
        self.step = model
        self.rollout = self._rollout(model)
        self.dynamics = Buffered(self._mapped(self._linear_model(model)), n)
        x, u, p, y = self._x, self._u, self._p, self._y
        r, last = problem.residual(x, u, p, y), problem.terminal(x, p, y)
        self.residual = ca.Function("residual", [x, u, p, y], [r])
        self.last = ca.Function("terminal", [x, p, y], [last])
        self.cost = Buffered(self._mapped(self._with_jacobian("cost", [x, u, p, y], r, [x, u])), n)
        self.residuals, self.ends = Buffered(self._mapped(self.residual), n), Buffered(self.last)
        self.after = Buffered(self._mapped(model), n)
        self.terminal = Buffered(self._with_jacobian("terminal", [x, p, y], last, [x]))
        parts = [[c for c in problem.constraints if c.inputs is wanted] for wanted in (True, False)]
        self.kinds = (Rows.of(parts[0]), Rows.of(parts[1]))
        mixed, states = (self._stacked(part) for part in parts)
        if ca.depends_on(states, u):
            raise InvalidInput("nmpc: a constraint that reads inputs must say so: inputs=True")
        self.mixed_value = ca.Function("mixed", [x, u, p, y], [mixed])
        self.state_value = ca.Function("states", [x, p, y], [states])
        self.mixed = self.states = self.mixed_values = self.state_values = None
        if mixed.shape[0]:
            self.mixed_values = Buffered(self._mapped(self.mixed_value), n)
            self.mixed = Buffered(self._mapped(self._with_jacobian("mixed", [x, u, p, y], mixed, [x, u])), n)
        if states.shape[0]:
            self.state_values = Buffered(self._mapped(self.state_value, 1), n)
            self.states = Buffered(self._mapped(self._with_jacobian("states", [x, p, y], states, [x]), 1), n)

    def cost_of(self, states: Array, blocks: Array, y: Array, p: Array, before: Array) -> float:
        """Cost of a plan, without that of violations."""
        inputs = np.repeat(blocks, self.problem.block_lengths, axis=0)
        r, last = self.residuals(states[:-1], inputs, p, y[:-1])[0], self.ends(states[-1], p, y[-1])[0]
        total = float(np.square(r).sum() + np.square(last).sum())
        if self.problem.input_change is not None:
            changes = self.problem.input_change * np.diff(blocks, axis=0, prepend=before[None])
            total += float(np.square(changes).sum())
        return 0.5 * total

    def _check(self, model: Any) -> None:
        problem = self.problem
        sizes = [problem.nx, problem.nu, len(problem.spec.parameters)]
        found = [model.numel_in(i) for i in range(model.n_in())]
        if found != sizes or model.numel_out(0) != problem.nx:
            raise InvalidInput(f"nmpc: to_casadi() takes {found} numbers, the model's spec says (x, u, p) = {sizes}")

    def _linear_model(self, model: Any) -> Any:
        """(x, u, p) -> x+, A, B; scalars are expanded, networks stay products of matrices."""
        ca, problem = self._ca, self.problem
        if isinstance(problem.model, Linearised):
            given = problem.model.linearise()
            symbols = [ca.MX.sym(n, model.numel_in(i)) for i, n in enumerate("xup")]
            return ca.Function("dynamics", symbols, [ca.densify(v) for v in given(*symbols)])
        kind = ca.SX if model.is_a("SXFunction") else ca.MX
        x, u, p = (kind.sym(n, model.numel_in(i)) for i, n in enumerate("xup"))
        return self._with_jacobian("dynamics", [x, u, p], model(x, u, p), [x, u])

    def _rollout(self, model: Any) -> Buffered:
        ca, n = self._ca, self.problem.horizon
        x, p = ca.MX.sym("x", self.problem.nx), ca.MX.sym("p", model.numel_in(2))
        inputs = ca.MX.sym("u", self.problem.nu, n)
        states = model.mapaccum("rollout", n)(x, inputs, ca.repmat(p, 1, n))
        return Buffered(ca.Function("rollout", [x, inputs, p], [ca.densify(states)]), n)

    def _with_jacobian(self, name: str, arguments: list[Any], value: Any, by: list[Any]) -> Any:
        ca = self._ca
        return ca.Function(name, arguments, [ca.densify(value), *(ca.densify(ca.jacobian(value, v)) for v in by)])

    def _mapped(self, function: Any, shared: int = 2) -> Any:
        """Over the horizon; argument number ``shared`` (p) is the same at all steps."""
        return function.map(f"{function.name()}_map", "serial", self.problem.horizon, [shared], [])

    def _stacked(self, constraints: list[Constraint]) -> Any:
        ca, rows = self._ca, []
        for c in constraints:
            h = c.expression(self._x, self._u, self._p, self._y)
            if h.shape != (len(c.lower), 1):
                raise InvalidInput(f"nmpc: constraint '{c.name}' has {h.shape[0]} values and {len(c.lower)} limits")
            rows.append(h)
        return ca.vertcat(*rows) if rows else ca.SX(0, 1)
