"""A flight in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from control_stack.cli.report import Outcome
from control_stack.flight.advance import ComputeDelay
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.in_process import InProcessFlight, Timing
from control_stack.flight.recorder import Recorder
from control_stack.flight.setpoints import Setpoints
from control_stack.flight.vehicle_side import VehicleSide
from control_stack.log import FlightLog
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import CommandLevel, QuadrotorState

if TYPE_CHECKING:
    from control_stack.cli.fly import FlyConfig, _Progress


def fly_in_process(
    config: FlyConfig,
    parameters: QuadrotorParameters,
    log: Path,
    make: Callable[[QuadrotorState], Trajectory],
    progress: _Progress,
) -> Outcome:
    """Flies; on Ctrl-C it lands first. The log is closed whatever happens."""
    from controllers.loader import build_controller
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
    )
    vehicle = make_vehicle(config.backend, parameters, simulation)
    vehicle.connect()
    levels = [CommandLevel(v) for v in config.levels]
    built = {name: build_controller(name, parameters, levels, config.control_rate) for name in config.controllers}
    controllers = ControllerSide(built, config.controller, Setpoints(parameters.limits))
    side = VehicleSide(vehicle, parameters, SafetyConfig(takeoff_height=config.takeoff_height))
    dt = 1.0 / config.control_rate
    pace = _Pacer(dt / config.real_time_factor) if config.real_time_factor else (lambda: None)
    timing = Timing(dt, 1.0 / config.physics_rate, ComputeDelay(config.compute_delay, dt), pace)
    recorder = Recorder(FlightLog(log))
    flight = InProcessFlight(vehicle, side, controllers, timing, recorder)
    outcome = Outcome()
    started = time.monotonic()
    try:
        trajectory = make(vehicle.state())
        progress.expect(trajectory.duration + 9.0)
        flight.run(trajectory, progress)
    except KeyboardInterrupt:
        outcome.interrupted = True
        flight.land(progress)
    finally:
        outcome.real_time_factor = flight.t / max(time.monotonic() - started, 1e-9)
        periods = np.diff(controllers.call_times)
        if len(periods):
            outcome.loop_period_p50_s, outcome.loop_period_p99_s = np.percentile(periods, [50, 99]).tolist()
        outcome.rejections = dict(side.rejections.counts)
        recorder.close()
        vehicle.close()
    return outcome


class _Pacer:
    """Sleeps to an absolute grid of the wall clock, so that errors do not add up."""

    def __init__(self, period: float):
        self._period = period
        self._next = time.monotonic() + period

    def __call__(self) -> None:
        time.sleep(max(self._next - time.monotonic(), 0.0))
        self._next += self._period
