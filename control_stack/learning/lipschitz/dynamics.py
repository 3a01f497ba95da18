"""Dynamics with a certified residual: an affine step plus dt times a network whose Lipschitz constant is proved.

    x+ = A x + B u + D p + c + dt g(x, u, p),      |g(a) - g(b)| <= gamma |a - b|   (``certificate``)

With A = I and B, D, c = 0 this is x+ = x + dt g. The constant speaks of g alone: over a horizon an error grows with the
affine step and gamma dt together, which is why little should be left to g.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain
from control_stack.bounds import Affine, Input, Network, Node, Sum
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.certificate import Certificate
from control_stack.learning.lipschitz.network import CertifiedNetwork
from control_stack.learning.spec import spec_from_card
from control_stack.protocols import DynamicsSpec
from control_stack.rollout import rollout
from control_stack.types import Array

FORMAT = "control-stack Lipschitz dynamics, 1"
NORM = "Euclidean, each channel over its scale"
_WHAT = "Lipschitz dynamics"


@dataclass(frozen=True, eq=False)
class LipschitzDynamics:
    """The model (``protocols.Dynamics``); NumPy only.

    Attributes:
        spec: Layout and step.
        matrix: (nx, nx + nu + np), [A B D]. constant: (nx,), c.
        network: g, of [x, u, p] in their units to the states' units per second.
        card: What is known of its training; empty for one made by hand.

    Raises:
        InvalidInput: Shapes do not fit, or a number is not finite.
    """

    spec: DynamicsSpec
    matrix: Array
    constant: Array
    network: CertifiedNetwork
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.nx + self.nu + len(self.spec.parameters)
        if self.matrix.shape != (self.nx, n) or self.constant.shape != (self.nx,):
            raise InvalidInput(f"affine step {self.matrix.shape}, {self.constant.shape}: expected {(self.nx, n)}")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.constant).all()):
            raise InvalidInput("the affine step is not finite")
        if (self.network.inputs, self.network.outputs) != (n, self.nx):
            raise InvalidInput(f"a network {self.network.inputs} -> {self.network.outputs}, expected {n} -> {self.nx}")
        if not (np.isfinite(self.spec.dt) and self.spec.dt > 0.0):
            raise InvalidInput(f"dt is {self.spec.dt}, expected seconds above 0")

    @property
    def nx(self) -> int:
        """States."""
        return len(self.spec.state)

    @property
    def nu(self) -> int:
        """Inputs."""
        return len(self.spec.inputs)

    @property
    def certificate(self) -> Certificate:
        """Of g: constant, scales and proof; its slopes are in SI units."""
        return self.network.certificate

    def step(self, x: Any, u: Any, p: Any = None) -> Array:
        """x+ (..., nx) of x (..., nx), u (..., nu) and p (..., np), which by default is the spec's."""
        given = [np.asarray(v, dtype=float) for v in (x, u, self.spec.defaults if p is None else p)]
        sizes = (self.nx, self.nu, len(self.spec.parameters))
        for name, value, size in zip("xup", given, sizes, strict=True):
            if value.shape[-1:] != (size,):
                raise InvalidInput(f"{name} has shape {value.shape}, expected (..., {size})")
        batch = np.broadcast_shapes(*(value.shape[:-1] for value in given))
        a = np.concatenate([np.broadcast_to(v, (*batch, v.shape[-1])) for v in given], -1)
        return a @ self.matrix.T + self.constant + self.spec.dt * self.network(a)

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Array:
        """(..., nx), (..., T, nu) -> (..., T + 1, nx), x0 first; p is held."""
        return rollout(self.step, x0, us, p)

    def node(self, argument: Node) -> Node:
        """x+ on a layer [x, u, p] of ``control_stack.bounds``."""
        g = Affine(self.network.node(argument), self.spec.dt * np.eye(self.nx))
        return Sum(Affine(argument, self.matrix, self.constant), g)

    def to_network(self) -> Network:
        """[x, u, p] -> x+ for ``control_stack.bounds`` and, with ReLU, the mixed-integer planner."""
        return Network(self.node(Input(self.matrix.shape[1])))

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+."""
        from control_stack.learning.symbolic import step_function

        return step_function(self.to_network(), self.nx, self.nu, len(self.spec.parameters))

    def save(self, path: str | Path, *, training: Mapping[str, Any], figures: Mapping[str, Any]) -> LipschitzDynamics:
        """Writes ``path`` (.safetensors) and its card (``tensors.write_model``); the model with that card."""
        n, c = self.network, self.certificate
        stored: dict[str, Any] = {
            "affine.matrix": self.matrix, "affine.constant": self.constant, "center": n.center, "offset": n.offset,
            "input_scale": c.input_scale, "output_scale": c.output_scale, "gamma": np.array([c.gamma]),
        }  # fmt: skip
        for k, (weight, bias) in enumerate(zip(n.weights, n.biases, strict=True), 1):
            stored |= {f"layer.{k}.weight": weight, f"layer.{k}.bias": bias}
        stored |= {f"multiplier.{k}": t for k, t in enumerate(c.multipliers, 1)}
        return replace(self, card=artefact.write_model(path, stored, self._contract(), training, figures, _WHAT))

    @classmethod
    def load(cls, path: str | Path) -> LipschitzDynamics:
        """Reads a model and its card, and checks the proof of its constant again.

        Raises:
            InvalidInput: A file is missing, damaged or not what its card says, or the constant is not proved.
        """
        stored, card = artefact.read(path, _WHAT, FORMAT)
        try:
            spec = spec_from_card(card["spec"])
            network = _network(stored, card["architecture"]["activation"])
            model = cls(spec, stored["affine.matrix"], stored["affine.constant"], network, card)
        except (InvalidInput, KeyError, TypeError, ValueError, IndexError) as error:
            raise InvalidInput(f"{path}: {error}") from None
        artefact.check_contract(path, card, model._contract())
        return model

    def _contract(self) -> dict[str, Any]:
        """The part of a card that the run time relies on."""
        c = self.certificate
        return {
            "format": FORMAT,
            "step": "A x + B u + D p + c + dt g(x, u, p)",
            "architecture": {"widths": [len(b) for b in self.network.biases], "activation": self.network.activation},
            "certificate": {
                "of": "g, in the states' units per second",
                "norm": NORM,
                "gamma": c.gamma,
                "input_scale": c.input_scale.tolist(),
                "output_scale": c.output_scale.tolist(),
            },
            "spec": plain(self.spec),
        }


def _network(stored: Mapping[str, Array], activation: Any) -> CertifiedNetwork:
    count = sum(name.startswith("layer.") and name.endswith(".bias") for name in stored)
    names = [f"layer.{k}.{part}" for k in range(1, count + 1) for part in ("weight", "bias")]
    names += [f"multiplier.{k}" for k in range(1, count)]
    names += ["affine.matrix", "affine.constant", "center", "offset", "input_scale", "output_scale", "gamma"]
    if set(stored) != set(names):
        raise InvalidInput(f"tensors {', '.join(sorted(set(stored) ^ set(names)))} are missing or unknown")
    if any(value.dtype != np.float64 for value in stored.values()) or stored["gamma"].shape != (1,):
        raise InvalidInput("all tensors are float64, and gamma is one number")
    certificate = Certificate(
        float(stored["gamma"][0]), stored["input_scale"], stored["output_scale"],
        tuple(stored[f"multiplier.{k}"] for k in range(1, count)),
    )  # fmt: skip
    return CertifiedNetwork(
        tuple(stored[f"layer.{k}.weight"] for k in range(1, count + 1)),
        tuple(stored[f"layer.{k}.bias"] for k in range(1, count + 1)),
        activation, stored["center"], stored["offset"], certificate,
    )  # fmt: skip
