"""A whole flight in one process, without ROS: the same two sides, called in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from control_stack.errors import FlightAborted, InputRejected
from control_stack.flight.advance import ComputeDelay, advance
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.recorder import Recorder
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import SimulatedVehicle, Trajectory
from control_stack.safety.events import AIRBORNE, Phase, Reply


@dataclass(frozen=True)
class Timing:
    """dt: control period, s; physics_dt: s; delay: of the controller; pace: called once per period (real time)."""

    dt: float
    physics_dt: float
    delay: ComputeDelay
    pace: Callable[[], None] = lambda: None


class InProcessFlight:
    """Arms, takes off, flies a trajectory and lands, one ``tick`` per control period."""

    def __init__(
        self, vehicle: SimulatedVehicle, side: VehicleSide, controllers: ControllerSide, timing: Timing, recorder: Recorder
    ):
        self._vehicle, self._side, self._controllers = vehicle, side, controllers
        self._timing, self._recorder = timing, recorder
        side.on_event = recorder.event
        self._ticks = 0

    @property
    def t(self) -> float:
        return self._ticks * self._timing.dt

    def tick(self) -> None:
        t, timing, side = self.t, self._timing, self._side
        state, truth = side.observe(), self._vehicle.true_state()
        flying = side.phase is Phase.FLYING
        command = self._controllers.compute(t, state, flying)
        measured = self._controllers.solve_times[-1]
        try:
            side.receive(t, command)
        except InputRejected:
            pass  # counted; the supervisor's time-out runs
        advance(side, self._vehicle, t, timing.dt, timing.physics_dt, timing.delay.seconds(measured))
        self._recorder.period(t, side, truth)
        if flying and self._controllers.last_reference is not None:
            self._recorder.reference(t, self._controllers.last_reference)
        self._ticks += 1
        timing.pace()

    def run(self, trajectory: Trajectory, progress: Callable[[float, Phase], None]) -> None:
        """Flies the trajectory from take-off to landing. Raises FlightAborted when a phase is refused or lost."""
        supervisor = self._side.supervisor
        self._controllers.setpoints.follow(trajectory, None)
        self.tick()
        _require(supervisor.arm(self.t, self._side.state))
        _require(supervisor.takeoff(self.t, self._side.state))
        self._until(lambda: self._side.phase is not Phase.TAKEOFF, 30.0, progress)
        flying_until = self.t + trajectory.duration + 1.0
        self._until(lambda: self.t >= flying_until or self._side.phase not in AIRBORNE, np.inf, progress)
        self.land(progress)

    def land(self, progress: Callable[[float, Phase], None]) -> None:
        """Lands if airborne, and flies on until the vehicle has disarmed."""
        if self._side.phase in AIRBORNE:
            _require(self._side.supervisor.land(self.t, self._side.state))
        self._until(lambda: self._side.phase not in AIRBORNE, 60.0, progress)
        settled = self.t + 0.2
        self._until(lambda: self.t >= settled, 1.0, progress)

    def _until(self, done: Callable[[], bool], limit: float, progress: Callable[[float, Phase], None]) -> None:
        deadline = self.t + limit
        while not done():
            if self.t > deadline:
                raise FlightAborted(f"phase {self._side.phase.value} did not end within {limit:g} s of simulated time")
            self.tick()
            progress(self.t, self._side.phase)


def _require(reply: Reply) -> None:
    if not reply.accepted:
        raise FlightAborted(reply.message)
