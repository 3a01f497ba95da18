"""Position and velocity laws: from errors in the world to a specific force (acceleration plus gravity)."""

from __future__ import annotations

from typing import Any

from control_stack.algebra import Scalar, Vector, clip, maximum, minimum, sqrt
from control_stack.quadrotor.parameters import GRAVITY

_MIN_LIFT = 0.3 * GRAVITY  # m/s^2: never ask for free fall, where attitude authority ends on most airframes


def tracking_acceleration(
    position_error: Vector,
    velocity_error: Vector,
    feed_forward: Vector,
    position_gain: Any,
    velocity_gain: Any,
    max_error: Scalar = 1.5,
) -> Vector:
    """a = k_p clip(e_p) + k_v e_v + a_ref, m/s^2; errors are reference minus state, in the world.

    The position error is clipped per axis (m) so that a far reference asks for a bounded speed.
    """
    return tuple(  # type: ignore[return-value]
        position_gain[i] * clip(position_error[i], -max_error, max_error)
        + velocity_gain[i] * velocity_error[i]
        + feed_forward[i]
        for i in range(3)
    )


def specific_force(acceleration: Vector, tan_max_tilt: Scalar, max_specific_thrust: Scalar) -> Vector:
    """acceleration + g e_z with tilt and magnitude limited, m/s^2.

    The vertical part has priority: it is kept above a minimum, and what is left of the thrust and of the tilt
    bounds the horizontal part.
    """
    z = clip(acceleration[2] + GRAVITY, _MIN_LIFT, max_specific_thrust)
    room = sqrt(maximum(max_specific_thrust * max_specific_thrust - z * z, 0.0 * z))
    horizontal = sqrt(acceleration[0] * acceleration[0] + acceleration[1] * acceleration[1] + 1e-12)
    factor = minimum(minimum(z * tan_max_tilt, room) / horizontal, 1.0)
    return (factor * acceleration[0], factor * acceleration[1], z)
