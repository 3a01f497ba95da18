"""Downhill from a plan, region by region: what turns a rough start into a locally best plan within milliseconds.

Where each ReLU stands on one side of its kink the model is linear, and the best plan of that region is one linear
program. Where that optimum leans on a kink, the region behind it holds the same point: the next program starts there
and cannot end higher. It ends when no region behind a kink that holds the optimum back is better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.types import Array
from controllers.planning.mip.program import Milp

_NEAR = 1e-7  # to a kink, or zero for a dual value
_LESS = 1e-7  # by which a cost must fall, relative to 1 + |cost|


def descend(
    highs: Any, optimal: Any, milp: Milp, start: Array, better: Callable[[Array, float], None],
    stop: Callable[[], bool], programs: int,
) -> Array:  # fmt: skip
    """Columns of the best point found, (n,).

    Args:
        highs: Holds the program without integers; its bounds of binaries are changed.
        optimal: HiGHS's status of a solved program.
        start: A feasible point.
        better: Told of each better point and its cost. stop: Asked between linear programs.
        programs: Linear programs at most.
    """
    whole = np.flatnonzero(milp.integer).astype(np.int32)
    place = np.searchsorted(whole, milp.active)
    free = milp.column_lower[milp.active] < milp.column_upper[milp.active]
    best, cost = start, float(milp.cost @ start)
    sides = np.round(start[whole])

    def solved(sides: Array) -> tuple[Array, float, Array] | None:
        """Point, cost, and for each ReLU how much its kink holds the point back."""
        nonlocal programs
        programs -= 1
        highs.changeColsBounds(len(whole), whole, sides, sides)
        highs.run()
        if highs.getModelStatus() != optimal:
            return None
        solution = highs.getSolution()
        point, reduced = np.array(solution.col_value), np.array(solution.col_dual)
        row_value, row_dual = np.array(solution.row_value), np.array(solution.row_dual)
        on = sides[place] > 0.5
        kinked = np.where(on, point[milp.outputs] <= _NEAR, row_value[milp.kinks] - milp.row_lower[milp.kinks] <= _NEAR)
        force = np.where(on, np.abs(reduced[milp.outputs]), np.abs(row_dual[milp.kinks]))
        return point, float(milp.cost @ point), np.where(kinked & free, force, 0.0)

    found = solved(sides)
    if found is None:
        return best
    held = found[2]
    if found[1] < cost - _LESS * (1.0 + abs(cost)):
        best, cost = found[0], found[1]
        better(best, cost)
    while True:
        pressed = np.flatnonzero(held > _NEAR)
        pressed = pressed[np.argsort(-held[pressed], kind="stable")]
        trials = [pressed, *(pressed[[k]] for k in range(len(pressed)) if len(pressed) > 1)]
        for flipped in trials:
            if programs <= 0 or not len(flipped) or stop():
                return best
            other = sides.copy()
            other[place[flipped]] = 1.0 - other[place[flipped]]
            found = solved(other)
            if found is not None and found[1] < cost - _LESS * (1.0 + abs(cost)):
                best, cost, held = found
                sides = other
                better(best, cost)
                break
        else:
            return best
