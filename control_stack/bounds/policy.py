"""The recurrent policy of ``control_stack.foundation`` as a network whose bounds are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from control_stack.bounds.network import Affine, Concat, Input, Network, Node, Product, Relu, Sigmoid, Slice, Sum, Tanh


def gru(a: Node, h: Node, weight_ih: ArrayLike, weight_hh: ArrayLike, bias_ih: ArrayLike, bias_hh: ArrayLike) -> Node:
    """One step of a gated recurrent unit, in torch.nn.GRUCell's convention; rows in the order r, z, n.

        r, z = sigmoid(W_ih a + b_ih + W_hh h + b_hh),   n = tanh(W_in a + b_in + r (W_hn h + b_hn))
        h' = n + z (h - n)

    Args:
        a: Input of the cell.
        h: Hidden state (H,), in [-1, 1] once it was there.
        weight_ih, weight_hh, bias_ih, bias_hh: (3 H, a), (3 H, H), (3 H,), (3 H,).

    Returns:
        h' (H,).
    """
    n = h.size
    from_input, from_hidden = Affine(a, weight_ih, bias_ih), Affine(h, weight_hh, bias_hh)
    gates = Sigmoid(Sum(Slice(from_input, 0, 2 * n), Slice(from_hidden, 0, 2 * n)))
    recurrent = Product(Slice(gates, 0, n), Slice(from_hidden, 2 * n, 3 * n))
    candidate = Tanh(Sum(Slice(from_input, 2 * n, 3 * n), recurrent))
    difference = Affine(Concat(h, candidate), np.hstack([np.eye(n), -np.eye(n)]))
    return Sum(candidate, Product(Slice(gates, n, 2 * n), difference))


def gru_policy(tensors: Mapping[str, ArrayLike]) -> Network:
    """[observation, h] -> [action, h'] of the policy with these tensors (``foundation.weights``), unclamped.

    Bounds hold for the function in exact arithmetic; the runtimes compute it in float32.
    """
    observations, n = np.shape(tensors["input.weight"])[1], np.shape(tensors["gru.initial_hidden"])[0]
    x = Input(observations + n)
    a = Relu(Affine(Slice(x, 0, observations), tensors["input.weight"], tensors["input.bias"]))
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    h = gru(a, Slice(x, observations, observations + n), *(tensors[f"gru.{name}"] for name in names))
    return Network(Concat(Affine(h, tensors["output.weight"], tensors["output.bias"]), h))
