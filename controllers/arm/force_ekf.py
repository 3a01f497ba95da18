"""The extended Kalman filter of an arm's state with a force on its flange (Schulze, Peters, Arenz 2025, the baseline).

    s = (q, q', F),   s+ = (step(q, q', u, F), F) + w,   y = (q, q') + v

F (3,) N in the base frame stands for all that the nominal arm does not know. Torques that nobody knows of enter through
the step, as the commanded ones do: B diag(torque_noise^2) B^T. ``estimate.ParameterFilter`` finds the same force from
torques instead, without a state to be guessed.
"""

from __future__ import annotations

import numpy as np

from control_stack.arm import rigid_body
from control_stack.arm.parameters import ArmParameters
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import ArmState, Array, JointCommand
from controllers.arm.estimate import JITTER, FilterSettings
from controllers.arm.nominal import flange_force
from controllers.arm.step import InverseStep

_POSITION = 1e-4  # rad, standard deviation of measured angles


class ForceEkf:
    """Estimates the force of ``nominal_step``; implements ``ArmEstimator``.

    Args:
        arm: Its parameters. model: ``nominal_step`` of it, with the control period as its step.
        settings: prior in N; drift of the force; surprise is that of a measured state.
    """

    def __init__(self, arm: ArmParameters, model: InverseStep, settings: FilterSettings):
        self._model, self.settings, self._n, self._dt = model, settings, arm.joints, model.spec.dt
        self._linear = model.linearise(chord=0.0)
        ca = import_casadi()
        q = ca.SX.sym("q", arm.joints)
        rows = rigid_body.flange_jacobian(arm.chain, tuple(q[i] for i in range(arm.joints)))[:3]
        self._jacobian = ca.Function("flange", [q], [ca.vertcat(*(ca.horzcat(*row) for row in rows))])
        self._prior = np.diag(np.broadcast_to(np.square(np.asarray(settings.prior, dtype=float)), (3,)))
        noise = np.square(np.asarray(settings.torque_noise, dtype=float))
        self._noise = np.diag(np.broadcast_to(noise, (self._n,)))
        self._walk = settings.drift**2 * self._dt * self._prior
        self._measured = np.diag(np.repeat(np.square([_POSITION, settings.velocity_noise]), self._n))
        self.reset()

    def reset(self) -> None:
        """No force, no state."""
        self._mean, self._cov = np.zeros(2 * self._n + 3), np.zeros((2 * self._n + 3, 2 * self._n + 3))
        self._cov[-3:, -3:] = self._prior
        self._stamp: float | None = None
        self.jumps = 0

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """See ``ArmEstimator``."""
        m, y = 2 * self._n, np.concatenate([state.position, state.velocity])
        before, self._stamp = self._stamp, t
        if before is None or abs(t - before - self._dt) > JITTER * self._dt:
            self._mean[:m] = y
            self._cov[:m], self._cov[:, :m] = 0.0, 0.0
            self._cov[:m, :m] = self._measured
            return self._answer()
        after, a, b = (np.asarray(part) for part in self._linear(self._mean[:m], sent.effort, self._answer()[0]))
        f = np.eye(m + 3)
        f[:m, :m], f[:m, m:] = a, b @ np.asarray(self._jacobian(self._mean[: self._n])).T
        self._cov = f @ self._cov @ f.T
        self._cov[:m, :m] += b @ self._noise @ b.T
        self._cov[m:, m:] += self._walk
        left, s = y - after.ravel(), self._cov[:m, :m] + self._measured
        if self.settings.surprise and left @ np.linalg.solve(s, left) > self.settings.surprise * m:
            wide = f[:, m:] @ self._prior @ f[:, m:].T  # as if the force had jumped before this period
            self._cov, s, self.jumps = self._cov + wide, s + wide[:m, :m], self.jumps + 1
        gain = np.linalg.solve(s, self._cov[:m]).T
        self._mean = np.concatenate([after.ravel(), self._mean[m:]]) + gain @ left
        kept = np.eye(m + 3)
        kept[:, :m] -= gain
        self._cov = kept @ self._cov @ kept.T + gain @ self._measured @ gain.T
        return self._answer()

    def _answer(self) -> tuple[Array, Array]:
        p, at = np.array(self._model.spec.defaults, dtype=float), flange_force(self._n)
        std = np.zeros(len(p))
        p[at], std[at] = self._mean[-3:], np.sqrt(np.maximum(np.diag(self._cov)[-3:], 0.0))
        return p, std
