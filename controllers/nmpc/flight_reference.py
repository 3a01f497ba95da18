"""References of a quadrotor over a horizon: flat outputs ahead, and the attitude, rates and thrust they imply."""

from __future__ import annotations

import numpy as np

from control_stack.algebra import norm, quat_from_axes, rotate, rotate_inverse
from control_stack.laws.attitude import desired_attitude, desired_rates
from control_stack.laws.cascade import InnerLoops
from control_stack.laws.position import specific_force
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE, rotor_speed_for_thrust
from control_stack.quadrotor.parameters import airframe_from_columns
from control_stack.quadrotor.residual import ResidualQuadrotor
from control_stack.types import Array, Reference

SIZE = 15  # position_w 3, velocity_w 3, quat_xyzw 4, omega_b 3, thrust N, rotor speed rad/s
POSITION, VELOCITY, QUAT, OMEGA, THRUST, ROTORS = (
    slice(0, 3),
    slice(3, 6),
    slice(6, 10),
    slice(10, 13),
    13,
    14,
)
_FAR = 1.0  # m: a reference further away than that is tracked as if it were this far, in the same direction
_JERK_FOR = 0.25  # s: beyond, a reference of which only the present is known goes on at constant velocity


def ahead(reference: Reference, offset: float) -> Reference:
    """The reference ``offset`` s later: as it knows itself, otherwise carried on from its derivatives."""
    if reference.ahead is not None:
        return reference.ahead(offset)
    s = min(offset, _JERK_FOR)
    v, a, j = reference.velocity_w, reference.acceleration_w, reference.jerk_w
    velocity = v + s * a + 0.5 * s * s * j
    position = reference.position_w + s * v + s * s / 2.0 * a + s**3 / 6.0 * j + (offset - s) * velocity
    yaw = float(reference.yaw) + offset * float(reference.yaw_rate)
    if offset > _JERK_FOR:
        return Reference(position, velocity, yaw=yaw, yaw_rate=reference.yaw_rate)
    return Reference(position, velocity, a + s * j, j, yaw, reference.yaw_rate)


class FlightReference:
    """y_0 .. y_N of a quadrotor: with the acceleration a, its drag and the disturbance in p taken into account,

    F/m = a + g e_z + R D R^T (v - wind)/m - force/m - what a network adds

    gives attitude, thrust and, with the jerk, the body rates.
    """

    def __init__(self, loops: InnerLoops, horizon: int, dt: float, learned: ResidualQuadrotor | None = None):
        self._loops, self._learned = loops, learned
        self._offsets = (dt * np.arange(1, horizon + 1)).tolist()

    def __call__(self, reference: Reference, x: Array, p: Array) -> Array:
        """(N + 1, SIZE). x: state now; references take the sign of its attitude. p: disturbance and airframe."""
        references = [reference, *(ahead(reference, s) for s in self._offsets)]
        names = ("position_w", "velocity_w", "acceleration_w", "jerk_w")
        position, velocity, acceleration, jerk = (np.array([getattr(r, name) for r in references]) for name in names)
        yaw = np.array([float(r.yaw) for r in references])
        yaw_rate = np.array([float(r.yaw_rate) for r in references])
        v, a = tuple(velocity.T), tuple(acceleration.T)
        airframe = airframe_from_columns(p[DISTURBANCE_SIZE:].tolist())
        mass, limit = airframe.mass, self._loops.max_specific_thrust * self._loops.airframe.mass / airframe.mass
        wanted = tuple(a[i] - p[3 + i] / mass for i in range(3))
        axes = desired_attitude(specific_force(wanted, self._loops.tan_max_tilt, limit), yaw)
        # Drag depends on the attitude that it changes a little: one correction is enough.
        air = rotate_inverse(quat_from_axes(*axes), tuple(v[i] - p[i] for i in range(3)))  # type: ignore[arg-type]
        drag = rotate(quat_from_axes(*axes), tuple(airframe.drag[i] / mass * air[i] for i in range(3)))  # type: ignore[arg-type]
        wanted = tuple(wanted[i] + drag[i] for i in range(3))
        if self._learned is not None:
            force = specific_force(wanted, self._loops.tan_max_tilt, limit)  # type: ignore[arg-type]
            axes = desired_attitude(force, yaw)
            quat = np.stack(quat_from_axes(*axes), axis=-1)
            omega = np.stack(desired_rates(axes, norm(force), tuple(jerk.T), yaw_rate), axis=-1)  # type: ignore[arg-type]
            more = self._learned.acceleration_w(velocity, quat, omega, norm(force), p)
            wanted = tuple(wanted[i] - more[:, i] for i in range(3))
        force = specific_force(wanted, self._loops.tan_max_tilt, limit)  # type: ignore[arg-type]
        axes = desired_attitude(force, yaw)
        magnitude = norm(force)
        thrust = mass * magnitude
        y = np.empty((len(references), SIZE))
        gap = position[0] - x[0:3]
        nearer = (min(1.0, _FAR / max(float(np.linalg.norm(gap)), 1e-9)) - 1.0) * gap
        y[:, POSITION], y[:, VELOCITY] = position + nearer, velocity
        y[:, QUAT] = _continuous(np.stack(quat_from_axes(*axes), axis=-1), x[6:10])
        y[:, OMEGA] = np.stack(desired_rates(axes, magnitude, tuple(jerk.T), yaw_rate), axis=-1)  # type: ignore[arg-type]
        y[:, THRUST] = thrust
        y[:, ROTORS] = np.mean(rotor_speed_for_thrust((0.25 * thrust,) * 4, airframe), axis=0)
        return y


def _continuous(quats: Array, first: Array) -> Array:
    """The same attitudes with the signs that lie nearest to the one before."""
    before = np.concatenate([first[None], quats[:-1]])
    flips = np.where((quats * before).sum(-1) < 0.0, -1.0, 1.0)
    return quats * np.cumprod(flips)[:, None]
