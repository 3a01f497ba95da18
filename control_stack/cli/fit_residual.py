"""control-stack fit residual: learns from flight logs the acceleration that a quadrotor's equations leave out.

DIR gets model.safetensors with its card model.json, which tells vehicle, level, logs, winds and held-out errors. Fly
with it: control-stack fly --controller nmpc --model DIR. A fit of minutes of flight takes well under a minute.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from control_stack.artefacts.tables import table
from control_stack.artefacts.tensors import training_of
from control_stack.cli.arguments import check_seed
from control_stack.cli.training import load_torch
from control_stack.errors import InvalidInput
from control_stack.types import Array, CommandLevel

LEVELS = (CommandLevel.CTBR.value, CommandLevel.ROTORS.value)


def add_parser(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind to ``control-stack fit``."""
    parser = kinds.add_parser("residual", help="what a quadrotor's equations leave out", description=__doc__)
    add = parser.add_argument
    add("logs", nargs="+", metavar="LOG", help="flight.mcap files, or run folders of control-stack fly")
    add("--vehicle", required=True, metavar="NAME|FILE", help="vehicle of the logs")
    add("--level", required=True, choices=LEVELS, help="command level that was flown, and is to be flown")
    add("--out", required=True, metavar="DIR", help="folder of the fit, new or empty")
    add(
        "--wind", nargs="+", metavar="X,Y,Z", default=[],
        help="steady wind of each log, m/s, or one for all (default: as config.yaml beside a log says, else still air)",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="of the network's first weights and of the batches (default 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fits; returns the exit code."""
    from control_stack.learning.flight_data import read_log
    from control_stack.learning.residual_file import FILE, save_residual
    from control_stack.quadrotor.parameters import load_vehicle

    check_seed(options.seed)
    parameters, level = load_vehicle(options.vehicle), CommandLevel(options.level)
    winds = _winds(options.wind, len(options.logs))
    folder = Path(options.out)
    if not options.out or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InvalidInput(f"--out needs a new or empty folder, got '{options.out}'")
    load_torch()

    from control_stack.learning.residual_fit import fit_residual

    logs = [read_log(path, parameters, level, wind) for path, wind in zip(options.logs, winds, strict=True)]
    started = time.monotonic()
    with tqdm(unit="epoch", file=sys.stderr, desc="fit residual", leave=False, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = fit_residual(logs, parameters, level, options.seed, progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"--out {folder}: {error.strerror}") from None
    training = training_of(_command(options), options.seed, time.monotonic() - started)
    figures = {**found.figures, "notes": found.notes}
    abouts = [log.about for log in logs]
    save_residual(folder / FILE, found.network, parameters, level, logs=abouts, training=training, figures=figures)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    _print(found.figures)
    print(f"model: {folder / FILE}")
    return 0


def _winds(texts: list[str], count: int) -> list[Array | None]:
    if not texts:
        return [None] * count
    if len(texts) not in (1, count):
        raise InvalidInput(f"--wind: one for all logs or one for each of the {count}, got {len(texts)}")
    winds = []
    for text in texts:
        try:
            wind = np.array([float(v) for v in text.split(",")])
        except ValueError:
            wind = np.zeros(0)
        if wind.shape != (3,) or not np.isfinite(wind).all():
            raise InvalidInput(f"--wind: expected x,y,z in m/s, got '{text}'")
        winds.append(wind)
    return [winds[k if len(winds) > 1 else 0] for k in range(count)]


def _command(options: argparse.Namespace) -> str:
    """What fits the same again, from the same logs."""
    words = ["control-stack", "fit", "residual", *["LOG"] * len(options.logs)]
    words += ["--vehicle", Path(options.vehicle).name, "--level", options.level, "--out", "DIR"]
    words += ["--wind", *options.wind] if options.wind else []
    return shlex.join([*words, "--seed", str(options.seed)])


def _print(figures: dict[str, Any]) -> None:
    """Held-out errors, nominal beside learned."""
    one, ahead = figures["acceleration_rmse_m_s2"], figures["rollout"]
    rows = []
    for name in ("nominal", "learned"):
        rows.append((f"{name}: acceleration in body axes [m/s^2]", *one[name]))
        if name in ahead:
            rows.append((f"{name}: position after {ahead['seconds']:g} s [m]", *ahead[name]["position_m"]))
            rows.append((f"{name}: velocity after {ahead['seconds']:g} s [m/s]", *ahead[name]["velocity_m_s"]))
    print(table(sorted(rows, key=lambda row: row[0].partition(": ")[2]), ("held-out RMS", "x", "y", "z")))
    print(
        f"{figures['flight_s']:.0f} s of flight, airspeed up to {figures['airspeed_p99_m_s']:.1f} m/s (99 % below); "
        f"{figures['kept']}"
    )
