"""Networks over the joints with their analytic derivatives, and what follows from a factor of the mass matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from control_stack.learning.lagrangian.matrices import Matrices
from control_stack.types import Array


def perceptron(m: Matrices, weights: Mapping[str, Any], name: str, q: Any, z: Any) -> tuple[Any, Any]:
    """y and dy/dq of y = W_n tanh(.. tanh(W_1 (cos q, sin q, z) + b_1) ..) + b_n.

    Args:
        m: Kind of matrices. weights: With "<name>.<layer>.weight" and ".bias", columns. q, z: Columns, of n and nz.
    """
    layers = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in weights)
    n = m.length(q)
    cosine, sine = m.apply("cos", q), m.apply("sin", q)
    h, slope = m.stacked([cosine, sine, z]), None
    for k in range(layers):
        weight, bias = m.constant(weights[f"{name}.{k}.weight"]), m.constant(weights[f"{name}.{k}.bias"])
        if slope is None:
            slope = m.columns(weight[:, n : 2 * n], cosine) - m.columns(weight[:, :n], sine)
        else:
            slope = weight @ slope
        h = weight @ h + bias
        if k + 1 < layers:
            h = m.apply("tanh", h)
            slope = m.rows(1.0 - h * h, slope)
    return h, slope


def network(m: Matrices, weights: Mapping[str, Any], name: str, x: Any) -> Any:
    """y = W_n tanh(.. tanh(W_1 x + b_1) ..) + b_n of a column x."""
    layers = sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in weights)
    for k in range(layers):
        x = m.constant(weights[f"{name}.{k}.weight"]) @ x + m.constant(weights[f"{name}.{k}.bias"])
        if k + 1 < layers:
            x = m.apply("tanh", x)
    return x


def triangle(n: int) -> Array:
    """(n * n, n (n + 1) / 2) that puts entries, diagonal first, then rows below it, into a matrix by rows."""
    below = np.tril_indices(n, -1)
    places = [i * n + i for i in range(n)] + [int(i) * n + int(k) for i, k in zip(*below, strict=True)]
    matrix = np.zeros((n * n, len(places)))
    matrix[places, range(len(places))] = 1.0
    return matrix


def positive_factor(m: Matrices, y: Any, slope: Any, n: int, floor: float) -> tuple[Any, Any]:
    """L (n, n) and dL/dq (n * n, n), by rows, of entries y: softplus(y_i) + floor on the diagonal."""
    diagonal, count = m.part(y, 0, n), m.length(y)
    entries = m.stacked([m.apply("softplus", diagonal) + floor, m.part(y, n, count)])
    slopes = m.stacked([m.rows(m.apply("sigmoid", diagonal), m.part(slope, 0, n)), m.part(slope, n, count)])
    place = m.constant(triangle(n))
    return m.matrix(place @ entries, n, n), place @ slopes


def kinetic_torque(m: Matrices, factor: Any, slope: Any, qd: Any, qdd: Any) -> Any:
    """H q'' + c of T = 1/2 |L(q)^T q'|^2, H = L L^T.

    With y = L^T q':  H q'' + c = L (L^T q'') + L' y + L (L'^T q') - dT/dq,   dT/dq_i = y^T (dL/dq_i)^T q'

    Args:
        factor: L (n, n). slope: dL/dq (n * n, n), L by rows. qd, qdd: Columns.
    """
    n = factor.shape[-1]
    turned = m.transposed(factor)
    y, rate = turned @ qd, m.matrix(slope @ qd, n, n)
    gradient = m.transposed(slope) @ m.flat(qd @ m.transposed(y))
    return factor @ (turned @ qdd) + rate @ y + factor @ (m.transposed(rate) @ qd) - gradient
