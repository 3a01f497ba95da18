"""The reference itself as a setpoint, at the two levels that no shipped controller emits, to measure links at them."""

from __future__ import annotations

import numpy as np

from control_stack.types import Command, CommandLevel, PositionCommand, QuadrotorState, Reference, VelocityCommand
from controllers.base import BaseController

_GAIN = 1.5  # 1/s, of velocity per position error


class PositionSetpoints(BaseController):
    """Position with the velocity along the path."""

    levels = (CommandLevel.POSITION,)

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """Where the reference is."""
        return PositionCommand(reference.position_w, reference.velocity_w, reference.yaw, state.stamp)


class VelocitySetpoints(BaseController):
    """Velocity along the path, and towards it."""

    levels = (CommandLevel.VELOCITY,)

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """How it moves, and back to it."""
        velocity = reference.velocity_w + _GAIN * (np.asarray(reference.position_w) - state.position_w)
        return VelocityCommand(velocity, reference.yaw, stamp=state.stamp)
