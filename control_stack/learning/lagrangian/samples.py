"""Data of an arm as what its models are trained on: periods with what the nominal arm leaves unexplained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset
from control_stack.learning.lagrangian.features import Periods, periods, regressors, smoothed, unexplained
from control_stack.learning.lagrangian.labels import Labels
from control_stack.learning.lagrangian.structures import Structure
from control_stack.types import Array

_STOP = 0.02  # rad from a joint's stop, within which the stop may push
_ROWS = 20_000  # periods at a time


@dataclass(frozen=True)
class View:
    """Periods of E episodes of T, as they are measured or as they are: fields (E, T, n), regressor (E, T, n, codes).

    torque: what the nominal arm does not explain, N m.
    """

    q: NDArray[np.float32]
    qd: NDArray[np.float32]
    qdd: NDArray[np.float32]
    torque: NDArray[np.float32]
    regressor: NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """What a fit is given.

    Attributes:
        arm: The nominal arm. dt: s.
        truth: Without noise where it is known, else as measured: what predictions are compared with.
        seen: Measured and low-passed, as the encoder gets it; one view for every draw of the noise.
        stretch: (E, T) number of the load within the episode; all 0 where it is not known.
        valid: (E, T) whether a period can be learnt from: within the data, away from the joints' stops.
        labels: True loads and frictions, where they are known.
        exact: Whether ``truth`` is without noise.
    """

    arm: ArmParameters
    dt: float
    truth: View
    seen: tuple[View, ...]
    stretch: NDArray[np.int64]
    valid: NDArray[np.bool_]
    labels: Labels | None
    exact: bool

    def take(self, episodes: NDArray[np.int64]) -> Samples:
        """These episodes."""

        def part(view: View) -> View:
            return View(*(getattr(view, name)[episodes] for name in ("q", "qd", "qdd", "torque", "regressor")))

        labels = None if self.labels is None else Labels(*(value[episodes] for value in self.labels))
        return Samples(
            self.arm, self.dt, part(self.truth), tuple(map(part, self.seen)), self.stretch[episodes],
            self.valid[episodes], labels, self.exact,
        )  # fmt: skip


def arm_columns(data: Dataset, arm: ArmParameters) -> Dataset:
    """The data with states (positions, velocities) and inputs (torques) in the arm's order.

    Columns are "NAME.position [rad]" and so on, as ``collect arm`` writes them, or what ``mcap_data`` makes of a log.

    Raises:
        InvalidInput: A joint is missing; the message names it.
    """
    forms = (
        ("state", ("{}.position [rad]", "{} [m|rad]")),
        ("state", ("{}.velocity [rad/s]", "{} rate [m/s|rad/s]")),
        ("inputs", ("{}.effort [N m]", "{} effort [N|Nm]")),
    )
    picked: list[list[int]] = []
    for place, names in forms:
        there = getattr(data.spec, place)
        row = []
        for joint in arm.joint_names:
            found = [there.index(name.format(joint)) for name in names if name.format(joint) in there]
            if not found:
                what = names[0].format(joint)
                raise InvalidInput(f"the data has no {what}: joints of {arm.name} are {', '.join(arm.joint_names)}")
            row.append(found[0])
        picked.append(row)
    states, inputs = data.states[..., picked[0] + picked[1]], data.inputs[..., picked[2]]
    return Dataset(states, inputs, data.spec, data.lengths, data.card)


def make_samples(data: Dataset, arm: ArmParameters, labels: Labels | None, draws: int, seed: int) -> Samples:
    """Periods of data in the arm's order.

    Args:
        data: See ``arm_columns``. With "sensors" in its card its states are true, and noise is drawn here.
        arm: The nominal arm. labels: What the simulation knows. draws: Of the noise. seed: Of them.
    """
    structure = Structure("flange", arm, {})
    sensors: Mapping[str, float] | None = data.card.get("sensors")
    truth = _view(structure, data.states, data.inputs, data.spec.dt)
    if sensors is None:
        views = [_smoothed(truth)]
    else:
        std = np.repeat([sensors["position_std"], sensors["velocity_std"]], arm.joints)
        rng = np.random.default_rng((seed, 1))
        noisy = (data.states + std * rng.standard_normal(data.states.shape) for _ in range(draws))
        views = [_smoothed(_view(structure, states, data.inputs, data.spec.dt)) for states in noisy]
    inside = np.arange(data.inputs.shape[1]) < data.lengths[:, None]
    q = data.states[..., : arm.joints]
    free = np.all((q > arm.position_lower + _STOP) & (q < arm.position_upper - _STOP), axis=-1)
    stretch = np.zeros(inside.shape, dtype=np.int64)
    if labels is not None:
        stretch[:, 1:] = np.cumsum(np.any(np.diff(labels.load, axis=1) != 0.0, axis=-1), axis=1)
    return Samples(
        arm,
        data.spec.dt,
        truth,
        tuple(views),
        stretch,
        inside & free[:, 1:] & free[:, :-1],
        labels,
        sensors is not None,
    )


def _view(structure: Structure, states: Array, inputs: Array, dt: float) -> View:
    shape, n = inputs.shape[:2], inputs.shape[-1]
    flat = Periods(*(field.reshape(-1, n) for field in periods(states, inputs, dt)))
    torque, regressor = [], []
    for start in range(0, len(flat.q), _ROWS):
        part = Periods(*(field[start : start + _ROWS] for field in flat))
        torque.append(unexplained(structure, part).astype(np.float32))
        regressor.append(regressors(structure, part).astype(np.float32))
    parts: list[Any] = [field.astype(np.float32) for field in flat[:3]]
    parts += [np.concatenate(torque), np.concatenate(regressor)]
    return View(*(part.reshape(*shape, *part.shape[1:]) for part in parts))


def _smoothed(view: View) -> View:
    return View(view.q, view.qd, view.qdd, smoothed(view.torque, 1), smoothed(view.regressor, 1))
