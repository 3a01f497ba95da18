"""A flight in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from control_stack.artefacts.log import FlightLog
from control_stack.cli.flight import FlyConfig, Outcome, ProgressBar
from control_stack.errors import FlightAborted
from control_stack.flight.advance import ComputeDelay
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.recorder import Recorder
from control_stack.flight.setpoints import Setpoints
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.protocols import Trajectory, Vehicle
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.barrier.filter import build_filter
from control_stack.safety.events import Phase
from control_stack.safety.fence import parse_fence
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import CommandLevel, QuadrotorState

_Self = TypeVar("_Self", bound="InProcess")


class InProcess:
    """Vehicle and controllers, built; a call flies them once. As a context manager it closes the vehicle."""

    def __init__(self, config: FlyConfig, parameters: QuadrotorParameters):
        """Raises a ControlStackError for what cannot be built, before a run folder is made for it."""
        from controllers.loader import build_controller, check_proved

        self._config = config
        levels, rate = [CommandLevel(v) for v in config.levels], config.control_rate
        names = (*config.controllers, *config.fallback)
        built = {name: build_controller(name, parameters, levels, rate) for name in names}
        check_proved(config.verify, built)
        deadline = 1.0 / rate if config.real_time_factor else math.inf  # in lockstep time waits
        setpoints = Setpoints(parameters.limits)
        guard = build_filter(config.filter, parameters, rate)
        self._controllers = ControllerSide(built, config.controller, setpoints, config.fallback, deadline, guard)
        self._vehicle = self._build(config, parameters)
        safety = SafetyConfig(takeoff_height=config.takeoff_height, fence=parse_fence(config.fence))
        self._side = VehicleSide(self._vehicle, parameters, safety)

    def _build(self, config: FlyConfig, parameters: QuadrotorParameters) -> Vehicle:
        """The vehicle, connected."""
        from sim.config import SimulationConfig
        from sim.factory import make_vehicle
        from sim.sensors import sensor_preset
        from sim.wind import parse_wind

        simulation = SimulationConfig(
            physics_rate_hz=config.physics_rate,
            control_rate_hz=config.control_rate,
            seed=config.seed,
            wind=parse_wind(config.wind),
            sensors=sensor_preset(config.sensors),
            air=config.air,
        )
        vehicle = make_vehicle(config.backend, parameters, simulation)
        vehicle.connect()
        return vehicle

    def _flight(self, timing: Timing, recorder: Recorder) -> InProcessFlight:
        return InProcessFlight(self._vehicle, self._side, self._controllers, timing, recorder)  # type: ignore[arg-type]

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._vehicle.close()

    def __call__(
        self,
        folder: Path,
        log: Path,
        make: Callable[[QuadrotorState], Trajectory],
        progress: ProgressBar,
        check: Callable[[], None],
    ) -> Outcome:
        """Flies; when ``check`` raises KeyboardInterrupt it lands first, on a second one it cuts.

        The log is closed whatever happens.
        """
        config, controllers = self._config, self._controllers
        dt = 1.0 / config.control_rate
        pace = _Pacer(dt / config.real_time_factor) if config.real_time_factor else (lambda: None)
        timing = Timing(dt, 1.0 / config.physics_rate, ComputeDelay(config.compute_delay, dt), pace)
        recorder = Recorder(FlightLog(log))
        flight = self._flight(timing, recorder)
        outcome = Outcome()

        def watched(t: float, phase: Phase) -> None:
            progress(t, phase)
            check()

        started, began = time.monotonic(), flight.t
        try:
            trajectory = make(self._vehicle.state())
            progress.expect(trajectory.duration + 9.0)
            self._fly(flight, trajectory, watched, outcome)
        finally:
            outcome.real_time_factor = (flight.t - began) / max(time.monotonic() - started, 1e-9)
            periods = np.diff(controllers.call_times)
            if len(periods):
                p50, p99 = np.percentile(periods, [50, 99]).tolist()
                outcome.loop_period_p50_s, outcome.loop_period_p99_s = p50, p99
            outcome.rejections = dict(self._side.rejections.counts)
            outcome.filter = controllers.filter_report()
            recorder.close()
        return outcome

    def _fly(
        self,
        flight: InProcessFlight,
        trajectory: Trajectory,
        watched: Callable[[float, Phase], None],
        outcome: Outcome,
    ) -> None:
        try:
            try:
                flight.run(trajectory, watched)
            except FlightAborted as error:
                outcome.aborted = str(error)
                flight.land(watched)
            except KeyboardInterrupt:
                outcome.interrupted = True
                flight.land(watched)
        except (FlightAborted, KeyboardInterrupt) as error:  # it does not come down, or not soon enough
            outcome.interrupted |= isinstance(error, KeyboardInterrupt)
            self._side.supervisor.emergency(flight.t)
            flight.land(lambda t, phase: None)


class _Pacer:
    """Sleeps to an absolute grid of the wall clock, so that errors do not add up."""

    def __init__(self, period: float):
        self._period = period
        self._next = time.monotonic() + period

    def __call__(self) -> None:
        time.sleep(max(self._next - time.monotonic(), 0.0))
        self._next += self._period
