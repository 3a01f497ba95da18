"""Boxes around all that a plan can reach from one state, for big-M constants and bounds of columns.

They are zonotopes' (``bounds.reachable_boxes``), from the state and the input limits alone, so they hold for every
plan, also where it leaves the limits of states in the model's spec: those limits restrict no plan here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from control_stack.bounds import Box, StoredBounds, reachable_boxes
from control_stack.bounds.step import StepTemplate
from control_stack.types import Array


@dataclass(frozen=True)
class Boxes:
    """Of T steps.

    Attributes:
        state_lower, state_upper: (T + 1, nx), x0 first.
        argument_lower, argument_upper: (T, n) of the ReLUs' arguments.
        change_lower, change_upper: (T, nx) of x_{t+1} - x_t.
    """

    state_lower: Array
    state_upper: Array
    argument_lower: Array
    argument_upper: Array
    change_lower: Array
    change_upper: Array


def boxes_from(
    template: StepTemplate, x0: Array, input_lower: Array, input_upper: Array, *, stored: StoredBounds | None = None
) -> Boxes:
    """Of the plans from x0 (nx,) with each u_t between (T, nu) limits.

    Args:
        stored: Bounds of the same step that were kept: they cut the arguments at steps where every x_t and u_t lies
            within their box.
    """
    found = reachable_boxes(template.network, Box(x0, x0), Box(input_lower, input_upper), "zonotope")
    none = np.zeros((len(input_lower), 0))
    lower, upper = (
        np.concatenate([none, *(getattr(of, side) for of in found.arguments)], 1) for side in ("lower", "upper")
    )
    if stored is not None:
        low = np.concatenate([found.states.lower[:-1], input_lower], 1)
        high = np.concatenate([found.states.upper[:-1], input_upper], 1)
        within = ((low >= stored.box.lower) & (high <= stored.box.upper)).all(1)
        of_relus = [np.zeros((2, 0))]
        for of, units in zip(stored.arguments, template.units, strict=True):
            of_relus.append(np.stack([of.lower[units], of.upper[units]]))
        kept = np.concatenate(of_relus, 1)
        lower[within], upper[within] = np.maximum(lower[within], kept[0]), np.minimum(upper[within], kept[1])
    return Boxes(found.states.lower, found.states.upper, lower, upper, found.changes.lower, found.changes.upper)
