"""A flight over ROS 2: the vehicle's node and the controller node as processes, and a client that flies the mission."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from control_stack.cli.flight import FlyConfig, Outcome, ProgressBar
from control_stack.cli.processes import NodeProgram, Nodes
from control_stack.errors import FlightAborted
from control_stack.protocols import Trajectory
from control_stack.types import QuadrotorState


def owner(config: FlyConfig, log: Path) -> NodeProgram:
    """The node that owns the vehicle: the sim node, or for a vehicle's link the hardware node."""
    if config.uri is None:
        return NodeProgram("sim.node", "sim", sim_parameters(config, log))
    parameters = {
        "vehicle": config.vehicle,
        "backend": config.backend,
        "uri": config.uri,
        "arm": True,  # without --arm no node is started
        "fence": config.fence,
        "control_rate": config.control_rate,
        "takeoff_height": config.takeoff_height,
        "log_path": str(log.resolve()),
    }
    return NodeProgram("hardware.node", "hardware", parameters)


def sim_parameters(config: FlyConfig, log: Path) -> dict[str, Any]:
    """Parameters of the sim node for this flight."""
    return {
        "vehicle": config.vehicle,
        "backend": config.backend,
        "lockstep": config.real_time_factor is None,
        "real_time_factor": float(config.real_time_factor or 1.0),
        "compute_delay": config.compute_delay,
        "fixed_delay": 1.0 / config.control_rate,
        "control_rate": config.control_rate,
        "physics_rate": config.physics_rate,
        "seed": config.seed,
        "wind": config.wind,
        "sensors": config.sensors,
        "air": config.air,
        "takeoff_height": config.takeoff_height,
        "fence": config.fence,
        "log_path": str(log.resolve()),
    }


def controller_parameters(config: FlyConfig) -> dict[str, Any]:
    """Parameters of the controller node for this flight."""
    return {
        "vehicle": config.vehicle,
        "controller": config.controller,
        "controllers": list(config.controllers),
        "levels": list(config.levels),
        "lockstep": config.real_time_factor is None,
        "driven_by": "timer" if config.uri is None else "states",
        "fallback": ",".join(config.fallback),
        "filter": config.filter or "",
        "verify": config.verify or "",
        "real_time_factor": float(config.real_time_factor or 1.0),
        "control_rate": config.control_rate,
    }


def over_ros(config: FlyConfig) -> Callable[..., Outcome]:
    """The flight, ready to be called. Raises InvalidInput where a vehicle node is running already."""
    from control_stack.ros.exclusive import claim

    claim(config.namespace).close()  # before a run folder is made; the vehicle's node claims it for the flight
    return partial(fly_ros, config)


def fly_ros(
    config: FlyConfig,
    folder: Path,
    log: Path,
    make: Callable[[QuadrotorState], Trajectory],
    progress: ProgressBar,
    check: Callable[[], None],
) -> Outcome:
    """Flies; when ``check`` raises KeyboardInterrupt it lands first, on a second one it cuts.

    The nodes end with the flight.
    """
    from control_stack.ros.client import FlightClient

    nodes, vehicle = Nodes(folder), owner(config, log)

    def watch(*names: str) -> None:
        check()
        nodes.alive(*names)

    client = FlightClient(config.namespace, watch)
    outcome = Outcome()

    def planned(state: QuadrotorState) -> Trajectory:
        trajectory = make(state)
        progress.expect(trajectory.duration + 9.0)
        return trajectory

    try:
        nodes.start(*vehicle, config.namespace)
        nodes.start("controllers.node", "controller", controller_parameters(config), config.namespace)
        started, t0 = time.monotonic(), 0.0
        try:
            try:
                client.wait_ready()
                started, t0 = time.monotonic(), client.t
                client.fly(planned, progress)
            except KeyboardInterrupt:
                outcome.interrupted = True
                client.land(progress)
            except FlightAborted as error:
                # If it is the controller that is gone, the supervisor beside the vehicle brings it down.
                outcome.aborted = str(error)
                client.alive = partial(watch, vehicle.name)
                client.land(progress)
        except KeyboardInterrupt:
            outcome.interrupted = True
            client.alive = partial(nodes.alive, vehicle.name)
            with suppress(FlightAborted):
                client.call("emergency")
        except FlightAborted as error:  # its node is gone as well: nobody here has the vehicle any more
            outcome.aborted = outcome.aborted or str(error)
        outcome.real_time_factor = (client.t - t0) / max(time.monotonic() - started, 1e-9)
        values = client.status("controller")
        for key in ("period_p50", "period_p99", "period_error_p50", "period_error_p99"):
            setattr(outcome, f"loop_{key}_s", float(values.get(f"loop_{key}_s", "nan")))
        counts = {**client.status(vehicle.name), **values}
        outcome.filter = {key: float(v) for key, v in values.items() if key.startswith("filter_")}
        outcome.rejections = {key: int(v) for key, v in counts.items() if "/" in key}
    finally:
        nodes.stop()
        client.close()
    return outcome
