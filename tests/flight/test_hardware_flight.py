"""A vehicle whose time is not ours, driven in steps: what blocks the loop does not make its states too old."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import FlightAborted
from control_stack.flight.advance import ComputeDelay
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.hardware import Check, HardwareFlight, fence_checks
from control_stack.flight.in_process import Timing
from control_stack.flight.recorder import Recorder
from control_stack.flight.setpoints import Setpoints
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import VehicleSpec
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.trajectories import Hover
from control_stack.types import Command, CommandLevel, QuadrotorState
from controllers.loader import build_controller
from sim.config import SimulationConfig
from sim.factory import make_vehicle

DT = 0.01


class Behind:
    """A simulated vehicle behind a link: a state comes when it is waited for, and arming blocks for ``arming`` s."""

    def __init__(self, arming: float, silent: bool = False):
        parameters = load_vehicle("crazyflie")
        self._inner = make_vehicle("analytic", parameters, SimulationConfig())
        self._inner.connect()
        self.spec = VehicleSpec("behind", tuple(CommandLevel)[1:5], 1.0 / DT)
        self._arming, self._silent = arming, silent
        self.clock = self._stamp = 0.0
        self._state = self._inner.state()

    def now(self) -> float:
        return self.clock

    def state(self) -> QuadrotorState:
        return replace(self._state, stamp=self._stamp)

    def wait_for_state(self, patience: float) -> bool:
        self._inner.step(DT)
        self.clock += DT
        if not self._silent:
            self._state, self._stamp = self._inner.state(), self.clock
        return not self._silent

    def arm(self) -> None:
        self._inner.arm()
        self.clock += self._arming

    def disarm(self) -> None:
        self._inner.disarm()

    def send(self, command: Command) -> Command:
        return self._inner.send(command)

    def connect(self) -> None: ...

    def close(self) -> None: ...

    def external_pose(self, position_w: np.ndarray, quat_xyzw: np.ndarray, stamp: float) -> None: ...

    def link_status(self) -> dict[str, float]:
        return {}

    def preflight(self) -> list[Check]:
        return []

    def lost_control(self) -> str | None:
        return None


def flight_of(vehicle: Behind) -> tuple[HardwareFlight, VehicleSide]:
    parameters = load_vehicle("crazyflie")
    built = {"geometric": build_controller("geometric", parameters, [CommandLevel.CTBR])}
    side = VehicleSide(vehicle, parameters, SafetyConfig())
    controllers = ControllerSide(built, "geometric", Setpoints(parameters.limits))
    return HardwareFlight(vehicle, side, controllers, Timing(DT, DT, ComputeDelay()), Recorder(None)), side


def test_arming_that_blocks_the_loop_is_followed_by_a_fresh_state_and_a_flight() -> None:
    """PX4 takes two seconds to arm, and states are trusted for 0.3 s."""
    flight, side = flight_of(Behind(arming=2.0))
    phases: list[Phase] = []
    flight.run(Hover((0.0, 0.0, 1.0), duration=1.0), lambda t, phase: phases.append(phase))
    assert list(dict.fromkeys(phases)) == [Phase.TAKEOFF, Phase.FLYING, Phase.LANDING, Phase.DISARMED]
    assert side.phase is Phase.DISARMED


def test_when_no_fresh_state_comes_the_refusal_names_age_and_limit() -> None:
    vehicle = Behind(arming=0.0, silent=True)
    vehicle.clock = 0.5
    flight, side = flight_of(vehicle)
    with pytest.raises(
        FlightAborted, match=r"newest state is 1\d\d\d ms old \(at most 300\): this computer or the link"
    ):
        flight.run(Hover((0.0, 0.0, 1.0), duration=1.0), lambda t, phase: None)
    assert side.phase is Phase.DISARMED


@pytest.mark.parametrize(
    ("fence", "height", "ok", "said"),
    [
        ("none", 1.0, None, ""),
        ("-1,-1,1,1,2", 1.0, True, "inside"),
        ("1,1,2,2,2", 1.0, False, "outside"),
        ("-1,-1,1,1,1.05", 1.0, False, "taking off to 1 m"),
        ("-0.05,-1,1,1,2", 1.0, False, "taking off"),  # it stands inside, but within the margin
    ],
)
def test_the_pre_flight_line_of_the_fence(fence: str, height: float, ok: bool | None, said: str) -> None:
    checks = fence_checks(fence, height, Behind(arming=0.0).state())
    assert [(c.name, c.ok) for c in checks] == ([] if ok is None else [("fence", ok)])
    assert all(said in check.detail for check in checks)
