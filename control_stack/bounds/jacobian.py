"""Bounds on derivatives over a box, entry by entry: local Lipschitz constants and gains follow from them."""

from __future__ import annotations

import numpy as np

from control_stack.bounds.arrays import Tensor, like
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import Interval, affine, finite, flat, product, shaped, tanh_slope, through, total
from control_stack.bounds.linear import Propagation, propagate
from control_stack.bounds.network import Affine, Network, Product, Relu, Sigmoid, Tanh
from control_stack.bounds.splitting import Evaluation, influence, refine


def jacobian_bounds(network: Network, box: Box, boxes: int = 1, tolerance: float = 0.01) -> Bounds:
    """Enclosure of every entry of df/dx on the box, by interval matrices over linearly bounded activations.

    For all x, y in the box f(x) - f(y) = J (x - y) for some J inside the bounds, at the kinks of a ReLU too. With
    M = max(|lower|, |upper|), every matrix norm that is monotone in absolute values of M bounds the Lipschitz
    constant in that norm: row sums (infinity), column sums (1), and the spectral norm of M (2).

    Args:
        network: Function f, any layers.
        box: (..., inputs).
        boxes, tolerance: Budget of splitting and when to stop, as ``split_bounds``; 1 does not split.

    Returns:
        Bounds (..., outputs, inputs), for exact arithmetic.
    """

    def evaluate(lower: Tensor, upper: Tensor) -> Evaluation:
        state = propagate(network, lower, upper)
        low, high = derivatives(network, state)
        return low.reshape(len(low), -1), high.reshape(len(high), -1), influence(network, state)

    def sample(points: Tensor) -> Tensor:
        low, high, _ = evaluate(points, points)
        return 0.5 * low + 0.5 * high

    lower, upper = refine(evaluate, sample, *flat(network, box), boxes, tolerance)
    shape = (len(lower), network.outputs, network.inputs)
    method = "linear" if boxes == 1 else "linear+split"
    return shaped(lower.reshape(shape), upper.reshape(shape), box, method, True)


def derivatives(network: Network, state: Propagation) -> Interval:
    """(B, outputs, inputs) sides. Inside, derivatives are (B, inputs, n): layers then act on the last axis."""
    first = state.intervals[0][0]
    size = network.inputs
    unit = like(np.eye(size), first) + 0.0 * first[:, None]
    out: list[Interval] = [(unit, unit)]
    for k, (node, parents) in enumerate(zip(network.nodes, network.parents, strict=True)):
        if not k:
            continue
        given = [out[p] for p in parents]
        values = [(state.intervals[p][0][:, None], state.intervals[p][1][:, None]) for p in parents]
        if isinstance(node, Product):
            out.append(total([product(values[0], given[1]), product(values[1], given[0])]))
        elif isinstance(node, Relu | Tanh | Sigmoid):
            out.append(product(_slopes(node, *values[0]), given[0]))
        elif isinstance(node, Affine):
            out.append(affine(node, given[0], 0.0))  # the bias has no derivative
        else:
            out.append(through(node, given, k))
    low, high = finite(out[-1], "the Jacobian")
    return low.swapaxes(1, 2), high.swapaxes(1, 2)


def _slopes(node: Relu | Tanh | Sigmoid, low: Tensor, high: Tensor) -> Interval:
    """Range of the activation's derivative; at the kink of a ReLU, all from 0 to 1."""
    if isinstance(node, Tanh):
        return tanh_slope(low, high)
    if isinstance(node, Sigmoid):
        below, above = tanh_slope(0.5 * low, 0.5 * high)
        return 0.25 * below, 0.25 * above
    relu, passed = like(node.mask("relu"), low), like(node.mask("identity"), low)
    return (low >= 0.0) * relu + passed, (high > 0.0) * relu + passed
