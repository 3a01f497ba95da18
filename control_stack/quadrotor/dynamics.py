"""Equations of motion of a quadrotor, written once over components (see ``control_stack.algebra``).

State x, 17 numbers: position_w (3), velocity_w (3), quat_xyzw (4), omega_b (3), rotor_speed (4).
Input u: rotor speed commands (4), rad/s. Disturbance: wind_w (3) m/s, force_w (3) N, torque_b (3) N m.

    m v' = R (0, 0, sum f_i) + R drag(R^T (v - wind)) - m g e_z + force
    q'   = 1/2 q * (w, 0)
    J w' = tau - w x J w
    W_i' = (u_i - W_i) / tau_rise|fall

Sources: Mahony, Kumar, Corke 2012 (rigid body, rotor wrench); Faessler, Franchi, Scaramuzza 2018 (drag).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control_stack.algebra import (
    Scalar,
    Vector,
    add,
    body_axes,
    clip,
    cross,
    exp,
    maximum,
    quat_multiply,
    rotate,
    rotate_inverse,
    sqrt,
    subtract,
    where,
)
from control_stack.quadrotor.parameters import GRAVITY, Airframe

STATE_SIZE, INPUT_SIZE, DISTURBANCE_SIZE = 17, 4, 9
Columns = tuple[Any, ...]
NO_DISTURBANCE = (0.0,) * DISTURBANCE_SIZE


def rotor_thrust(speed: tuple[Scalar, ...], airframe: Airframe) -> tuple[Scalar, ...]:
    """Thrust of each rotor, N: max(0, c0 + c1 w + c2 w^2)."""
    return tuple(
        maximum(c0 + w * (c1 + w * c2), 0.0)
        for w, c0, c1, c2 in zip(speed, airframe.thrust_c0, airframe.thrust_c1, airframe.thrust_c2, strict=True)
    )


def rotor_speed_for_thrust(thrust: tuple[Scalar, ...], airframe: Airframe) -> tuple[Scalar, ...]:
    """The inverse of the thrust curve on its rising branch, clipped to the rotors' range, rad/s."""
    out = []
    for i, f in enumerate(thrust):
        c0, c1, c2 = airframe.thrust_c0[i], airframe.thrust_c1[i], airframe.thrust_c2[i]
        root = sqrt(maximum(c1 * c1 - 4.0 * c2 * (c0 - f), 0.0))
        out.append(clip((root - c1) / (2.0 * c2), airframe.rotor_speed_min[i], airframe.rotor_speed_max[i]))
    return tuple(out)


def rotor_wrench(thrust: tuple[Scalar, ...], airframe: Airframe) -> tuple[Scalar, Vector]:
    """Collective thrust (N, along body z) and torque about the centre of mass (N m, FLU)."""
    total, tx, ty, tz = 0.0, 0.0, 0.0, 0.0
    for i, f in enumerate(thrust):
        total = total + f
        tx = tx + airframe.rotor_y[i] * f
        ty = ty - airframe.rotor_x[i] * f
        tz = tz + airframe.rotor_spin[i] * airframe.torque_constant[i] * f
    return total, (tx, ty, tz)


def rotor_acceleration(
    speed: tuple[Scalar, ...], command: tuple[Scalar, ...], airframe: Airframe
) -> tuple[Scalar, ...]:
    """First-order lag of each rotor, rad/s^2, with its own time constants up and down."""
    out = []
    for i, (w, u) in enumerate(zip(speed, command, strict=True)):
        gap = u - w
        # Both quotients before the choice: torch.where of two Python floats would round them to float32.
        out.append(where(gap > 0.0, gap / airframe.rise_time[i], gap / airframe.fall_time[i]))
    return tuple(out)


def drag_force_b(quat: Columns, velocity: Columns, wind: Columns, airframe: Airframe) -> Vector:
    """Linear drag in the body frame, N: -drag * R^T (v - wind), axis by axis."""
    airspeed_b = rotate_inverse(quat, subtract(velocity, wind))  # type: ignore[arg-type]
    d = airframe.drag
    return (-d[0] * airspeed_b[0], -d[1] * airspeed_b[1], -d[2] * airspeed_b[2])


def drag_force(quat: Columns, velocity: Columns, wind: Columns, airframe: Airframe) -> Vector:
    """Linear drag in the world, N."""
    return rotate(quat, drag_force_b(quat, velocity, wind, airframe))  # type: ignore[arg-type]


def derivative(
    x: Columns,
    u: Columns,
    airframe: Airframe,
    disturbance: Columns = NO_DISTURBANCE,
    contact: Callable[[Columns], tuple[Vector, Vector]] | None = None,
) -> Columns:
    """dx/dt, 17 components. ``contact`` adds (force_w, torque_b) of the ground, see ``contact.py``."""
    v, q, w, speed = x[3:6], x[6:10], x[10:13], x[13:17]
    total, torque = rotor_wrench(rotor_thrust(speed, airframe), airframe)
    drag = drag_force_b(q, v, disturbance[0:3], airframe)
    force = add(rotate(q, (drag[0], drag[1], drag[2] + total)), disturbance[3:6])  # type: ignore[arg-type]
    torque = add(torque, disturbance[6:9])  # type: ignore[arg-type]
    if contact is not None:
        ground_force, ground_torque = contact(x)
        force, torque = add(force, ground_force), add(torque, ground_torque)
    jx, jy, jz = airframe.inertia
    gyroscopic = cross(w, (jx * w[0], jy * w[1], jz * w[2]))  # type: ignore[arg-type]
    spin = subtract(torque, gyroscopic)
    half = quat_multiply(q, (0.5 * w[0], 0.5 * w[1], 0.5 * w[2], 0.0 * w[0]))  # type: ignore[arg-type]
    m = airframe.mass
    return (
        *v,
        force[0] / m,
        force[1] / m,
        force[2] / m - GRAVITY,
        *half,
        spin[0] / jx,
        spin[1] / jy,
        spin[2] / jz,
        *rotor_acceleration(speed, u, airframe),
    )


def rk4_step(
    x: Columns,
    u: Columns,
    airframe: Airframe,
    dt: Scalar,
    disturbance: Columns = NO_DISTURBANCE,
    contact: Callable[[Columns], tuple[Vector, Vector]] | None = None,
) -> Columns:
    """One classical Runge-Kutta step of fourth order; the quaternion is renormalised once at its end."""

    def f(y: Columns) -> Columns:
        return derivative(y, u, airframe, disturbance, contact)

    def along(k: Columns, h: Scalar) -> Columns:
        return tuple(a + h * b for a, b in zip(x, k, strict=True))

    k1 = f(x)
    k2 = f(along(k1, 0.5 * dt))
    k3 = f(along(k2, 0.5 * dt))
    k4 = f(along(k3, dt))
    y = tuple(a + dt / 6.0 * (b + 2.0 * (c + d) + e) for a, b, c, d, e in zip(x, k1, k2, k3, k4, strict=True))
    n = sqrt(y[6] * y[6] + y[7] * y[7] + y[8] * y[8] + y[9] * y[9])
    return (*y[:6], y[6] / n, y[7] / n, y[8] / n, y[9] / n, *y[10:])


def semi_implicit_step(
    x: Columns, u: Columns, airframe: Airframe, dt: Scalar, disturbance: Columns = NO_DISTURBANCE
) -> Columns:
    """One step of a staggered scheme: a single evaluation of the wrench instead of the four of ``rk4_step``.

        rotor speeds: exact first-order lag;   w+ = w + dt w'(mean rotor speeds)
        q+ = q + dt/2 q * (w + w+)/2, renormalised
        v+ = v + dt v'(mean rotor speeds, thrust along the mean of both body z axes);   p+ = p + dt (v + v+)/2

    Each rate takes the newest values of what drives it. The error per step is of third order but for the
    gyroscopic and drag terms, which are taken at the start of the step (second order, small here): the cheap
    integrator for learning, where gradients run through hundreds of steps.
    """
    p, v, q, w, speed = x[0:3], x[3:6], x[6:10], x[10:13], x[13:17]
    moved = []
    for i, (w_i, u_i) in enumerate(zip(speed, u, strict=True)):
        gap = u_i - w_i
        left = where(gap > 0.0, exp(-dt / airframe.rise_time[i]), exp(-dt / airframe.fall_time[i]))
        moved.append(u_i - gap * left)
    mean_speed = tuple(0.5 * (a + b) for a, b in zip(speed, moved, strict=True))
    total, torque = rotor_wrench(rotor_thrust(mean_speed, airframe), airframe)
    jx, jy, jz = airframe.inertia
    gyroscopic = cross(w, (jx * w[0], jy * w[1], jz * w[2]))  # type: ignore[arg-type]
    spin = subtract(add(torque, disturbance[6:9]), gyroscopic)  # type: ignore[arg-type]
    w_new = (w[0] + dt * spin[0] / jx, w[1] + dt * spin[1] / jy, w[2] + dt * spin[2] / jz)
    turn = quat_multiply(q, tuple(0.25 * dt * (a + b) for a, b in zip(w, w_new, strict=True)) + (0.0 * w[0],))  # type: ignore[arg-type]
    q_new = tuple(a + b for a, b in zip(q, turn, strict=True))
    n = sqrt(q_new[0] * q_new[0] + q_new[1] * q_new[1] + q_new[2] * q_new[2] + q_new[3] * q_new[3])
    q_new = (q_new[0] / n, q_new[1] / n, q_new[2] / n, q_new[3] / n)
    z_axis = tuple(0.5 * (a + b) for a, b in zip(body_axes(q)[2], body_axes(q_new)[2], strict=True))  # type: ignore[arg-type]
    drag = drag_force(q, v, disturbance[0:3], airframe)
    m = airframe.mass
    a = tuple((total * z_axis[k] + drag[k] + disturbance[3 + k]) / m for k in range(3))
    v_new = (v[0] + dt * a[0], v[1] + dt * a[1], v[2] + dt * (a[2] - GRAVITY))
    p_new = tuple(p[k] + 0.5 * dt * (v[k] + v_new[k]) for k in range(3))
    return (*p_new, *v_new, *q_new, *w_new, *moved)
