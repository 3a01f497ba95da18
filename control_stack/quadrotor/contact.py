"""Contact of a quadrotor with flat ground at z = 0: a spring-damper with friction at four feet.

    n = max(0, k d - c z') while d = -z > 0        friction = -mu n v_t / sqrt(|v_t|^2 + eps^2)

A regularised Coulomb law (Stewart 2000, SIAM Review 42); stiffness and damping follow from the mass so that
the feet bounce at 25 Hz with damping ratio 0.7 on every vehicle, resolved well by 1 kHz physics.
"""

from __future__ import annotations

import math
from typing import Any

from control_stack.algebra import Scalar, Vector, add, cross, maximum, rotate, rotate_inverse, sqrt, where
from control_stack.quadrotor.parameters import Airframe

_OMEGA = 2.0 * math.pi * 25.0  # rad/s
_DAMPING_RATIO = 0.7
FRICTION = 0.6
_SLIP = 0.02  # m/s, below which friction is viscous


def ground_contact(x: tuple[Any, ...], airframe: Airframe, leg_height: Scalar) -> tuple[Vector, Vector]:
    """(force_w N, torque_b N m) of the ground on a foot below each rotor, leg_height m under the centre."""
    p, v, q, w = x[0:3], x[3:6], x[6:10], x[10:13]
    share = airframe.mass / 4.0
    stiffness, damping = share * _OMEGA**2, 2.0 * _DAMPING_RATIO * share * _OMEGA
    zero = 0.0 * p[2]
    force: Vector = (zero, zero, zero)
    torque: Vector = (zero, zero, zero)
    for rx, ry in zip(airframe.rotor_x, airframe.rotor_y, strict=True):
        foot_b = (rx + zero, ry + zero, zero - leg_height)
        offset = rotate(q, foot_b)  # type: ignore[arg-type]
        speed = add(v, rotate(q, cross(w, foot_b)))  # type: ignore[arg-type]
        depth = -(p[2] + offset[2])
        normal = where(depth > 0.0, maximum(stiffness * depth - damping * speed[2], 0.0), zero)
        grip = -FRICTION * normal / sqrt(speed[0] * speed[0] + speed[1] * speed[1] + _SLIP**2)
        push = (grip * speed[0], grip * speed[1], normal)
        force = add(force, push)
        torque = add(torque, cross(foot_b, rotate_inverse(q, push)))  # type: ignore[arg-type]
    return force, torque
