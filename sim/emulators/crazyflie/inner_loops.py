"""From a setpoint to a command of the simulated quadrotor, whose inner loops are the core's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from control_stack.algebra import Vector, body_axes, yaw_of
from control_stack.crazyflie.thrust import CrazyflieThrust
from control_stack.laws.attitude import attitude_rates
from control_stack.laws.cascade import attitude_command
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.types import (
    AttitudeThrustCommand,
    Command,
    PositionCommand,
    QuadrotorState,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)
from sim.emulators.crazyflie.setpoints import Mode, Setpoint

_ROTORS_OFF = RotorCommand(np.zeros(4))
_MIN_COS_TILT = 0.5  # thrust is not raised further against tilt


class Flight:
    """Follows setpoints; keeps the heading that yaw rates have led to."""

    def __init__(self, parameters: QuadrotorParameters, thrust: CrazyflieThrust):
        self._parameters, self._thrust = parameters, thrust
        self._heading = 0.0
        self._turning = False

    def command(self, setpoint: Setpoint, state: QuadrotorState, supply: float, dt: float) -> Command:
        """The command for dt seconds from now; ``supply`` is the battery voltage, V."""
        if setpoint.stops:
            self._turning = False
            return _ROTORS_OFF
        yaw = self._yaw(setpoint, state, dt)
        yaw_rate = setpoint.rates[2] if setpoint.yaw is Mode.RATE else 0.0
        if setpoint.xy is Mode.OFF:
            return self._tilted(setpoint, state, supply, yaw, yaw_rate)
        velocity = np.array(setpoint.velocity)
        if setpoint.heading_frame:
            now = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
            c, s = math.cos(now), math.sin(now)
            velocity = np.array([c * velocity[0] - s * velocity[1], s * velocity[0] + c * velocity[1], velocity[2]])
        if setpoint.xy is Mode.RATE and setpoint.z is Mode.RATE:
            return VelocityCommand(velocity, yaw=yaw, yaw_rate=yaw_rate)
        position = np.array(setpoint.position)
        if setpoint.xy is Mode.RATE:  # no error of position there: the velocity alone is followed
            position[:2] = state.position_w[:2]
        return PositionCommand(position, velocity, yaw=yaw)

    def _yaw(self, setpoint: Setpoint, state: QuadrotorState, dt: float) -> float:
        if setpoint.yaw is Mode.VALUE:
            self._turning = False
            return setpoint.rpy[2]
        if not self._turning:
            self._heading = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
        self._turning = True
        self._heading = math.remainder(self._heading + setpoint.rates[2] * dt, 2.0 * math.pi)
        return self._heading

    def _tilted(self, setpoint: Setpoint, state: QuadrotorState, supply: float, yaw: float, yaw_rate: float) -> Command:
        """Attitude or rates, with thrust from the setpoint or from the height loop."""
        thrust = self._lift(setpoint, state) if setpoint.z else self._thrust.thrust(setpoint.thrust, supply)
        modes = (setpoint.roll, setpoint.pitch, setpoint.yaw)
        if all(mode is Mode.RATE for mode in modes):
            return RatesThrustCommand(np.array(setpoint.rates), thrust)
        roll, pitch, _ = setpoint.rpy
        axes = _axes_of_rpy(roll, pitch, yaw)
        feed_forward = (0.0, 0.0, yaw_rate)
        if setpoint.roll is not Mode.RATE and setpoint.pitch is not Mode.RATE:
            return AttitudeThrustCommand(np.array(attitude_command(axes)), thrust, np.array(feed_forward))
        gains, limits = self._parameters.gains, self._parameters.limits
        quat = tuple(state.quat_xyzw.tolist())
        rates = attitude_rates(quat, axes, feed_forward, gains.attitude, limits.body_rate)  # type: ignore[arg-type]
        mixed = [s if mode is Mode.RATE else r for mode, s, r in zip(modes, setpoint.rates, rates, strict=True)]
        return RatesThrustCommand(np.array(mixed, dtype=float), thrust)

    def _lift(self, setpoint: Setpoint, state: QuadrotorState) -> float:
        gains = self._parameters.gains
        error = setpoint.position[2] - float(state.position_w[2]) if setpoint.z is Mode.VALUE else 0.0
        up = float(gains.position[2]) * min(max(error, -1.5), 1.5)
        up += float(gains.velocity[2]) * (setpoint.velocity[2] - float(state.velocity_w[2]))
        lean = float(body_axes(tuple(state.quat_xyzw.tolist()))[2][2])  # type: ignore[arg-type]
        return float(self._parameters.mass) * max(GRAVITY + up, 0.0) / max(lean, _MIN_COS_TILT)


def levelled(setpoint: Setpoint) -> Setpoint:
    """What the firmware makes of a setpoint that has aged: no tilt, no turning, height or thrust as it was."""
    zero = (0.0, 0.0, 0.0)
    return replace(
        setpoint,
        xy=Mode.OFF,
        roll=Mode.VALUE,
        pitch=Mode.VALUE,
        yaw=Mode.RATE,
        rpy=zero,
        rates=zero,
        velocity=(0.0, 0.0, setpoint.velocity[2]),
        heading_frame=False,
    )


def _axes_of_rpy(roll: float, pitch: float, yaw: float) -> tuple[Vector, Vector, Vector]:
    """Body axes in the world of R_z(yaw) R_y(pitch) R_x(roll)."""
    cr, sr, cp, sp = math.cos(roll), math.sin(roll), math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    return (
        (cy * cp, sy * cp, -sp),
        (cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, cp * sr),
        (cy * sp * cr + sy * sr, sy * sp * cr - cy * sr, cp * cr),
    )
