"""Flights as data for the residual of a quadrotor: logs of ``control-stack fly``, of simulators and of vehicles alike.

Samples are the states by their stamps while a controller flew. The input of a step is the mean over it of the commands
in force (CTBR), or the rotor speeds at its end (rotors).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.errors import ControlStackError, InvalidInput
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.safety.events import Phase
from control_stack.types import Array, CommandLevel

SHORTEST = 10.0  # s of flight, all logs together
_JITTER = 0.25  # of a period: states further off than that are at irregular times
_IRREGULAR = 0.05  # share of them that is put up with, as interruptions
_STALE = 0.1  # s: a command older than that is not in force any more
_TOLD = ("backend", "controller", "trajectory", "sensors", "air", "seed")  # by the card, of config.yaml
_FEWEST = 20  # samples of a stretch without interruption


@dataclass(frozen=True)
class Stretch:
    """Part of a flight without interruption.

    Attributes:
        states: (T + 1, nx) of ``LongStepQuadrotor``. inputs: (T, 4) of the steps between. wind_w: (3,) m/s.
    """

    states: Array
    inputs: Array
    wind_w: Array


@dataclass(frozen=True)
class FlightLog:
    """A log as it was read.

    Attributes:
        dt: Time between samples, s. stretches: Of its flight.
        about: File, SHA-256, duration and wind, for the card.
    """

    dt: float
    stretches: list[Stretch]
    about: dict[str, Any]

    @property
    def seconds(self) -> float:
        """Of all stretches."""
        return self.dt * sum(len(s.inputs) for s in self.stretches)


def read_log(
    path: str | Path, parameters: QuadrotorParameters, level: CommandLevel, wind_w: Array | None = None
) -> FlightLog:
    """Reads the log of a flight, or of the run folder that holds one.

    Args:
        path: flight.mcap, or its run folder; what config.yaml beside it tells is believed.
        wind_w: (3,) m/s where it is known better; None: the steady wind of config.yaml, without one still air.

    Raises:
        InvalidInput: No log; of another vehicle; without commands of the level, or rotor speeds for rotors; with NaN;
            at irregular times; without a stretch of flight.
    """
    file = Path(path)
    file = file / "flight.mcap" if file.is_dir() else file
    record, config = read_flight(file), _config(file)
    if record.skipped:
        raise InvalidInput(f"{file}: {record.skipped} of its messages hold NaN or cannot be understood")
    _check_vehicle(config, parameters, file)
    t, states = _states(record, level, file)
    dt, breaks = _period(t, file)
    inputs, known = _inputs(record, t, level, file)
    wind, told = _wind(config, wind_w)
    stretches = []
    for part in np.split(np.arange(len(t)), np.flatnonzero(breaks | ~known) + 1):
        if len(part) > _FEWEST:
            stretches.append(Stretch(states[part], inputs[part[:-1]], wind))
    if not stretches:
        raise InvalidInput(f"{file}: no stretch of {_FEWEST * dt:g} s is flown at level '{level.value}'")
    about = {
        "log": file.parent.name + "/" + file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "wind": told,
        **{key: config[key] for key in _TOLD if key in config},
    }
    log = FlightLog(dt, stretches, about)
    about["seconds"] = round(log.seconds, 2)
    return log


def _config(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((file.parent / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_vehicle(config: dict[str, Any], parameters: QuadrotorParameters, file: Path) -> None:
    if "vehicle" not in config:
        return
    try:
        flown = load_vehicle(config["vehicle"]).name
    except ControlStackError:  # its file is no longer where it was
        flown = Path(str(config["vehicle"])).stem
    if flown != parameters.name:
        raise InvalidInput(f"{file}: a flight of '{flown}', not of '{parameters.name}'")


def _states(record: FlightRecord, level: CommandLevel, file: Path) -> tuple[Array, Array]:
    """Times and states while a controller flew (all of a log that does not tell phases), each stamp once."""
    inside = record.valid.copy()
    spans = [(start, stop) for phase, start, stop in record.phases() if phase is Phase.FLYING]
    if record.phases():
        flown = np.zeros(len(inside), dtype=bool)
        for start, stop in spans:
            flown |= (record.t >= start) & (record.t <= stop)
        inside &= flown
    inside[1:] &= np.diff(record.t) > 1e-6  # a lost measurement is the last one again
    t = record.t[inside]
    if len(t) < 2:
        raise InvalidInput(f"{file}: it tells of no flight")
    parts = {
        "position": record.position_w, "velocity": record.velocity_w, "attitude": record.quat_xyzw,
        "body rate": record.omega_b,
    }  # fmt: skip
    for name, values in parts.items():
        for row in np.flatnonzero(~np.isfinite(values[inside]).all(axis=1))[:1]:
            raise InvalidInput(f"{file}: {name} is not finite at {t[row]:.3f} s")
    columns = [values[inside] for values in parts.values()]
    if level is CommandLevel.ROTORS:
        if not len(record.rotor_t):
            raise InvalidInput(f"{file}: it tells no rotor speeds; fit it at level 'ctbr'")
        columns.append(np.stack([np.interp(t, record.rotor_t, w) for w in record.rotor_speed.T], axis=1))
    return t, np.hstack(columns)


def _period(t: Array, file: Path) -> tuple[float, Any]:
    """Time between samples, s, and after which samples there is an interruption (last: always)."""
    steps = np.diff(t)
    dt = float(np.median(steps))
    off = np.abs(steps / dt - np.round(steps / dt)) > _JITTER
    if off.mean() > _IRREGULAR:
        k = int(np.argmax(off))
        raise InvalidInput(
            f"{file}: irregular time: states come {dt:.4g} s apart, but {100.0 * off.mean():.0f} % do not, the first "
            f"{steps[k]:.4g} s after the one at {t[k]:.3f} s"
        )
    return dt, np.append(off | (np.round(steps / dt) != 1), True)


def _inputs(record: FlightRecord, t: Array, level: CommandLevel, file: Path) -> tuple[Array, Any]:
    """(n, 4) inputs of the steps after each state (last: unused), and whether one was known throughout (n,)."""
    if level not in record.commands:
        there = ", ".join(f"'{other.value}'" for other in record.commands) or "none"
        raise InvalidInput(f"{file}: no commands of level '{level.value}'; it has: {there}")
    when, given = record.commands[level]
    following = np.append(t[1:], t[-1])
    latest = np.searchsorted(when, t + 1e-6, side="right") - 1
    known = (latest >= 0) & (t - when[latest] < _STALE)
    if level is CommandLevel.ROTORS:
        return np.stack([np.interp(following, record.rotor_t, w) for w in record.rotor_speed.T], axis=1), known
    # The integral of what was in force, by the stamps of the commands; its slope over a step is the mean.
    ends = np.append(when, max(when[-1], t[-1]) + 1.0)
    total = np.vstack([np.zeros(4), np.cumsum(np.diff(ends)[:, None] * given, axis=0)])
    span = np.maximum(following - t, 1e-9)[:, None]
    at = [np.stack([np.interp(s, ends, column) for column in total.T], axis=1) for s in (t, following)]
    return (at[1] - at[0]) / span, known


def _wind(config: dict[str, Any], given: Array | None) -> tuple[Array, str]:
    """The steady wind, m/s, and what the card says of it. Gusts are not known: they stay in the data as noise."""
    if given is not None:
        return np.asarray(given, dtype=float), f"{','.join(f'{v:g}' for v in given)} (given)"
    text = str(config.get("wind", ""))
    head = text.partition("+dryden:")[0].strip()
    try:
        steady = np.array([float(v) for v in head.split(",")])
    except ValueError:
        steady = np.zeros(3)
    if steady.shape != (3,) or not all(math.isfinite(v) for v in steady):
        steady = np.zeros(3)
    return steady, text or "unknown, taken to be still air"
