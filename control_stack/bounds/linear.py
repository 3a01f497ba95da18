"""Linear bounds, propagated backwards from each node to the input and there made numbers (CROWN).

Zhang et al., *Efficient neural network robustness certification with general activation functions*, NeurIPS 2018;
products as in Shi et al., *Robustness verification for transformers*, ICLR 2020. For rows C of a target node z,
C z >= A_k v_k + c holds at every node k on the way; a layer is passed by replacing v_k by the line of the right side.
What the rounding of A_k costs is at most (rounding of A_k) max|v_k|: it is charged to c where it occurs, so that the
float coefficients that are carried on are exact ones of a valid inequality.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from control_stack.bounds.arrays import Tensor, like, namespace
from control_stack.bounds.box import Bounds, Box, intersect
from control_stack.bounds.interval import Interval, flat, shaped, size_of_affine, through
from control_stack.bounds.network import Affine, Concat, Network, Slice, Sum
from control_stack.bounds.relaxation import Lines, relax
from control_stack.bounds.rounding import EPS, TINY, centre_radius, down, gamma, magnitude


def linear_bounds(network: Network, box: Box) -> Bounds:
    """Backward linear bounds, intersected with interval arithmetic at every layer: never wider than those.

    Args:
        network: Function f, any layers.
        box: (..., inputs); all boxes of a batch are bounded at once.

    Returns:
        Bounds (..., outputs) on f over the box, for exact arithmetic with the network's float64 weights.

    Raises:
        InvalidInput: The box has another number of inputs, or bounds overflow.
    """
    lower, upper = propagate(network, *flat(network, box)).intervals[-1]
    return shaped(lower, upper, box, "linear", True)


@dataclass
class Propagation:
    """What one pass found.

    Attributes:
        intervals: Enclosures of all nodes, (B, n) a side.
        lines: Relaxations, by the position of the nonlinear node.
        sensitivity: (B, n, inputs) mean |coefficient| of the two linear bounds on a node, times the radius of the
            input: how far each input moves it. By node, for those that were bounded linearly.
        looseness: (B, n) by nonlinear node: what its gap adds to the widths of the outputs, as a part of these.
    """

    intervals: list[Interval]
    lines: dict[int, Lines] = field(default_factory=dict)
    sensitivity: dict[int, Tensor] = field(default_factory=dict)
    looseness: dict[int, Tensor] = field(default_factory=dict)


def propagate(network: Network, lower: Tensor, upper: Tensor, extra: Iterable[int] = ()) -> Propagation:
    """Bounds whatever feeds a nonlinear layer, the output, and the ``extra`` nodes linearly; sides are (B, inputs)."""
    wanted = {p for k in network.nonlinear for p in network.parents[k]} | {len(network.nodes) - 1, *extra}
    state = Propagation([(lower, upper)])
    for k, (node, parents) in enumerate(zip(network.nodes, network.parents, strict=True)):
        if k:
            given = [state.intervals[p] for p in parents]
            if k in network.nonlinear:
                state.lines[k] = relax(node, given)  # type: ignore[arg-type]
            state.intervals.append(through(node, given, k))
        if k in wanted:
            found, coefficients = _backward(network, state, k, k == len(network.nodes) - 1)
            state.intervals[k] = intersect(state.intervals[k], found)
            n = node.size
            radius = 0.5 * (upper - lower)[:, None, :]
            state.sensitivity[k] = 0.5 * (abs(coefficients[:, :n]) + abs(coefficients[:, n:])) * radius
    return state


def _backward(network: Network, state: Propagation, target: int, is_output: bool) -> tuple[Interval, Tensor]:
    """Linear bounds on a node and their coefficients on the input, (B, 2 n, inputs): of z, then of -z."""
    low, high = state.intervals[0]
    n = network.nodes[target].size
    rows = np.concatenate([np.eye(n), -np.eye(n)])
    pending = {target: like(rows, low)[None]}
    constant, error = 0.0 * low[:, :1], 0.0 * low[:, :1]

    def pass_to(k: int, coefficients: Tensor) -> Tensor:
        """Adds to what is pending at node k; returns the bound on what that addition rounds away."""
        if k not in pending:
            pending[k] = coefficients
            return 0.0
        pending[k] = pending[k] + coefficients
        return EPS * _times(abs(pending[k]), magnitude(*state.intervals[k]))

    for k in range(target, 0, -1):
        a = pending.pop(k, None)
        if a is None:
            continue
        node, parents = network.nodes[k], network.parents[k]
        if isinstance(node, Affine):
            sizes = size_of_affine(node, *state.intervals[parents[0]])
            constant = constant + a @ like(node.bias, low)
            error = error + gamma(node.size + 3) * _times(abs(a), sizes) + EPS * abs(constant)
            error = error + pass_to(parents[0], a @ like(node.weight, low))
        elif k in state.lines:
            lines, xp = state.lines[k], namespace(low)
            positive, negative = xp.clip(a, 0.0, None), xp.clip(a, None, 0.0)
            constant = constant + _times(positive, lines.below) + _times(negative, lines.above)
            error = error + gamma(2 * node.size + 6) * _times(abs(a), lines.size) + 2.0 * EPS * abs(constant)
            for p, below, above in zip(parents, lines.below_slope, lines.above_slope, strict=True):
                error = error + pass_to(p, positive * below[:, None, :] + negative * above[:, None, :])
            if is_output:
                width = xp.clip(state.intervals[target][1] - state.intervals[target][0], TINY, None)
                share = abs(a[:, :n]) + abs(a[:, n:])
                state.looseness[k] = (share / width[:, :, None]).sum(1) * lines.gap
        elif isinstance(node, Sum):
            for p in parents:
                error = error + pass_to(p, a)
        elif isinstance(node, Concat):
            start = 0
            for p, parent in zip(parents, node.parents, strict=True):
                error = error + pass_to(p, a[:, :, start : start + parent.size])
                start += parent.size
        elif isinstance(node, Slice):
            whole = np.zeros((node.size, node.parents[0].size))
            whole[:, node.start : node.stop] = np.eye(node.size)
            error = error + pass_to(parents[0], a @ like(whole, low))  # picks entries: no rounding
    a = pending[0]
    centre, radius = centre_radius(low, high)
    value = constant + _times(a, centre) - _times(abs(a), radius)
    error = error + gamma(network.inputs + 4) * (_times(abs(a), magnitude(low, high) + radius) + abs(constant))
    bound = down(value, error)
    ones = 1.0 + 0.0 * low[:, :1, None]  # where nothing was relaxed, a has no batch dimension yet
    return (bound[:, :n], -bound[:, n:]), a * ones


def _times(a: Tensor, v: Tensor) -> Tensor:
    """(B or 1, R, n), (B, n) -> (B, R)."""
    return (a @ v[..., None])[..., 0]
