"""Recurrent cells that turn what an arm did into the context: one code for NumPy at run time and torch in training.

What is seen of a step is the torque r that the nominal arm does not explain and, for the structure ``flange``, the
matrix A = dtau/dz that says what a context would add (``features``). Columns and matrices as in ``matrices``.

``filter``  A Kalman filter of z with a GRU that watches it. By the innovations e = r - A z, their expected size and the
            joints' speeds the GRU says at every step how much of the past to forget, for each entry of z, and how far
            to trust each joint. The prior is z ~ N(0, 1): what loads are like is in the model's weights.
``gru``     A GRU over (q, q', r) whose output is z: as in Schulze, Peters and Arenz 2025, for any structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from control_stack.learning.lagrangian.matrices import ArrayMatrices
from control_stack.types import Array

KINDS = ("filter", "gru")
HIDDEN = {"filter": 24, "gru": 64}
_TRUST = 3.0  # largest |log| of a factor on a joint's noise


class CellState(NamedTuple):
    """Context z (nz, 1), its covariance P (nz, nz) and the GRU's state h (H, 1)."""

    z: Any
    covariance: Any
    h: Any


class Seen(NamedTuple):
    """Of one step, as columns: q, q', the unexplained torque r, and A (n, nz), None where the cell needs none."""

    q: Any
    qd: Any
    torque: Any
    matrix: Any = None


def initial_state(m: ArrayMatrices, weights: Mapping[str, Any], contexts: int) -> CellState:
    """Nothing seen yet: z = 0, as uncertain as the loads of the training are different."""
    hidden = weights["hidden.weight"].shape[-1]
    return CellState(
        m.constant(np.zeros((contexts, 1))), m.constant(np.eye(contexts)), m.constant(np.zeros((hidden, 1)))
    )


def step(m: ArrayMatrices, weights: Mapping[str, Any], state: CellState, seen: Seen) -> CellState:
    """The state after one more step was seen."""
    kind = filter_step if "noise" in weights else gru_step
    return kind(m, {name: m.constant(value) for name, value in weights.items()}, state, seen)


def filter_step(m: ArrayMatrices, w: Mapping[str, Any], state: CellState, seen: Seen) -> CellState:
    """Forgets, then corrects: P <- D P D + 1 - D^2, z <- (1 - s) z; then Kalman's update with noise R.

    D^2 = 1 - forgotten share, s and R come from the GRU.
    """
    z, p, _ = state
    contexts, joints = z.shape[-2], seen.torque.shape[-2]
    noise = m.xp.exp(w["noise"])
    surprise = (seen.torque - seen.matrix @ z) / noise
    expected = ((seen.matrix @ p) * seen.matrix) @ m.constant(np.ones((contexts, 1)))
    x = m.stacked([_squashed(m, surprise), _squashed(m, m.xp.sqrt(expected) / noise), seen.qd / w["speed"]])
    h = _gru(m, w, x, state.h)
    out = w["head.weight"] @ h + w["head.bias"]
    forgotten = m.apply("sigmoid", m.part(out, 0, contexts))
    shrunk = m.apply("sigmoid", m.part(out, contexts, 2 * contexts))
    trust = m.part(out, 2 * contexts, 2 * contexts + joints)
    kept = m.xp.sqrt(1.0 - forgotten)
    one = m.constant(np.eye(contexts))
    p = kept * p * m.transposed(kept) + forgotten * one
    z = (1.0 - shrunk) * z
    r = (noise * m.xp.exp(_TRUST * m.xp.tanh(trust / _TRUST))) ** 2
    turned = p @ m.transposed(seen.matrix)
    s = seen.matrix @ turned + r * m.constant(np.eye(joints))
    gain = m.transposed(m.xp.linalg.solve(s, m.transposed(turned)))
    z = z + gain @ (seen.torque - seen.matrix @ z)
    p = p - gain @ m.transposed(turned)
    return CellState(z, 0.5 * (p + m.transposed(p)), h)


def gru_step(m: ArrayMatrices, w: Mapping[str, Any], state: CellState, seen: Seen) -> CellState:
    """z = W h + b; the covariance is diagonal, exp(W' h + b')."""
    contexts = state.z.shape[-2]
    x = m.stacked([seen.q, seen.qd / w["speed"], _squashed(m, seen.torque / w["scale"])])
    h = _gru(m, w, x, state.h)
    out = w["head.weight"] @ h + w["head.bias"]
    spread = m.xp.exp(m.part(out, contexts, 2 * contexts))
    return CellState(m.part(out, 0, contexts), spread * m.constant(np.eye(contexts)), h)


def initial_cell(kind: str, joints: int, contexts: int, seed: int, speed: Array, torque: Array) -> dict[str, Array]:
    """Weights to train from.

    Args:
        kind: One of ``KINDS``. joints, contexts: n and nz. seed: Of the random ones.
        speed, torque: (n,) rad/s and N m that count as large; a hundredth of the torque as noise.
    """
    rng = np.random.default_rng(seed)
    hidden, inputs = HIDDEN[kind], 3 * joints
    outputs = 2 * contexts + (joints if kind == "filter" else 0)
    scale = 1.0 / np.sqrt(hidden)
    weights = {
        "input.weight": rng.uniform(-scale, scale, (3 * hidden, inputs)),
        "input.bias": np.zeros((3 * hidden, 1)),
        "hidden.weight": rng.uniform(-scale, scale, (3 * hidden, hidden)),
        "hidden.bias": np.zeros((3 * hidden, 1)),
        "head.weight": 0.1 * rng.uniform(-scale, scale, (outputs, hidden)),
        "head.bias": np.zeros((outputs, 1)),
        "speed": speed[:, None].copy(),
    }
    if kind == "gru":
        return weights | {"scale": 0.3 * torque[:, None]}
    weights["head.bias"][:contexts] = -5.0  # sigmoid: a seventh of a percent of P, and of z, are forgotten per step
    weights["head.bias"][contexts : 2 * contexts] = -7.0
    return weights | {"noise": np.log(np.maximum(0.05 * torque, 0.01))[:, None]}


def _squashed(m: ArrayMatrices, x: Any) -> Any:
    """asinh(x): sizes of all magnitudes can be told apart."""
    return m.xp.arcsinh(x)


def _gru(m: ArrayMatrices, w: Mapping[str, Any], x: Any, h: Any) -> Any:
    """h+ of a gated recurrent unit, gates in the order reset, update, candidate (Cho et al. 2014)."""
    size = h.shape[-2]
    a = w["input.weight"] @ x + w["input.bias"]
    b = w["hidden.weight"] @ h + w["hidden.bias"]
    reset = m.apply("sigmoid", m.part(a, 0, size) + m.part(b, 0, size))
    update = m.apply("sigmoid", m.part(a, size, 2 * size) + m.part(b, size, 2 * size))
    candidate = m.xp.tanh(m.part(a, 2 * size, 3 * size) + reset * m.part(b, 2 * size, 3 * size))
    return (1.0 - update) * candidate + update * h
