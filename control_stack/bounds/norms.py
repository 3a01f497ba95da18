"""Euclidean norms over a box: of a network's output, and of its slope. Both are largest on one part of the box."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from control_stack.bounds.arrays import Tensor, is_torch, namespace
from control_stack.bounds.box import Box
from control_stack.bounds.interval import flat
from control_stack.bounds.jacobian import derivatives
from control_stack.bounds.linear import Propagation, propagate
from control_stack.bounds.network import Network
from control_stack.bounds.rounding import centre_radius, magnitude
from control_stack.bounds.splitting import Evaluation, influence, refine

_WIDER = 1.0 + 1e-12  # far above the error of a norm by LAPACK or of a sum of squares


def norm_bounds(network: Network, box: Box, boxes: int = 64, ball: int = 0) -> Tensor:
    """A bound on |f(x)|_2 over the box.

    Args:
        network: Function f, any layers.
        box: (..., inputs).
        boxes: Parts that it may be cut into.
        ball: Only points whose first ``ball`` inputs lie in the unit ball count; 0: all.

    Returns:
        (...,) bounds, for exact arithmetic.
    """

    def norm(state: Propagation) -> Tensor:
        size = magnitude(*state.intervals[-1])
        return namespace(size).sqrt((size * size).sum(-1)) * _WIDER

    return _largest(norm, network, box, max(boxes, 1), ball)


def lipschitz_bounds(network: Network, box: Box, boxes: int = 64, ball: int = 0) -> Tensor:
    """A Lipschitz constant on the box in the Euclidean norm: the largest |J|_2 that any part of it may have.

    Along the line between two points of the box f changes by the integral of J, so that no part needs to know of
    another: the largest of their norms will do, where ``jacobian_bounds`` encloses all their Jacobians together.

    Args:
        network, box, boxes: As for ``norm_bounds``.
        ball: Only points whose first ``ball`` inputs lie in the unit ball count, and only these inputs move; 0: all.

    Returns:
        (...,) constants, for exact arithmetic.
    """
    size = ball or network.inputs

    def norm(state: Propagation) -> Tensor:
        low, high = derivatives(network, state)
        return enclosed_norm(low[:, :, :size], high[:, :, :size])

    return _largest(norm, network, box, max(boxes, 1), ball)


def _largest(
    norm: Callable[[Propagation], Tensor], network: Network, box: Box, boxes: int, ball: int
) -> Tensor:  # fmt: skip
    def evaluate(lower: Tensor, upper: Tensor) -> Evaluation:
        state = propagate(network, lower, upper)
        found = norm(state)
        if ball:
            xp = namespace(lower)
            away = xp.clip(lower[:, :ball], 0.0, None) + xp.clip(-upper[:, :ball], 0.0, None)
            found = found * ((away * away).sum(-1) <= _WIDER)  # parts that do not meet the ball do not count
        return found[:, None] + np.inf, found[:, None], influence(network, state)

    def sample(points: Tensor) -> Tensor:
        return evaluate(points, points)[1]

    upper = refine(evaluate, sample, *flat(network, box), boxes, 0.0)[1]
    return upper[:, 0].reshape(box.batch)


def enclosed_norm(lower: Tensor, upper: Tensor) -> Tensor:
    """(...,) bound on |M|_2 of every (m, n) between two: |mid| + |rad|, or |max(|lower|, |upper|)|."""
    xp = namespace(lower)

    def norm(matrix: Tensor) -> Tensor:
        return xp.linalg.matrix_norm(matrix, 2) if is_torch(matrix) else np.linalg.norm(matrix, 2, axis=(-2, -1))

    centre, radius = centre_radius(lower, upper)
    return xp.minimum(norm(centre) + norm(radius), norm(magnitude(lower, upper))) * _WIDER
