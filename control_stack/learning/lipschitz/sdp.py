"""The least gamma that diagonal multipliers can prove, by an interior-point method of our own.

    minimise rho  subject to  M(rho, T) > 0,    M linear in rho = gamma^2 and T (``certificate``)

Newton's method on  t rho - log det M - sum log(U - T)  with t rising (Boyd, Vandenberghe, *Convex Optimization*, 11.3).
A neuron's multiplier enters M by F = e a' + a e' alone, e its unit vector and a = e - (its row of W, placed where the
layer before is), so that with S = M^-1 gradient and Hessian are products of a few dense matrices:

    tr(S F_i) = 2 e_i'S a_i,    tr(S F_i S F_j) = 2 [(e_i'S e_j)(a_i'S a_j) + (e_i'S a_j)(a_i'S e_j)]

What comes out is proved by ``certificate.check`` and needs no trust.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from control_stack.learning.lipschitz.certificate import by_norms, margin
from control_stack.types import Array

# Start above the given gamma^2, rise of t, Newton steps for each t, the gap in gamma^2 to end at, largest multiplier.
_ABOVE, _RISE, _STEPS, _GAP, _LARGEST = 2.0, 8.0, 30, 1e-5, 1e6


def tightened(
    weights: Sequence[Array], start: tuple[float, tuple[Array, ...]] | None = None
) -> tuple[float, tuple[Array, ...]]:
    """gamma and multipliers, never worse than those given.

    Args:
        weights: W_1 .. W_{L+1} of the scaled network.
        start: A proof to begin at; by default the product of norms.
    """
    begin = by_norms(weights) if start is None else start
    if not all(w.any() for w in weights):
        return begin  # a constant: no proof could be shorter
    # In x' = gamma x and v' = sqrt(T) v the given proof is rho = 1, T = 1.
    roots = [np.full(weights[0].shape[1], begin[0]), *(np.sqrt(t) for t in begin[1])]
    hidden = [roots[k + 1][:, None] * w / roots[k] for k, w in enumerate(weights[:-1])]
    rho, flat = _descend(hidden, weights[-1] / roots[-1])
    parts = np.split(flat, np.cumsum([len(t) for t in begin[1]])[:-1])
    found = tuple(part * t for part, t in zip(parts, begin[1], strict=True))
    gamma = begin[0] * rho**0.5
    if gamma < begin[0] and margin(weights, gamma**2, found) > 0.0:
        return float(gamma), found
    return begin


def _descend(hidden: Sequence[Array], out: Array) -> tuple[float, Array]:
    """rho and T of the scaled problem."""
    n0 = hidden[0].shape[1]
    sizes = [len(w) for w in hidden]
    edges = np.concatenate([[0, n0], n0 + np.cumsum(sizes)])
    n, neurons = int(edges[-1]), int(edges[-1]) - n0
    a = np.zeros((neurons, n))
    a[np.arange(neurons), n0 + np.arange(neurons)] = 1.0
    for k, w in enumerate(hidden):
        a[edges[k + 1] - n0 : edges[k + 2] - n0, edges[k] : edges[k + 1]] = -w
    fixed = np.zeros((n, n))
    fixed[edges[-2] :, edges[-2] :] = out.T @ out

    def factor(point: Array) -> Array | None:
        """Lower Cholesky factor of M, None outside of its domain."""
        if point[0] <= 0.0 or not (point[1:] < _LARGEST).all():
            return None
        matrix = -fixed
        matrix[n0:] += point[1:, None] * a
        matrix[:, n0:] += (point[1:, None] * a).T
        matrix[:n0, :n0] += point[0] * np.eye(n0)
        try:
            return np.asarray(np.linalg.cholesky(matrix))
        except np.linalg.LinAlgError:
            return None

    def value(point: Array, t: float) -> float:
        lower = factor(point)
        if lower is None:
            return np.inf
        return t * point[0] - 2.0 * np.log(np.diag(lower)).sum() - np.log(_LARGEST - point[1:]).sum()

    point, t = np.concatenate([[_ABOVE], np.ones(neurons)]), 1.0
    while True:
        for _ in range(_STEPS):
            lower = factor(point)
            if lower is None:
                return float(point[0]), point[1:]
            s = cho_solve((lower, True), np.eye(n))
            sa = s @ a.T  # columns S a_i
            ee, ea, aa = s[n0:, n0:], sa[n0:], a @ sa
            room = 1.0 / (_LARGEST - point[1:])
            gradient = np.concatenate([[t - np.trace(s[:n0, :n0])], room - 2.0 * np.diag(ea)])
            hessian = np.empty((neurons + 1, neurons + 1))
            hessian[0, 0] = np.sum(s[:n0, :n0] ** 2)
            hessian[0, 1:] = hessian[1:, 0] = 2.0 * np.einsum("ki,ki->i", s[:n0, n0:], sa[:n0])
            hessian[1:, 1:] = 2.0 * (ee * aa + ea * ea.T) + np.diag(room**2)
            try:
                step = -cho_solve(cho_factor(hessian + 1e-14 * np.diag(np.diag(hessian))), gradient)
            except np.linalg.LinAlgError:
                return float(point[0]), point[1:]
            decrement = -float(gradient @ step)
            if decrement < 1e-4:
                break
            size, now = 1.0, value(point, t)
            while size > 1e-6 and not value(point + size * step, t) <= now - 0.1 * size * decrement:
                size *= 0.5
            if size <= 1e-6:
                break
            point = point + size * step
        if n / t < _GAP * point[0] or point[0] < _GAP:
            return float(point[0]), point[1:]
        t *= _RISE
