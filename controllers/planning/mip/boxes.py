"""Boxes around all that a plan can reach from one state, for big-M constants and bounds of columns.

Every quantity is carried as ``centre + generators @ e`` with e in [-1, 1]: one e for each input and step, one for each
ReLU that may be on either side of its kink (a zonotope; Singh et al., *Fast and effective robustness certification*,
NeurIPS 2018), cut with interval arithmetic. This costs a few products of small matrices for a step, against the many
backward passes of ``control_stack.bounds.reachable_boxes``, which is about as tight; a call of a planner has no time
for those.

The boxes come from the state and the input limits alone, so they hold for every plan, also where it leaves the limits
of states in the model's spec: those limits restrict no plan here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from control_stack.types import Array
from controllers.planning.mip.template import StepTemplate

# Covers rounding, which grows with the number of products: far above it, and far below the solver's own 1e-6.
_MARGIN = 1e-9


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


def boxes_from(template: StepTemplate, x0: Array, input_lower: Array, input_upper: Array) -> Boxes:
    """Of the plans from x0 (nx,) with each u_t between (T, nu) limits."""
    horizon, nu = input_lower.shape
    nx, n = len(x0), template.relus
    known = _Enclosure(nx + nu + n, horizon * (nu + n))
    known.lower[:nx] = known.upper[:nx] = known.centre[:nx] = x0
    whole = template.change + np.eye(nx, nx + nu + n)
    states, arguments, changes = [(x0, x0)], [], []
    fresh = 0
    for low, high in zip(input_lower, input_upper, strict=True):
        known.put(nx, low, high, 0.5 * (low + high), np.zeros((nu, 1)), fresh, 0.5 * (high - low))
        fresh += nu
        found = []
        row = 0
        for units in template.units:
            rows = slice(row, row + len(units))
            read = nx + nu + row  # a row reads only units of earlier layers
            low, high, centre, generators = known.affine(template.arguments[rows, :read], template.constants[rows])
            mixed = (low < 0.0) & (high > 0.0)
            slope = np.where(mixed, high / np.where(mixed, high - low, 1.0), low >= 0.0)
            half = np.where(mixed, -0.5 * slope * low, 0.0)  # of the gap between max(0, z) and the chord
            known.put(
                read, np.maximum(low, 0.0), np.maximum(high, 0.0),
                slope * centre + half, slope[:, None] * generators, fresh, half,
            )  # fmt: skip
            fresh += len(units)
            found.append((low, high))
            row = rows.stop
        arguments.append([np.concatenate(side) for side in zip(*found, strict=True)] if found else np.zeros((2, 0)))
        changes.append(known.affine(template.change, template.drift)[:2])
        low, high, centre, generators = known.affine(whole, template.drift)
        known.put(0, low, high, centre, generators, 0, np.zeros(nx))
        states.append((low, high))
    sides = [np.array(part) for part in (states, arguments, changes)]
    return Boxes(*(part[:, side] for part in sides for side in (0, 1)))


class _Enclosure:
    """Of [x, u, h] at one step: each lies in its interval and in its zonotope."""

    def __init__(self, size: int, symbols: int):
        self.lower, self.upper, self.centre = np.zeros(size), np.zeros(size), np.zeros(size)
        self._generators = np.zeros((size, symbols))

    def affine(self, weight: Array, bias: Array) -> tuple[Array, Array, Array, Array]:
        """Lower, upper, centre and generators of weight @ (the first quantities) + bias."""
        of = slice(weight.shape[1])
        centre, generators = weight @ self.centre[of] + bias, weight @ self._generators[of]
        radius = np.abs(generators).sum(1)
        positive, negative = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
        low = np.maximum(centre - radius, positive @ self.lower[of] + negative @ self.upper[of] + bias)
        high = np.minimum(centre + radius, positive @ self.upper[of] + negative @ self.lower[of] + bias)
        margin = _MARGIN * (1.0 + np.abs(low) + np.abs(high))
        return low - margin, high + margin, centre, generators

    def put(
        self, at: int, low: Array, high: Array, centre: Array, generators: Array, symbol: int, own: Array
    ) -> None:  # fmt: skip
        """Quantities from ``at`` on, each with a symbol of its own from ``symbol`` on where ``own`` is not zero."""
        rows = slice(at, at + len(low))
        self.lower[rows], self.upper[rows], self.centre[rows], self._generators[rows] = low, high, centre, generators
        if own.any():
            self._generators[np.arange(at, rows.stop), symbol + np.arange(len(low))] = own
