"""Which loads and frictions there are, by empirical Bayes: where the training of the structure ``flange`` begins.

In a window of one load, r = Y theta + noise is linear in the code theta (the flange's energies, friction by joint).
With theta ~ N(0, C) over windows, C and the noise are found by expectation maximisation (Dempster et al. 1977), and

    theta = W z,  z ~ N(0, 1),      W W^T the part of C that moves torques most
"""

from __future__ import annotations

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian.flange import CODE_SIZE
from control_stack.learning.lagrangian.samples import Samples
from control_stack.types import Array

_WINDOW = 40  # periods
_ROUNDS = 25
_MOST = 600  # windows: more tell nothing new
_LEAST_NOISE = 1e-3  # N m


def load_dictionary(samples: Samples, contexts: int) -> dict[str, Array]:
    """Weights of the structure ``flange``: flange.weight, friction.weight and friction.bias."""
    n = samples.arm.joints
    squares, products, energies, counts = _windows(samples)
    deviation = np.sqrt(energies.sum(0) / counts.sum())  # (n,) N m, of r
    scale = 1.0 / np.sqrt(
        np.maximum((squares / deviation[:, None, None] ** 2).sum((0, 1)).diagonal() / counts.sum(), 1e-12)
    )
    spread = np.diag(np.minimum(scale, 10.0) ** 2)
    noise = 0.3 * deviation
    for _ in range(_ROUNDS):
        information = np.tensordot(squares, noise**-2.0, axes=(1, 0))
        right = np.tensordot(products, noise**-2.0, axes=(1, 0))
        covariance = np.linalg.inv(information + np.linalg.inv(spread + 1e-12 * np.eye(len(spread))))
        mean = (covariance @ right[..., None])[..., 0]
        second = covariance + mean[:, :, None] * mean[:, None, :]
        spread = second.mean(0)
        explained = (squares.reshape(*squares.shape[:2], -1) @ second.reshape(len(second), -1, 1))[..., 0]
        left = energies - 2.0 * (products @ mean[..., None])[..., 0] + explained
        noise = np.maximum(np.sqrt(np.maximum(left.sum(0), 0.0) / counts.sum()), _LEAST_NOISE)
    values, vectors = np.linalg.eigh(spread)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    moved = root.T @ np.tensordot(squares.sum(0), deviation**-2.0, axes=(0, 0)) @ root
    weight = root @ np.linalg.eigh(moved)[1][:, ::-1][:, :contexts]
    weight = np.pad(weight, ((0, 0), (0, contexts - weight.shape[1])))
    return {
        "flange.weight": np.ascontiguousarray(weight[:CODE_SIZE]),
        "friction.weight": np.ascontiguousarray(weight[CODE_SIZE:]),
        "friction.bias": np.zeros((2 * n, 1)),
    }


def _windows(samples: Samples) -> tuple[Array, Array, Array, Array]:
    """Per window w and joint j: sums of Y^T Y (w, j, D, D), Y^T r (w, j, D), r^2 (w, j), and counts (w)."""
    n = samples.arm.joints
    view, size = samples.truth if samples.exact else samples.seen[0], CODE_SIZE + 2 * n
    squares, products, energies, counts = [], [], [], []
    each = max(1, _MOST // len(view.torque))  # windows of an episode
    for e in range(len(view.torque)):
        taken = 0
        for start in range(0, view.torque.shape[1] - _WINDOW + 1, _WINDOW):
            span = slice(start, start + _WINDOW)
            keep = samples.valid[e, span] & (samples.stretch[e, span] == samples.stretch[e, start])
            if keep.sum() < _WINDOW or taken == each:
                continue
            taken += 1
            given = view.regressor[e, span].astype(float)
            y = np.zeros((_WINDOW, n, size))
            y[..., :CODE_SIZE] = given[..., :CODE_SIZE]
            for j in range(n):
                y[:, j, CODE_SIZE + j], y[:, j, CODE_SIZE + n + j] = given[:, j, -2], given[:, j, -1]
            r = view.torque[e, span].astype(float)
            by_joint = y.transpose(1, 0, 2)
            squares.append(by_joint.transpose(0, 2, 1) @ by_joint)
            products.append((by_joint.transpose(0, 2, 1) @ r.T[..., None])[..., 0])
            energies.append((r * r).sum(0))
            counts.append(_WINDOW)
    if not squares:
        raise InvalidInput(
            f"no {_WINDOW} samples in a row to learn from: too short, or at the joints' stops throughout"
        )
    return np.array(squares), np.array(products), np.array(energies), np.array(counts, dtype=float)
