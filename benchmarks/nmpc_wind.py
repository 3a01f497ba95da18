"""The eight in winds that no log has seen: the quadrotor's NMPC alone, with a force observer, with a learned residual.

The vehicle is the X500 of its file, in air that does what the file leaves out (``sim.air``). The residual is fitted
from two flights in still air by the shipped commands, three times with other seeds. Every controller gets the same
noisy states, plans with the same weights, and is called by the same loop.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from benchmarks.nmpc_loop import PERIOD, STEP, foreseen
from benchmarks.store import Store
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
# Winds are what errors are a sample of: flights in one wind differ by their gusts alone.
WINDS = (
    "4,0,0+dryden:4", "-2,3,0+dryden:5", "0,-5,0+dryden:6", "-4,-3,0+dryden:8",
    "3,3,0+dryden:5", "5,-2,0+dryden:6", "0,4,0+dryden:7", "-6,1,0+dryden:5",
)  # fmt: skip
GUSTS, FITS = 2, 3  # seeds of gusts in each wind; residuals
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
def fitted(quick: bool, seed: int, folder: Path | None = None) -> ResidualQuadrotor:
    """The model from logs that are flown now, by ``control-stack fly`` and ``control-stack fit residual``.

    Args:
        folder: Where its fit is kept, and looked for; None: nowhere.
    """
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "fit" if folder is None else folder / f"fit-{seed}"
        if not out.is_dir():
            runs = []
            for k, trajectory in enumerate(QUICK_LOGS if quick else LOGS):
                runs.append(str(Path(name) / f"log{k}"))
                _call(
                    "fly", "--no-ros", "--backend", "analytic", "--vehicle", VEHICLE, "--level", LEVEL.value,
                    "--controller", "nmpc", "--air", AIR, "--sensors", SENSORS, "--takeoff-height", "6",
                    "--trajectory", trajectory, "--seed", str(seed + k), "--out", runs[-1],
                )  # fmt: skip
            made = Path(name) / "made"
            _call(
                "fit", "residual", *runs, "--vehicle", VEHICLE, "--level", LEVEL.value, "--seed", str(seed),
                "--out", str(made),
            )  # fmt: skip
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made, out.with_suffix(".partial"), dirs_exist_ok=True)
            out.with_suffix(".partial").rename(out)  # a fit that is there is whole
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


def errors(quick: bool, seed: int, store: Store, folder: Path | None = None) -> dict[str, Array]:
    """RMSE of each rival, m: (residuals, winds), means over gusts; the nominal model is one residual.

    Args:
        store: Keeps what has been flown. folder: Keeps the fits.
    """
    winds, gusts, fits = (WINDS[:1], 1, 1) if quick else (WINDS, GUSTS, FITS)
    found = {}
    for name, with_residual, estimator in RIVALS:
        noise = None if estimator == "none" else estimator_noise(estimator)

        def flown(number: int, with_residual: bool = with_residual, noise: FilterNoise | None = noise) -> list[float]:
            pilot = controller(fitted(quick, seed + 10 * number, folder) if with_residual else None, noise)
            rows = [[fly_eight(pilot, wind, 100 + s).rmse() for s in range(gusts)] for wind in winds]
            return [float(np.mean(row)) for row in rows]

        count = fits if with_residual else 1
        found[name] = np.array([store.get(f"{name}, {k}", partial(flown, k)) for k in range(count)])
    return found


def _call(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = control_stack(arguments)
    if code:
        raise FlightAborted(f"{' '.join(arguments)}: {said.getvalue().strip()}")
