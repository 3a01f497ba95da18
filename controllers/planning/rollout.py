"""Many rollouts at once, as samplers need them: float32 in NumPy.

Tried on one core with 32 to 2048 rollouts of 8 steps through 16 ReLUs up to 2 x 288, batched torch was not faster: what
makes dense nets fast is float32, not the library. So samplers need no torch. What they report is rolled out again in
float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.types import Array

Single = NDArray[np.float32]


class BatchedRollout:
    """``model.rollout`` for a batch of plans from one state, in float32."""

    def __init__(self, model: SparseReLUDynamics):
        self._layers = []
        for layer in model.collapsed().layers:
            weights = [(j, np.ascontiguousarray(layer.weights[j].T, dtype=np.float32)) for j in sorted(layer.weights)]
            self._layers.append((weights, layer.bias.astype(np.float32), "relu" in layer.gates))

    def __call__(self, x0: Array, inputs: Array) -> Single:
        """(nx,), (S, T, nu) -> (S, T + 1, nx), x0 first."""
        samples, steps, _ = inputs.shape
        u = inputs.astype(np.float32)
        states = np.empty((samples, steps + 1, len(x0)), dtype=np.float32)
        states[:, 0] = x0
        for t in range(steps):
            states[:, t + 1] = states[:, t] + self._change(np.concatenate([states[:, t], u[:, t]], axis=1))
        return states

    def _change(self, read: Single) -> Single:
        outputs = [read]
        for weights, bias, relu in self._layers:
            (first, matrix), *others = weights
            z = outputs[first] @ matrix
            for j, other in others:
                z += outputs[j] @ other
            z += bias
            outputs.append(np.maximum(z, 0.0, out=z) if relu else z)
        return outputs[-1]
