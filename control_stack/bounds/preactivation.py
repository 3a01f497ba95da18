"""Bounds on the arguments of a network's activations, which big-M constraints need, and such that a model keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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


@dataclass(frozen=True)
class StoredBounds:
    """What ``preactivation_bounds`` found for one network over one box, to be kept where it took long.

    Attributes:
        box: (inputs,) over which they hold. method: How they were found.
        arguments: Of each activation, in order of the network's nodes.
        key: ``cache_key`` of network, box and method.
    """

    box: Box
    method: str
    arguments: tuple[Bounds, ...]
    key: str

    def check(self, network: Network) -> None:
        """Raises InvalidInput if they are of another network, box or method."""
        if self.key != cache_key(network, self.box, self.method):
            raise InvalidInput("the bounds that are kept with the model are of another net, box or method")


def stored_bounds(
    network: Network, box: Box, method: Literal["interval", "linear", "lp", "mip"], max_nodes: int | None = None
) -> StoredBounds:
    """``preactivation_bounds`` of one box (inputs,), to be kept."""
    found = preactivation_bounds(network, box, method, max_nodes)
    return StoredBounds(box, method, found, cache_key(network, box, method))
