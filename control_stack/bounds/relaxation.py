"""Linear functions below and above an activation or a product on a box.

Slopes are chosen for tightness and need no precision; the intercept that makes a slope valid is then computed in
closed form and rounded outward. Soundness therefore never rests on how a slope was found.
"""

from __future__ import annotations

from dataclasses import dataclass

from control_stack.bounds.arrays import Tensor, like, namespace
from control_stack.bounds.network import Product, Relu, Sigmoid, Tanh
from control_stack.bounds.rounding import EPS, TANH_ULPS, TINY, magnitude

Interval = tuple[Tensor, Tensor]
Nonlinear = Relu | Tanh | Sigmoid | Product


@dataclass(frozen=True)
class Lines:
    """sum_p below_slope[p] x_p + below <= f(x) <= sum_p above_slope[p] x_p + above, per component.

    Attributes:
        below_slope, above_slope: One (B, n) for each parent.
        below, above: (B, n) intercepts.
        gap: (B, n) largest distance between the two, not rounded: a guide for splitting.
        size: (B, n) largest sum of |terms| of either line, what its rounding errors are relative to.
    """

    below_slope: tuple[Tensor, ...]
    below: Tensor
    above_slope: tuple[Tensor, ...]
    above: Tensor
    gap: Tensor
    size: Tensor


def relax(node: Nonlinear, given: list[Interval]) -> Lines:
    """Lines of a nonlinear layer over the enclosures of its parents."""
    if isinstance(node, Product):
        return _product(*given)
    low, high = given[0]
    if isinstance(node, Relu):
        return _relu(low, high, like(node.mask("relu"), low), like(node.mask("identity"), low))
    if isinstance(node, Tanh):
        above_slope, above = _above_tanh(low, high)
        below_slope, below = _above_tanh(-high, -low)  # tanh is odd
        return _unary(below_slope, -below, above_slope, above, low, high)
    # sigmoid(x) = 1/2 + tanh(x/2)/2; halving is exact, the two sums round once each
    above_slope, above = _above_tanh(0.5 * low, 0.5 * high)
    below_slope, below = _above_tanh(-0.5 * high, -0.5 * low)
    below, above = 0.5 - 0.5 * below - 2.0 * EPS, 0.5 + 0.5 * above + 2.0 * EPS
    return _unary(0.25 * below_slope, below, 0.25 * above_slope, above, low, high)


def _relu(low: Tensor, high: Tensor, relu: Tensor, passed: Tensor) -> Lines:
    """Chord above, the steeper half of {0, x} below."""
    xp = namespace(low)
    zero, one = xp.zeros_like(low), xp.ones_like(low)
    mixed = (low < 0.0) & (high > 0.0)
    chord = xp.where(mixed, high / xp.where(mixed, high - low, one), xp.where(low >= 0.0, one, zero))
    # Above a convex function is above it at both ends.
    margin = 4.0 * EPS * (chord * magnitude(low, high) + abs(high)) + TINY
    above = xp.where(mixed, xp.maximum(-chord * low, high - chord * high) + margin, zero)
    below_slope = xp.where(mixed, xp.where(high > -low, one, zero), chord)
    return _unary(below_slope * relu + passed, zero, chord * relu + passed, above * relu, low, high)


def _above_tanh(low: Tensor, high: Tensor) -> Interval:
    """Slope s and intercept t with tanh x <= s x + t on [low, high], least at the middle of the interval.

    The concave hull of tanh on the interval is the line from (low, tanh low) to where it touches, then tanh itself;
    its slope at the middle is best there. For the slope, t = max (tanh x - s x) is attained at an end, or where
    1 - tanh^2 x = s and x > 0:  x* = log((1 + sqrt(1 - s)) / sqrt(s)), tanh x* = sqrt(1 - s).
    """
    xp = namespace(low)
    at_low, at_high = xp.tanh(low), xp.tanh(high)
    middle = 0.5 * low + 0.5 * high
    slope = xp.clip((at_high - at_low) / xp.clip(high - low, TINY, None), 0.0, 1.0)
    left, right = xp.clip(middle, 0.0, None), xp.clip(high, 0.0, None)
    for _ in range(12):  # the tangent at d passes above (low, tanh low) from the touching point on
        d = 0.5 * (left + right)
        tanh = xp.tanh(d)
        beyond = tanh - (1.0 - tanh * tanh) * (d - low) >= at_low
        left, right = xp.where(beyond, left, d), xp.where(beyond, d, right)
    touch = xp.where(low >= 0.0, middle, right)
    tangent = 1.0 - xp.tanh(touch) ** 2
    slope = xp.where(touch < high, xp.clip(tangent, 0.0, 1.0), slope)

    safe = xp.clip(slope, TINY, None)
    root = xp.sqrt(1.0 - safe)
    stationary = xp.log((1.0 + root) / xp.sqrt(safe))
    near = 1e-9 * (1.0 + stationary)
    inside = (stationary >= low - near) & (stationary <= high + near)
    ends = xp.maximum(at_low - slope * low, at_high - slope * high)
    peak = xp.where(inside, root - safe * stationary, ends)
    margin = 2.0 * (TANH_ULPS + 8.0) * EPS * (1.0 + slope * (magnitude(low, high) + stationary))
    return slope, xp.maximum(ends, peak) + margin


def _product(first: Interval, second: Interval) -> Lines:
    """The mean of McCormick's two planes on each side: x y - (my x + mx y) lies at its extremes in the corners."""
    xp = namespace(first[0])
    mx, my = (0.5 * low + 0.5 * high for low, high in (first, second))
    rest = xp.stack([x * y - (my * x + mx * y) for x in first for y in second])
    big_x, big_y = magnitude(*first), magnitude(*second)
    margin = 8.0 * EPS * (big_x * big_y + abs(my) * big_x + abs(mx) * big_y) + TINY
    below, above = xp.amin(rest, 0) - margin, xp.amax(rest, 0) + margin
    size = abs(my) * big_x + abs(mx) * big_y + xp.maximum(abs(below), abs(above))
    return Lines((my, mx), below, (my, mx), above, above - below, size)


def _unary(below_slope: Tensor, below: Tensor, above_slope: Tensor, above: Tensor, low: Tensor, high: Tensor) -> Lines:
    xp = namespace(low)
    tilt, lift = above_slope - below_slope, above - below
    gap = xp.clip(xp.maximum(tilt * low + lift, tilt * high + lift), 0.0, None)
    size = xp.maximum(abs(below_slope), abs(above_slope)) * magnitude(low, high)
    return Lines((below_slope,), below, (above_slope,), above, gap, size + xp.maximum(abs(below), abs(above)) + TINY)
