"""Flying on poses from outside: with them, without them, and with them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.trajectories import Hover
from sim.quadrotor import EXTERNAL_POSE_TIMEOUT

HERE = Hover((0.0, 0.0, 1.0145))


class Tracking:
    """A motion capture at 100 Hz that tells the truth while it sees the vehicle."""

    def __init__(self, flight: Any):
        self.seen, self._flight = True, flight
        self.last = flight.t

    def fly(self, seconds: float) -> None:
        """Periods, each with a pose before it where the vehicle is seen."""
        for _ in range(round(seconds / 0.01)):
            self.tick()

    def tick(self) -> None:
        flight = self._flight
        if self.seen:
            truth = flight.truth
            flight.vehicle.external_pose(truth.position_w, truth.quat_xyzw, flight.t)
            self.last = flight.t
        flight.flight.tick()

    def until(self, *phases: Phase) -> None:
        while self._flight.phase not in phases:
            assert self._flight.t < 60.0
            self.tick()


@pytest.fixture
def flying(rig: Callable) -> tuple[Any, Tracking]:
    """A flight one second after its take-over, and what tracks it."""
    flight = rig(pose_source="external")
    tracking = Tracking(flight)
    flight.controllers.setpoints.follow(HERE)
    tracking.tick()
    tracking.tick()
    supervisor = flight.side.supervisor
    assert supervisor.arm(flight.t, flight.side.state).accepted
    assert supervisor.takeoff(flight.t, flight.side.state).accepted
    tracking.until(Phase.FLYING)
    tracking.fly(1.0)
    return flight, tracking


def test_it_hovers_on_poses_from_outside(flying: tuple[Any, Tracking]) -> None:
    flight, tracking = flying
    tracking.fly(1.0)
    np.testing.assert_allclose(flight.truth.position_w, HERE(0.0).position_w, atol=0.01)


def test_poses_lost_for_good_end_in_a_blind_descent(flying: tuple[Any, Tracking]) -> None:
    flight, tracking = flying
    tracking.seen = False
    tracking.until(Phase.EMERGENCY)
    patience = EXTERNAL_POSE_TIMEOUT + SafetyConfig().state_timeout
    assert flight.memory.event_time("state_timeout") - tracking.last == pytest.approx(patience, abs=0.03)
    flight.fly(0.2)
    down = flight.truth
    assert down.position_w[2] < 0.03 and down.quat_xyzw[3] > 0.99 and flight.side.sent is None


def test_poses_lost_for_less_than_the_time_out_change_nothing(flying: tuple[Any, Tracking]) -> None:
    flight, tracking = flying
    tracking.seen = False
    tracking.fly(0.3)
    tracking.seen = True
    tracking.fly(2.0)
    assert flight.phase is Phase.FLYING
    np.testing.assert_allclose(flight.truth.position_w, HERE(0.0).position_w, atol=0.02)
