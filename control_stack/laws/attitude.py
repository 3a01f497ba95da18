"""Geometric attitude law on SO(3) (Lee, Leok, McClamroch 2010, CDC), giving body rates.

    z_d = F / |F|,  x_d, y_d from the heading          e_R = 1/2 vee(R_d^T R - R^T R_d)
    w_cmd = R^T R_d w_d - k_R e_R

With the rate law M = J k_w (w_cmd - w) + w x J w this is Lee's moment with gains scaled by the inertia.
"""

from __future__ import annotations

from typing import Any

from control_stack.algebra import (
    Quaternion,
    Scalar,
    Vector,
    add,
    body_axes,
    clip,
    cos,
    cross,
    dot,
    norm,
    quat_from_axes,
    scale,
    sin,
    subtract,
)


def desired_attitude(force: Vector, yaw: Scalar) -> tuple[Vector, Vector, Vector]:
    """Axes (x_d, y_d, z_d) of the attitude with its z axis along ``force`` and its x axis heading for yaw."""
    z_d = scale(1.0 / norm(force), force)
    heading = (cos(yaw), sin(yaw), 0.0 * yaw)
    y_d = cross(z_d, heading)
    y_d = scale(1.0 / norm(y_d), y_d)
    return cross(y_d, z_d), y_d, z_d


def desired_rates(
    axes: tuple[Vector, Vector, Vector], specific_thrust: Scalar, jerk: Vector, yaw_rate: Scalar
) -> Vector:
    """Body rates (in the desired body frame) of a flat trajectory, rad/s. Needs z_d . e_z > 0.

    h = (j - (z_d . j) z_d) / c turns z_d;  w_x = -h . y_d,  w_y = h . x_d
    w_z = (yaw_rate (1 - (y_d . e_z)^2) - w_x x_d . e_z) / (z_d . e_z)

    The tilt rates are those of Mellinger, Kumar 2011. w_z follows from y_d . heading = 0 at all times (as in
    Faessler, Franchi, Scaramuzza 2018); the shorter yaw_rate z_d . e_z equals it only where x_d is level.
    """
    x_d, y_d, z_d = axes
    h = scale(1.0 / specific_thrust, subtract(jerk, scale(dot(z_d, jerk), z_d)))
    w_x = -dot(h, y_d)
    w_z = (yaw_rate * (1.0 - y_d[2] * y_d[2]) - w_x * x_d[2]) / z_d[2]
    return (w_x, dot(h, x_d), w_z)


def attitude_rates(
    quat: Quaternion,
    axes_d: tuple[Vector, Vector, Vector],
    omega_d: Vector,
    gain: Any,
    max_rate: Any,
) -> Vector:
    """Body rates that turn the attitude to the desired axes, rad/s, clipped to +-max_rate."""
    axes = body_axes(quat)
    # m[i][j] = axis_i . axis_d_j are the entries of R^T R_d
    m = [[dot(a, d) for d in axes_d] for a in axes]
    error = (0.5 * (m[1][2] - m[2][1]), 0.5 * (m[2][0] - m[0][2]), 0.5 * (m[0][1] - m[1][0]))
    carried = tuple(dot((row[0], row[1], row[2]), omega_d) for row in m)
    return tuple(  # type: ignore[return-value]
        clip(carried[i] - gain[i] * error[i], -max_rate[i], max_rate[i]) for i in range(3)
    )


def attitude_quaternion(axes: tuple[Vector, Vector, Vector]) -> Quaternion:
    """The attitude of desired axes as a quaternion."""
    return quat_from_axes(*axes)


def rate_torque(omega: Vector, omega_cmd: Vector, inertia: Any, gain: Any) -> Vector:
    """Torque of the rate law, N m: J k_w (w_cmd - w) + w x J w."""
    momentum = (inertia[0] * omega[0], inertia[1] * omega[1], inertia[2] * omega[2])
    demand = tuple(inertia[i] * gain[i] * (omega_cmd[i] - omega[i]) for i in range(3))
    return add(demand, cross(omega, momentum))  # type: ignore[arg-type]
