"""What a filter must take for unknown acceleration, m/s^2, from flights or from a certified model: ``margin: model``.

From flights: of N whole ones, exchangeable with those to come, each one's largest error of the equations that the
filter believes; their ceil((N + 1)(1 - delta))-th smallest is not exceeded anywhere along a new flight with
probability 1 - delta. From a certified model: where a box of [x, u, p] holds, its residual adds to the affine step

    |v' - (affine)| <= max over the box of |g_v|  +  e

with the maximum proved by linear bounds, and e the conformal error of the model itself. That is a margin for a filter
whose own equations are the affine step; what else they differ by has to be added by whoever knows it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts.runs import write_json
from control_stack.bounds import Box, Input, Network, split_bounds
from control_stack.errors import InvalidInput
from control_stack.learning.flight_data import FlightLog
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import conformal
from control_stack.learning.residual import residual_samples
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import Array, CommandLevel

FORMAT = "control-stack margin, 1"
AVERAGED = 0.1  # s over which errors are averaged: a filter's vehicle does not follow anything shorter


@dataclass(frozen=True)
class LearnedMargin:
    """A bound and where it comes from.

    Attributes:
        acceleration: m/s^2. vehicle: Whose flights they were. delta: Probability that a flight exceeds it.
        flights: Number of them. proved: Part of it that is a model's bound on a box, m/s^2; 0 without a model.
        source: In words.
    """

    acceleration: float
    vehicle: str
    delta: float
    flights: int
    proved: float
    source: str


def of_flights(
    logs: Sequence[FlightLog], parameters: QuadrotorParameters, level: CommandLevel, delta: float
) -> LearnedMargin:
    """The margin from the vehicle file's equations.

    Args:
        logs: One flight each, with the wind that is to be counted as known (still air: all wind counts as unknown).
        level: At which they were flown.

    Raises:
        InvalidInput: Too few flights for delta.
    """
    worst = []
    for log in logs:
        model = LongStepQuadrotor(parameters, level, log.dt)
        over = max(1, round(AVERAGED / log.dt))
        errors = [0.0]
        for part in log.stretches:
            p = model.spec.defaults.copy()
            p[0:3] = part.wind_w
            if len(part.inputs) >= over:
                _, missing = residual_samples(model, part.states, part.inputs, p, over)
                errors.append(float(np.linalg.norm(missing, axis=1).max()))
        worst.append(max(errors))
    found = conformal(np.array(worst), delta)
    return LearnedMargin(found, parameters.name, delta, len(logs), 0.0, f"flights at {level.value}")


def of_model(
    model: LipschitzDynamics, velocity: Sequence[str], box: Box, states: Array, inputs: Array, delta: float,
    vehicle: str,
) -> LearnedMargin:  # fmt: skip
    """The margin from a certified model in a box.

    Args:
        velocity: Names of the states that are components of the velocity.
        box: (n,) of [x, u, p] that flights do not leave.
        states: (N, steps + 1, nx), inputs: (N, steps, nu), of whole flights within the box, that the model was not
            fitted to. delta: As above. vehicle: Of the flights.

    Raises:
        InvalidInput: No certificate, no such state, flights outside the box, or too few of them.
    """
    if not isinstance(model, LipschitzDynamics):
        raise InvalidInput(f"margin: a model with a certificate is needed, got {type(model).__name__}")
    unknown = [name for name in velocity if name not in model.spec.state]
    if unknown or not velocity:
        raise InvalidInput(f"margin: no state '{', '.join(unknown)}'; there are {', '.join(model.spec.state)}")
    if box.size != model.matrix.shape[1] or box.batch:
        raise InvalidInput(f"margin: a box of {box.size} channels, the model has {model.matrix.shape[1]}")
    nx, nu = model.nx, model.nu
    flown = np.concatenate([states[:, :-1], inputs], -1)
    if (flown < box.lower[: nx + nu]).any() or (flown > box.upper[: nx + nu]).any():
        raise InvalidInput("margin: a flight leaves the box: what is proved there says nothing of it")
    rows = [model.spec.state.index(name) for name in velocity]
    bounds = split_bounds(Network(model.network.node(Input(box.size))), box)
    largest = np.maximum(np.abs(bounds.lower), np.abs(bounds.upper))[rows]
    proved = float(np.linalg.norm(largest))
    error = (states[:, 1:] - model.step(states[:, :-1], inputs))[..., rows] / model.spec.dt
    left = conformal(np.linalg.norm(error, axis=-1).max(axis=1), delta)
    return LearnedMargin(proved + left, vehicle, delta, len(states), proved, "a certified model on a box")


def write(margin: LearnedMargin, path: str | Path) -> None:
    """Writes JSON that a scene's ``margin: {model: PATH}`` names. Raises InvalidInput where it cannot."""
    try:
        write_json(Path(path), {"format": FORMAT, **asdict(margin)})
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from None


def read(path: str | Path) -> LearnedMargin:
    """Reads what ``write`` wrote. Raises InvalidInput for anything else."""
    file = Path(path)
    try:
        stored: Any = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
            raise InvalidInput(f"{file}: not of the format '{FORMAT}'")
        found = LearnedMargin(**stored)
        fine = all(math.isfinite(v) and v >= 0.0 for v in (found.acceleration, found.delta, found.proved))
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{file}: no margin: {error}") from None
    if not fine or not isinstance(found.vehicle, str):
        raise InvalidInput(f"{file}: its numbers must be finite and not below 0")
    return found
