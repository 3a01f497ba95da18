"""Flights that follow from a known law exactly enough: flat outputs of a trajectory, no controller, no simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from control_stack.artefacts.log import FlightLog
from control_stack.laws.cascade import InnerLoops
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.quadrotor.residual import FEATURES, TanhNetwork
from control_stack.trajectories import Excite
from control_stack.types import CommandLevel, QuadrotorState, RatesThrustCommand
from controllers.nmpc import flight_reference as layout
from controllers.nmpc.flight_reference import FlightReference

DT = 0.01
VEHICLE = "x500"
EXCITE = Excite((0.0, 0.0, 8.0), (12.0, 12.0, 6.0), 8.0, 40.0)


def draggy(times: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """(p believed, p true): the true vehicle has ``times`` the drag, and some along z."""
    believed = LongStepQuadrotor(load_vehicle(VEHICLE), CommandLevel.CTBR, DT).spec.defaults
    true = believed.copy()
    true[-3:] = times * np.array([0.244, 0.244, 0.1])
    return believed, true


def flight(p: np.ndarray, trajectory=EXCITE, seconds: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """States (T + 1, 13) and inputs (T, 4), means over each step, of a vehicle with parameters p on a trajectory."""
    steps = 2 * round(seconds / DT)
    x = np.zeros(13)
    x[9] = 1.0
    reference = replace(trajectory(0.0), ahead=trajectory)
    y = FlightReference(InnerLoops.of(load_vehicle(VEHICLE)), steps, 0.5 * DT)(reference, x, p)
    # Far references are drawn nearer by it, so positions are the trajectory's own.
    place = np.array([trajectory(0.5 * k * DT).position_w for k in range(steps + 1)])
    parts = [place, *(y[:, s] for s in (layout.VELOCITY, layout.QUAT, layout.OMEGA))]
    states = np.hstack([part[::2] for part in parts])
    return states, np.column_stack([y[1::2, layout.OMEGA], y[1::2, layout.THRUST]])


def write_log(folder: Path, states: np.ndarray, inputs: np.ndarray, vehicle: str = VEHICLE, **changes) -> Path:
    """A run folder with flight.mcap. ``changes``: times=(T + 1,), config={...}, early= s of commands."""
    folder.mkdir(parents=True)
    times = changes.get("times", DT * np.arange(len(states)))
    config = {"vehicle": vehicle, "wind": "none", **changes.get("config", {})}
    (folder / "config.yaml").write_text("".join(f"{key}: '{value}'\n" for key, value in config.items()))
    with FlightLog(folder / "flight.mcap") as log:
        log.event(float(times[0]), 0, "takeoff_done", "", {"phase": "flying"})
        for t, x, u in zip(times.tolist(), states, inputs, strict=False):
            log.state("odom", t, QuadrotorState(x[:3], x[3:6], x[6:10], x[10:13], stamp=t))
            sent = max(t - changes.get("early", 0.0), 0.0)
            log.command("actuators/command", sent, RatesThrustCommand(u[:3], float(u[3]), sent))
    return folder


def drag_network(gain: float = 0.05) -> TanhNetwork:
    """About -gain |a| a, by hand: one unit for each axis, in its linear range."""
    first = np.zeros((3, FEATURES))
    first[range(3), range(3, 6)] = 1e-3
    last = -gain / 1e-3 * np.eye(3)
    return TanhNetwork((first, last), (np.zeros(3), np.zeros(3)), np.zeros(FEATURES), np.ones(FEATURES), np.ones(3))
