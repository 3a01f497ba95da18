"""The foundation policy: one recurrent network that flies X quadrotors by rotor speeds, without a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.foundation.observation import Wrapper, features
from control_stack.foundation.pacing import PacedPolicy
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import MOTOR_ORDER, YAW_TORQUE_SIGNS, PolicyWeights, load
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Command, CommandLevel, QuadrotorState, Reference, RotorCommand
from controllers.base import BaseController
from controllers.columns import components, state_columns

_SIDES = {"F": 1.0, "B": -1.0, "L": 1.0, "R": -1.0}  # sign of x, and of y, in FLU
# m between the position and where the velocity was leading it: the policy would take more for a new flight.
_JUMP = 0.5


class FoundationController(BaseController):
    """Errors in the setpoint's yaw frame in, rotor speeds (a + 1) / 2 * maximum out; see ``observation``.

    For one vehicle. Its memory moves on at 100 Hz and starts afresh on ``reset``, when time goes back, and when
    the position jumps as an estimator's reset makes it jump. While others take off, it learns what it sits on: the
    rotor speeds that the vehicle measures are its previous action, and to stay where it is is what it is asked for.
    Where they are not measured, its memory starts afresh when its commands come into force. A state or reference
    that is not finite gets the last valid command once; at the second one the call raises InputRejected ("nan"),
    which ends this controller: the supervisor holds and lands.
    """

    name: ClassVar[str] = "foundation"
    levels: ClassVar[tuple[CommandLevel, ...]] = (CommandLevel.ROTORS,)
    level_note: ClassVar[str] = "fly it in the firmware: 'control-stack export foundation' writes it in that format"
    needs: ClassVar[tuple[str, ...]] = ("rotor_speed",)
    # In another controller's flight it would learn from motion that it does not cause, so it takes over at once.
    warm_up: ClassVar[int] = 1
    weights: ClassVar[PolicyWeights | None] = None  # None: the shipped ones

    def __init__(self, parameters: QuadrotorParameters, level: CommandLevel, rate_hz: float = 100.0):
        super().__init__(parameters, level, rate_hz)
        self._motors = motor_of_rotor(parameters)
        policy = GRUPolicy(self.weights or load())
        self._flown = policy.weights
        self._wrapper = Wrapper(lead=policy.weights.lead)
        self._policy = PacedPolicy(policy, rate_hz)
        airframe = parameters.airframe
        self._ranges = tuple(zip(self._motors, airframe.rotor_speed_min, airframe.rotor_speed_max, strict=True))
        self._last: tuple[float, ...] | None = None
        self._blind = False  # the last call was idle, and nothing told what flew the vehicle

    @classmethod
    def flying(cls, weights: str | Path | PolicyWeights) -> type[FoundationController]:
        """This controller with other weights: of a file, as ``foundation:FILE.safetensors`` names it."""
        # Loaded here, so that a file that cannot be flown is refused before anything starts.
        loaded = weights if isinstance(weights, PolicyWeights) else load(weights)
        return type(cls.__name__, (cls,), {"weights": loaded})

    @property
    def verifiable(self) -> PolicyWeights:
        """The weights that fly."""
        return self._flown

    def reset(self) -> None:
        """Forgets the flight."""
        self._policy.reset()
        self._last, self._blind = None, False

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """Rotor speeds for one vehicle."""
        x = state_columns(state)
        position, velocity = components(reference.position_w), components(reference.velocity_w)
        acceleration, jerk = components(reference.acceleration_w), components(reference.jerk_w)
        yaw = float(reference.yaw)
        if not math.isfinite(sum(x) + sum(position) + sum(velocity) + sum(acceleration) + sum(jerk) + yaw):
            action = self._policy.hold()
        else:
            # Until its commands are in force the reference is the state itself (flight/setpoints.py).
            idle = reference.position_w is state.position_w
            others = self._sent_by_others(state) if idle else None
            if self._jumped(t, x) or ((idle or self._blind) and others is None):
                self._policy.reset()
            self._last, self._blind = (t, *x[:6]), idle and others is None
            if idle:
                velocity = (0.0, 0.0, 0.0)
            action = self._policy(t, features(x, position, velocity, acceleration, jerk, yaw, self._wrapper))
            if others is not None:
                self._policy.flown_by_others(others)
        speeds = [min(max(0.5 * (action[m] + 1.0) * high, low), high) for m, low, high in self._ranges]
        return RotorCommand(np.array(speeds), state.stamp)

    def _sent_by_others(self, state: QuadrotorState) -> list[float] | None:
        """The policy's action that would turn the rotors as they turn, 4 floats; None where nobody measures them."""
        if state.rotor_speed is None or not np.isfinite(state.rotor_speed).all():
            return None
        action = [0.0] * 4
        for (m, _, high), speed in zip(self._ranges, state.rotor_speed.tolist(), strict=True):
            action[m] = 2.0 * speed / high - 1.0
        return action

    def _jumped(self, t: float, x: tuple[float, ...]) -> bool:
        """Whether the position is where neither the last velocity nor this one can have led."""
        if self._last is None:
            return False
        then, px, py, pz, vx, vy, vz = self._last
        dt = t - then
        before = math.hypot(x[0] - px - vx * dt, x[1] - py - vy * dt, x[2] - pz - vz * dt)
        after = math.hypot(x[0] - px - x[3] * dt, x[1] - py - x[4] * dt, x[2] - pz - x[5] * dt)
        return min(before, after) > _JUMP


def motor_of_rotor(parameters: QuadrotorParameters) -> tuple[int, int, int, int]:
    """For each rotor of the vehicle file the policy's motor (FR, BR, BL, FL) that stands and turns like it.

    Raises:
        InvalidInput: The vehicle is no X quad, or its rotors turn the other way round.
    """
    place, spin = np.asarray(parameters.rotor_position), np.asarray(parameters.rotor_spin)
    motors = []
    for x, y in place[:, :2].tolist():
        fits = [m for m, side in enumerate(MOTOR_ORDER) if x * _SIDES[side[0]] > 0.0 and y * _SIDES[side[1]] > 0.0]
        motors.append(fits[0] if fits else -1)
    who = f"the foundation policy cannot fly vehicle '{parameters.name}'"
    if sorted(motors) != [0, 1, 2, 3]:
        raise InvalidInput(f"{who}: it needs an X quad, one rotor front right, back right, back left and front left")
    wanted = np.array([YAW_TORQUE_SIGNS[m] for m in motors])
    if np.array_equal(spin, -wanted):
        raise InvalidInput(
            f"{who}: its rotors are mirrored, every one turns the other way than the policy's "
            f"(front right must turn counter-clockwise from above, spin -1)"
        )
    if not np.array_equal(spin, wanted):
        raise InvalidInput(f"{who}: spins {spin.tolist()} of its rotors do not fit, expected {wanted.tolist()}")
    return tuple(motors)  # type: ignore[return-value]
