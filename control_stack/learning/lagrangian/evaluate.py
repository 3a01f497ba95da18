"""Figures of a model on episodes that it was not trained on: torques, and against the truth mass matrix and q''."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_stack.arm.dynamics import ArmDynamics
from control_stack.learning.lagrangian.model import LagrangianDynamics
from control_stack.learning.lagrangian.samples import Samples
from control_stack.learning.lagrangian.structures import BLACK_BOXES
from control_stack.types import Array

SETTLED = 50  # periods after a change of the load, or the start
_EVERY = 5  # periods of those that are evaluated
_AHEAD = 12  # periods for which a controller holds a context


@dataclass(frozen=True)
class Rows:
    """N periods that are evaluated: their joints, contexts and truth, (N, ...).

    age: Periods since the load changed. torque: That acted. load, friction: None where they are not known.
    """

    q: Array
    qd: Array
    qdd: Array
    torque: Array
    z: Array
    age: NDArray[np.int64]
    load: Array | None
    friction: Array | None


def rows_of(samples: Samples, contexts: Array, ahead: int = _AHEAD) -> Rows:
    """Periods of samples with the contexts (E, T, nz) of ``ahead`` periods before, of the same load."""
    steps = samples.stretch.shape[-1]
    age = np.zeros_like(samples.stretch)
    for t in range(1, steps):
        age[:, t] = np.where(samples.stretch[:, t] == samples.stretch[:, t - 1], age[:, t - 1] + 1, 0)
    fits = samples.valid & (age >= ahead)
    fits[:, :ahead] = False
    fits[:, np.arange(steps) % _EVERY != 0] = False
    e, at = np.nonzero(fits)
    own = ArmDynamics(samples.arm, samples.dt)
    q, qd, qdd = (getattr(samples.truth, name)[e, at].astype(float) for name in ("q", "qd", "qdd"))
    torque = samples.truth.torque[e, at] + own.inverse(q, qd, qdd)
    labels = samples.labels
    return Rows(
        q, qd, qdd, torque, contexts[e, at - ahead], age[e, at] - ahead,
        None if labels is None else labels.load[e, at], None if labels is None else labels.friction[e],
    )  # fmt: skip


def figures(model: LagrangianDynamics, rows: Rows) -> dict[str, Any]:
    """Errors of the model, and of the nominal arm in its place, settled and over all periods.

    torque_rmse: N m by joint. torque_share: their root mean square over that of the torques that the nominal arm does
    not explain. Of models with a mass matrix also mass_share: Frobenius norm of the error of H over that of H, mean,
    and qdd_rmse: rad/s^2, over all joints.
    """
    nominal = ArmDynamics(model.arm, model.dt)
    left = rows.torque - nominal.inverse(rows.q, rows.qd, rows.qdd)
    settled = rows.age >= SETTLED
    size = np.sqrt(np.square(left).mean(axis=0))

    def torques(error: Array) -> dict[str, Any]:
        return {
            "torque_rmse": np.sqrt(np.square(error[settled]).mean(axis=0)),
            "torque_share": float(np.sqrt(np.square(error[settled] / size).mean())),
            "torque_share_unsettled": float(np.sqrt(np.square(error[~settled] / size).mean()))
            if not settled.all()
            else None,
        }

    found: dict[str, Any] = {
        "rows": len(rows.q),
        "settled_after_s": SETTLED * model.dt,
        "ahead_s": _AHEAD * model.dt,
        "nominal": torques(left),
        "model": torques(rows.torque - model.inverse(rows.q, rows.qd, rows.qdd, rows.z)),
    }
    if rows.load is None or rows.friction is None or model.kind in BLACK_BOXES:
        return found
    q, qd, load, z = (a[settled] for a in (rows.q, rows.qd, rows.load, rows.z))
    truth = nominal.mass_matrix(q, load)
    extra = nominal.friction(qd) * (rows.friction[settled] - 1.0)
    tau = rows.torque[settled]
    qdd = nominal.forward(q, qd, tau - extra, load)
    for name, mass, forward in (
        ("nominal", nominal.mass_matrix(q), nominal.forward(q, qd, tau)),
        ("model", model.mass_matrix(q, z), model.forward(q, qd, tau, z)),
    ):
        off = np.linalg.norm(mass - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))
        found[name]["mass_share"] = float(off.mean())
        found[name]["qdd_rmse"] = float(np.sqrt(np.square(forward - qdd).mean()))
        found[name]["qdd_rmse_by_joint"] = np.sqrt(np.square(forward - qdd).mean(axis=0))
    return found


def errors_after_change(model: LagrangianDynamics, samples: Samples, contexts: Array, periods: int = 75) -> Array:
    """(periods,) share of the unexplained torque that a context leaves, by periods since the load changed.

    Root mean square over changes and joints, each joint over its own; the context explains the next period.
    """
    total, count = np.zeros(periods), np.zeros(periods)
    size = np.sqrt(np.square(samples.truth.torque[samples.valid].astype(float)).mean(axis=0))
    nominal = ArmDynamics(model.arm, model.dt)
    for e, t in np.argwhere(np.diff(samples.stretch, axis=1) > 0):
        last = min(t + 1 + periods, samples.stretch.shape[1] - 1)
        at = np.arange(t + 1, last)
        at = at[(samples.stretch[e, at + 1] == samples.stretch[e, t + 1]) & samples.valid[e, at + 1]]
        q, qd, qdd = (getattr(samples.truth, name)[e, at + 1].astype(float) for name in ("q", "qd", "qdd"))
        if not len(at):
            continue
        added = model.inverse(q, qd, qdd, contexts[e, at]) - nominal.inverse(q, qd, qdd)
        share = np.square((samples.truth.torque[e, at + 1] - added) / size).mean(axis=1)
        np.add.at(total, at - t - 1, share)
        np.add.at(count, at - t - 1, 1.0)
    return np.sqrt(total / np.maximum(count, 1.0))


def calibration(model: LagrangianDynamics, samples: Samples, contexts: Array, variances: Array) -> float:
    """Factor on the estimator's standard deviations that makes its errors of torques as large as it says.

    The errors are those of the torques of the same period; the filter's own noise is no part of what it says of z.
    """
    from control_stack.learning.lagrangian.features import context_matrix

    pick = slice(None, None, _EVERY)
    a = context_matrix(samples.truth.regressor[:, pick].astype(float), dict(model.weights))
    error = samples.truth.torque[:, pick] - (a @ contexts[:, pick, :, None])[..., 0]
    expected = ((a * a) @ variances[:, pick, :, None])[..., 0]
    fits = samples.valid[:, pick]
    return float(np.sqrt(np.median(np.square(error[fits]) / np.maximum(expected[fits], 1e-9)) / 0.455))


def summary_rows(found: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Lines for a table: figure, nominal, model."""
    names = (
        ("torque error, share of the unexplained", "torque_share"),
        ("same, within a second of a change", "torque_share_unsettled"),
        ("mass matrix error, share", "mass_share"),
        ("acceleration error, rad/s^2", "qdd_rmse"),
    )
    return [(text, found["nominal"].get(key), found["model"].get(key)) for text, key in names]
