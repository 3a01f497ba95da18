"""The steepest slope that can be found: what no certificate may fall below (torch)."""

from __future__ import annotations

import numpy as np
import torch

from control_stack.learning.lipschitz.forms import forward, jacobian
from control_stack.learning.lipschitz.network import CertifiedNetwork
from control_stack.types import Array

_CHUNK = 20_000


def steepest(
    network: CertifiedNetwork, lower: Array, upper: Array, starts: int = 10_000, pairs: int = 1_000_000,
    steps: int = 60, seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """(largest Jacobian norm, largest slope of pairs) of the scaled network, in the certificate's norm.

    Gradient ascent of |h(z + r d) - h(z)| / r over z and the direction d, from random starts, with r falling from 0.3
    to 1e-3: the slope of a ReLU net is constant between its kinks, that of a chord is not. Then the Jacobian's norm at
    all points on the way's end, at the starts, and the slopes of random pairs, far and near.

    Args:
        network: Whose.
        lower, upper: (n,) physical box in which points lie.
        starts: Of the ascent. pairs: Random pairs. steps: Of the ascent. seed: Of all draws.
    """
    c = network.certificate
    low, high = (torch.as_tensor((side - network.center) / c.input_scale) for side in (lower, upper))
    layers = [(torch.as_tensor(w), torch.as_tensor(b)) for w, b in zip(network.weights, network.biases, strict=True)]
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        return low + torch.rand(count, len(low), dtype=low.dtype, generator=generator) * (high - low)

    best = 0.0

    def norms(z: torch.Tensor) -> float:
        return float(torch.linalg.matrix_norm(jacobian(layers, z, network.activation), 2).max())

    z, d = draw(starts), torch.randn(starts, len(low), dtype=low.dtype, generator=generator)
    best = norms(z)
    for radius in np.geomspace(0.3, 1e-3, steps):
        z.requires_grad_(True)
        d.requires_grad_(True)
        unit = d / d.norm(dim=1, keepdim=True)
        chord = forward(layers, z + radius * unit, network.activation) - forward(layers, z, network.activation)
        slope = chord.norm(dim=1) / radius
        to_z, to_d = torch.autograd.grad(slope.sum(), (z, d))
        with torch.no_grad():
            z = z + radius * to_z / to_z.norm(dim=1, keepdim=True).clamp_min(1e-9)
            z = torch.minimum(torch.maximum(z, low), high)
            d = unit + 0.5 * to_d / to_d.norm(dim=1, keepdim=True).clamp_min(1e-9)
    best = max(best, norms(z.detach()))

    far = 0.0
    for start in range(0, pairs, _CHUNK):
        count = min(_CHUNK, pairs - start)
        a = draw(count)
        reach = 10.0 ** (-4.0 * torch.rand(count, 1, dtype=low.dtype, generator=generator))
        b = a + reach * (draw(count) - a)
        gap = forward(layers, a, network.activation) - forward(layers, b, network.activation)
        far = max(far, float((gap.norm(dim=1) / (a - b).norm(dim=1).clamp_min(1e-9)).max()))
    return best, far
