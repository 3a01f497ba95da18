"""The nets of ``gated_chain`` in torch: S of them at once, trained in one program of batched products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from control_stack.bounds.network import GATES
from control_stack.learning.gated_chain import GatedChain, Scaling
from control_stack.learning.wiring import SharedLayer, Wiring
from control_stack.protocols import DynamicsSpec

RELU, IDENTITY, ZERO = range(len(GATES))  # as in GATES

# (layer, its sums (S, rows, units)) -> what the units put out, of the same shape
Gating = Callable[[int, Tensor], Tensor]


@dataclass
class Net:
    """S nets of the same shape.

    Attributes:
        weights: (S, inputs, units) of each layer, the output last. biases: (S, 1, units).
        gates: (units,) of each hidden layer.
    """

    spec: DynamicsSpec
    wiring: Wiring
    scaling: Scaling
    weights: list[Tensor]
    biases: list[Tensor]
    gates: list[Tensor]
    constants: Constants = field(init=False)

    def __post_init__(self) -> None:
        self.constants = Constants(self.wiring, self.scaling, len(self.spec.state))

    @property
    def parameters(self) -> list[Tensor]:
        """Weights and biases."""
        return [*self.weights, *self.biases]

    @property
    def copies(self) -> list[int]:
        """Of each hidden layer: what a unit of it costs."""
        return [layer.copies for layer in self.wiring.layers[:-1]]

    def count(self, gate: int) -> int:
        """Units with a gate, in all copies."""
        return sum(int((g == gate).sum()) * copies for g, copies in zip(self.gates, self.copies, strict=True))

    def change(self, gating: Gating, xi: Tensor) -> Tensor:
        """(S, B, nx) the scaled change of the state for (S, B, nx + nu) scaled states and inputs."""
        return self.onward(gating, xi, 0, self.sums(0, None, xi))

    def sums(self, k: int, h: Tensor | None, xi: Tensor) -> Tensor:
        """(S, B copies, units) that layer k makes of xi and of what the layer before puts out."""
        layer, features, gather = self.constants.layers[k]
        stack, batch = xi.shape[:2]
        parts = []
        if layer.features is not None:
            seen = xi if features is None else xi @ features
            parts.append(seen.reshape(stack, batch * layer.copies, layer.feature_count))
        if h is not None:
            if gather is not None:
                h = gather @ h.reshape(stack, batch, gather.shape[1], h.shape[-1])
            parts.append(h.reshape(stack, batch * layer.copies, h.shape[-1]))
        return torch.baddbmm(self.biases[k], parts[0] if len(parts) == 1 else torch.cat(parts, -1), self.weights[k])

    def onward(self, gating: Gating, xi: Tensor, k: int, z: Tensor) -> Tensor:
        """The output (S, B, nx) from the sums z of layer k on."""
        for following in range(k + 1, len(self.weights)):
            z = self.sums(following, gating(following - 1, z), xi)
        scatter = self.constants.scatter
        return z if scatter is None else z.reshape(*xi.shape[:2], scatter.shape[0]) @ scatter

    def fixed_gates(self) -> Gating:
        """The gates as they are: max(z, 0) is a ReLU, max(z, -inf) passes; nothing is zero (``thinned``)."""
        floors = [torch.where(gates == RELU, 0.0, -torch.inf) for gates in self.gates]
        return lambda k, z: torch.maximum(z, floors[k])

    def thinned(self, gates: Sequence[Tensor]) -> Net:
        """A net with these gates and without its zeros."""
        keep = [torch.nonzero(g != ZERO)[:, 0] for g in gates]
        weights, biases = [], []
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if k > 0:
                f = self.wiring.layers[k].feature_count
                weight = weight[:, torch.cat([torch.arange(f), f + keep[k - 1]])]
            if k < len(keep):
                weight, bias = weight[:, :, keep[k]], bias[:, :, keep[k]]
            weights.append(weight.detach().clone())
            biases.append(bias.detach().clone())
        left = [g[kept].clone() for g, kept in zip(gates, keep, strict=True)]
        return Net(self.spec, self.wiring, self.scaling, weights, biases, left)

    def member(self, s: int) -> Net:
        """One of the S nets."""
        weights, biases = ([t[s : s + 1].detach().clone() for t in part] for part in (self.weights, self.biases))
        return Net(self.spec, self.wiring, self.scaling, weights, biases, self.gates)

    def chain(self, s: int = 0) -> GatedChain:
        """One of the S nets as NumPy arrays."""
        return GatedChain(
            self.spec,
            self.wiring,
            self.scaling,
            tuple(np.ascontiguousarray(w[s].detach().numpy().T) for w in self.weights),
            tuple(b[s, 0].detach().numpy().copy() for b in self.biases),
            tuple(g.numpy().astype(np.uint8) for g in self.gates),
        )


class Constants:
    """What ``Net.change`` needs of wiring and scaling, as float32 tensors."""

    def __init__(self, wiring: Wiring, scaling: Scaling, nx: int):
        self.layers: list[tuple[SharedLayer, Tensor | None, Tensor | None]] = []
        for layer in wiring.layers:
            features = None
            if layer.features is not None:
                flat = layer.features.reshape(-1, layer.features.shape[-1])
                same = flat.shape[0] == flat.shape[1] and np.array_equal(flat, np.eye(len(flat)))
                features = None if same else _tensor(flat.T)
            self.layers.append((layer, features, None if layer.gather is None else _tensor(layer.gather)))
        flat = wiring.scatter.reshape(nx, -1)
        same = flat.shape[0] == flat.shape[1] and np.array_equal(flat, np.eye(nx))
        self.scatter = None if same else _tensor(flat.T)
        # In scaled states: x+ = x + drift + gain f. An error times weight is in standard deviations of a change.
        self.drift = _tensor(scaling.change_center / scaling.scale[:nx])
        self.gain = _tensor(scaling.change_scale / scaling.scale[:nx])


def from_chain(chain: GatedChain) -> Net:
    """A net of S = 1."""
    return Net(
        chain.spec,
        chain.wiring,
        chain.scaling,
        [torch.from_numpy(w.T.copy())[None] for w in chain.weights],
        [torch.from_numpy(b.copy())[None, None] for b in chain.biases],
        [torch.from_numpy(g.astype(np.int64)) for g in chain.gates],
    )


def fresh(
    spec: DynamicsSpec,
    wiring: Wiring,
    scaling: Scaling,
    relus: Sequence[int],
    generator: torch.Generator,
    stack: int = 1,
) -> Net:
    """S nets with random weights and ``relus`` ReLUs in each hidden layer, then its linear units.

    Linear units cost a planner nothing, so every layer has as many as can be of use (``linear_units``). He's law for
    what a ReLU reads, a small output. ReLUs' biases are drawn too: kinks then spread over the data.
    """
    weights, biases, gates = [], [], []
    before = 0
    for k, layer in enumerate(wiring.layers):
        n_in = layer.feature_count + before
        last = k == len(relus)
        linear = 0 if last else linear_units(wiring, k, before, relus[k + 1] if k + 1 < len(relus) else None)
        n = wiring.outputs if last else relus[k] + linear
        scale = torch.full((n,), (0.1 if last else 2.0**0.5) / max(n_in, 1) ** 0.5)
        spread = torch.full((n,), 0.0 if last else 0.5)
        if not last:
            scale[relus[k] :] /= 2.0**0.5
            spread[relus[k] :] = 0.0
            gates.append(torch.tensor([RELU] * relus[k] + [IDENTITY] * linear))
        weights.append(scale * torch.randn(stack, n_in, n, generator=generator))
        biases.append(spread * torch.randn(stack, 1, n, generator=generator))
        before = n
    return Net(spec, wiring, scaling, weights, biases, gates)


def linear_units(wiring: Wiring, k: int, before: int, following: int | None) -> int:
    """Linear units that hidden layer k can use: the rank of a linear map from what it reads to what reads it.

    Args:
        before: Units of the layer before. following: ReLUs of the layer after; None for the output.
    """
    reads = wiring.layers[k].feature_count + before
    # A hidden layer that follows passes what is linear on to the output, with linear units of its own.
    return min(reads, wiring.outputs if following is None else following + wiring.outputs)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
