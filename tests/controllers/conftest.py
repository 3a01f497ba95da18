"""A flight loop of its own: 1 kHz physics with the inner loops of the level, a controller at 100 Hz."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from closed_loop import closed_loop_function

from control_stack.laws.cascade import InnerLoops, command_columns
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.types import CommandLevel, QuadrotorState

PERIOD, SUBSTEPS = 0.01, 10


@cache
def _plant(vehicle: str, level: CommandLevel):
    parameters = load_vehicle(vehicle)
    step = closed_loop_function(InnerLoops.of(parameters), level, 0.02, PERIOD / SUBSTEPS)
    return step.mapaccum("period", SUBSTEPS), parameters.flatten()


@dataclass
class Flight:
    """times (n,), states (n, 17), reference positions (n, 3); the state is the one the controller saw."""

    times: np.ndarray
    states: np.ndarray
    references: np.ndarray

    def rmse(self, t0: float = 0.0, t1: float = np.inf) -> float:
        inside = (self.times >= t0) & (self.times <= t1)
        error = self.states[inside, :3] - self.references[inside]
        return float(np.sqrt((error**2).sum(-1).mean()))


def start_state(parameters, position, yaw: float = 0.0) -> np.ndarray:
    x = np.zeros(17)
    x[:3], x[8], x[9] = position, np.sin(yaw / 2), np.cos(yaw / 2)
    x[13:] = parameters.hover_rotor_speed
    return x


def as_state(x: np.ndarray, stamp: float = 0.0, rotors: bool = True) -> QuadrotorState:
    return QuadrotorState(x[:3], x[3:6], x[6:10], x[10:13], x[13:17] if rotors else None, stamp)


def fly(controller, trajectory, seconds, vehicle="crazyflie", x0=None, rotors=False, disturbance=None) -> Flight:
    """Flies for some seconds from the trajectory's start (or x0); rotor speeds are hidden by default."""
    period, airframe = _plant(vehicle, controller.level)
    if x0 is None:
        first = trajectory(0.0)
        x0 = start_state(load_vehicle(vehicle), first.position_w, float(first.yaw))
    d = np.zeros(DISTURBANCE_SIZE) if disturbance is None else disturbance
    times = np.arange(round(seconds / PERIOD)) * PERIOD
    x, states, references = np.array(x0, float), [], []
    controller.reset()
    for t in times.tolist():
        reference = replace(trajectory(t), ahead=lambda offset, t=t: trajectory(t + offset))
        states.append(x)
        references.append(reference.position_w)
        command = np.array(command_columns(controller(t, as_state(x, t, rotors), reference)))
        x = np.asarray(period(x, command, d, airframe)[0])[:, -1]
    return Flight(times, np.array(states), np.array(references))


@pytest.fixture
def flight_loop():
    """The functions above, by name."""

    class FlightLoop:
        fly = staticmethod(fly)
        start_state = staticmethod(start_state)
        as_state = staticmethod(as_state)

    return FlightLoop
