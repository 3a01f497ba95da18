"""Bounds of ReLU networks by linear and mixed-integer programming, one neuron and side at a time, with HiGHS."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from control_stack.bounds.arrays import like, to_numpy
from control_stack.bounds.box import Bounds, Box, intersect
from control_stack.bounds.encoding import Encoding, Expression
from control_stack.bounds.interval import flat, shaped, through
from control_stack.bounds.linear import propagate
from control_stack.bounds.network import Network, Relu
from control_stack.bounds.rounding import down, gamma
from control_stack.errors import ControlStackError, MissingDependency
from control_stack.types import Array

# Optimum to its own tolerances (1e-9 below), which is widened by this, absolute and relative.
MIP_MARGIN = 1e-8
Side = Literal["lp", "mip"]


class SolverFailed(ControlStackError, RuntimeError):
    """HiGHS refused a model or ended without an answer."""


def lp_bounds(network: Network, box: Box) -> Bounds:
    """Linear programming over the triangle relaxation, with every pre-activation tightened before in the same way.

    The bound is not the solver's optimum but the one its duals prove in exact arithmetic (A. Neumaier, O.
    Shcherbina, *Safe bounds in linear and mixed-integer linear programming*, Math. Program. 99, 2004): it holds
    whatever the solver's tolerances or errors.

    Args:
        network: Function f of affine and ReLU layers (with sums, slices, concatenations).
        box: (..., inputs); boxes of a batch are bounded one after another.

    Returns:
        Bounds (..., outputs), never wider than ``linear_bounds``.

    Raises:
        InvalidInput: A layer of another kind (named), or a box of another dimension.
        MissingDependency: highspy is not installed.
    """
    return solved_bounds(network, box, "lp", None)[-1]


def mip_bounds(network: Network, box: Box, max_nodes: int | None = None) -> Bounds:
    """The exact range, up to the solver's tolerances, with a binary per unstable ReLU; arguments as ``lp_bounds``.

    Args:
        network, box: As for ``lp_bounds``.
        max_nodes: Nodes of branch and bound for each side of each neuron; where they do not do, the bound reached
            by then is taken, which holds but is not tight.

    Returns:
        Bounds with ``sound`` False: they rest on HiGHS's branch and bound, which proves nothing about its rounding.
    """
    return solved_bounds(network, box, "mip", max_nodes)[-1]


def solved_bounds(network: Network, box: Box, method: Side, max_nodes: int | None) -> tuple[Bounds, ...]:
    """Bounds on the argument of every Relu in order of ``network.nodes``, then on the output."""
    lower, upper = (to_numpy(side) for side in flat(network, box))
    found = [_one(network, a, b, method, max_nodes) for a, b in zip(lower, upper, strict=True)]
    out = []
    for sides in zip(*found, strict=True):
        a, b = (like(np.stack([side[i] for side in sides]), box.lower) for i in (0, 1))
        out.append(shaped(a, b, box, method, method == "lp"))
    return tuple(out)


def _one(
    network: Network, lower: Array, upper: Array, method: Side, max_nodes: int | None
) -> list[tuple[Array, Array]]:
    """Bounds of one box (inputs,): of the argument of every Relu, then of the output."""
    encoding = Encoding(lower, upper, method == "mip")
    expressions: list[Expression] = [encoding.input]
    wanted = {p for k in network.nonlinear for p in network.parents[k]}
    known = propagate(network, lower[None], upper[None]).intervals
    last = len(network.nodes) - 1
    for k, (node, parents) in enumerate(zip(network.nodes, network.parents, strict=True)):
        if k:
            known[k] = intersect(known[k], through(node, [known[p] for p in parents], k))
            first = known[parents[0]][0][0], known[parents[0]][1][0]
            expressions.append(encoding.through(node, [expressions[p] for p in parents], first, k))
        if encoding.rows and (k in wanted or k == last):
            low, high = known[k][0][0], known[k][1][0]
            units = np.arange(node.size) if k == last else np.flatnonzero((low < 0.0) & (high > 0.0))
            if len(units):
                known[k] = intersect(known[k], _solve(encoding, expressions[k], units, (low, high), max_nodes))
    relus = [network.parents[k][0] for k in network.nonlinear if isinstance(network.nodes[k], Relu)]
    return [(known[k][0][0], known[k][1][0]) for k in (*relus, last)]


def _solve(
    encoding: Encoding, of: Expression, units: NDArray[np.intp], known: tuple[Array, Array], max_nodes: int | None
) -> tuple[Array, Array]:
    """(1, n) sides: those of the given units solved for, the others as known."""
    solver, low, high = _Solver(encoding, max_nodes), known[0].copy(), known[1].copy()
    for i in units:
        cost = of.matrix[i]
        below, above = solver.minimum(cost), solver.minimum(-cost)
        low[i] = max(low[i], down(below + of.constant[i], of.slack[i]))
        high[i] = min(high[i], -down(above - of.constant[i], of.slack[i]))
    return low[None], high[None]


class _Solver:
    """One model, many costs: each solve starts from the basis of the last."""

    def __init__(self, encoding: Encoding, max_nodes: int | None):
        try:
            import highspy
        except ImportError:
            raise MissingDependency("highspy", "mip") from None
        self._low, self._high, self._size = np.array(encoding.lower), np.array(encoding.upper), encoding.size
        self._right = np.array(encoding.right)
        self._matrix = np.zeros((len(encoding.rows), len(self._low)))
        for row, entries in zip(self._matrix, encoding.rows, strict=True):
            row[list(entries)] = list(entries.values())
        self._integer = bool(encoding.binaries)
        self._columns = np.arange(len(self._low), dtype=np.int32)
        self._highs = highspy.Highs()
        options: dict[str, Any] = {"output_flag": False, "threads": 1, "primal_feasibility_tolerance": 1e-9}
        options |= {"mip_feasibility_tolerance": 1e-9, "mip_rel_gap": 1e-9, "mip_abs_gap": 1e-9}
        if max_nodes is not None:
            options["mip_max_nodes"] = max_nodes
        if self._integer:
            options["presolve"] = "off"  # with it HiGHS 1.15.1 claims wrong optima: docs/mip_planning.md
        for name, value in options.items():
            self._highs.setOptionValue(name, value)
        self._pass(highspy, encoding)

    def _pass(self, highspy: Any, encoding: Encoding) -> None:
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self._low), len(self._right)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = np.zeros(len(self._low)), self._low, self._high
        lp.row_lower_, lp.row_upper_ = self._right, np.full(len(self._right), highspy.kHighsInf)
        rows, columns = np.nonzero(self._matrix)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.searchsorted(rows, np.arange(len(self._right) + 1))
        lp.a_matrix_.index_, lp.a_matrix_.value_ = columns, self._matrix[rows, columns]
        if self._integer:
            kinds = [highspy.HighsVarType.kContinuous] * len(self._low)
            for j in encoding.binaries:
                kinds[j] = highspy.HighsVarType.kInteger
            lp.integrality_ = kinds
        if self._highs.passModel(lp) == highspy.HighsStatus.kError:
            raise SolverFailed("HiGHS refused the model of a network's bounds")

    def minimum(self, cost: Array) -> float:
        """A lower bound on the minimum of cost . v: proven from the duals, or the solver's own with integers."""
        self._highs.changeColsCost(len(self._columns), self._columns, cost)
        self._highs.run()
        if self._integer:
            bound = float(self._highs.getInfo().mip_dual_bound)
            return bound - MIP_MARGIN * (1.0 + abs(bound)) if np.isfinite(bound) else -np.inf
        duals = np.array(self._highs.getSolution().row_dual)
        if duals.shape != self._right.shape or not np.isfinite(duals).all():
            duals = np.zeros(len(self._right))  # no answer: the columns' own bounds remain, and they are proven too
        return proven_minimum(cost, duals, self._matrix, self._right, self._low, self._high)


def proven_minimum(cost: Array, duals: Array, matrix: Array, right: Array, low: Array, high: Array) -> float:
    """A number no greater than min {c.v : A v >= b, low <= v <= high}, whatever the duals y.

    c.v >= y.b + (c - A'y).v for y >= 0, and the last term is least at an end of each column; all rounded outward.
    """
    y = np.maximum(duals, 0.0)
    reduced = cost - matrix.T @ y
    value = y @ right + np.minimum(reduced * low, reduced * high).sum()
    terms = (np.abs(cost) + np.abs(matrix).T @ y) @ np.maximum(np.abs(low), np.abs(high)) + y @ np.abs(right)
    return float(down(np.float64(value), gamma(sum(matrix.shape) + 5) * terms))
