"""What one control period of an arm tells: the torque that the nominal arm does not explain, and what would explain it.

Between two states dt apart, under a torque u that was held,

    q = (q_0 + q_1) / 2,  q' = (q_1 - q_0) / dt,  q'' = (q'_1 - q'_0) / dt,      r = u - ID_nom(q, q', q'')

are the means over the period up to terms of order dt^2, friction included. Noise of the velocities enters q'' and
cancels in sums over time: r and what is to explain it go through the same low-pass, y <- a y + (1 - a) x.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from control_stack.arm.dynamics import ArmDynamics
from control_stack.learning.lagrangian import flange
from control_stack.learning.lagrangian.structures import Structure
from control_stack.types import Array

MEMORY = 0.7  # a, per step


class Periods(NamedTuple):
    """(..., n) each: means of q, q', q'' over periods, and u."""

    q: Array
    qd: Array
    qdd: Array
    torque: Array


def periods(states: Array, inputs: Array, dt: float | Array) -> Periods:
    """Of states (..., T + 1, 2n) and inputs (..., T, n): fields (..., T, n)."""
    n = inputs.shape[-1]
    q, qd = states[..., :n], states[..., n:]
    return Periods(0.5 * (q[..., 1:, :] + q[..., :-1, :]), np.diff(q, axis=-2) / dt, np.diff(qd, axis=-2) / dt, inputs)


def unexplained(structure: Structure, seen: Periods) -> Array:
    """r (..., n), N m."""
    return seen.torque - ArmDynamics(structure.arm, 1.0).inverse(seen.q, seen.qd, seen.qdd)


def regressors(structure: Structure, seen: Periods) -> Array:
    """(..., n, CODE_SIZE + 2) torque of each code of the flange, then of each joint's amplitude and viscosity."""
    shapes = np.stack(structure.friction.shapes(tuple(np.moveaxis(seen.qd, -1, 0))), axis=-1)
    rigid = flange.regressor(structure.arm.chain, seen.q, seen.qd, seen.qdd)
    return np.concatenate([rigid, shapes[..., None], seen.qd[..., None]], axis=-1)


def context_matrix(regressor: Array, weights: Mapping[str, Array]) -> Array:
    """A (..., n, nz) = dtau/dz at z = 0 of the structure ``flange``."""
    n = regressor.shape[-2]
    friction = weights["friction.weight"]
    rigid = regressor[..., : flange.CODE_SIZE] @ weights["flange.weight"]
    return rigid + regressor[..., -2, None] * friction[:n] + regressor[..., -1, None] * friction[n:]


def smoothed(values: Any, axis: int, memory: float = MEMORY) -> Any:
    """The low-pass along an axis from rest, with full weight from the first value on: a mean of what there is."""
    x = np.moveaxis(values, axis, 0)
    out, state, weight = np.empty_like(x), np.zeros_like(x[0]), 0.0
    for k, value in enumerate(x):
        state = memory * state + (1.0 - memory) * value
        weight = memory * weight + (1.0 - memory)
        out[k] = state / weight
    return np.moveaxis(out, 0, axis)
