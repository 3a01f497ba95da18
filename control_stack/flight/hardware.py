"""A flight of a vehicle whose time is not ours: the same two sides on the vehicle's clock, no steps, no truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from control_stack.errors import FlightAborted
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.recorder import Recorder
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import Vehicle
from control_stack.safety.events import AIRBORNE, Event, Phase, Severity, position_values
from control_stack.safety.fence import MARGIN, parse_fence
from control_stack.types import QuadrotorState

_FRESH = 1.0  # s to wait for a state to arm or take off by
_YOUNG = 0.1  # s: of such a state
_PATIENCE = 1.5  # periods until the flight goes on without a new state, so that its time-outs run


@dataclass(frozen=True)
class Check:
    """One line of a pre-flight list. ``ok`` False: it will not arm, or should not."""

    name: str
    ok: bool
    detail: str


def fence_checks(text: str, takeoff_height: float, state: QuadrotorState) -> list[Check]:
    """The line for a fence, if there is one: whether the vehicle is inside, and the take-off that comes next.

    Args:
        text: As ``parse_fence`` takes it.
        takeoff_height: m.
        state: Where it stands to be armed.
    """
    fence = parse_fence(text)
    if fence is None:
        return []
    where, ground = state.position_w, float(state.position_w[2])
    above = where + np.array([0.0, 0.0, takeoff_height])
    inside = fence.contains(where, ground)
    detail = f"the vehicle is {'inside' if inside else 'outside'} {text}"
    if inside and not fence.contains(above, ground, MARGIN):
        return [
            Check(
                "fence", False, f"{detail}, but comes within {MARGIN:g} m of it by taking off to {takeoff_height:g} m"
            )
        ]
    return [Check("fence", inside, detail)]


class HardwareVehicle(Vehicle, Protocol):
    """A real vehicle, or an emulated one over the same wire."""

    def now(self) -> float:
        """Time on the clock of the states' stamps, s."""

    def link_status(self) -> dict[str, float]:
        """How good the link is, in the driver's own terms, for diagnostics."""

    def preflight(self) -> list[Check]:
        """What is known of the connected vehicle before it is armed. Arms nothing."""

    def lost_control(self) -> str | None:
        """Why our commands are not flown any more (a pilot or a failsafe took over), None while they are."""


@runtime_checkable
class TellsStates(Protocol):
    """A vehicle that can be waited for: its flight runs when a state arrives, not on a timer of its own.

    A timer of the same rate drifts against the vehicle's: states are then up to a period old when they are used.
    """

    def wait_for_state(self, patience: float) -> bool:
        """Waits for a state newer than the last one read; whether one came within ``patience`` s."""


class HardwareFlight(InProcessFlight):
    """As in simulation, but time passes by itself.

    When a pilot or the autopilot's own failsafe takes over, this flight is over: it sends nothing more, neither a
    landing nor a disarm, and only watches until the vehicle is down.
    """

    def __init__(
        self,
        vehicle: HardwareVehicle,
        side: VehicleSide,
        controllers: ControllerSide,
        timing: Timing,
        recorder: Recorder,
    ):
        if isinstance(vehicle, TellsStates):
            timing = replace(timing, pace=lambda: _paced(vehicle, _PATIENCE * timing.dt))
        super().__init__(vehicle, side, controllers, timing, recorder)  # type: ignore[arg-type]
        self._hardware = vehicle
        self._released = False

    @property
    def t(self) -> float:
        """The vehicle's clock, s."""
        return self._hardware.now()

    def land(self, progress: Callable[[float, Phase], None]) -> None:
        """Lands and disarms, unless somebody else has the vehicle."""
        if not self._released:
            super().land(progress)

    def _truth(self) -> QuadrotorState | None:
        return None

    def _control_time(self, t: float, state: QuadrotorState) -> float:
        """That of the state: a reference of now would be compared with where the vehicle was a link's delay ago."""
        return state.stamp if state.valid else t

    def _act(self, t: float, measured: float) -> None:
        reason = self._hardware.lost_control() if self._side.phase in AIRBORNE else None
        if reason is not None:
            self._released = True
            self._recorder.event(Event(t, Severity.ERROR, "control_lost", reason, position_values(self._side.state)))
            raise FlightAborted(f"{reason}: control is left to it")
        self._side.act(self.t)

    def _arm(self) -> None:
        self._await_state()  # the controller's first answer may have taken its time
        super()._arm()
        try:
            self.tick()  # the vehicle arms here, which takes its time: the climb must not begin before
        except FlightAborted:
            self._side.supervisor.disarm(self.t)
            raise
        self._await_state()
        self.tick()
        self._await_state()

    def _await_state(self) -> None:
        """Takes a state that is not old already, if one comes: what blocks this loop makes all states old."""
        for _ in range(math.ceil(_FRESH / self._timing.dt)):
            state = self._side.observe()
            if self.t - state.stamp < _YOUNG:
                return
            self._timing.pace()


def _paced(vehicle: TellsStates, patience: float) -> None:
    vehicle.wait_for_state(patience)
