"""A controller of your own: control-stack fly --controller examples/my_controller.py:MyController"""

import numpy as np

from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import AttitudeThrustCommand, CommandLevel
from controllers.base import BaseController


class MyController(BaseController):
    """A PD law on position that flies by tilting: for small angles acceleration = g (pitch, -roll)."""

    levels = (CommandLevel.ATTITUDE,)

    def __call__(self, t, state, reference):
        """Tilt towards the error, carry the weight."""
        error = reference.position_w - state.position_w
        drift = reference.velocity_w - state.velocity_w
        push = np.clip(6.0 * error + 4.0 * drift + reference.acceleration_w, -4.0, 4.0)
        roll, pitch = -push[1] / GRAVITY, push[0] / GRAVITY
        attitude = np.array([roll / 2, pitch / 2, 0.0, 1.0])
        thrust = self.parameters.mass * (GRAVITY + push[2])
        return AttitudeThrustCommand(attitude / np.linalg.norm(attitude), thrust)
