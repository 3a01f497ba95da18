"""Zonotopes forward through the steps of a ReLU model: dearer than intervals, far cheaper than linear bounds.

Every quantity is carried as  value = centre + generators @ e +- slack  with e in [-1, 1]: one e for each number that is
not known at the start, and one for each ReLU that may be on either side of its kink (Singh et al., *Fast and effective
robustness certification*, NeurIPS 2018). It is cut with interval arithmetic on the same rows. ``slack`` is what
rounding costs: the float centres and generators are exact ones of a valid enclosure.
"""

from __future__ import annotations

import numpy as np

from control_stack.bounds.rounding import EPS, TINY, gamma
from control_stack.bounds.step import Rows, StepTemplate
from control_stack.types import Array

Interval = tuple[Array, Array]
_MORE = 1.0 + 1e-9  # far above the rounding of a slack itself, which new ones are doubled for


def zonotopes(
    step: StepTemplate, state: Interval, inputs: Interval
) -> tuple[list[Interval], list[Interval], list[Interval]]:
    """Enclosures of states (H + 1), of their changes (H) and of the ReLUs' arguments (H) of all plans.

    Args:
        step: Of the model.
        state: (nx,) a side, where x0 lies. inputs: (H, nu) a side.
    """
    horizon, nu = inputs[0].shape
    nx, n = len(state[0]), step.relus
    known = _Quantities(nx + nu + n, nx + horizon * (nu + n), step.roundings)
    layers, last = step.parts
    known.put_box(0, *state, 0)
    states, arguments, changes = [state], [], []
    fresh = nx
    for low, high in zip(*inputs, strict=True):
        known.put_box(nx, low, high, fresh)
        fresh += nu
        found = []
        for rows in layers:
            found.append(known.put_relus(rows.weight.shape[1], known.rows(rows), fresh))
            fresh += len(rows.bias)
        sides = zip(*found, strict=True)
        arguments.append(tuple(np.concatenate(side) for side in sides) if found else (np.zeros(0), np.zeros(0)))
        moved_and_after = known.rows(last)
        low, high = moved_and_after[:2]
        known.put(0, *(part[nx:] for part in moved_and_after))
        changes.append((low[:nx], high[:nx]))
        states.append((low[nx:], high[nx:]))
    return states, changes, arguments  # type: ignore[return-value]


Found = tuple[Array, ...]  # lower, upper, centre, generators, slack, and the sum of |centre| and |generators|


class _Quantities:
    """[x, u, h] of one step: each lies in its interval and in its zonotope."""

    def __init__(self, size: int, symbols: int, roundings: int):
        self.lower, self.upper, self._centre, self._slack, self._size = np.zeros((5, size))
        self._generators = np.zeros((size, symbols))
        self._unit = gamma(2 * (size + symbols + roundings) + 20)

    def put(
        self, at: int, low: Array, high: Array, centre: Array, generators: Array, slack: Array, size: Array
    ) -> None:  # fmt: skip
        """Quantities from ``at`` on."""
        rows = slice(at, at + len(low))
        self.lower[rows], self.upper[rows], self._centre[rows], self._slack[rows] = low, high, centre, slack
        self._generators[rows] = generators
        # Above all terms that a sum over the zonotope or the interval adds up.
        self._size[rows] = size + np.maximum(np.abs(low), np.abs(high))

    def put_box(self, at: int, low: Array, high: Array, symbol: int) -> None:
        """Quantities of which no more is known, each with a symbol of its own from ``symbol`` on."""
        centre = 0.5 * low + 0.5 * high
        radius = np.maximum(high - centre, centre - low)
        generators = np.zeros((len(low), self._generators.shape[1]))
        generators[np.arange(len(low)), symbol + np.arange(len(low))] = radius
        size = np.abs(low) + np.abs(high)
        self.put(at, low, high, centre, generators, 2.0 * EPS * size * (high > low), np.abs(centre) + radius)

    def put_relus(self, at: int, of: Found, symbol: int) -> Interval:
        """max(0, z):  slope z <= max(0, z) <= slope z + above  for a slope in [0, 1]. Returns the interval of z."""
        low, high, centre, generators, slack, size = of
        mixed = (low < 0.0) & (high > 0.0)
        slope = np.where(mixed, high / np.where(mixed, high - low, 1.0), low >= 0.0)
        above = np.maximum(-slope * low, high - slope * high) + 8.0 * EPS * (high - low) + TINY
        half = np.where(mixed, 0.5 * above, 0.0)
        slack = slope * (_MORE * slack + 2.0 * self._unit * size) + 2.0 * self._unit * half
        generators = slope[:, None] * generators
        generators[np.arange(len(low)), symbol + np.arange(len(low))] = half
        low_h, high_h = np.maximum(low, 0.0), np.maximum(high, 0.0)
        self.put(at, low_h, high_h, slope * centre + half, generators, slack, slope * size + 2.0 * half)
        return low, high

    def rows(self, rows: Rows) -> Found:
        """Of affine rows of the first quantities."""
        of = slice(rows.weight.shape[1])
        centre, generators = rows.weight @ self._centre[of] + rows.bias, rows.weight @ self._generators[of]
        slack = rows.terms @ (_MORE * self._slack[of] + 2.0 * self._unit * self._size[of])
        slack += 2.0 * self._unit * rows.offsets + TINY
        radius = np.abs(generators).sum(1)
        size = np.abs(centre) + radius
        beyond = radius + _MORE * slack + 2.0 * self._unit * size
        lower, upper = self.lower[of], self.upper[of]
        low = rows.positive @ lower + rows.negative @ upper + (rows.bias - slack)
        high = rows.positive @ upper + rows.negative @ lower + (rows.bias + slack)
        low, high = np.maximum(low, centre - beyond), np.minimum(high, centre + beyond)
        return low, high, centre, generators, slack, size
