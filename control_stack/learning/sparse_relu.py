"""A ReLU model of dynamics that is thin enough to plan through: what is trained elsewhere, run here in NumPy.

    x+ = x + f(x, u),   h_0 = [x, u],   h_k = gate_k(sum_{j<k} W_kj h_j + b_k),   f = sum_j W_j h_j + b

A layer may read every layer before it. A net as it is trained reads the one before only; one whose linear units were
folded away (``collapsed``) needs the rest. Scaling of states and inputs is inside the weights: all is in the units
of the spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain
from control_stack.bounds import (
    Affine,
    Bounds,
    Box,
    Concat,
    Input,
    Network,
    Node,
    Relu,
    Slice,
    StoredBounds,
    Sum,
    stored_bounds,
)
from control_stack.bounds.network import GATES
from control_stack.errors import InvalidInput
from control_stack.learning.spec import TaskSpec, spec_from_card
from control_stack.protocols import DynamicsSpec
from control_stack.rollout import rollout
from control_stack.types import Array

FORMAT = "control-stack sparse ReLU dynamics, 1"
_WHAT = "sparse ReLU dynamics"
_BOUNDS = "bounds."  # begins the names of tensors of bounds
_NODES = 20_000  # of branch and bound, for each side of each neuron


@dataclass(frozen=True, eq=False)
class GatedLayer:
    """n units.

    Attributes:
        weights: (n, size of layer j) by j; 0 is [x, u]. Layers that are not read are left out.
        bias: (n,).
        gates: Of each unit: relu, identity or zero.
    """

    weights: Mapping[int, Array]
    bias: Array
    gates: tuple[str, ...]

    def count(self, gate: str) -> int:
        """Units with this gate."""
        return self.gates.count(gate)


@dataclass(frozen=True, eq=False)
class SparseReLUDynamics:
    """The model (``protocols.Dynamics``).

    Attributes:
        spec: Layout and step; there are no parameters.
        layers: Hidden layers, then the output: all its gates are identity.
        card: What is known of its training; empty for one made by hand.
        bounds: On the arguments of its ReLUs, kept with it; None without.

    Raises:
        InvalidInput: Shapes do not fit, a weight is not finite, a gate is unknown, or bounds are of another net.
    """

    spec: DynamicsSpec
    layers: tuple[GatedLayer, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    bounds: StoredBounds | None = None

    def __post_init__(self) -> None:
        if self.spec.parameters:
            object.__setattr__(self, "spec", replace(self.spec, parameters=(), defaults=np.zeros(0)))
        sizes = [self.nx + len(self.spec.inputs)]
        for k, layer in enumerate(self.layers, 1):
            n = len(layer.bias)
            if n == 0 or layer.bias.shape != (n,) or len(layer.gates) != n or not set(layer.gates) <= set(GATES):
                raise InvalidInput(f"layer {k}: {n} biases and {len(layer.gates)} gates of {', '.join(GATES)}")
            for j, weight in layer.weights.items():
                if not 0 <= j < k or weight.shape != (n, sizes[j]):
                    raise InvalidInput(f"layer {k}: weight {weight.shape} of layer {j} does not fit")
            if not all(np.isfinite(value).all() for value in (layer.bias, *layer.weights.values())):
                raise InvalidInput(f"layer {k}: weights are not finite")
            sizes.append(n)
        if not self.layers or sizes[-1] != self.nx or self.layers[-1].count("identity") != self.nx:
            raise InvalidInput(f"the last layer needs {self.nx} outputs with the gate identity")
        object.__setattr__(self, "_run", tuple(_prepared(layer) for layer in self.layers))
        if self.bounds is not None:
            self.bounds.check(self.to_network())

    @property
    def nx(self) -> int:
        """States."""
        return len(self.spec.state)

    @property
    def relus(self) -> int:
        """Hidden units that cost a planner a binary for each step."""
        return self.count("relu")

    def count(self, gate: str) -> int:
        """Hidden units with this gate."""
        return sum(layer.count(gate) for layer in self.layers[:-1])

    def step(self, x: Any, u: Any, p: Any = None) -> Array:
        """x+ (..., nx) of x (..., nx) and u (..., nu); p is None or empty."""
        if p is not None and np.size(p):
            raise InvalidInput(f"sparse ReLU dynamics have no parameters, got {np.size(p)}")
        x, u = np.asarray(x, dtype=float), np.asarray(u, dtype=float)
        if x.shape[-1:] != (self.nx,) or u.shape[-1:] != (len(self.spec.inputs),):
            raise InvalidInput(f"x {x.shape} and u {u.shape} do not end in {self.nx} and {len(self.spec.inputs)}")
        batch = np.broadcast_shapes(x.shape[:-1], u.shape[:-1])
        h = [np.concatenate([np.broadcast_to(x, (*batch, self.nx)), np.broadcast_to(u, (*batch, u.shape[-1]))], -1)]
        for weights, bias, floor in self._run:  # type: ignore[attr-defined]
            z = bias
            for j, transposed in weights:
                z = z + h[j] @ transposed
            h.append(np.maximum(z, floor))
        return x + h[-1]

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Array:
        """(..., nx), (..., T, nu) -> (..., T + 1, nx), x0 first."""
        return rollout(self.step, x0, us, p)

    def collapsed(self) -> SparseReLUDynamics:
        """The same function with ReLUs only: zeros dropped, linear units multiplied into what reads them."""
        kept: list[GatedLayer] = []
        n_in = self.nx + len(self.spec.inputs)
        # What each layer puts out, as matrices over [x, u] and the kept layers, and a constant.
        outputs: list[tuple[dict[int, Array], Array]] = [({0: np.eye(n_in)}, np.zeros(n_in))]
        for layer in self.layers:
            z: dict[int, Array] = {}
            bias = layer.bias
            for i, weight in layer.weights.items():
                for j, matrix in outputs[i][0].items():
                    z[j] = z.get(j, 0.0) + weight @ matrix
                bias = bias + weight @ outputs[i][1]
            if layer is self.layers[-1]:
                kept.append(GatedLayer(_nonzero(z, bias, n_in), bias, layer.gates))
                break
            linear = np.array([gate == "identity" for gate in layer.gates])
            relu = np.flatnonzero([gate == "relu" for gate in layer.gates])
            put = {j: matrix * linear[:, None] for j, matrix in z.items()} if linear.any() else {}
            if len(relu):
                rows = {j: matrix[relu] for j, matrix in z.items()}
                kept.append(GatedLayer(_nonzero(rows, bias[relu], n_in), bias[relu], ("relu",) * len(relu)))
                put[len(kept)] = np.eye(len(layer.gates))[:, relu]
            outputs.append((put, bias * linear))
        found = replace(self, layers=tuple(kept), bounds=None)
        same = self.bounds is not None and found.to_network().digest() == self.to_network().digest()
        return replace(found, bounds=self.bounds) if same else found

    def bounded(self, method: Literal["linear", "lp", "mip"], max_nodes: int | None = _NODES) -> SparseReLUDynamics:
        """The same model with bounds on the arguments of its ReLUs wherever state and input lie within their limits.

        Args:
            method, max_nodes: As of ``bounds.preactivation_bounds``.

        Raises:
            InvalidInput: The spec has no limits.
            MissingDependency: highspy is not installed, and the method needs it.
        """
        spec = self.spec
        if not isinstance(spec, TaskSpec):
            raise InvalidInput("bounds hold within limits of states and inputs, which only the spec of a task has")
        sides = ((spec.state_lower, spec.input_lower), (spec.state_upper, spec.input_upper))
        box = Box(*(np.concatenate(side) for side in sides))
        return replace(self, bounds=stored_bounds(self.to_network(), box, method, max_nodes))

    def to_network(self) -> Network:
        """[x, u] -> x+ for ``control_stack.bounds`` and the mixed-integer planner."""
        nodes: list[Node] = [Input(self.nx + len(self.spec.inputs))]
        for layer in self.layers:
            sources = sorted(layer.weights)
            read = nodes[sources[0]] if len(sources) == 1 else Concat(*(nodes[j] for j in sources))
            affine = Affine(read, np.hstack([layer.weights[j] for j in sources]), layer.bias)
            nodes.append(affine if layer is self.layers[-1] else Relu(affine, layer.gates))
        return Network(Sum(Slice(nodes[0], 0, self.nx), nodes[-1]))

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+; p is empty."""
        from control_stack.learning.symbolic import step_function

        return step_function(self.to_network(), self.nx, len(self.spec.inputs))

    def save(self, path: str | Path, *, training: Mapping[str, Any], figures: Mapping[str, Any]) -> SparseReLUDynamics:
        """Writes ``path`` (.safetensors) and its card (``tensors.write_model``); the model with that card."""
        stored: dict[str, Any] = {}
        for k, layer in enumerate(self.layers, 1):
            stored |= {f"layer.{k}.weight.{j}": weight for j, weight in layer.weights.items()}
            stored[f"layer.{k}.bias"] = layer.bias
            stored[f"layer.{k}.gates"] = np.array([GATES.index(gate) for gate in layer.gates], dtype=np.uint8)
        contract, kept = self._contract(), self.bounds
        if kept is not None:
            stored[f"{_BOUNDS}0"] = np.stack([kept.box.lower, kept.box.upper])
            stored |= {f"{_BOUNDS}{k}": np.stack([of.lower, of.upper]) for k, of in enumerate(kept.arguments, 1)}
            contract["bounds"] = {"method": kept.method, "key": kept.key}
        return replace(self, card=artefact.write_model(path, stored, contract, training, figures, _WHAT))

    @classmethod
    def load(cls, path: str | Path) -> SparseReLUDynamics:
        """Reads a model and its card.

        Raises:
            InvalidInput: A file is missing, damaged or not what its card says.
        """
        stored, card = artefact.read(path, _WHAT, FORMAT)
        try:
            spec = spec_from_card(card["spec"])
        except (InvalidInput, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{Path(path).with_suffix('.json')}: {error}") from None
        try:
            bounds = _kept({name: stored.pop(name) for name in sorted(stored) if name.startswith(_BOUNDS)}, card)
            model = cls(spec, _layers(stored), card, bounds)
        except (InvalidInput, KeyError, ValueError, IndexError) as error:
            raise InvalidInput(f"{path}: {error}") from None
        artefact.check_contract(path, card, model._contract())
        return model

    def _contract(self) -> dict[str, Any]:
        """The part of a card that the run time relies on."""
        layers = [
            {"reads": {str(j): list(layer.weights[j].shape) for j in sorted(layer.weights)}}
            | {gate: layer.count(gate) for gate in GATES}
            for layer in self.layers
        ]
        return {"format": FORMAT, "step": "x + f(x, u)", "architecture": {"layers": layers}, "spec": plain(self.spec)}


def _prepared(layer: GatedLayer) -> tuple[list[tuple[int, Array]], Array, Array]:
    """Transposed weights, bias and floor: max(z, 0) is a ReLU, max(z, -inf) passes, a zero has no weights left."""
    alive = np.array([gate != "zero" for gate in layer.gates])
    floor = np.array([-np.inf if gate == "identity" else 0.0 for gate in layer.gates])
    weights = [(j, np.ascontiguousarray((layer.weights[j] * alive[:, None]).T)) for j in sorted(layer.weights)]
    return weights, layer.bias * alive, floor


def _nonzero(weights: Mapping[int, Array], bias: Array, n_in: int) -> dict[int, Array]:
    """Without the layers that are not really read; a constant reads [x, u] with zeros."""
    read = {j: weight for j, weight in weights.items() if weight.any()}
    return read or {0: np.zeros((len(bias), n_in))}


def _kept(stored: Mapping[str, Array], card: Mapping[str, Any]) -> StoredBounds | None:
    """Bounds as they were saved; whose they are the model checks."""
    if not stored and "bounds" not in card:
        return None
    told = card["bounds"]
    method, key, sides = told["method"], told["key"], [stored[f"{_BOUNDS}{k}"] for k in range(len(stored))]
    arguments = tuple(Bounds(low, high, method, method != "mip") for low, high in sides[1:])
    return StoredBounds(Box(*sides[0]), method, arguments, key)


def _layers(stored: Mapping[str, Array]) -> tuple[GatedLayer, ...]:
    count = sum(name.endswith(".bias") for name in stored)
    layers = []
    used = set()
    for k in range(1, count + 1):
        prefix = f"layer.{k}.weight."
        names = {int(name[len(prefix) :]): name for name in stored if name.startswith(prefix)}
        numbers = stored[f"layer.{k}.gates"]
        if numbers.dtype != np.uint8 or any(stored[n].dtype != np.float64 for n in names.values()):
            raise InvalidInput(f"layer {k}: weights are float64 and gates uint8")
        gates = tuple(GATES[number] for number in numbers)
        layers.append(GatedLayer({j: stored[name] for j, name in names.items()}, stored[f"layer.{k}.bias"], gates))
        used |= {*names.values(), f"layer.{k}.bias", f"layer.{k}.gates"}
    if set(stored) != used:
        raise InvalidInput(f"unknown tensor '{sorted(set(stored) - used)[0]}'")
    return tuple(layers)
