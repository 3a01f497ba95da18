"""Interval arithmetic through one layer: given enclosures of its parents, an enclosure of its value."""

from __future__ import annotations

from collections.abc import Sequence

from control_stack.bounds.arrays import Tensor, like, namespace
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.network import Affine, Concat, Network, Node, Product, Relu, Sigmoid, Slice, Sum, Tanh
from control_stack.bounds.rounding import EPS, TANH_ULPS, TINY, centre_radius, down, gamma, magnitude, up
from control_stack.errors import InvalidInput

Interval = tuple[Tensor, Tensor]


def interval_bounds(network: Network, box: Box) -> Bounds:
    """Interval arithmetic: sound and cheap, loose where layers are deep or inputs occur twice.

    Args:
        network: Function f.
        box: (..., inputs).

    Returns:
        Bounds (..., outputs) on f over the box, for exact arithmetic with the network's float64 weights.

    Raises:
        InvalidInput: The box has another number of inputs, or bounds overflow.
    """
    lower, upper = intervals(network, *flat(network, box))[-1]
    return shaped(lower, upper, box, "interval", True)


def intervals(network: Network, lower: Tensor, upper: Tensor) -> list[Interval]:
    """Enclosures of all nodes; sides are (B, inputs)."""
    out: list[Interval] = [(lower, upper)]
    for k, (node, parents) in enumerate(zip(network.nodes, network.parents, strict=True)):
        if k:
            out.append(through(node, [out[p] for p in parents], k))
    return out


def through(node: Node, given: Sequence[Interval], k: int) -> Interval:
    """The enclosure of a node's value from those of its parents; k is its position, for messages."""
    low, high = given[0]
    if isinstance(node, Affine):
        result = affine(node, given[0], like(node.bias, low))
    elif isinstance(node, Relu | Tanh | Sigmoid):
        result = _activation(node, low, high)
    elif isinstance(node, Product):
        result = product(*given)
    elif isinstance(node, Sum):
        result = total(given)
    elif isinstance(node, Concat):
        xp = namespace(low)
        result = xp.concatenate([term[0] for term in given], -1), xp.concatenate([term[1] for term in given], -1)
    elif isinstance(node, Slice):
        result = low[..., node.start : node.stop], high[..., node.start : node.stop]
    else:
        raise InvalidInput(f"layer {k} ({type(node).__name__}) has no bounds")
    return finite(result, f"layer {k} ({type(node).__name__})")


def finite(interval: Interval, what: str) -> Interval:
    """The interval; refused where it overflowed."""
    xp = namespace(interval[0])
    if not bool(xp.isfinite(interval[0]).all() and xp.isfinite(interval[1]).all()):
        raise InvalidInput(f"{what}: bounds overflow float64; give a smaller box")
    return interval


def affine(node: Affine, given: Interval, bias: Tensor | float) -> Interval:
    """weight [low, high] + bias, by centre and radius."""
    transposed = like(node.weight, given[0]).swapaxes(0, 1)
    centre, radius = centre_radius(*given)
    middle, spread = centre @ transposed + bias, radius @ abs(transposed)
    # the radius is that of the box within a few roundings
    error = gamma(node.weight.shape[1] + 8) * (magnitude(*given) @ abs(transposed) + abs(bias) + TINY)
    return down(middle - spread, error), up(middle + spread, error)


def product(first: Interval, second: Interval) -> Interval:
    """x y, per component."""
    corners = [a * b for a in first for b in second]
    low, high, xp = corners[0], corners[0], namespace(corners[0])
    for corner in corners[1:]:
        low, high = xp.minimum(low, corner), xp.maximum(high, corner)
    return down(low), up(high)


def total(terms: Sequence[Interval]) -> Interval:
    """x + y + ..., per component."""
    low, high, size = terms[0][0], terms[0][1], magnitude(*terms[0])
    for a, b in terms[1:]:
        low, high, size = low + a, high + b, size + magnitude(a, b)
    return down(low, gamma(len(terms)) * size), up(high, gamma(len(terms)) * size)


def _activation(node: Relu | Tanh | Sigmoid, low: Tensor, high: Tensor) -> Interval:
    xp = namespace(low)
    if isinstance(node, Relu):  # masks are 0 and 1: no rounding
        relu, passed = like(node.mask("relu"), low), like(node.mask("identity"), low)
        return (
            xp.clip(low, 0.0, None) * relu + low * passed,
            xp.clip(high, 0.0, None) * relu + high * passed,
        )
    if isinstance(node, Tanh):
        a, b, margin = xp.tanh(low), xp.tanh(high), TANH_ULPS * EPS
        return xp.clip(down(a, margin * abs(a)), -1.0, None), xp.clip(up(b, margin * abs(b)), None, 1.0)
    margin = (TANH_ULPS + 1.0) * EPS
    a, b = 0.5 + 0.5 * xp.tanh(0.5 * low), 0.5 + 0.5 * xp.tanh(0.5 * high)
    return xp.clip(down(a, margin), 0.0, None), xp.clip(up(b, margin), None, 1.0)


def tanh_slope(low: Tensor, high: Tensor) -> Interval:
    """Range of 1 - tanh^2 x: least at the end further from 0, greatest where |x| is least."""
    xp = namespace(low)
    near = xp.maximum(xp.clip(low, 0.0, None), xp.clip(-high, 0.0, None))
    margin = 3.0 * (TANH_ULPS + 1.0) * EPS
    least, most = 1.0 - xp.tanh(magnitude(low, high)) ** 2, 1.0 - xp.tanh(near) ** 2
    return xp.clip(down(least, margin), 0.0, None), xp.clip(up(most, margin), None, 1.0)


def size_of_affine(node: Affine, low: Tensor, high: Tensor) -> Tensor:
    """|W| max|x| + |b|, what relative rounding errors of W x + b are relative to."""
    return magnitude(low, high) @ like(abs(node.weight), low).swapaxes(0, 1) + like(abs(node.bias), low) + TINY


def flat(network: Network, box: Box) -> Interval:
    """Sides of the box as (B, inputs); refuses a box of another dimension."""
    if box.size != network.inputs:
        raise InvalidInput(f"a box of {box.size} inputs for a network of {network.inputs}")
    return box.lower.reshape(-1, box.size), box.upper.reshape(-1, box.size)


def shaped(lower: Tensor, upper: Tensor, box: Box, method: str, sound: bool) -> Bounds:
    """(B, ...) sides with the batch dimensions of the box."""
    shape = box.batch + tuple(lower.shape[1:])
    return Bounds(lower.reshape(shape), upper.reshape(shape), method, sound)  # type: ignore[arg-type]
