"""From flight logs to the residual of a quadrotor: samples, what they lack, the fit, errors on what it did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.flight_data import SHORTEST, FlightLog, Stretch
from control_stack.learning.residual import fit_network, residual_samples
from control_stack.quadrotor.long_step import LongStepQuadrotor
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.quadrotor.residual import SEEN, ResidualQuadrotor, TanhNetwork
from control_stack.types import Array, CommandLevel

HIDDEN, EPOCHS = (32, 32), 150
AHEAD = 0.8  # s of the rollouts: the controller's horizon
_OVER = 0.3  # s over which the missing acceleration is averaged: velocities are noisy, what air does changes slowly
_HELD_OUT = 0.2  # share at the end of every stretch
_APART = 0.2  # s between the starts of two rollouts
_AIR, _RATES, _THRUST = (0, 1, 2), (6, 7, 8), 9
# What has to vary by more (standard deviation; m/s, rad/s, m/s^2), or nothing is learnt of it.
_LEAST = {**dict.fromkeys(_AIR, 0.3), **dict.fromkeys(_RATES, 0.1), _THRUST: 0.3}
_WAYS = {"with body rates": (), "without body rates": _RATES}


@dataclass(frozen=True)
class Residual:
    """A fit. notes: What the flights did not excite. figures: Errors on the held-out part."""

    network: TanhNetwork
    notes: list[str]
    figures: dict[str, Any]


def fit_residual(
    logs: Sequence[FlightLog],
    parameters: QuadrotorParameters,
    level: CommandLevel,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Residual:
    """Fits on the first four fifths of every stretch and measures on the last.

    Body rates tell of delays and of lags in the loops, where there are any, and otherwise only carry noise: the network
    is fitted with them and without, and the one with the smaller held-out error is kept.

    Args:
        logs: Of one vehicle, ``read_log``. progress: Told epochs done and their total.

    Raises:
        InvalidInput: Too little flight, or one that hardly moved through the air.
        MissingDependency: torch is not installed.
    """
    seconds = sum(log.seconds for log in logs)
    if seconds < SHORTEST:
        raise InvalidInput(f"{seconds:.1f} s of flight at level '{level.value}' are too short: it takes {SHORTEST:g} s")
    parts = [_Part(log, stretch, parameters, level) for log in logs for stretch in log.stretches]
    train = [np.concatenate(both) for both in zip(*(part.train for part in parts), strict=True)]
    test = [np.concatenate(both) for both in zip(*(part.test for part in parts), strict=True)]
    still, notes = _unexcited(train[0])
    total, found = EPOCHS * len(_WAYS), {}
    for k, (name, blind) in enumerate(_WAYS.items()):

        def told(epoch: int, before: int = k * EPOCHS) -> None:
            progress(before + epoch, total)

        network = fit_network(
            train[0], train[1], hidden=HIDDEN, epochs=EPOCHS, seed=seed, blind=(*blind, *still), progress=told
        )
        found[name] = (float(np.square(network(test[0]) - test[1]).mean()), network)
    kept = min(found, key=lambda name: found[name][0])
    network = found[kept][1]
    speed = np.linalg.norm(train[0][:, :3], axis=1)
    figures = {
        "flight_s": seconds,
        "held_out_share": _HELD_OUT,
        "kept": kept,
        "airspeed_p99_m_s": float(np.percentile(speed, 99)),
        "acceleration_rmse_m_s2": {
            "nominal": _rms(test[1]), "learned": _rms(test[1] - network(test[0])), "over_s": _OVER,
        },
        "rollout": _rollouts(parts, network, parameters, level),
    }  # fmt: skip
    return Residual(network, notes, figures)


class _Part:
    """A stretch as samples, split in time: train and test are (features, accelerations)."""

    def __init__(self, log: FlightLog, stretch: Stretch, parameters: QuadrotorParameters, level: CommandLevel):
        self.dt = log.dt
        model = LongStepQuadrotor(parameters, level, log.dt)
        self.p = model.spec.defaults.copy()
        self.p[0:3] = stretch.wind_w
        over = max(1, min(round(_OVER / log.dt), len(stretch.inputs) // 4))
        features, targets = residual_samples(model, stretch.states, stretch.inputs, self.p, over)
        cut = round((1.0 - _HELD_OUT) * len(targets))
        # No sample of the one part reaches into the other.
        self.train = (features[: cut - over], targets[: cut - over])
        self.test = (features[cut:], targets[cut:])
        self.states, self.inputs = stretch.states[cut:], stretch.inputs[cut:]


def _unexcited(features: Array) -> tuple[list[int], list[str]]:
    """Features that hardly vary, and notes that say so. Raises InvalidInput if the vehicle hardly moved."""
    spread = features.std(0)
    still = [k for k, least in _LEAST.items() if spread[k] < least]
    if set(_AIR[:2]) <= set(still):
        raise InvalidInput(
            f"no excitation: airspeed varies by {spread[0]:.2g} and {spread[1]:.2g} m/s (deviation) along body x "
            f"and y, {_LEAST[0]:g} are needed: fly faster, in all directions"
        )
    notes = [f"{SEEN[k]} varies by {spread[k]:.2g} only: nothing is learnt of it" for k in still]
    return [*still, *(k + 3 for k in still if k in _AIR)], notes


def _rollouts(
    parts: Sequence[_Part], network: TanhNetwork, parameters: QuadrotorParameters, level: CommandLevel
) -> dict[str, Any]:
    """RMS errors at the end of open-loop rollouts over AHEAD s of the held-out parts."""
    errors: dict[str, list[Array]] = {"nominal": [], "learned": []}
    for part in parts:
        steps = round(AHEAD / part.dt)
        starts = np.arange(0, len(part.inputs) - steps, max(1, round(_APART / part.dt)))
        if not len(starts):
            continue
        nominal = LongStepQuadrotor(parameters, level, part.dt)
        inputs = np.stack([part.inputs[k : k + steps] for k in starts])
        p = np.tile(part.p, (len(starts), 1))
        for name, model in (("nominal", nominal), ("learned", ResidualQuadrotor(nominal, network))):
            end = model.rollout(part.states[starts], inputs, p)[:, -1]
            errors[name].append((end - part.states[starts + steps])[:, :6])
    found: dict[str, Any] = {"seconds": AHEAD, "count": sum(len(e) for e in errors["nominal"])}
    for name, several in errors.items():
        if several:
            together = _rms(np.concatenate(several))
            found[name] = {"position_m": together[:3], "velocity_m_s": together[3:]}
    return found


def _rms(errors: Array) -> list[float]:
    """Of each column."""
    return [float(v) for v in np.sqrt(np.square(errors).mean(axis=0))]
