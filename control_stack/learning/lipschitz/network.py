"""A multilayer perceptron in physical units that carries the proof of its Lipschitz constant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from control_stack.bounds import Affine, Box, Network, Node, Relu, Tanh, lipschitz_bounds
from control_stack.bounds.network import Input
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.certificate import Certificate, check
from control_stack.types import Array

Activation = Literal["relu", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = ("relu", "tanh")


@dataclass(frozen=True, eq=False)
class CertifiedNetwork:
    """g(a) = offset + output_scale h((a - center) / input_scale), h = W_{L+1} s(.. s(W_1 z + b_1) ..) + b_{L+1}.

    Attributes:
        weights: W_1 .. W_{L+1}, (n_k, n_{k-1}), of the scaled network. biases: (n_k,).
        activation: relu or tanh.
        center: (n,) of the inputs. offset: (m,) of the outputs.
        certificate: gamma with scales and multipliers.

    Raises:
        InvalidInput: Shapes do not fit, a number is not finite, a scale is not above 0, or the multipliers do not prove
            gamma: the proof is checked whenever a network is made.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    activation: Activation
    center: Array
    offset: Array
    certificate: Certificate

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InvalidInput(f"activation '{self.activation}' has no certificate; known: {', '.join(ACTIVATIONS)}")
        c = self.certificate
        sizes = [len(self.center), *(len(b) for b in self.biases)]
        if len(self.weights) < 2 or len(self.weights) != len(self.biases):
            raise InvalidInput(f"{len(self.weights)} weights and {len(self.biases)} biases; at least 2 of each")
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            if weight.shape != (sizes[k], sizes[k - 1]) or bias.shape != (sizes[k],):
                raise InvalidInput(f"layer {k}: weight {weight.shape} and bias {bias.shape} do not fit")
        scales = (c.input_scale, c.output_scale)
        if (
            c.input_scale.shape != (sizes[0],)
            or self.offset.shape != (sizes[-1],)
            or c.output_scale.shape != (sizes[-1],)
        ):
            raise InvalidInput("scales do not fit the layers")
        if not all(np.isfinite(a).all() for a in (*self.weights, *self.biases, self.center, self.offset, *scales)):
            raise InvalidInput("weights and scales must be finite")
        if any((scale <= 0.0).any() for scale in scales):
            raise InvalidInput("scales must be above 0")
        check(self.weights, c.gamma, c.multipliers, "certificate")

    @property
    def inputs(self) -> int:
        """n."""
        return len(self.center)

    @property
    def outputs(self) -> int:
        """m."""
        return len(self.offset)

    def __call__(self, a: Any) -> Array:
        """(..., n) -> (..., m)."""
        h = (np.asarray(a, dtype=float) - self.center) / self.certificate.input_scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = h @ weight.T + bias
            h = np.tanh(z) if self.activation == "tanh" else np.maximum(z, 0.0)
        return self.offset + self.certificate.output_scale * (h @ self.weights[-1].T + self.biases[-1])

    def node(self, argument: Node) -> Node:
        """The network on a layer of ``control_stack.bounds``, all in physical units."""
        return self._layers(argument, 1.0 / self.certificate.input_scale, self.certificate.output_scale)

    def scaled(self) -> Network:
        """h alone, from scaled inputs to scaled outputs."""
        plain = replace(self, center=np.zeros(self.inputs), offset=np.zeros(self.outputs))
        return Network(plain._layers(Input(self.inputs), np.ones(self.inputs), np.ones(self.outputs)))

    def _layers(self, a: Node, shrink: Array, stretch: Array) -> Node:
        first = self.weights[0] * shrink
        weights = [first, *self.weights[1:-1], stretch[:, None] * self.weights[-1]]
        biases = [self.biases[0] - first @ self.center, *self.biases[1:-1], self.offset + stretch * self.biases[-1]]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            a = Affine(a, weight, bias)
            a = Tanh(a) if self.activation == "tanh" else Relu(a)
        return Affine(a, weights[-1], biases[-1])

    def local_gamma(self, box: Box, boxes: int = 64) -> float:
        """A constant, in the certificate's norm, that holds between any two points of the box; at most gamma.

        Args:
            box: (n,) in the inputs' units.
            boxes: Parts that it may be cut into.

        Raises:
            InvalidInput: The box has another number of inputs.
        """
        if box.size != self.inputs or box.batch:
            raise InvalidInput(f"a box of {box.batch + (box.size,)} for a network of {self.inputs} inputs")
        scale = self.certificate.input_scale
        inside = Box((box.lower - self.center) / scale, (box.upper - self.center) / scale)
        return min(float(lipschitz_bounds(self.scaled(), inside, boxes)), self.certificate.gamma)
