"""Between commands and the thrust vector that they lead to: what a filter guards is the latter.

The attitude loop follows a commanded thrust vector like a first-order lag of rate k, its attitude gain, if it is told

    w_x = -k F_y / f,   w_y = k F_x / f,   f' = k (F_z - f)             (F in the body frame, thrust m f, m/s^2)

Every command of body rates and thrust is read as the F that it turns to. Body rates in turn follow with a lag of
tau_w (the rate loop and the rotors). For a first-order lag theta + tau_w w, p + tau_w v and
v + tau_w a move as if there were none, and are what all this is taken at.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from control_stack.algebra import body_axes, norm, quat_from_axes, quat_multiply
from control_stack.laws.allocation import RESPONSE_TIME, lead_rotor_speeds
from control_stack.laws.attitude import attitude_rates, desired_attitude
from control_stack.laws.cascade import InnerLoops
from control_stack.laws.limits import limit_command
from control_stack.laws.rotor_model import RotorModel
from control_stack.quadrotor.dynamics import rotor_thrust, rotor_wrench
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    QuadrotorState,
    RatesThrustCommand,
    RotorCommand,
)

LEVELS = (CommandLevel.ROTORS, CommandLevel.CTBR, CommandLevel.ATTITUDE)
_LEAST_THRUST = 0.2 * GRAVITY  # m/s^2
_COASTING = 0.5  # of how fast coasting rotors lose thrust, that the thrust is let fall: the rest is for torque
_TURNING = 0.5  # of the torque that the thrust in force can make, for each of roll and pitch
_DOWN = np.array([0.0, 0.0, -GRAVITY])


class Outlook(NamedTuple):
    """Where the vehicle is once its lags have run off.

    Attributes:
        position, velocity: (3,) m, m/s. acceleration: (3,) under the thrust vector in force, m/s^2.
        without_thrust: (3,) gravity and drag in still air, m/s^2.
        body: (3, 3) rows: the body's axes in the world.
        state: As measured, 13 components and the rotors' speeds.
    """

    position: Array
    velocity: Array
    acceleration: Array
    without_thrust: Array
    body: Array
    state: tuple[float, ...]


class ThrustVector:
    """One vehicle's commands read and written as thrust vectors. Keeps the last command and the rotors' speeds.

    Attributes:
        lag_rate: k, 1/s. lag: tau_w, s. steepest: tangent of the largest turn of the thrust vector that one command
            may ask for.
        least, most: Specific thrust along the body's z axis, m/s^2. With less the motors can hardly turn the body.
    """

    def __init__(self, parameters: QuadrotorParameters, rate_hz: float):
        self._parameters, self._loops = parameters, InnerLoops.of(parameters)
        self._airframe, self._mass = parameters.airframe, float(parameters.mass)
        self._drag = np.asarray(parameters.drag, dtype=float) / self._mass
        self.lag_rate = float(parameters.gains.attitude[:2].min())
        self._step = 1.0 - math.exp(-self.lag_rate / rate_hz)
        # Half a period: a command is held for a whole one.
        self.lag = 1.0 / float(parameters.gains.rate[:2].min()) + RESPONSE_TIME + 0.5 / rate_hz
        self.steepest = float(parameters.limits.body_rate[:2].min()) / self.lag_rate
        self.least, self.most = _LEAST_THRUST, self._loops.max_specific_thrust
        # Rotors do not brake. Their thrust goes with the square of their speed.
        fall = 2.0 / float(np.max(parameters.fall_time))
        self._coasting = math.exp(-fall / rate_hz)
        self._kept = max(1.0 - _COASTING * fall / self.lag_rate, 0.0)
        lever = np.abs(np.asarray(parameters.rotor_position, dtype=float)[:, 1::-1]).mean(axis=0)
        torque = float((lever * self._mass / np.asarray(parameters.inertia, dtype=float)[:2]).min())
        self._turning = _TURNING * torque * self.lag / self.lag_rate
        self._rotors = RotorModel(parameters, 1.0 / rate_hz)
        self.reset()

    def reset(self) -> None:
        """Forgets the flight."""
        self._thrust = GRAVITY
        self._written: float | None = None  # specific thrust of a command that is not sent yet
        self._rotors.reset()

    @property
    def lowest(self) -> float:
        """The least thrust along the body's z axis that may be asked for now, m/s^2.

        Where the thrust is let fall as fast as the rotors coast, all of them are without drive, and there is no torque:
        the body goes on turning as it does.
        """
        return max(self.least, self._kept * self._thrust)

    @property
    def farthest_aside(self) -> float:
        """How far the thrust vector in force may be asked to turn towards each side by one command, m/s^2.

        By the body rates that the vehicle file allows and that the torque of so much thrust reaches within the lag.
        """
        now = max(self._thrust, self.least)
        return now * min(self.steepest, self._turning * now)

    def look(self, state: QuadrotorState) -> Outlook:
        """The outlook from a state. Call once a period."""
        rotors = self._rotors.observe(state)
        q, w = tuple(state.quat_xyzw.tolist()), state.omega_b
        p, v = state.position_w, state.velocity_w
        now: Array = np.array(body_axes(q))  # type: ignore[arg-type]
        body: Array = np.array(body_axes(_turned(q, w, self.lag)))  # type: ignore[arg-type]
        drag = (now.T * self._drag) @ now
        a = self._thrust * now[2] + _DOWN - drag @ v
        v_ahead = v + self.lag * a
        without = _DOWN - drag @ v_ahead
        columns = (*p.tolist(), *v.tolist(), *q, *w.tolist(), *(float(r) for r in rotors))
        return Outlook(p + self.lag * v, v_ahead, self._thrust * body[2] + without, without, body, columns)

    def read(self, command: Command, outlook: Outlook) -> Array:
        """(3,) the thrust vector in the world that a command turns to, as the vehicle would clip it, m/s^2."""
        given = limit_command(command, self._parameters)
        omega, thrust = self._rates(given, outlook)
        k = self.lag_rate
        return np.asarray(thrust / self._mass * np.array([omega[1] / k, -omega[0] / k, 1.0]) @ outlook.body)

    def write(self, force: Array, like: Command, outlook: Outlook) -> Command:
        """The command at the level of ``like`` that turns to a thrust vector, and about it as ``like`` does."""
        f, k = (outlook.body @ force).tolist(), self.lag_rate
        # The thrust takes its time as well: what it would overshoot at once, the next period would have to undo.
        lift = self._thrust + self._step * (max(f[2], self.lowest) - self._thrust)
        lift = self._written = min(max(lift, self.least), self.most)
        yaw_rate = self._rates(limit_command(like, self._parameters), outlook)[0][2]
        now = max(self._thrust, self.least)
        omega = (-k * f[1] / now, k * f[0] / now, yaw_rate)
        thrust = self._mass * lift
        if isinstance(like, RatesThrustCommand):
            return RatesThrustCommand(np.array(omega), thrust, like.stamp)
        x = outlook.state
        if isinstance(like, AttitudeThrustCommand):
            return self._attitude(force, omega, thrust, like, x)
        wanted = self._loops.rate_command(x, omega, thrust)
        return RotorCommand(np.array(lead_rotor_speeds(wanted, x[13:17], self._airframe)), like.stamp)

    def sent(self, command: Command, outlook: Outlook) -> None:
        """Notes the command that is flown until the next look."""
        given = limit_command(command, self._parameters)
        # What was written is known; read from rotor speeds it is a little off, and the lag above would sum that up.
        thrust = self._written or self._rates(given, outlook)[1] / self._mass
        if not isinstance(given, RotorCommand):  # of which the rates and the thrust are those after the rotors' lag
            thrust = max(thrust, self._coasting * self._thrust)
        self._thrust = thrust
        self._written = None
        if isinstance(given, RotorCommand):
            self._rotors.advance(tuple(given.rotor_speed.tolist()))

    def force_in(self, acceleration: Array, outlook: Outlook) -> Array:
        """(3,) the thrust vector that gives an acceleration in still air, m/s^2."""
        return np.asarray(acceleration - outlook.without_thrust)

    def _rates(self, command: Command, outlook: Outlook) -> tuple[tuple[float, float, float], float]:
        """Body rates (rad/s) and thrust (N) that a command leads to."""
        x = outlook.state
        if isinstance(command, RatesThrustCommand):
            return tuple(command.omega_b.tolist()), float(command.thrust)  # type: ignore[return-value]
        if isinstance(command, AttitudeThrustCommand):
            axes = body_axes(tuple(command.quat_xyzw.tolist()))  # type: ignore[arg-type]
            ahead = tuple(command.omega_b.tolist())
            loops = self._loops
            return attitude_rates(x[6:10], axes, ahead, loops.gains.attitude, loops.max_rate), float(command.thrust)  # type: ignore[arg-type]
        air, speed = self._airframe, []
        for i, (u, w) in enumerate(zip(command.rotor_speed.tolist(), x[13:17], strict=True)):  # type: ignore[union-attr]
            tau = air.rise_time[i] if u > w else air.fall_time[i]
            speed.append(w + (u - w) * min(1.0, RESPONSE_TIME / tau))  # where the rotor will be: the lead undone
        thrust, torque = rotor_wrench(rotor_thrust(tuple(speed), air), air)
        omega, j, gain = x[10:13], air.inertia, self._loops.gains.rate
        spun = _gyroscopic(omega, j)
        turned = tuple(omega[i] + (torque[i] - spun[i]) / (j[i] * gain[i]) for i in range(3))
        return turned, float(thrust)  # type: ignore[return-value]

    def _attitude(
        self, force: Array, omega: tuple[float, float, float], thrust: float, like: AttitudeThrustCommand,
        x: tuple[float, ...],
    ) -> AttitudeThrustCommand:  # fmt: skip
        """The attitude along the force, with the rates fed forward that make its loop turn as ``omega`` asks."""
        given = np.asarray(like.quat_xyzw, dtype=float) / np.linalg.norm(like.quat_xyzw)
        heading = np.array(body_axes(tuple(given.tolist())))[0]  # type: ignore[arg-type]
        axes = desired_attitude(tuple(force.tolist()), float(np.arctan2(heading[1], heading[0])))  # type: ignore[arg-type]
        loops, unlimited = self._loops, (np.inf,) * 3
        turn = attitude_rates(x[6:10], axes, (0.0, 0.0, 0.0), loops.gains.attitude, unlimited)  # type: ignore[arg-type]
        rest = np.array([omega[0] - turn[0], omega[1] - turn[1], 0.0])
        ahead = np.array(axes) @ np.array(body_axes(x[6:10])).T @ rest  # type: ignore[arg-type]
        return AttitudeThrustCommand(np.array(quat_from_axes(*axes)), thrust, ahead, like.stamp)


def _turned(quat: tuple[float, ...], omega: Array, seconds: float) -> tuple[float, ...]:
    """The attitude after turning at constant body rates."""
    half = 0.5 * seconds * omega
    angle = float(norm(tuple(half.tolist())))  # type: ignore[arg-type]
    scale = np.sinc(angle / np.pi)
    return quat_multiply(quat, (*(scale * half).tolist(), float(np.cos(angle))))  # type: ignore[arg-type]


def _gyroscopic(omega: tuple[float, ...], inertia: tuple[float, ...]) -> tuple[float, float, float]:
    """w x J w, N m."""
    a, b, c = (inertia[i] * omega[i] for i in range(3))
    return (omega[1] * c - omega[2] * b, omega[2] * a - omega[0] * c, omega[0] * b - omega[1] * a)
