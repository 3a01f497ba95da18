"""The inner loops of a quadrotor: from a command of any level down to rotor speeds.

One copy serves controllers (which run the upper part), simulated vehicles and link emulators (which run the
lower part at physics rate). Stateless, written over components: floats in a loop, ``SX`` inside a compiled
step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from control_stack.algebra import (
    Vector,
    body_axes,
    clip,
    dot,
    maximum,
    norm,
    quat_from_axes,
    subtract,
)
from control_stack.laws.allocation import Mixer, lead_rotor_speeds, rotor_speeds
from control_stack.laws.attitude import attitude_rates, desired_attitude, desired_rates, rate_torque
from control_stack.laws.position import specific_force, tracking_acceleration
from control_stack.quadrotor.parameters import Airframe, ControlGains, QuadrotorParameters
from control_stack.types import (
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

Columns = tuple[Any, ...]


def command_columns(command: Command) -> tuple[float, ...]:
    """One vehicle's command as floats, in the layout that ``InnerLoops.rotor_command`` reads."""
    match command:
        case RotorCommand():
            return _floats(command.rotor_speed)
        case RatesThrustCommand():
            return (*_floats(command.omega_b), float(command.thrust))
        case AttitudeThrustCommand():
            return (*_floats(command.quat_xyzw), float(command.thrust), *_floats(command.omega_b))
        case VelocityCommand():
            return (*_floats(command.velocity_w), float(command.yaw), float(command.yaw_rate))
        case PositionCommand():
            return (*_floats(command.position_w), *_floats(command.velocity_w), float(command.yaw))


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class InnerLoops:
    """Laws of one vehicle, tuned by its file. ``airframe`` is what the loops believe, not what is flown."""

    airframe: Airframe
    mixer: Mixer
    gains: ControlGains
    tan_max_tilt: float
    max_rate: tuple[float, float, float]
    max_specific_thrust: float

    @classmethod
    def of(cls, parameters: QuadrotorParameters) -> InnerLoops:
        """The loops of one vehicle, with the gains and limits of its file."""
        gains = parameters.gains
        as_floats = ControlGains(
            *(tuple(g.tolist()) for g in (gains.position, gains.velocity, gains.attitude, gains.rate))  # type: ignore[arg-type]
        )
        limits = parameters.limits
        return cls(
            parameters.airframe,
            Mixer.of(parameters),
            as_floats,
            math.tan(limits.tilt),
            tuple(limits.body_rate.tolist()),
            # A tenth of the thrust stays free for attitude control.
            0.9 * parameters.max_thrust / float(parameters.mass),
        )

    def flat_command(
        self,
        x: Columns,
        position: Vector,
        velocity: Vector,
        acceleration: Vector,
        jerk: Vector,
        yaw: Any,
        yaw_rate: Any,
    ) -> tuple[Vector, Any, tuple[Vector, Vector, Vector], Vector]:
        """Lee's tracking law down to CTBR: (body rates, thrust N, desired axes, desired rates).

        Thrust is the wanted force along the *actual* body z axis: F . R e_z.
        """
        wanted = tracking_acceleration(
            subtract(position, x[0:3]),
            subtract(velocity, x[3:6]),
            acceleration,
            self.gains.position,
            self.gains.velocity,
        )
        force = specific_force(wanted, self.tan_max_tilt, self.max_specific_thrust)
        axes = desired_attitude(force, yaw)
        omega_d = desired_rates(axes, norm(force), jerk, yaw_rate)
        rates = attitude_rates(x[6:10], axes, omega_d, self.gains.attitude, self.max_rate)
        thrust = self.airframe.mass * maximum(dot(force, body_axes(x[6:10])[2]), 0.0)
        return rates, thrust, axes, omega_d

    def rate_command(self, x: Columns, omega: Vector, thrust: Any) -> Columns:
        """Rotor speeds (rad/s) that bring the body rates to omega at this thrust, without lead."""
        torque = rate_torque(x[10:13], omega, self.airframe.inertia, self.gains.rate)
        return rotor_speeds(thrust, torque, self.mixer, self.airframe)

    def rotor_command(self, level: CommandLevel, command: Columns, x: Columns) -> Columns:
        """Rotor speed commands for a command of any level at state x (17 components)."""
        if level is CommandLevel.ROTORS:
            low, high = self.airframe.rotor_speed_min, self.airframe.rotor_speed_max
            return tuple(clip(command[i], low[i], high[i]) for i in range(4))
        zero = (0.0 * x[0],) * 3
        if level is CommandLevel.CTBR:
            omega, thrust = command[0:3], command[3]
        elif level is CommandLevel.ATTITUDE:
            axes = body_axes(command[0:4])  # type: ignore[arg-type]
            omega = attitude_rates(x[6:10], axes, command[5:8], self.gains.attitude, self.max_rate)  # type: ignore[arg-type]
            thrust = command[4]
        elif level is CommandLevel.VELOCITY:
            omega, thrust, _, _ = self.flat_command(
                x,
                x[0:3],
                command[0:3],
                zero,
                zero,
                command[3],
                command[4],  # type: ignore[arg-type]
            )
        elif level is CommandLevel.POSITION:
            omega, thrust, _, _ = self.flat_command(
                x,
                command[0:3],
                command[3:6],
                zero,
                zero,
                command[6],
                zero[0],  # type: ignore[arg-type]
            )
        else:
            raise ValueError(f"a quadrotor has no inner loops for level '{level.value}'")
        return lead_rotor_speeds(self.rate_command(x, omega, thrust), x[13:17], self.airframe)  # type: ignore[arg-type]


def attitude_command(axes: tuple[Vector, Vector, Vector]) -> tuple[Any, Any, Any, Any]:
    """Quaternion of desired axes, for the attitude level."""
    return quat_from_axes(*axes)
