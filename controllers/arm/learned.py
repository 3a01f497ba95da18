"""A learned Lagrangian model as the model of a controller, with its own estimator of the context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian.model import LagrangianDynamics
from controllers.arm.estimate import ArmEstimator
from controllers.arm.step import InverseStep


def learned_model(arm: ArmParameters, path: Path, dt: float) -> tuple[InverseStep, ArmEstimator | None]:
    """Its step and its estimator; None for a model that was trained without contexts.

    Raises:
        InvalidInput: The file is no such model, of another arm, or its estimator counts other periods than ``dt``.
    """
    model = LagrangianDynamics.load(path)
    if model.arm.joint_names != arm.joint_names:
        raise InvalidInput(f"{path}: a model of {model.arm.name}, not of {arm.name}")
    step = InverseStep(model.inverse_casadi(), replace(model.spec, dt=dt))
    if not (model.contexts and model.encoder()):
        return step, None
    if abs(model.dt - dt) > 1e-9:
        raise InvalidInput(f"{path}: its estimator is called every {model.dt:g} s, the controller every {dt:g} s")
    return step, model.estimator()
