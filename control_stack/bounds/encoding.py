"""A ReLU network up to some layer as linear rows over few columns: the inputs, and one per unstable ReLU.

Stable ReLUs, gates and affine layers add no column: each node is kept as an affine expression E v + e of the columns
v, true to within a proven ``slack``. Integer encodings add a binary per unstable ReLU (big-M with its own bounds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from control_stack.bounds.network import Affine, Concat, Node, Relu, Slice, Sum
from control_stack.bounds.relaxation import relax
from control_stack.bounds.rounding import EPS, TINY, down, gamma
from control_stack.errors import InvalidInput
from control_stack.types import Array


@dataclass(frozen=True)
class Expression:
    """matrix (n, columns so far) v + constant (n,), within slack (n,) of the node's value."""

    matrix: Array
    constant: Array
    slack: Array


class Encoding:
    """Columns lower <= v <= upper and rows (row . v) >= right-hand side that every point of the graph satisfies."""

    def __init__(self, lower: Array, upper: Array, integer: bool):
        self.lower, self.upper, self.integer = list(lower), list(upper), integer
        self.binaries: list[int] = []
        self.rows: list[dict[int, float]] = []
        self.right: list[float] = []
        self.input = Expression(np.eye(len(lower)), np.zeros(len(lower)), np.zeros(len(lower)))

    @property
    def size(self) -> Array:
        """(columns,) largest |v|."""
        return np.maximum(np.abs(self.lower), np.abs(self.upper))

    def through(self, node: Node, given: list[Expression], interval: tuple[Array, Array], k: int) -> Expression:
        """The node's expression; ``interval`` encloses its first parent (n,). Adds rows and columns for a ReLU."""
        given = [Expression(self._wide(g.matrix), g.constant, g.slack) for g in given]
        first = given[0]
        if isinstance(node, Affine):
            w = np.abs(node.weight)
            error = gamma(w.shape[1] + 3) * (w @ self._terms(first) + np.abs(node.bias)) + w @ first.slack
            return Expression(
                node.weight @ first.matrix, node.weight @ first.constant + node.bias, (1 + 1e-9) * error + TINY
            )
        if isinstance(node, Sum):
            matrix, constant, error = first.matrix, first.constant, np.zeros(node.size)
            for g in given[1:]:
                matrix, constant = matrix + g.matrix, constant + g.constant
            for g in given:
                error = error + g.slack + gamma(len(given) + 1) * self._terms(g)
            return Expression(matrix, constant, (1 + 1e-9) * error + TINY)
        if isinstance(node, Concat):
            return Expression(*(np.concatenate([getattr(g, part) for g in given]) for part in vars(first)))
        if isinstance(node, Slice):
            return Expression(*(value[node.start : node.stop] for value in vars(first).values()))
        if isinstance(node, Relu):
            return self._relu(node, first, interval)
        raise InvalidInput(f"lp and mip bounds take affine and ReLU layers only; layer {k} is {type(node).__name__}")

    def _relu(self, node: Relu, of: Expression, interval: tuple[Array, Array]) -> Expression:
        low, high = interval
        relu = node.mask("relu") > 0.0
        passed = (node.mask("identity") > 0.0) | (relu & (low >= 0.0))
        mixed = np.flatnonzero(relu & (low < 0.0) & (high > 0.0))
        lines = relax(node, [(low[None], high[None])])
        keep = passed * 1.0
        matrix = np.concatenate([of.matrix * keep[:, None], np.zeros((node.size, len(mixed)))], 1)
        terms = self._terms(of)
        for i in mixed:
            y = self._column(0.0, high[i])
            matrix = self._wide(matrix)
            matrix[i, y] = 1.0
            e, slack = of.constant[i], of.slack[i]
            self._row(-of.matrix[i], {y: 1.0}, e, slack)  # y >= z
            if self.integer:
                active = self._column(0.0, 1.0, binary=True)
                self._row(np.zeros(0), {active: high[i], y: -1.0}, 0.0, 0.0)  # y <= u active
                # y <= z - l (1 - active)
                self._row(of.matrix[i], {active: low[i], y: -1.0}, low[i] - e, slack + EPS * (abs(e) + abs(low[i])))
            else:
                slope, above = lines.above_slope[0][0, i], lines.above[0, i]
                error = slope * slack + 4.0 * EPS * (slope * terms[i] + above)
                self._row(slope * of.matrix[i], {y: -1.0}, -above - slope * e, error)  # y <= slope z + above
        return Expression(self._wide(matrix), of.constant * keep, of.slack * keep)

    def _terms(self, expression: Expression) -> Array:
        """|E| max|v| + |e|, what relative rounding errors of an expression are relative to."""
        size = self.size[: expression.matrix.shape[1]]
        return np.abs(expression.matrix) @ size + np.abs(expression.constant)

    def _wide(self, matrix: Array) -> Array:
        return np.pad(matrix, ((0, 0), (0, max(0, len(self.lower) - matrix.shape[1]))))

    def _column(self, lower: float, upper: float, binary: bool = False) -> int:
        self.lower.append(lower)
        self.upper.append(upper)
        if binary:
            self.binaries.append(len(self.lower) - 1)
        return len(self.lower) - 1

    def _row(self, dense: Array, entries: dict[int, float], right: float, error: float) -> None:
        row = {int(j): float(dense[j]) for j in np.flatnonzero(dense)}
        self.rows.append({**row, **{j: float(v) for j, v in entries.items()}})
        self.right.append(float(down(np.float64(right), error)))
