"""The quadrotor in steps of tens of milliseconds: what a predictive controller looks ahead with.

``dynamics.rk4_step`` needs steps shorter than the fastest rotor. Here what is fast is integrated exactly and the rest
by Simpson's rule over the step, so 20 steps reach a second ahead. Two models, by what is commanded:

    rates:  u = (w_cmd [rad/s, body], T [N]);  w(s) = w_cmd + (w - w_cmd) exp(-k s), the rate loop with gain k
    rotors: u = rotor speeds at the END of the step, rad/s, reached along a straight line;  J w' = tau - w x J w

    q+ = q * Exp(integral of w);   v+ = v + dt/6 (a_0 + 4 a_m + a_1);   p+ = p + dt v + dt^2/6 (a_0 + 2 a_m)

with a at the start, middle and end of the step: a = R (0, 0, T)/m + drag/m - g e_z + force/m. That rotors speed up and
slow down with lags of their own is then no kink in the model but linear in (W, u): ``rotor_limits``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.algebra import Vector, add, cos, cross, exp, quat_multiply, rotate, scale, sin, sqrt, subtract
from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.dynamics import (
    DISTURBANCE_SIZE,
    Columns,
    drag_force_b,
    rotor_thrust,
    rotor_wrench,
)
from control_stack.quadrotor.parameters import (
    AIRFRAME_SIZE,
    GRAVITY,
    Airframe,
    QuadrotorParameters,
    airframe_from_columns,
)
from control_stack.rollout import rollout
from control_stack.types import Array, CommandLevel

PARAMETER_SIZE = DISTURBANCE_SIZE + AIRFRAME_SIZE
FORCE = slice(3, 6)  # of force_w in p
_POSE = (
    *(f"position_w.{axis} [m]" for axis in "xyz"),
    *(f"velocity_w.{axis} [m/s]" for axis in "xyz"),
    *(f"quat_xyzw.{axis} [1]" for axis in "xyzw"),
    *(f"omega_b.{axis} [rad/s]" for axis in "xyz"),
)
_PARAMETERS = (
    *(f"wind_w.{axis} [m/s]" for axis in "xyz"),
    *(f"force_w.{axis} [N]" for axis in "xyz"),
    *(f"torque_b.{axis} [N m]" for axis in "xyz"),
    *(f"airframe.{i} [as in the vehicle file]" for i in range(AIRFRAME_SIZE)),
)
_LAYOUT = {
    CommandLevel.CTBR: (_POSE, (*(f"rate_command.{axis} [rad/s]" for axis in "xyz"), "thrust [N]")),
    CommandLevel.ROTORS: (
        (*_POSE, *(f"rotor_speed.{i} [rad/s]" for i in range(4))),
        tuple(f"rotor_speed_next.{i} [rad/s]" for i in range(4)),
    ),
}


def _turned(q: Columns, angle: Vector) -> Columns:
    """q * Exp(angle), angle in rad, body frame."""
    half = 0.5 * sqrt(angle[0] * angle[0] + angle[1] * angle[1] + angle[2] * angle[2] + 1e-16)
    s = 0.5 * sin(half) / half
    return quat_multiply(q, (s * angle[0], s * angle[1], s * angle[2], cos(half)))  # type: ignore[arg-type]


def _translate(
    p: Vector, v: Vector, quats: Columns, thrusts: Columns, dt: float, airframe: Airframe, d: Columns
) -> Columns:
    """Position and velocity after the step, from attitude and thrust at its start, middle and end."""
    m = airframe.mass

    def acceleration(q: Columns, thrust: Any, velocity: Vector) -> Vector:
        drag = drag_force_b(q, velocity, d[0:3], airframe)
        a = add(rotate(q, (drag[0], drag[1], drag[2] + thrust)), d[3:6])  # type: ignore[arg-type]
        return (a[0] / m, a[1] / m, a[2] / m - GRAVITY)

    start = acceleration(quats[0], thrusts[0], v)
    middle = acceleration(quats[1], thrusts[1], add(v, scale(0.5 * dt, start)))
    end = acceleration(quats[2], thrusts[2], add(v, scale(dt, middle)))
    gain = scale(dt / 6.0, add(add(start, scale(4.0, middle)), end))
    way = add(scale(dt, v), scale(dt * dt / 6.0, add(start, scale(2.0, middle))))
    return (*add(p, way), *add(v, gain))


def rates_step(x: Columns, u: Columns, airframe: Airframe, rate_gain: Any, dt: float, d: Columns) -> Columns:
    """One step at CTBR level.

    Args:
        x: 13 components: pose, twist. u: body rates (3), rad/s, and thrust, N. rate_gain: (3) k of the rate loop, 1/s.
        d: 9 components, wind_w, force_w, torque_b; the rate loop is taken to reject the torque.
    """
    q, w = x[6:10], x[10:13]
    turns: list[Vector] = []
    for s in (0.5 * dt, dt):
        # Integral of the rate from 0 to s.
        left = [(1.0 - float(np.exp(-k * s))) / k for k in rate_gain]
        turns.append(tuple(c * s + (a - c) * e for a, c, e in zip(w, u[0:3], left, strict=True)))  # type: ignore[arg-type]
    quats = (q, _turned(q, turns[0]), _turned(q, turns[1]))
    moved = _translate(x[0:3], x[3:6], quats, (u[3],) * 3, dt, airframe, d)  # type: ignore[arg-type]
    rates = (c + (a - c) * float(np.exp(-k * dt)) for a, c, k in zip(w, u[0:3], rate_gain, strict=True))
    return (*moved, *quats[2], *rates)


def rotor_step(x: Columns, u: Columns, airframe: Airframe, dt: float, d: Columns) -> Columns:
    """One step at rotor level: x has 17 components, u the four rotor speeds at its end; d as ``rates_step``."""
    q, w, speed = x[6:10], x[10:13], x[13:17]
    middle = tuple(0.5 * (a + b) for a, b in zip(speed, u, strict=True))
    wrenches = [rotor_wrench(rotor_thrust(s, airframe), airframe) for s in (speed, middle, u)]
    jx, jy, jz = airframe.inertia

    def spin(torque: Vector, rate: Vector) -> Vector:
        t = subtract(add(torque, d[6:9]), cross(rate, (jx * rate[0], jy * rate[1], jz * rate[2])))  # type: ignore[arg-type]
        return (t[0] / jx, t[1] / jy, t[2] / jz)

    a0 = spin(wrenches[0][1], w)  # type: ignore[arg-type]
    am = spin(wrenches[1][1], add(w, scale(0.5 * dt, a0)))  # type: ignore[arg-type]
    a1 = spin(wrenches[2][1], add(w, scale(dt, am)))  # type: ignore[arg-type]
    # Acceleration rises along a line: half-way the angle is dt/2 w + dt^2/24 (2 a0 + am), at the end as for p.
    half = add(scale(0.5 * dt, w), scale(dt * dt / 24.0, add(scale(2.0, a0), am)))  # type: ignore[arg-type]
    whole = add(scale(dt, w), scale(dt * dt / 6.0, add(a0, scale(2.0, am))))  # type: ignore[arg-type]
    quats = (q, _turned(q, half), _turned(q, whole))
    thrusts = tuple(total for total, _ in wrenches)
    moved = _translate(x[0:3], x[3:6], quats, thrusts, dt, airframe, d)  # type: ignore[arg-type]
    rates = add(w, scale(dt / 6.0, add(add(a0, scale(4.0, am)), a1)))  # type: ignore[arg-type]
    return (*moved, *quats[2], *rates, *u)


def rotor_limits(speed: Columns, airframe: Airframe, dt: float) -> tuple[Columns, Columns]:
    """Lowest and highest speeds that first-order rotors reach within dt: W + (limit - W)(1 - exp(-dt / tau))."""
    low, high = [], []
    for i, w in enumerate(speed):
        low.append(w + (airframe.rotor_speed_min[i] - w) * (1.0 - exp(-dt / airframe.fall_time[i])))
        high.append(w + (airframe.rotor_speed_max[i] - w) * (1.0 - exp(-dt / airframe.rise_time[i])))
    return tuple(low), tuple(high)


def reachable_spin(parameters: QuadrotorParameters, dt: float) -> Array:
    """(3,) angular acceleration, rad/s^2, that rotors at hover speed reach about each axis within dt.

    Those that push one way speed up and the others slow down as fast as their lags allow; the slower of both directions
    of turning counts.
    """
    airframe, hover = parameters.airframe, (parameters.hover_rotor_speed,) * 4
    low, high = (rotor_thrust(speed, airframe) for speed in rotor_limits(hover, airframe, dt))
    spin = []
    levers = (
        airframe.rotor_y,
        [-x for x in airframe.rotor_x],
        np.multiply(airframe.rotor_spin, airframe.torque_constant),
    )
    for axis, lever in enumerate(levers):
        turns = []
        for sign in (1.0, -1.0):
            thrust = [h if sign * arm > 0.0 else lo for arm, h, lo in zip(lever, high, low, strict=True)]
            turns.append(abs(float(np.dot(lever, thrust))))
        spin.append(min(turns) / airframe.inertia[axis])
    return np.array(spin)


class LongStepQuadrotor:
    """The quadrotor at one command level as a Dynamics: p = wind_w, force_w, torque_b and the whole airframe (60).

    Payload, rotor loss and wind are numbers in p; ``spec.defaults`` is this vehicle in still air.

    Attributes:
        parameters: Of the vehicle. level: ROTORS (17 states) or CTBR (13).
    """

    def __init__(self, parameters: QuadrotorParameters, level: CommandLevel, dt: float):
        if level not in _LAYOUT:
            raise InvalidInput(f"no model of a quadrotor for steps of level '{level.value}'")
        if not (np.isfinite(dt) and dt > 0.0):
            raise InvalidInput(f"dt must be a positive number of seconds, got {dt}")
        self.parameters, self.level = parameters, level
        self._gain = tuple(parameters.gains.rate.tolist())
        defaults = np.concatenate([np.zeros(DISTURBANCE_SIZE), parameters.flatten()])
        self.spec = DynamicsSpec(*_LAYOUT[level], _PARAMETERS, defaults, float(dt))

    def columns(self, x: Columns, u: Columns, p: Columns) -> Columns:
        """x+ by component, of floats, arrays or symbols."""
        airframe, d = airframe_from_columns(p[DISTURBANCE_SIZE:]), p[:DISTURBANCE_SIZE]
        if self.level is CommandLevel.CTBR:
            return rates_step(x, u, airframe, self._gain, self.spec.dt, d)
        return rotor_step(x, u, airframe, self.spec.dt, d)

    def step(self, x: Any, u: Any, p: Any = None) -> Array:
        """(..., nx), (..., 4), (..., 60) -> (..., nx)."""
        given = self.spec.defaults if p is None else p
        parts = (np.moveaxis(np.asarray(a, dtype=float), -1, 0) for a in (x, u, given))
        return np.stack(np.broadcast_arrays(*self.columns(*(tuple(part) for part in parts))), axis=-1)

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Array:
        """(..., nx), (..., T, 4) -> (..., T + 1, nx), x0 first."""
        return rollout(self.step, x0, us, p)

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+. Raises MissingDependency without casadi."""
        from control_stack.quadrotor.symbolic import import_casadi

        ca = import_casadi()
        x, u = ca.SX.sym("x", len(self.spec.state)), ca.SX.sym("u", len(self.spec.inputs))
        p = ca.SX.sym("p", PARAMETER_SIZE)
        y = self.columns(*(tuple(s[i] for i in range(s.shape[0])) for s in (x, u, p)))
        return ca.Function("quadrotor", [x, u, p], [ca.vertcat(*y)], ["x", "u", "p"], ["x_next"])
