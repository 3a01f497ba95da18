"""Estimators of what an arm's model does not know, from positions, velocities and the torques that acted.

    theta_k+1 = theta_k + w,     x_k+1 = f(x_k, u_k, p(theta_k)) + noise        x = (q, q')

One extended Kalman filter over (x, theta). Which entries of p are theta makes the estimator: the force on the flange
(3; what Schulze, Peters and Arenz 2025 compare with), mass and first moments of a load (4) or its whole inertia (10),
in which the model is linear, or torques on all joints (n): then NMPC with it is offset-free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.types import ArmState, Array, JointCommand
from controllers.arm.nominal import LOAD
from controllers.arm.step import InverseStep
from controllers.nmpc.stages import Buffered


class ArmEstimator(Protocol):
    """``control_stack.protocols.Estimator`` of an arm."""

    def reset(self) -> None:
        """Forget what was measured."""

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """(p, standard deviation of p) after the state at t, before which ``sent`` acted for a period."""


@dataclass(frozen=True)
class FilterSettings:
    """Of a ``ParameterFilter``.

    Attributes:
        prior: (m,) or one number, standard deviation of theta at the start.
        drift: Of its random walk, per square root of a second, as a share of the prior.
        position_noise, velocity_noise: Standard deviations of what is measured, rad and rad/s.
        torque_noise: (n,) or one number, N m held over a period: what acts beside what the model knows. Light joints
            move more by it, so that their velocities are trusted less.
        surprise: Mean square of the last innovations, each in its standard deviations, beyond which theta is
            taken to have jumped: its uncertainty is set back to the prior. 0: never.
    """

    prior: float | tuple[float, ...]
    drift: float = 0.3
    position_noise: float = 5e-5
    velocity_noise: float = 3e-3
    torque_noise: float | tuple[float, ...] = 0.3
    surprise: float = 0.0

    def __post_init__(self) -> None:
        numbers = (
            *np.ravel(self.prior).tolist(), *np.ravel(self.torque_noise).tolist(), self.position_noise,
            self.velocity_noise,
        )  # fmt: skip
        if not (np.isfinite(numbers).all() and min(numbers) > 0.0 and self.drift >= 0.0 and self.surprise >= 0.0):
            raise InvalidInput("a filter's standard deviations are positive, drift and surprise not negative")


_MEMORY = 0.7  # of the mean of the innovations' squares, per step
_PAUSE = 15  # steps after a jump of theta in which no other is looked for


class Unknown:
    """Entries of p as they are.

    Attributes:
        entries: Of p. start: (m,) theta of nothing.
    """

    def __init__(self, entries: slice):
        self.entries = entries
        self.start = np.zeros(entries.stop - entries.start)

    def values(self, theta: Array) -> Array:
        """The entries."""
        return theta

    def slope(self, theta: Array) -> Array:
        """(entries, m) their derivatives by theta."""
        return np.eye(len(theta))

    def possible(self, theta: Array) -> Array:
        """The nearest theta that can be."""
        return theta


class PointMass(Unknown):
    """theta = (m, h): a load as a point, I = (h.h 1 - h h^T) / m. First moments without inertia are those of no body.

    The mass is from 0 to ``MOST`` kg and the point within ``REACH`` m of the flange.
    """

    MOST, REACH = 10.0, 0.5
    _SMALL = 0.02  # kg, keeps the quotient regular at no load

    def __init__(self) -> None:
        super().__init__(LOAD)
        self.start = np.zeros(4)

    def values(self, theta: Array) -> Array:
        """The ten numbers of the load."""
        return np.concatenate([theta, self._products(theta[1:]) / (theta[0] + self._SMALL)])

    def slope(self, theta: Array) -> Array:
        """(10, 4)."""
        m, (x, y, z) = theta[0] + self._SMALL, theta[1:].tolist()
        by_h = [[0, 2 * y, 2 * z], [-y, -x, 0], [-z, 0, -x], [2 * x, 0, 2 * z], [0, -z, -y], [2 * x, 2 * y, 0]]
        slope = np.zeros((10, 4))
        slope[:4] = np.eye(4)
        slope[4:, 0] = -self._products(theta[1:]) / m**2
        slope[4:, 1:] = np.array(by_h) / m
        return slope

    def possible(self, theta: Array) -> Array:
        """See the class."""
        mass = float(np.clip(theta[0], 0.0, self.MOST))
        length = float(np.linalg.norm(theta[1:]))
        return np.concatenate([[mass], theta[1:] * min(1.0, self.REACH * mass / max(length, 1e-12))])

    @staticmethod
    def _products(h: Array) -> Array:
        x, y, z = h.tolist()
        return np.array([y * y + z * z, -x * y, -x * z, x * x + z * z, -y * z, x * x + y * y])


class ParameterFilter:
    """Estimates entries of p of a model; implements ``ArmEstimator``.

    Args:
        model: Steps of a control period.
        unknown: What theta is.
        settings: See there.
    """

    def __init__(self, model: InverseStep, unknown: Unknown, settings: FilterSettings):
        self._model, self._unknown, self.settings = model, unknown, settings
        self._at = np.arange(len(model.spec.parameters))[unknown.entries]
        self._nx, self._m = 2 * model.joints, len(unknown.start)
        self._prior = np.broadcast_to(np.asarray(settings.prior, dtype=float), (self._m,))
        self._step = Buffered(model.sensitivity())
        n, s = model.joints, settings
        self._noise = np.repeat([s.position_noise**2, s.velocity_noise**2], n)
        dt = model.spec.dt
        self._torques = np.broadcast_to(np.square(np.asarray(s.torque_noise, dtype=float)), (n,))
        self._walk = (s.drift * self._prior) ** 2 * dt
        self.reset()

    def reset(self) -> None:
        """Back to the model's defaults."""
        self.p = np.array(self._model.spec.defaults, dtype=float)
        self._theta = self._unknown.start.copy()
        self._x: Array | None = None
        self._cov = np.diag(np.concatenate([self._noise, self._prior**2]))
        self._squares, self._since = 1.0, 0

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """See ``ArmEstimator``."""
        measured = np.concatenate([state.position, state.velocity])
        if self._x is None:  # nothing is known of the way that led here
            self._x = measured
            return self.p.copy(), self._std()
        after, a_t, b_t, g_t = self._step(self._x, np.asarray(sent.effort, dtype=float), self.p)
        nx = self._nx
        f = np.eye(nx + self._m)
        f[:nx, :nx] = a_t[0].T
        f[:nx, nx:] = g_t[0].T[:, self._at] @ self._unknown.slope(self._theta)
        cov = f @ self._cov @ f.T
        cov[:nx, :nx] += b_t[0].T * self._torques @ b_t[0]
        cov[range(nx, nx + self._m), range(nx, nx + self._m)] += self._walk
        innovation = measured - after[0, 0]
        s = cov[:nx, :nx] + np.diag(self._noise)
        gain = np.linalg.solve(s, cov[:nx]).T
        self._notice(float(innovation @ np.linalg.solve(s, innovation)) / nx)
        change = gain @ innovation
        self._x = after[0, 0] + change[:nx]
        self._theta = self._unknown.possible(self._theta + change[nx:])
        self.p[self._at] = self._unknown.values(self._theta)
        cov = cov - gain @ cov[:nx]
        self._cov = 0.5 * (cov + cov.T)
        if self._since == 0 and self.settings.surprise:
            self._cov[nx:, :] = self._cov[:, nx:] = 0.0
            self._cov[range(nx, nx + self._m), range(nx, nx + self._m)] = self._prior**2
        return self.p.copy(), self._std()

    def _notice(self, square: float) -> None:
        """Whether theta has jumped: then ``_since`` is 0."""
        self._squares = _MEMORY * self._squares + (1.0 - _MEMORY) * square
        self._since += 1
        if self._since > _PAUSE and self._squares > self.settings.surprise > 0.0:
            self._squares, self._since = 1.0, 0

    def _std(self) -> Array:
        std, slope = np.zeros(len(self.p)), self._unknown.slope(self._theta)
        spread = np.einsum("ij,jk,ik->i", slope, self._cov[self._nx :, self._nx :], slope)
        std[self._at] = np.sqrt(np.maximum(spread, 0.0))
        return std
