"""Bounds on the arguments of a network's activations, to be cached with the model: big-M constraints need them."""

from __future__ import annotations

import hashlib
from typing import Literal

from control_stack.bounds.arrays import to_numpy
from control_stack.bounds.box import Bounds, Box
from control_stack.bounds.interval import flat, intervals, shaped
from control_stack.bounds.linear import propagate
from control_stack.bounds.milp import solved_bounds
from control_stack.bounds.network import Network, Product
from control_stack.errors import InvalidInput


def preactivation_bounds(
    network: Network,
    box: Box,
    method: Literal["interval", "linear", "lp", "mip"] = "linear",
    max_nodes: int | None = None,
) -> tuple[Bounds, ...]:
    """Bounds on the argument of every Relu, Tanh and Sigmoid, in order of ``network.nodes``.

    "lp" and "mip" solve for unstable ReLUs only; where the sign is known already, the linear bounds remain.

    Args:
        network: With "lp" and "mip" of affine and ReLU layers only.
        box: (..., inputs).
        method: From loose and fast to tight and slow.
        max_nodes: As for ``mip_bounds``.

    Raises:
        InvalidInput: A box of another dimension, an unknown method, or a layer that the method does not take (named).
    """
    if method in ("lp", "mip"):
        return solved_bounds(network, box, method, max_nodes)[:-1]
    sides = flat(network, box)
    if method == "linear":
        found = propagate(network, *sides).intervals
    elif method == "interval":
        found = intervals(network, *sides)
    else:
        raise InvalidInput(f"pre-activation bounds by '{method}'; expected interval, linear, lp or mip")
    activations = [k for k in network.nonlinear if not isinstance(network.nodes[k], Product)]
    return tuple(shaped(*found[network.parents[k][0]], box, method, True) for k in activations)


def cache_key(network: Network, box: Box, method: str) -> str:
    """SHA-256 of structure, weights, box and method: bounds stored under it are those of this network and box."""
    sha = hashlib.sha256(f"control-stack bounds 1, {method}, {box.batch}, {network.digest()}".encode())
    for side in (box.lower, box.upper):
        sha.update((to_numpy(side) + 0.0).tobytes())  # + 0: -0 and 0 are one bound
    return sha.hexdigest()
