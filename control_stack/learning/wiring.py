"""How layers that share their weights are put together: one copy for a plain net, one per object or pair in a graph.

    z_k^c = W_k [F_k^c xi, sum_c' A_k^cc' h_{k-1}^c'] + b_k,   h_k = gate(z_k)      for each copy c

xi = [x, u] scaled, F_k its features, A_k which copies of the layer before are summed. The change of the state is
S y with y the outputs of all copies of the last layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SharedLayer:
    """One layer in all its copies.

    Attributes:
        copies: How often it is used, with the same weights.
        features: (copies, f, nx + nu) what each copy sees of [x, u]; None for nothing.
        gather: (copies, copies of the layer before); None where each copy reads its own.
    """

    copies: int
    features: Array | None = None
    gather: Array | None = None

    @property
    def feature_count(self) -> int:
        """f."""
        return 0 if self.features is None else self.features.shape[1]


@dataclass(frozen=True)
class Wiring:
    """All layers of a net, the output last.

    Attributes:
        layers: In order.
        scatter: (nx, copies of the output layer, outputs of each) from outputs to the change of the state.
        groups: (nx + nu,) columns of [x, u] with the same number share their scaling.
        about: The arguments it was made of, for a card (``from_card``).
    """

    layers: tuple[SharedLayer, ...]
    scatter: Array
    groups: Indices
    about: Mapping[str, Any]

    @property
    def outputs(self) -> int:
        """Of one copy of the last layer."""
        return self.scatter.shape[2]


def plain_net(nx: int, nu: int, depth: int) -> Wiring:
    """A feed-forward net with ``depth`` hidden layers."""
    first = SharedLayer(1, np.eye(nx + nu)[None])
    about = {"kind": "net", "hidden_layers": depth}
    return Wiring((first, *(SharedLayer(1) for _ in range(depth))), np.eye(nx)[:, None], np.arange(nx + nu), about)


def graph_net(spec: DynamicsSpec, prefix: str, pair_depth: int = 1, object_depth: int = 1) -> Wiring:
    """A net of pairs of objects, summed over partners, then of objects: permuting objects permutes its output.

    A pair (i, j) sees object i, object j relative to i, the states that belong to no object, and the inputs. An
    object sees itself, those states and inputs, and the sum of its pairs' last layer. Changes of the states that
    belong to no object are the mean of what all objects say.

    Args:
        spec: Its state names place the objects (``objects_in``).
        prefix: Of the objects' names.
        pair_depth, object_depth: Hidden layers of the two nets.
    """
    objects = objects_in(spec, prefix)
    nx, nu, (n, d) = len(spec.state), len(spec.inputs), objects.shape
    shared = np.setdiff1d(np.arange(nx + nu), objects)
    unit = np.eye(nx + nu)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    of_pair = np.stack(
        [np.vstack([unit[objects[i]], unit[objects[j]] - unit[objects[i]], unit[shared]]) for i, j in pairs]
    )
    of_object = np.stack([np.vstack([unit[objects[i]], unit[shared]]) for i in range(n)])
    partners = np.array([[float(i == k) for i, _ in pairs] for k in range(n)])
    layers = (
        SharedLayer(len(pairs), of_pair),
        *(SharedLayer(len(pairs)) for _ in range(pair_depth - 1)),
        SharedLayer(n, of_object, partners),
        *(SharedLayer(n) for _ in range(object_depth)),
    )
    own = shared[shared < nx]
    scatter = np.zeros((nx, n, d + len(own)))
    for i in range(n):
        scatter[objects[i], i, np.arange(d)] = 1.0
        scatter[own, i, d + np.arange(len(own))] = 1.0 / n
    groups = np.arange(nx + nu)
    groups[objects] = objects[0]
    about = {"kind": "graph", "objects": prefix, "pair_layers": pair_depth, "object_layers": object_depth}
    return Wiring(layers, scatter, groups, about)


def objects_in(spec: DynamicsSpec, prefix: str) -> Indices:
    """(objects, components) places in the state of names like "<prefix>0.x [m]", "<prefix>_1_x [m]".

    Raises:
        InvalidInput: There are fewer than two, or they have different components.
    """
    found: dict[int, dict[str, int]] = {}
    for place, name in enumerate(spec.state):
        match = re.fullmatch(rf"{re.escape(prefix)}_?(\d+)[._](.+)", name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = place
    if len(found) < 2:
        raise InvalidInput(f"no two objects '{prefix}' among the states {', '.join(spec.state)}")
    ordered = [found[number] for number in sorted(found)]
    if any(list(part) != list(ordered[0]) for part in ordered):
        raise InvalidInput(f"objects '{prefix}' have different components among the states {', '.join(spec.state)}")
    return np.array([list(part.values()) for part in ordered])


def from_card(about: Mapping[str, Any], spec: DynamicsSpec) -> Wiring:
    """The wiring that a card tells of, for the objects of this spec.

    Raises:
        InvalidInput: The card names no wiring that this code has.
    """
    try:
        if about["kind"] == "net":
            return plain_net(len(spec.state), len(spec.inputs), int(about["hidden_layers"]))
        if about["kind"] == "graph":
            return graph_net(spec, about["objects"], int(about["pair_layers"]), int(about["object_layers"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"wiring {dict(about)!r}: {error}") from None
    raise InvalidInput(f"wiring of kind '{about['kind']}'; this code has net and graph")


def pooled(values: Array, groups: Indices) -> Array:
    """(n,) means over the groups of (n,) values."""
    sums = np.zeros(len(values))
    counts = np.zeros(len(values))
    np.add.at(sums, groups, values)
    np.add.at(counts, groups, 1.0)
    return (sums / np.maximum(counts, 1.0))[groups]
