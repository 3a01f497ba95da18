"""A learned Lagrangian model as the model of a controller, with its own estimator of the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from control_stack.arm.changes import LoadChange, load_at
from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian import load
from control_stack.learning.lagrangian.labels import Labels, oracle_contexts
from control_stack.types import ArmState, Array, JointCommand
from controllers.arm.estimate import ArmEstimator
from controllers.arm.step import InverseStep


class KnownContexts:
    """``ArmEstimator`` of a model that was trained with the loads told: they are told it again. Friction: the arm's."""

    def __init__(self, joints: int, changes: Sequence[LoadChange]):
        self._friction, self._changes = np.ones((1, joints)), tuple(changes)

    def reset(self) -> None:
        """There is nothing to forget."""

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """The context at t, and zeros."""
        held = load_at(self._changes, t).parameters
        p = oracle_contexts(Labels(held[None, None], self._friction))[0, 0]
        return p, np.zeros_like(p)


def learned_model(
    arm: ArmParameters, path: Path, dt: float, changes: Sequence[LoadChange] = ()
) -> tuple[InverseStep, ArmEstimator | None]:
    """Its step and its estimator; None for a model that was trained without contexts.

    Args:
        arm: That is controlled. path: Of a model's file, or the folder of a fit. dt: Step, s.
        changes: What a model of ``--context oracle`` is told.

    Raises:
        InvalidInput: The file is no such model, of another arm, or its estimator counts other periods than ``dt``.
    """
    model = load(path)
    if model.arm.joint_names != arm.joint_names:
        raise InvalidInput(f"{path}: a model of {model.arm.name}, not of {arm.name}")
    step = InverseStep(model.inverse_casadi(), replace(model.spec, dt=dt))
    if model.card["training"].get("recipe", {}).get("context") == "oracle":
        return step, KnownContexts(arm.joints, changes)
    if not (model.contexts and model.encoder()):
        return step, None
    if abs(model.dt - dt) > 1e-9:
        raise InvalidInput(f"{path}: its estimator is called every {model.dt:g} s, the controller every {dt:g} s")
    return step, model.estimator()
