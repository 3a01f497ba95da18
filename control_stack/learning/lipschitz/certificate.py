"""The proof that a network is Lipschitz: a matrix inequality with diagonal multipliers, checked by whoever reads it.

For v_k = s(W_k v_{k-1} + b_k), k = 1..L, y = W_{L+1} v_L + b with an activation of slope in [0, 1] (ReLU, tanh), two
arguments that differ by d_0 give differences d_k of v_k with  d_k' T_k (W_k d_{k-1} - d_k) >= 0  for every diagonal
T_k >= 0. Hence |W_{L+1} d_L| <= gamma |d_0| if

    M(gamma^2, T) = [ gamma^2 I   -W_1' T_1                       ]
                    [ -T_1 W_1     2 T_1    -W_2' T_2             ]   is positive definite
                    [              -T_2 W_2    ...                ]
                    [                        2 T_L - W_{L+1}' W_{L+1} ]

(Fazlyab et al., *Efficient and accurate estimation of Lipschitz constants for deep neural networks*, NeurIPS 2019;
multipliers that couple neurons, as proposed there, are unsound: Pauli et al., IEEE L-CSS 2022. T_k here are diagonal.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from control_stack.bounds.rounding import EPS, gamma
from control_stack.errors import InvalidInput
from control_stack.types import Array

# Constructed proofs are widened by this part a layer: M is then positive definite by far more than its rounding.
WIDEN = 1e-6


@dataclass(frozen=True, eq=False)
class Certificate:
    """|g(a) - g(b)| <= gamma |a - b| for all a, b, in Euclidean norms of scaled channels.

        sqrt(sum_i ((g_i(a) - g_i(b)) / output_scale_i)^2) <= gamma sqrt(sum_j ((a_j - b_j) / input_scale_j)^2)

    Attributes:
        gamma: Constant in this norm; it has no unit.
        input_scale: (n,) units of the inputs: the length that counts as 1.
        output_scale: (m,) likewise, units of the outputs.
        multipliers: T_1 .. T_L, (n_k,) each, above 0: the proof.
    """

    gamma: float
    input_scale: Array
    output_scale: Array
    multipliers: tuple[Array, ...]

    def slopes(self) -> Array:
        """(m, n) bound on |dg_i / da_j|, in units of output i over those of input j."""
        return self.gamma * self.output_scale[:, None] / self.input_scale

    def change(self, difference: Array) -> Array:
        """(..., m) bound on |g_i(a) - g_i(b)|, in the outputs' units, for |a - b| componentwise at most (..., n)."""
        length = np.linalg.norm(np.asarray(difference, dtype=float) / self.input_scale, axis=-1)
        return self.gamma * length[..., None] * self.output_scale

    def constant(self, inputs: Array, outputs: Array) -> float:
        """A constant in other norms: |outputs (g(a) - g(b))|_2 <= c |inputs (a - b)|_2.

        Args:
            inputs: (r, n) of full column rank, acting on SI inputs. outputs: (s, m), acting on SI outputs.

        Raises:
            InvalidInput: Shapes do not fit, or ``inputs`` loses a direction.
        """
        inputs, outputs = np.asarray(inputs, dtype=float), np.asarray(outputs, dtype=float)
        if inputs.ndim != 2 or outputs.ndim != 2:
            raise InvalidInput("norms are given by matrices")
        if inputs.shape[1] != len(self.input_scale) or outputs.shape[1] != len(self.output_scale):
            raise InvalidInput(f"norms by {inputs.shape} and {outputs.shape} do not fit {self.slopes().shape}")
        least = np.linalg.svd(inputs * self.input_scale, compute_uv=False)
        if len(least) < inputs.shape[1] or least[-1] < 1e-12 * least[0]:
            raise InvalidInput("the norm of the inputs loses a direction: give it full column rank")
        return self.gamma * float(np.linalg.norm(outputs * self.output_scale, 2) / least[-1]) * (1.0 + 1e-12)


def inequality(weights: Sequence[Array], square: float, multipliers: Sequence[Array]) -> Array:
    """M(gamma^2, T) with rows and columns scaled by 1 / gamma and T^(-1/2): its diagonal is then I and 2 I - ...

    Args:
        weights: W_1 .. W_{L+1}. square: gamma^2. multipliers: T_1 .. T_L.
    """
    sizes = [w.shape[1] for w in weights]
    edges = np.concatenate([[0], np.cumsum(sizes)])
    roots = [np.full(sizes[0], square**0.5), *(np.sqrt(t) for t in multipliers)]
    matrix = np.zeros((edges[-1], edges[-1]))
    matrix[: sizes[0], : sizes[0]] = np.eye(sizes[0])
    for k in range(1, len(weights)):
        here, before = slice(edges[k], edges[k + 1]), slice(edges[k - 1], edges[k])
        off = roots[k][:, None] * weights[k - 1] / roots[k - 1]
        matrix[here, here] = 2.0 * np.eye(sizes[k])
        matrix[here, before], matrix[before, here] = -off, -off.T
    last = slice(edges[-2], edges[-1])
    out = weights[-1] / roots[-1]
    matrix[last, last] -= out.T @ out
    return matrix


def margin(weights: Sequence[Array], square: float, multipliers: Sequence[Array]) -> float:
    """Least eigenvalue of the scaled inequality less a bound on all rounding; above 0 it proves gamma.

    LAPACK's symmetric eigenvalues are off by a modest multiple of n EPS |M|; ten times that is allowed for, and the
    rounding of M's entries is bounded a priori (Higham, as in ``bounds.rounding``).
    """
    matrix = inequality(weights, square, multipliers)
    if not np.isfinite(matrix).all():
        return -np.inf
    size = float(np.linalg.norm(matrix))
    entries = gamma(max(len(w) for w in weights) + 8) * (
        size + np.linalg.norm(weights[-1] / np.sqrt(multipliers[-1])) ** 2
    )
    return float(np.linalg.eigvalsh(matrix)[0]) - 10.0 * len(matrix) * EPS * size - 2.0 * float(entries)


def check(weights: Sequence[Array], constant: float, multipliers: Sequence[Array], what: str) -> None:
    """Raises InvalidInput unless the multipliers prove the constant for a network with these weights."""
    shapes = [(w.shape[0],) for w in weights[:-1]]
    if [t.shape for t in multipliers] != shapes:
        raise InvalidInput(f"{what}: multipliers of shapes {[t.shape for t in multipliers]}, expected {shapes}")
    if not (np.isfinite(constant) and constant > 0.0) or any(not (t > 0.0).all() for t in multipliers):
        raise InvalidInput(f"{what}: gamma and multipliers must be finite and above 0")
    found = margin(weights, constant**2, multipliers)
    if not found > 0.0:
        raise InvalidInput(f"{what}: gamma {constant:.6g} is not proved: least eigenvalue {found:.3g} with rounding")


def by_norms(weights: Sequence[Array]) -> tuple[float, tuple[Array, ...]]:
    """gamma and multipliers of the product of spectral norms: T_k = (product of later norms squared) I."""
    norms = [max(float(np.linalg.norm(w, 2)), 1e-12) for w in weights]
    after, multipliers = norms[-1] ** 2 * (1.0 + WIDEN) ** 2, list[Array]()
    for k in range(len(weights) - 2, -1, -1):
        multipliers.insert(0, np.full(len(weights[k]), after))
        after *= norms[k] ** 2 * (1.0 + WIDEN) ** 2
    return after**0.5, tuple(multipliers)


def by_sandwich(psi: Sequence[Array], last: float) -> tuple[float, tuple[Array, ...]]:
    """gamma and multipliers of sandwich layers, T_k = c_k Psi_k^2 (Wang, Manchester 2023, theorem 3.2, in our form).

    Args:
        psi: Diagonals Psi_k of the layers. last: Square of the factor on the output layer, gamma^2 of the network.
    """
    after, multipliers = last * (1.0 + WIDEN) ** 2, list[Array]()
    for diagonal in reversed(psi):
        multipliers.insert(0, after * diagonal**2)
        after *= (1.0 + WIDEN) ** 2
    return after**0.5, tuple(multipliers)
