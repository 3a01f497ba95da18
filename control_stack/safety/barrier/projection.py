"""The nearest thrust vector that keeps all rows: in closed form where one row is broken, by a QP otherwise."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from control_stack.errors import MissingDependency
from control_stack.types import Array

TOLERANCE = 1e-9  # m/s^2
_OPTIMAL = 1  # exit flag of DAQP


class Projected(NamedTuple):
    """vector: (3,), None where no vector keeps all rows. closed_form: whether no solver was asked."""

    vector: Array | None
    closed_form: bool


def project(wanted: Array, rows: Array, limits: Array) -> Projected:
    """argmin |F - wanted|^2 over rows F <= limits.

    Where the projection on the one broken row keeps all others it is the answer: it is nearest in a larger set.

    Args:
        wanted: (3,). rows: (m, 3), of any length. limits: (m,).

    Raises:
        MissingDependency: Several rows are broken, and DAQP is not installed.
    """
    excess = rows @ wanted - limits
    broken = np.flatnonzero(excess > TOLERANCE)
    if not len(broken):
        return Projected(wanted, True)
    if len(broken) == 1:
        row = rows[broken[0]]
        square = float(row @ row)
        if square > 0.0:
            moved = wanted - excess[broken[0]] / square * row
            if (rows @ moved - limits <= TOLERANCE).all():
                return Projected(moved, True)
    return Projected(solve(wanted, rows, limits), False)


def solve(wanted: Array, rows: Array, limits: Array) -> Array | None:
    """The same by DAQP (Arnstroem, Bemporad, Axehill 2022); None where it is infeasible or not solved."""
    daqp = require_solver()
    # About the wanted vector, so that its length does not take digits from the answer.
    gap = limits - rows @ wanted
    lowest = np.full(len(gap), -1e30)
    step, _, flag, _ = daqp.solve(_UNIT, _ZERO, np.ascontiguousarray(rows), gap, lowest)
    if flag != _OPTIMAL or not all(math.isfinite(v) for v in step):
        return None
    return np.asarray(wanted + step)


def require_solver() -> Any:
    """The module of DAQP. Raises MissingDependency."""
    try:
        import daqp
    except ImportError:
        raise MissingDependency("daqp", "filter") from None
    return daqp


_UNIT, _ZERO = np.eye(3), np.zeros(3)
