"""What the side that owns the controllers tells of a filter: when it began to change commands, and when it let go."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.setpoints import Setpoints
from control_stack.protocols import Controller
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.barrier.filter import SafetyFilter
from control_stack.safety.barrier.scene import Scene, Walls
from control_stack.safety.events import Severity
from control_stack.types import CommandLevel, QuadrotorState
from controllers.geometric import GeometricController

pytest.importorskip("daqp")
VEHICLE = load_vehicle("crazyflie")
FAR, WALL = (0.0, 0.0), (0.95, 1.5)  # place and speed along x: at rest in the middle, and fast before a wall


def guarded() -> ControllerSide:
    guard = SafetyFilter(Scene("hall", Walls(x=(-1.0, 1.0))), VEHICLE)
    controllers: dict[str, Controller] = {"geometric": GeometricController(VEHICLE, CommandLevel.CTBR)}
    return ControllerSide(controllers, "geometric", Setpoints(VEHICLE.limits), guard=guard)


def fly(side: ControllerSide, start: float, seconds: float, where: tuple[float, float], flying: bool = True) -> list:
    """(time, severity, name) of what was told while the vehicle was in one place."""
    position, velocity = np.array([where[0], 0.0, 1.0]), np.array([where[1], 0.0, 0.0])
    for k in range(round(100 * seconds)):
        t = start + 0.01 * k
        state = QuadrotorState(position, velocity, np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), stamp=t)
        side.compute(t, state, flying)
    return [(event.t, event.severity, event.name) for event in side.drain_events()]


def test_a_filter_that_changes_commands_is_told_once_and_that_it_lets_go_after_a_quarter_of_a_second() -> None:
    side = guarded()
    assert fly(side, 0.0, 0.5, FAR) == []
    ((began, severity, name),) = fly(side, 1.0, 0.5, WALL)
    assert name in ("filter_changed", "filter_fallback") and began == 1.0
    assert severity is (Severity.WARN if name == "filter_fallback" else Severity.OK)
    ((t, _, name),) = fly(side, 1.5, 0.5, FAR)
    assert name == "filter_quiet" and t == pytest.approx(1.74)


def test_a_filter_lets_go_where_the_controller_does_not_fly_any_more() -> None:
    side = guarded()
    assert len(fly(side, 1.0, 0.1, WALL)) == 1
    assert fly(side, 1.1, 0.5, WALL, flying=False) == [(1.1, Severity.OK, "filter_quiet")]
    assert len(fly(side, 1.6, 0.1, WALL)) == 1
