"""Speed of the simulators and of the loops around them: control-stack bench sim [--quick] [--json FILE]."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import batched_sim, geometric
from control_stack.artefacts.tables import BenchRow
from control_stack.cli.main import EXIT_INTERRUPTED
from control_stack.cli.main import main as control_stack
from control_stack.errors import FlightAborted
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.trajectories import Lissajous
from control_stack.types import CommandLevel
from controllers.geometric import GeometricController
from sim.config import SimulationConfig
from sim.factory import make_vehicle

DT, PHYSICS_HZ = 0.01, 1000.0
GEOMETRIC = ("--controller", "geometric")


def in_process(seed: int, quick: bool) -> list[BenchRow]:
    """One vehicle with the geometric controller at 100 Hz and 1 kHz physics: no ROS, no log."""
    rows = []
    parameters = load_vehicle("crazyflie")
    reference = Lissajous((0.0, 0.0, 1.0), laps=100)
    for backend, target in (("analytic", ">= 30"), ("bullet", None)):
        for level in (CommandLevel.ROTORS, CommandLevel.CTBR):
            config = SimulationConfig(physics_rate_hz=PHYSICS_HZ, seed=seed, position_w=(0.0, 0.0, 1.0))
            vehicle = make_vehicle(backend, parameters, config)
            vehicle.connect()
            vehicle.arm()
            controller = GeometricController(parameters, level)
            periods = np.empty(500 if quick else 5000)
            for k in range(-100, len(periods)):
                start = time.perf_counter()
                state = vehicle.state()
                vehicle.send(controller(state.stamp, state, reference(state.stamp)))
                vehicle.step(DT)
                if k >= 0:
                    periods[k] = time.perf_counter() - start
            error = np.linalg.norm(vehicle.state().position_w - reference(vehicle.time).position_w)
            vehicle.close()
            name = f"{backend} + geometric at {level.value}, in process"
            rows += [
                BenchRow(name, "real-time factor p50", DT / float(np.percentile(periods, 50)), "x", target),
                BenchRow(name, "real-time factor p99", DT / float(np.percentile(periods, 99)), "x"),
                BenchRow(name, "error at the end", float(error), "m"),
            ]
    return rows


def fly(*arguments: str) -> dict:
    """A flight by the front door in a ROS domain of its own; its summary. Raises FlightAborted if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            code = control_stack(["fly", "--out", str(out), *arguments])
        if code == EXIT_INTERRUPTED:  # it has landed; the bench ends as well
            raise KeyboardInterrupt
        if not (out / "summary.json").is_file():
            raise FlightAborted(f"fly {' '.join(arguments)}: {errors.getvalue().strip()}")
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    # A flight that failed has no figures: NaN meets no target.
    return {key: float("nan") if value is None else value for key, value in summary.items()}


def lockstep(seed: int, quick: bool) -> list[BenchRow]:
    """Two processes over ROS 2 in lockstep at 100 Hz, with log; the whole flight from arming to landing."""
    rows = []
    trajectory = "eight:laps=1" if quick else "eight"
    for backend, target in (("bullet", ">= 2"), ("analytic", None)):
        summary = fly(*GEOMETRIC, "--backend", backend, "--trajectory", trajectory, "--seed", str(seed))
        name = f"{backend} + geometric over ROS, lockstep, two processes"
        rows += [
            BenchRow(name, "real-time factor", summary["real_time_factor"], "x", target),
            BenchRow(name, "period p50", 1e3 * summary["loop_period_p50_s"], "ms"),
            BenchRow(name, "period p99", 1e3 * summary["loop_period_p99_s"], "ms"),
            BenchRow(name, "eight RMSE", summary["position_rmse_m"], "m", "<= 0.10"),
        ]
    return rows


def real_time(seed: int, quick: bool) -> list[BenchRow]:
    """Two processes over ROS 2 on the wall clock; the period is that of the controller's own calls."""
    trajectory = "eight:laps=1" if quick else "eight"
    summary = fly(*GEOMETRIC, "--realtime", "--trajectory", trajectory, "--seed", str(seed))
    name = "bullet + geometric over ROS, real time, 100 Hz"
    return [
        BenchRow(name, "period p50", 1e3 * summary["loop_period_p50_s"], "ms"),
        BenchRow(name, "period error p50", 1e3 * summary["loop_period_error_p50_s"], "ms"),
        BenchRow(name, "period error p99", 1e3 * summary["loop_period_error_p99_s"], "ms", "<= 2"),
        BenchRow(name, "eight RMSE", summary["position_rmse_m"], "m", "<= 0.10"),
    ]


CONDITIONS = (
    (),
    ("--level", "attitude"),
    ("--compute-delay", "fixed"),
    ("--sensors", "mocap"),
    ("--sensors", "vio"),
    ("--wind", "1,0,0"),
    ("--wind", "dryden:light"),
    ("--vehicle", "racer"),
    ("--vehicle", "x500"),
    ("--controller", "lqr"),
)


def tracking(seed: int, quick: bool) -> list[BenchRow]:
    """Errors on the eight in PyBullet under one change at a time from the geometric controller's plain flight."""
    rows = []
    for changes in CONDITIONS:
        flown = changes if "--controller" in changes else (*GEOMETRIC, *changes)
        summary = fly("--no-ros", "--backend", "bullet", "--seed", str(seed), *flown)
        name = f"eight, {' '.join(changes) or 'defaults'}"
        rows += [
            BenchRow(name, "RMSE", summary["position_rmse_m"], "m", None if changes else "<= 0.10"),
            BenchRow(name, "max error", summary["position_max_error_m"], "m"),
        ]
    return rows


GROUPS = {
    "tracking": tracking,
    "geometric controller": geometric.measure,
    "simulators in process": in_process,
    "batched model": batched_sim.measure,
    "ROS lockstep": lockstep,
    "ROS real time": real_time,
}
