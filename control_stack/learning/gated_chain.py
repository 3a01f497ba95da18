"""A net in the form it is trained in: layers with shared weights, scaled inputs, a gate for each unit.

``unrolled`` writes it out for the objects of a spec as ``SparseReLUDynamics``, which is what plans are made with. A
graph net can be unrolled for another number of objects than it was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain
from control_stack.bounds.network import GATES
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset
from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from control_stack.learning.spec import spec_from_card
from control_stack.learning.wiring import Wiring, from_card, pooled
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

FORMAT = "control-stack gated net, 1"
_WHAT = "a gated net's weights"
_SCALES = ("center", "scale", "change_center", "change_scale")


@dataclass(frozen=True, eq=False)
class Scaling:
    """xi = ([x, u] - center) / scale, x+ = x + change_center + change_scale f(xi).

    Attributes:
        center, scale: (nx + nu,). change_center, change_scale: (nx,) of one step.
    """

    center: Array
    scale: Array
    change_center: Array
    change_scale: Array


@dataclass(frozen=True, eq=False)
class GatedChain:
    """Weights and gates of one net.

    Attributes:
        spec: Of the data that it was trained on.
        wiring: How its layers are put together.
        scaling: Of states, inputs and changes.
        weights: (n, f + units before) float32 of each layer, the output last; features first.
        biases: (n,) float32.
        gates: (n,) indices into GATES of each hidden layer.
        card: Empty for one that was not read.
    """

    spec: DynamicsSpec
    wiring: Wiring
    scaling: Scaling
    weights: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    gates: tuple[NDArray[np.uint8], ...]
    card: Mapping[str, Any] = field(default_factory=dict)

    def count(self, gate: str) -> int:
        """Hidden units with this gate in all copies: what a planner pays for."""
        layers = zip(self.gates, self.wiring.layers, strict=False)
        return sum(int((gates == GATES.index(gate)).sum()) * layer.copies for gates, layer in layers)

    def unrolled(self, spec: DynamicsSpec | None = None) -> SparseReLUDynamics:
        """Written out, scaling multiplied in; for the objects of another spec if one is given.

        Raises:
            InvalidInput: The spec differs in more than the number of objects.
        """
        wiring, scaling = self.wiring, self.scaling
        if spec is not None:
            wiring = from_card(self.wiring.about, spec)
            scaling = _moved(self.scaling, self.wiring, wiring, len(self.spec.state), len(spec.state))
            if [w.feature_count for w in wiring.layers] != [w.feature_count for w in self.wiring.layers]:
                raise InvalidInput("the spec differs from that of the training in more than its number of objects")
        layers: list[GatedLayer] = []
        for k, (wire, weight, bias) in enumerate(zip(wiring.layers, self.weights, self.biases, strict=True)):
            w, f = weight.astype(float), wire.feature_count
            constant = np.tile(bias.astype(float), wire.copies)
            read: dict[int, Array] = {}
            if k > 0:
                gather = np.eye(wire.copies) if wire.gather is None else wire.gather
                read[k] = np.kron(gather, w[:, f:])
            if wire.features is not None:
                direct = np.concatenate([w[:, :f] @ copy for copy in wire.features]) / scaling.scale
                read[0], constant = direct, constant - direct @ scaling.center
            if k < len(self.gates):
                gates = tuple(GATES[g] for g in np.tile(self.gates[k], wire.copies))
            else:
                scatter = scaling.change_scale[:, None] * wiring.scatter.reshape(len(wiring.scatter), -1)
                read = {j: scatter @ matrix for j, matrix in read.items()}
                constant, gates = scaling.change_center + scatter @ constant, ("identity",) * len(scatter)
            layers.append(GatedLayer(read, constant, gates))
        return SparseReLUDynamics(spec or self.spec, tuple(layers))

    def save(self, path: str | Path, about: Mapping[str, Any]) -> GatedChain:
        """Writes ``path`` (.safetensors) and its card with ``about``."""
        stored: dict[str, Any] = {name: getattr(self.scaling, name) for name in _SCALES}
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            stored |= {f"weight.{k}": weight, f"bias.{k}": bias}
        stored |= {f"gates.{k}": gates for k, gates in enumerate(self.gates)}
        card = {"format": FORMAT, "wiring": plain(self.wiring.about), "spec": plain(self.spec), **plain(about)}
        artefact.write(path, stored, card, _WHAT)
        return self

    @classmethod
    def load(cls, path: str | Path) -> GatedChain:
        """Reads a net and its card.

        Raises:
            InvalidInput: A file is missing, damaged or not what its card says.
        """
        stored, card = artefact.read(path, _WHAT, FORMAT)
        try:
            spec = spec_from_card(card["spec"])
            wiring = from_card(card["wiring"], spec)
            n = len(wiring.layers)
            net = cls(
                spec,
                wiring,
                Scaling(*(stored[name] for name in _SCALES)),
                tuple(stored[f"weight.{k}"] for k in range(n)),
                tuple(stored[f"bias.{k}"] for k in range(n)),
                tuple(stored[f"gates.{k}"] for k in range(n - 1)),
                card,
            )
            net.unrolled()  # refuses what does not fit
        except (InvalidInput, KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidInput(f"{path}: {error}") from None
        return net


def scaling_of(data: Dataset, wiring: Wiring) -> Scaling:
    """Means and standard deviations over the transitions, pooled over what shares its scaling."""
    x, u = data.windows(1)
    both, change = np.concatenate([x[:, 0], u[:, 0]], -1), x[:, 1] - x[:, 0]
    groups = wiring.groups
    nx = x.shape[-1]
    center = pooled(both.mean(0), groups)
    scale = np.sqrt(pooled(((both - center) ** 2).mean(0), groups))
    change_center = pooled(change.mean(0), groups[:nx])
    change_scale = np.sqrt(pooled(((change - change_center) ** 2).mean(0), groups[:nx]))
    # A state that never moves by itself has nothing to scale; its change is then learnt in its own units.
    return Scaling(
        center, np.where(scale > 0, scale, 1.0), change_center, np.where(change_scale > 0, change_scale, 1.0)
    )


def _moved(scaling: Scaling, old: Wiring, new: Wiring, old_nx: int, new_nx: int) -> Scaling:
    """The scaling for another number of objects: each state takes that of the same component."""
    kinds = _kinds(old), _kinds(new)
    place = {kind: k for k, kind in reversed(list(enumerate(kinds[0])))}
    try:
        index = np.array([place[kind] for kind in kinds[1]])
    except KeyError:
        raise InvalidInput("the spec has states or inputs that the training did not have") from None
    state = index[:new_nx]
    if (state >= old_nx).any():
        raise InvalidInput("the spec takes states for inputs")
    return Scaling(
        scaling.center[index], scaling.scale[index], scaling.change_center[state], scaling.change_scale[state]
    )


def _kinds(wiring: Wiring) -> list[int]:
    """Running number of each column's scaling group."""
    order = {group: number for number, group in enumerate(dict.fromkeys(wiring.groups.tolist()))}
    return [order[group] for group in wiring.groups.tolist()]
