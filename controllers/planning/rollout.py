"""Many rollouts at once, as samplers need them: float32, in NumPy or, on a device that is named, in torch.

What they report is rolled out again in float64. ``python -m benchmarks.sampler_rollouts`` times the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.errors import InvalidInput, MissingDependency
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.types import Array

Single = NDArray[np.float32]


class BatchedRollout:
    """``model.rollout`` for a batch of plans from one state, in float32.

    Args:
        model: Of the dynamics.
        device: Of torch, such as "cpu" or "cuda"; None for NumPy.

    Raises:
        InvalidInput: No such device. MissingDependency: torch is not installed, and a device is named.
    """

    def __init__(self, model: SparseReLUDynamics, device: str | None = None):
        self._torch: Any = None
        self._relu: Callable[[Any], Any] = lambda z: np.maximum(z, 0.0, out=z)
        put: Callable[[Single], Any] = np.ascontiguousarray
        if device is not None:
            put = self._on(device)
        self._layers = []
        for layer in model.collapsed().layers:
            weights = [(j, put(layer.weights[j].T.astype(np.float32))) for j in sorted(layer.weights)]
            self._layers.append((weights, put(layer.bias.astype(np.float32)), "relu" in layer.gates))
        self._put = put

    def __call__(self, x0: Array, inputs: Array) -> Single:
        """(nx,), (S, T, nu) -> (S, T + 1, nx), x0 first."""
        if self._torch is not None:
            with self._torch.inference_mode():
                return np.asarray(self._torch.stack(self._rolled(x0, inputs, self._torch), 1).cpu().numpy())
        return np.stack(self._rolled(x0, inputs, np), 1)

    def _rolled(self, x0: Array, inputs: Array, xp: Any) -> list[Any]:
        start = np.broadcast_to(np.asarray(x0, np.float32), (len(inputs), len(x0)))
        states, u = [self._put(start)], self._put(inputs.astype(np.float32))
        for t in range(inputs.shape[1]):
            states.append(states[-1] + self._change(xp.concatenate([states[-1], u[:, t]], 1)))
        return states

    def _change(self, read: Any) -> Any:
        outputs = [read]
        for weights, bias, relu in self._layers:
            (first, matrix), *others = weights
            z = outputs[first] @ matrix
            for j, other in others:
                z += outputs[j] @ other
            z += bias
            outputs.append(self._relu(z) if relu else z)
        return outputs[-1]

    def _on(self, device: str) -> Callable[[Single], Any]:
        try:
            import torch
        except ImportError:
            raise MissingDependency("torch", "learn") from None
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise InvalidInput(f"sampling: no device '{device}': {str(error).splitlines()[0]}") from None
        self._torch, self._relu = torch, torch.relu_
        return lambda values: torch.tensor(values, device=device)
