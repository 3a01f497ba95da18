"""The barrier of one surface: how fast a vehicle may approach it, and which thrust vectors keep it so.

h is the distance to a surface, s = -h' the speed of approach, n the unit vector towards it, a the acceleration of the
vehicle, of which n.a may be wrong by w. With the speed of approach that braking still takes away

    sigma(h) = kappa h                               close by, h <= A / kappa^2
               sqrt(2 A (h - A / (2 kappa^2)))       further away, where it brakes with A

    psi1 = sigma(h) - s                    psi2 = psi1' + lambda psi1 >= -sigma' s - n.a - w + lambda psi1

psi2 >= 0 keeps psi1 >= 0, and that keeps h >= 0: a barrier of high order (Xiao, Belta 2019) on the braking distance.
Away from the surface it asks for no more than the deceleration A, where the usual straight line of a high-order barrier
asks for kappa s.

The acceleration follows the commanded thrust vector F with a lag. Where a lag of rate k is the slowest that it may
have, psi2(F) + min(psi2'|_F, 0) / k >= 0 keeps psi2 >= 0 for it and for every faster one: psi2 is linear in F, so that
the thrust vector in force stays in a half-space that moves no faster than it can follow. That is one row

    n . F <= limit

Of an obstacle's curvature only what turns n is used; that a vehicle that flies past it gets away from it by itself
is left out, because beside the edges of a box it comes and goes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from control_stack.safety.barrier.scene import Scene
from control_stack.types import Array

_TOUCHING = 1e-6  # m: so near the inner box of an obstacle there is no direction away from it


class Surfaces(NamedTuple):
    """Surfaces as seen from where a vehicle is.

    Attributes:
        gap: (..., m) distance, m. towards: (..., m, 3) unit vectors n.
        free: (..., m, 3) 1 for axes along which n turns with the vehicle, else 0.
        bend: (..., m) how fast it does, 1 / m.
    """

    gap: Array
    towards: Array
    free: Array
    bend: Array


class Seen:
    """The surfaces of a scene, all at once, for a vehicle of a given radius and with given room kept."""

    def __init__(self, scene: Scene, radius: float, room: float):
        """radius: of the vehicle, m, towards obstacles; room: m kept from everything, walls too."""
        walls = np.array([scene.fence.x, scene.fence.y, scene.fence.z])
        normals = np.concatenate([np.eye(3), -np.eye(3)])
        ends = np.concatenate([walls[:, 1], -walls[:, 0]]) - room
        finite = np.isfinite(ends)
        self._normals, self._ends = normals[finite], ends[finite]
        self._low = np.array([o.low for o in scene.obstacles]).reshape(-1, 3)
        self._high = np.array([o.high for o in scene.obstacles]).reshape(-1, 3)
        self._radius = np.array([o.radius + radius + room for o in scene.obstacles])

    def __call__(self, position_w: Array) -> Surfaces:
        """Surfaces from (..., 3) m; walls first, then obstacles."""
        p = position_w
        walls = self._ends - p @ self._normals.T
        towards = np.broadcast_to(self._normals, (*p.shape[:-1], *self._normals.shape))
        still = np.zeros(towards.shape)
        if not len(self._low):
            return Surfaces(walls, towards, still, np.zeros(walls.shape))
        from_box = p[..., None, :] - np.clip(p[..., None, :], self._low, self._high)
        length = np.sqrt((from_box * from_box).sum(-1))
        free = (from_box != 0.0).astype(float)
        n = from_box / -np.maximum(length, _TOUCHING)[..., None]
        gap = length - self._radius
        inside = length < _TOUCHING
        if inside.any():
            self._push_out(p, inside, n, gap)
        return Surfaces(
            np.concatenate([walls, gap], axis=-1),
            np.concatenate([towards, n], axis=-2),
            np.concatenate([still, free], axis=-2),
            np.concatenate([np.zeros(walls.shape), 1.0 / np.maximum(length, self._radius)], axis=-1),
        )

    def _push_out(self, p: Array, inside: Any, n: Array, gap: Array) -> None:
        """Inside a box its nearest side counts: nothing is assured there, but the way out is."""
        below, above = p[..., None, :] - self._low, self._high - p[..., None, :]
        depth = np.minimum(below, above)
        axis = depth.argmin(axis=-1)
        side = np.take_along_axis(np.where(below < above, 1.0, -1.0), axis[..., None], axis=-1)
        out = np.eye(3)[axis] * side
        n[inside] = out[inside]
        gap[inside] = (-np.take_along_axis(depth, axis[..., None], axis=-1)[..., 0] - self._radius)[inside]


class Stopping(NamedTuple):
    """sigma, sigma' and sigma'' at a distance: m/s, 1/s, 1/(m s)."""

    speed: Array
    slope: Array
    bend: Array


def stopping(gap: Array, gain: Any, deceleration: Any) -> Stopping:
    """The speed of approach that is left at a distance.

    Args:
        gap: (...) m; below zero it is the speed at which to get away.
        gain: kappa, 1/s. deceleration: A, m/s^2.
    """
    far = gap > deceleration / gain**2
    root = np.sqrt(2.0 * deceleration * np.maximum(gap - 0.5 * deceleration / gain**2, 1e-12))
    return Stopping(
        np.where(far, root, gain * gap),
        np.where(far, deceleration / root, gain),
        np.where(far, -(deceleration**2) / root**3, 0.0),
    )


def thrust_limits(
    surfaces: Surfaces,
    velocity: Array,
    acceleration: Array,
    without_thrust: Array,
    *,
    gain: Any,
    rate: Any,
    lag_rate: float,
    deceleration: float,
    unknown: float,
    unknown_speed: float,
) -> Array:
    """(..., m) the limits of n . F, m/s^2, one for each surface.

    Args:
        surfaces: Seen from where the vehicle is.
        velocity, acceleration: (..., 3) of the vehicle towards the surface (relative where that moves), m/s, m/s^2.
        without_thrust: (..., 3) what of the acceleration is not thrust: gravity, drag, m/s^2.
        gain, rate: kappa and lambda, 1/s; may have leading dimensions (..., 1).
        lag_rate: k, 1/s.
        deceleration: A, m/s^2.
        unknown, unknown_speed: How wrong acceleration (m/s^2) and velocity (m/s) may be, in any direction.
    """
    n = surfaces.towards
    v, a = velocity[..., None, :], acceleration[..., None, :]
    v_n = (n * v).sum(-1)
    s = v_n + unknown_speed
    worst = (n * a).sum(-1) + unknown
    left = stopping(surfaces.gap, gain, deceleration)
    across = (v - v_n[..., None] * n) * surfaces.free
    turning = (across * a).sum(-1) - np.sqrt((across * across).sum(-1)) * unknown
    closing = left.slope * s
    drift = left.bend * s * s - left.slope * worst - rate * (closing + worst) + surfaces.bend * turning
    known = (n * without_thrust[..., None, :]).sum(-1)
    return np.asarray(rate * (left.speed - s) - closing - unknown - known + np.minimum(drift, 0.0) / lag_rate)
