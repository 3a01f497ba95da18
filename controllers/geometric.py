"""Geometric tracking on SE(3) (Lee, Leok, McClamroch 2010, CDC) by rotor speeds, body rates or attitude."""

from __future__ import annotations

from typing import Any, ClassVar

from control_stack.algebra import Vector, add, rotate, rotate_inverse
from control_stack.laws.allocation import lead_rotor_speeds
from control_stack.laws.cascade import InnerLoops, attitude_command
from control_stack.laws.rotor_model import RotorModel
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import (
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    QuadrotorState,
    RatesThrustCommand,
    Reference,
    RotorCommand,
)
from controllers.base import BaseController
from controllers.columns import array_of, components, scalar, state_columns


class GeometricController(BaseController):
    """Lee's tracking law with the core's inner loops, tuned by the vehicle file.

        F/m = k_p e_p + k_v e_v + a_ref + R D R^T v_ref / m + g e_z    (with the vehicle's linear drag D)

    gives the wanted attitude; see ``control_stack.laws``. States and references may have leading dimensions:
    one vehicle runs on floats, a batch on arrays, by the same laws. Body rates are fed forward from the jerk.

    At rotor level the lag of the motors is compensated with a model of their speeds that the controller
    keeps; measured speeds, where the state has them, correct it.
    """

    name: ClassVar[str] = "geometric"
    levels: ClassVar[tuple[CommandLevel, ...]] = (
        CommandLevel.ROTORS,
        CommandLevel.CTBR,
        CommandLevel.ATTITUDE,
    )

    def __init__(self, parameters: QuadrotorParameters, level: CommandLevel, rate_hz: float = 100.0):
        super().__init__(parameters, level, rate_hz)
        self._loops = InnerLoops.of(parameters)
        airframe = parameters.airframe
        self._drag = tuple(d / airframe.mass for d in airframe.drag)
        self._rotors = RotorModel(parameters, 1.0 / rate_hz)

    def reset(self) -> None:
        """Forgets the rotor speeds."""
        self._rotors.reset()

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """Command of this controller's level; ``t`` is not used."""
        x = state_columns(state)
        velocity = components(reference.velocity_w)
        acceleration = add(components(reference.acceleration_w), self._drag_acceleration(x[6:10], velocity))
        rates, thrust, axes, omega_d = self._loops.flat_command(
            x,
            components(reference.position_w),
            velocity,
            acceleration,
            components(reference.jerk_w),
            scalar(reference.yaw),
            scalar(reference.yaw_rate),
        )
        if self.level is CommandLevel.CTBR:
            return RatesThrustCommand(array_of(rates), thrust, state.stamp)
        if self.level is CommandLevel.ATTITUDE:
            return AttitudeThrustCommand(array_of(attitude_command(axes)), thrust, array_of(omega_d), state.stamp)
        wanted = self._loops.rate_command(x, rates, thrust)
        command = lead_rotor_speeds(wanted, self._rotors.observe(state), self._loops.airframe)
        self._rotors.advance(command)
        return RotorCommand(array_of(command), state.stamp)

    def _drag_acceleration(self, quat: Any, velocity: Vector) -> Vector:
        """What drag takes away at the reference velocity, m/s^2, world."""
        v = rotate_inverse(quat, velocity)
        d = self._drag
        return rotate(quat, (d[0] * v[0], d[1] * v[1], d[2] * v[2]))
