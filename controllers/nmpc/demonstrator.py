"""NMPC as the expert of quadrotor tracking: it flies the vehicles of the imitation task, rotor by rotor.

It sees the whole state and the reference ahead; what it does is limited to the task's box of actions, as everyone's is.
"""

from __future__ import annotations

import numpy as np

from control_stack.learning.imitation.quadrotor_lanes import DT, VEHICLE, QuadrotorLanes
from control_stack.learning.imitation.tasks import Policy
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import Array, CommandLevel, QuadrotorState, RotorCommand
from controllers.nmpc.quadrotor import NmpcController

WHAT = "NMPC at rotor level, actions limited to the task's box"


def nmpc_expert(lanes: QuadrotorLanes) -> Policy:
    """A policy of all lanes, each with a controller of its own; new for every round of episodes."""
    parameters = load_vehicle(VEHICLE)
    controllers = [NmpcController(parameters, CommandLevel.ROTORS, 1.0 / DT) for _ in range(len(lanes))]
    top = np.asarray(parameters.rotor_speed_max, dtype=float)

    def act(seen: Array) -> Array:
        x, clock = lanes.vehicles(), lanes.clock()
        raw = np.zeros((len(controllers), 4))
        for k, controller in enumerate(controllers):
            t = float(clock[k])
            state = QuadrotorState(x[k, 0:3], x[k, 3:6], x[k, 6:10], x[k, 10:13], top * x[k, 13:17], stamp=t)
            if not state.is_finite():  # an episode that has failed is parked anywhere
                continue
            command = controller(t, state, lanes.reference(k, t))
            if isinstance(command, RotorCommand):
                raw[k] = 2.0 * command.rotor_speed / top - 1.0
        return lanes.scaled(raw)

    return act
