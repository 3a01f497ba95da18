"""The context of a learned arm, estimated online from states and the torques that acted: NumPy, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from control_stack.errors import InputRejected, InvalidInput
from control_stack.learning.lagrangian.cells import CellState, Seen, initial_state, step
from control_stack.learning.lagrangian.features import (
    MEMORY,
    Periods,
    context_matrix,
    periods,
    regressors,
    unexplained,
)
from control_stack.learning.lagrangian.matrices import ArrayMatrices
from control_stack.types import ArmState, Array, JointCommand

if TYPE_CHECKING:
    from control_stack.learning.lagrangian.model import LagrangianDynamics

_JITTER = 0.5  # of the period: a longer or shorter time between states is a gap, over which nothing is learnt


class ContextEstimator:
    """Implements ``protocols.Estimator`` for a ``LagrangianDynamics`` with a trained encoder.

    Attributes:
        gaps: Updates that came too early or late to be learnt from.
    """

    def __init__(self, model: LagrangianDynamics):
        """Raises InvalidInput where no encoder was trained with the model."""
        self._weights = model.encoder()
        if not self._weights:
            raise InvalidInput("this Lagrangian model has no encoder: its context must be given")
        self._structure, self._contexts, self._dt = model.structure, model.contexts, model.dt
        self._spread = float(self._weights.pop("spread", np.ones(1))[0])
        self._filters = "noise" in self._weights
        self._m = ArrayMatrices()
        self.reset()

    def reset(self) -> None:
        """Forget what was measured."""
        self._state: CellState = initial_state(self._m, self._weights, self._contexts)
        self._before: tuple[float, Array] | None = None
        self._torque: Array | float = 0.0
        self._matrix: Array | float = 0.0
        self._weight, self.gaps = 0.0, 0

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """(p, standard deviation of p) after the state at t (s), in the period before which ``sent`` acted.

        Raises:
            InputRejected: "nan" or "shape"; nothing has changed.
        """
        n = self._structure.arm.joints
        x, effort = np.concatenate([state.position, state.velocity]), np.asarray(sent.effort, dtype=float)
        if x.shape != (2 * n,) or effort.shape != (n,):
            raise InputRejected(
                "shape", f"an arm of {n} joints, got a state of {x.shape} and torques of {effort.shape}"
            )
        if not (np.isfinite(x).all() and np.isfinite(effort).all() and np.isfinite(t)):
            raise InputRejected("nan", "state or torques of the context's estimator")
        before, self._before = self._before, (t, x)
        if before is None:
            return self._answer()
        dt = t - before[0]
        if abs(dt - self._dt) > _JITTER * self._dt:
            self.gaps += 1
            return self._answer()
        seen = periods(np.stack([before[1], x]), effort[None], dt)
        self._learn(Periods(*(field[0] for field in seen)))
        return self._answer()

    def _learn(self, seen: Periods) -> None:
        """One period, fields (n,)."""
        torque = unexplained(self._structure, seen)
        matrix = context_matrix(regressors(self._structure, seen), self._structure.weights) if self._filters else 0.0
        self._weight = MEMORY * self._weight + 1.0 - MEMORY
        self._torque = MEMORY * self._torque + (1.0 - MEMORY) * torque
        self._matrix = MEMORY * self._matrix + (1.0 - MEMORY) * matrix
        row = Seen(
            seen.q[:, None],
            seen.qd[:, None],
            (self._torque / self._weight)[:, None],
            self._matrix / self._weight if self._filters else None,
        )
        self._state = step(self._m, self._weights, self._state, row)

    def _answer(self) -> tuple[Array, Array]:
        variance = np.maximum(np.diagonal(self._state.covariance), 0.0)
        # What is well known is as uncertain as was found in validation; of what is unknown the prior is true as it is.
        share = self._spread**2 * variance
        return self._state.z[:, 0].copy(), np.sqrt(share / np.maximum(1.0 - variance + share, 1e-12))
