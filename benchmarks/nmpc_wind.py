"""The eight in winds that no log has seen: the quadrotor's NMPC alone, with a force observer, with a learned residual.

The vehicle is the X500 of its file, in air that does what the file leaves out (``sim.air``). The residual is fitted
from two flights in still air by the shipped commands. Every controller gets the same noisy states, plans with the same
weights, and is called by the same loop.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.nmpc_loop import PERIOD, STEP, foreseen
from control_stack.cli import main as control_stack
from control_stack.errors import FlightAborted
from control_stack.learning.residual_file import load_residual
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.quadrotor.residual import ResidualQuadrotor
from control_stack.trajectories import Lissajous
from control_stack.types import Array, CommandLevel
from controllers.nmpc.disturbance import DisturbanceFilter, FilterNoise, estimator_noise
from controllers.nmpc.quadrotor import NmpcController
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.sensors import sensor_preset
from sim.wind import parse_wind

VEHICLE, LEVEL, SENSORS, AIR = "x500", CommandLevel.CTBR, "rtk", "full"
EIGHT = Lissajous((0.0, 0.0, 6.0), size=(4.0, 2.0), lap=7.0, laps=1, ramp=2.0)
# Training: still air. What the controllers meet later differs in speed and direction; gusts by the Dryden model.
LOGS = ("excite:size=14x14x6,period=9,duration=60", "eight:size=9x4,lap=10,laps=4")
QUICK_LOGS = ("excite:size=12x12x6,period=8,duration=25",)
WINDS = ("4,0,0+dryden:4", "-2,3,0+dryden:5", "0,-5,0+dryden:6", "-4,-3,0+dryden:8")
# Of the controllers: name, whether with the residual, estimator.
RIVALS = (
    ("nominal", False, "none"),
    ("nominal + force observer", False, "force"),
    ("nominal + wind filter", False, "wind"),
    ("learned, no estimator", True, "none"),
    ("learned + force observer", True, "force"),
    ("learned + wind filter", True, "wind"),
)


@dataclass(frozen=True)
class Flown:
    """position_w, reference_w, wind_w: (n, 3) each, 100 per second."""

    position_w: Array
    reference_w: Array
    wind_w: Array

    def rmse(self) -> float:
        """Of position over the laps at full rate, m."""
        first, last = (round(t / PERIOD) for t in EIGHT.steady_interval)
        error = (self.position_w - self.reference_w)[first:last]
        return float(np.sqrt(np.square(error).sum(axis=1).mean()))


@cache
def fitted(quick: bool, seed: int) -> ResidualQuadrotor:
    """The model from logs that are flown now, by ``control-stack fly`` and ``control-stack fit residual``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = []
        for k, trajectory in enumerate(QUICK_LOGS if quick else LOGS):
            runs.append(str(folder / f"log{k}"))
            _call(
                "fly", "--no-ros", "--backend", "analytic", "--vehicle", VEHICLE, "--level", LEVEL.value,
                "--controller", "nmpc", "--air", AIR, "--sensors", SENSORS, "--takeoff-height", "6",
                "--trajectory", trajectory, "--seed", str(seed + k), "--out", runs[-1],
            )  # fmt: skip
        out = folder / "fit"
        _call(
            "fit", "residual", *runs, "--vehicle", VEHICLE, "--level", LEVEL.value, "--seed", str(seed),
            "--out", str(out),
        )  # fmt: skip
        return load_residual(out, load_vehicle(VEHICLE), LEVEL, STEP)


def controller(learned: ResidualQuadrotor | None, noise: FilterNoise | None) -> NmpcController:
    """The same NMPC with or without the residual and an estimator."""
    parameters = load_vehicle(VEHICLE)
    model = learned or LongStepQuadrotor(parameters, LEVEL, STEP)
    estimator = None if noise is None else DisturbanceFilter(model, noise, PERIOD)
    return NmpcController(parameters, LEVEL, 1.0 / PERIOD, model=model, estimator=estimator)


def fly_eight(pilot: NmpcController, wind: str, seed: int) -> Flown:
    """Flies the eight from hover to the end of its lap at full rate."""
    pilot.reset()
    simulation = SimulationConfig(
        seed=seed, position_w=tuple(EIGHT(0.0).position_w.tolist()), wind=parse_wind(wind),  # type: ignore[arg-type]
        sensors=sensor_preset(SENSORS), air=AIR,
    )  # fmt: skip
    vehicle = make_vehicle("analytic", load_vehicle(VEHICLE), simulation)
    vehicle.connect()
    vehicle.arm()
    rows: list[tuple[Array, Array, Array]] = []
    for k in range(round(EIGHT.steady_interval[1] / PERIOD)):
        state, reference = vehicle.state(), foreseen(EIGHT, k * PERIOD)
        vehicle.send(pilot(k * PERIOD, state, reference))
        rows.append((vehicle.true_state().position_w, reference.position_w, vehicle.wind_w))
        vehicle.step(PERIOD)
    vehicle.close()
    return Flown(*(np.array(column) for column in zip(*rows, strict=True)))


def errors(quick: bool, seed: int) -> dict[str, Array]:
    """RMSE of each rival, m: (winds, seeds)."""
    learned = fitted(quick, seed)
    winds, seeds = (WINDS[:1], 1) if quick else (WINDS, 5)
    found = {}
    for name, with_residual, estimator in RIVALS:
        noise = None if estimator == "none" else estimator_noise(estimator)
        pilot = controller(learned if with_residual else None, noise)
        found[name] = np.array([[fly_eight(pilot, wind, 100 + s).rmse() for s in range(seeds)] for wind in winds])
    return found


def interval(values: Array, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Mean of all flights and its 95 % bootstrap interval, flights drawn anew."""
    flat, random = values.ravel(), np.random.default_rng(seed)
    means = flat[random.integers(0, len(flat), (draws, len(flat)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5]).tolist()
    return float(flat.mean()), low, high


def share_saved(own: Array, rival: Array, seed: int) -> tuple[float, float, float]:
    """By how much own's mean error lies below the rival's, as a share, and its 95 % bootstrap interval of pairs."""
    pairs, random = np.stack([own.ravel(), rival.ravel()], axis=1), np.random.default_rng(seed)
    drawn = pairs[random.integers(0, len(pairs), (2000, len(pairs)))].mean(axis=1)
    low, high = np.percentile(1.0 - drawn[:, 0] / drawn[:, 1], [2.5, 97.5]).tolist()
    return float(1.0 - pairs[:, 0].mean() / pairs[:, 1].mean()), low, high


def _call(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = control_stack(arguments)
    if code:
        raise FlightAborted(f"{' '.join(arguments)}: {said.getvalue().strip()}")
