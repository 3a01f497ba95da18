"""The policy in NumPy: batched for studies, and one vehicle at a time in a few microseconds for nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from control_stack.foundation.observation import OBSERVATION_SIZE
from control_stack.foundation.weights import PolicyWeights, Tensor, load


class GRUPolicy:
    """A recurrent policy with its weights; the hidden state is the caller's.

    Attributes:
        weights: Tensors and card.
        hidden_size: Width of the hidden state.
    """

    def __init__(self, weights: PolicyWeights):
        self.weights, self.hidden_size = weights, weights.hidden_size

    @classmethod
    def load(cls, path: str | Path | None = None) -> GRUPolicy:
        """From a file, or the shipped weights. Raises InvalidInput with the reason (see ``weights.load``)."""
        return cls(load(path))

    def initial_hidden(self, *batch: int) -> Tensor:
        """(*batch, hidden) state to start from."""
        return np.broadcast_to(self.weights["gru.initial_hidden"], (*batch, self.hidden_size)).copy()

    def step(self, observation: Any, hidden: Any) -> tuple[Tensor, Tensor]:
        """(..., 22), (..., hidden) -> action (..., 4), next hidden (..., hidden); see ``PolicyWeights``."""
        w, n = self.weights, self.hidden_size
        h = np.asarray(hidden, np.float32)
        a = np.maximum(np.asarray(observation, np.float32) @ w["input.weight"].T + w["input.bias"], 0.0)
        from_input = a @ w["gru.weight_ih"].T + w["gru.bias_ih"]
        from_hidden = h @ w["gru.weight_hh"].T + w["gru.bias_hh"]
        # sigmoid(x) = (1 + tanh(x / 2)) / 2 does not overflow
        gates = 0.5 + 0.5 * np.tanh(0.5 * (from_input[..., : 2 * n] + from_hidden[..., : 2 * n]))
        reset, keep = gates[..., :n], gates[..., n:]
        candidate = np.tanh(from_input[..., 2 * n :] + reset * from_hidden[..., 2 * n :])
        h = candidate + keep * (h - candidate)
        return h @ w["output.weight"].T + w["output.bias"], h

    def stepper(self) -> Stepper:
        """The fast path for one vehicle, with a hidden state of its own."""
        return Stepper(self.weights)


class Stepper:
    """One vehicle's network with its hidden state, on preallocated buffers.

    Three matrix-vector products a step, biases folded in as a last column against a constant 1. The middle
    one takes [a, h, 1] to all gates at once:

        rows 0..2H    s = half the arguments of the gates r, z, so that sigmoid = (1 + tanh s) / 2
        rows 2H..3H   c = W_in a + b_in + d
        rows 3H..4H   d = (W_hn h + b_hn) / 2,  so that  n = tanh(c + d tanh(s_r))
    """

    def __init__(self, weights: PolicyWeights):
        w, n = weights, weights.hidden_size
        self._initial = w["gru.initial_hidden"].copy()
        joint = np.zeros((4 * n, 2 * n + 1), np.float32)
        ih, hh, bi, bh = (w[f"gru.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        joint[: 2 * n] = 0.5 * np.column_stack([ih[: 2 * n], hh[: 2 * n], (bi + bh)[: 2 * n]])
        joint[3 * n :, n:] = 0.5 * np.column_stack([hh[2 * n :], bh[2 * n :]])
        joint[2 * n : 3 * n, :n], joint[2 * n : 3 * n, -1] = ih[2 * n :], bi[2 * n :]
        joint[2 * n : 3 * n] += joint[3 * n :]
        self._observation = np.ones(OBSERVATION_SIZE + 1, np.float32)
        self._given = self._observation[:-1]
        self._joint = np.zeros(2 * n + 1, np.float32)
        self._joint[-1] = 1.0
        self._a, self._h, self._h1 = self._joint[:n], self._joint[n : 2 * n], self._joint[n:]
        self._gates, self._scratch = np.zeros(4 * n, np.float32), np.zeros(n, np.float32)
        self._rz, self._r, self._z = self._gates[: 2 * n], self._gates[:n], self._gates[n : 2 * n]
        self._c, self._d = self._gates[2 * n : 3 * n], self._gates[3 * n :]
        # Bound methods and constants are kept: looking them up would cost as much as half a product.
        self._to_a = np.column_stack([w["input.weight"], w["input.bias"]]).dot
        self._to_gates = joint.dot
        self._to_action = np.column_stack([w["output.weight"], w["output.bias"]]).dot
        self._zero, self._half = np.zeros(n, np.float32), np.float32(0.5)
        self._kept = np.zeros(n, np.float32)
        self.reset()

    @property
    def hidden(self) -> Tensor:
        """(hidden,) copy of the state."""
        return self._h.copy()

    def reset(self) -> None:
        """Back to the initial hidden state."""
        self._h[:] = self._initial

    def step(self, observation: Any) -> Tensor:
        """(22,) -> raw action (4,); the hidden state moves on by one step."""
        a, h, z, c, d, scratch = self._a, self._h, self._z, self._c, self._d, self._scratch
        self._given[:] = observation
        self._to_a(self._observation, a)
        np.maximum(a, self._zero, out=a)
        self._to_gates(self._joint, self._gates)
        np.tanh(self._rz, self._rz)
        np.multiply(self._r, d, d)
        np.add(c, d, c)
        np.tanh(c, c)
        # h' = n + (1 + tanh s_z) / 2 (h - n)
        np.subtract(h, c, scratch)
        np.multiply(z, scratch, z)
        np.add(scratch, z, scratch)
        np.multiply(scratch, self._half, scratch)
        np.add(c, scratch, h)
        return self._to_action(self._h1)

    def peek(self, observation: Any) -> Tensor:
        """As ``step``, but the hidden state stays."""
        self._kept[:] = self._h
        action = self.step(observation)
        self._h[:] = self._kept
        return action
