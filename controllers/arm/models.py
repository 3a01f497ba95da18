"""Models and estimators of an arm by name: what the command line, the node and the bench choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from control_stack.arm.changes import LoadChange, load_at
from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.shipped import arm_model
from control_stack.types import ArmState, Array, JointCommand
from controllers.arm.estimate import ArmEstimator, FilterSettings, ParameterFilter, PointMass, Unknown
from controllers.arm.force_ekf import ForceEkf
from controllers.arm.nominal import defaults, disturbance, flange_force, nominal_step
from controllers.arm.step import InverseStep

MODELS = ("nominal", "oracle")
SHIPPED = "learned"  # the model of the arm that comes with the package
ESTIMATORS = ("payload", "force-ekf", "force", "disturbance")
NONE, OWN = "none", "own"

# Priors of theta: kg and kg m; N; share of each joint's torque limit.
_PAYLOAD, _FORCE, _SHARE = (2.0, 0.3, 0.3, 0.3), 20.0, 0.1


@dataclass(frozen=True)
class FilterTuning:
    """What ``scripts/tune_arm.py`` looks for; see ``FilterSettings``."""

    drift: float = 0.5
    torque_noise: float = 0.05  # share of each joint's limit
    surprise: float = 0.0


# A force, or torques, that follow every period at once push light joints out of hand: for these the default is slow.
TUNING = {name: FilterTuning() for name in ESTIMATORS} | {"payload": FilterTuning(0.03, 0.01, 20.0)}


class KnownLoads:
    """The oracle's ``ArmEstimator``: the true load at every time, and no uncertainty."""

    def __init__(self, arm: ArmParameters, changes: Sequence[LoadChange]):
        self._arm, self._changes = arm, tuple(changes)

    def reset(self) -> None:
        """There is nothing to forget."""

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """p of ``nominal_step`` at t, and zeros."""
        p = defaults(self._arm, load_at(self._changes, t))
        return p, np.zeros_like(p)


def make_model(
    arm: ArmParameters, name: str, dt: float, changes: Sequence[LoadChange] = ()
) -> tuple[InverseStep, ArmEstimator | None]:
    """A model, and the estimator that belongs to it (None where it has none of its own).

    Args:
        arm: Its parameters.
        name: "nominal" (nothing held), "oracle" (told all changes of the load), "learned" (the model that ships), or
            the path of a learned model: the folder of a fit, or its file.
        dt: Step, s.
        changes: What the oracle knows.

    Raises:
        UnknownName: Neither a name nor a file.
        InvalidInput: The learned model is of another arm, or none ships for this one.
    """
    if name in MODELS:
        return nominal_step(arm, dt), KnownLoads(arm, changes) if name == "oracle" else None
    if name != SHIPPED and not Path(name).exists():
        raise UnknownName("arm model (a name, a file or the folder of a fit)", name, (*MODELS, SHIPPED))
    from controllers.arm.learned import learned_model

    return learned_model(arm, arm_model(arm.name) if name == SHIPPED else Path(name), dt, changes)


def make_estimator(
    arm: ArmParameters, model: InverseStep, name: str, tuning: FilterTuning | None = None
) -> ArmEstimator:
    """An estimator of what the nominal model does not know.

    Args:
        name: "payload" (mass and first moments), "force-ekf" (on the flange, with the arm's state), "force" (from
            torques), "disturbance" (torques on all joints).

    Raises:
        UnknownName: No such estimator.
        InvalidInput: The model has no such parameters: it is a learned one.
    """
    if name not in ESTIMATORS:
        raise UnknownName("estimator", name, (*ESTIMATORS, NONE))
    if len(model.spec.parameters) != 10 + arm.joints + 3:
        raise InvalidInput(f"estimator '{name}' belongs to the nominal model; a learned one has its own")
    t = tuning or TUNING[name]
    unknown: Unknown
    prior: float | tuple[float, ...]
    if name == "payload":
        unknown, prior = PointMass(), _PAYLOAD
    elif name in ("force", "force-ekf"):
        unknown, prior = Unknown(flange_force(arm.joints)), _FORCE
    else:
        unknown, prior = Unknown(disturbance(arm.joints)), tuple((_SHARE * np.abs(arm.torque_limit)).tolist())
    noise = tuple((t.torque_noise * arm.torque_limit).tolist())
    settings = FilterSettings(prior, t.drift, torque_noise=noise, surprise=t.surprise)
    return ForceEkf(arm, model, settings) if name == "force-ekf" else ParameterFilter(model, unknown, settings)
