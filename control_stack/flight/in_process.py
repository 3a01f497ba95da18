"""A whole flight in one process, without ROS: the same two sides, called in turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from control_stack.errors import FlightAborted, InputRejected
from control_stack.flight.advance import ComputeDelay, advance
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.recorder import Recorder
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import SimulatedVehicle, Trajectory
from control_stack.safety.events import AIRBORNE, Event, Phase, Reply, Severity
from control_stack.types import QuadrotorState

_PATIENCE = 30.0  # s beyond what a take-off or landing should last


@dataclass(frozen=True)
class Timing:
    """dt: control period, s; physics_dt: s; delay: of commands; pace: called once a period (real time)."""

    dt: float
    physics_dt: float
    delay: ComputeDelay
    pace: Callable[[], None] = lambda: None


class InProcessFlight:
    """Arms, takes off, flies a trajectory and lands, one ``tick`` per control period.

    A controller that raises is dead from then on, as a process of its own would be: the supervisor lands.
    """

    def __init__(
        self,
        vehicle: SimulatedVehicle,
        side: VehicleSide,
        controllers: ControllerSide,
        timing: Timing,
        recorder: Recorder,
    ):
        self._vehicle, self._side, self._controllers = vehicle, side, controllers
        self._timing, self._recorder = timing, recorder
        side.on_event = recorder.event
        self._ticks = 0
        self._failure: str | None = None

    @property
    def t(self) -> float:
        """Simulated time, s."""
        return self._ticks * self._timing.dt

    def tick(self) -> None:
        """One control period."""
        t, timing, side = self.t, self._timing, self._side
        before, state, truth = side.phase, side.observe(), self._truth()
        flying = side.phase is Phase.FLYING
        measured = 0.0 if self._failure else self._control(t, state, flying)
        self._act(t, measured)
        self._recorder.period(t, side, truth)
        if flying and not self._failure and self._controllers.last_reference is not None:
            self._recorder.reference(self._control_time(t, state), self._controllers.last_reference)
        for event in self._controllers.drain_events():
            self._recorder.event(event)
        if side.phase is Phase.DISARMED and before is not Phase.DISARMED:
            self._controllers.landed()
        self._ticks += 1
        timing.pace()

    def _truth(self) -> QuadrotorState | None:
        """The state without noise or delay, where there is one to know."""
        return self._vehicle.true_state()

    def _control_time(self, t: float, state: QuadrotorState) -> float:
        """The time for which the controller is asked, s."""
        return t

    def _act(self, t: float, measured: float) -> None:
        """Sends what the supervisor decides, and lets one period pass; ``measured``: compute time, s."""
        timing = self._timing
        advance(self._side, self._vehicle, t, timing.dt, timing.physics_dt, timing.delay.seconds(measured))

    def _arm(self) -> None:
        """Raises FlightAborted if it is refused."""
        _require(self._side.supervisor.arm(self.t, self._side.state))

    def _control(self, t: float, state: QuadrotorState, flying: bool) -> float:
        """Lets the controller answer; returns the wall time it took, s."""
        if not state.is_finite():  # as the controller node does
            self._side.rejections.add("odom", InputRejected("nan"))
            return 0.0
        try:
            command = self._controllers.compute(self._control_time(t, state), state, flying)
        except FlightAborted as error:  # the supervisor brings the vehicle down
            self._failure = str(error)
            self._recorder.event(Event(t, Severity.ERROR, "controller_failed", self._failure))
            return 0.0
        except InputRejected as error:  # counted; the supervisor's time-out runs
            self._side.rejections.add("command", error)
        else:
            with suppress(InputRejected):  # counted where it was raised
                self._side.receive(t, command)
        return self._controllers.solve_times[-1]

    def run(self, trajectory: Trajectory, progress: Callable[[float, Phase], None]) -> None:
        """Flies the trajectory from take-off to landing. Raises FlightAborted if it went otherwise."""
        supervisor = self._side.supervisor
        self._controllers.setpoints.follow(trajectory, None)
        self.tick()
        self._arm()
        _require(supervisor.takeoff(self.t, self._side.state))
        limit = supervisor.takeoff_duration() + _PATIENCE
        self._until(lambda: self._side.phase is not Phase.TAKEOFF, limit, progress)
        flying_until = self.t + trajectory.duration + 1.0
        self._until(lambda: self.t >= flying_until or self._side.phase not in AIRBORNE, np.inf, progress)
        self.land(progress)
        if self._failure:
            raise FlightAborted(self._failure)

    def land(self, progress: Callable[[float, Phase], None]) -> None:
        """Lands if airborne, and flies on until the vehicle has disarmed."""
        if self._side.phase in AIRBORNE:
            _require(self._side.supervisor.land(self.t, self._side.state))
        height = np.nan_to_num(abs(self._side.state.position_w[2]))
        limit = height / self._side.supervisor.config.land_speed + _PATIENCE
        self._until(lambda: self._side.phase not in AIRBORNE, limit, progress)
        settled = self.t + 0.2
        self._until(lambda: self.t >= settled, 1.0, progress)

    def _until(self, done: Callable[[], bool], limit: float, progress: Callable[[float, Phase], None]) -> None:
        deadline = self.t + limit
        while not done():
            if self.t > deadline:
                phase = self._side.phase.value
                raise FlightAborted(f"phase {phase} did not end within {limit:.0f} s of simulated time")
            self.tick()
            progress(self.t, self._side.phase)


def _require(reply: Reply) -> None:
    if not reply.accepted:
        raise FlightAborted(reply.message)
