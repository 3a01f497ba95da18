"""Estimators of what an arm's model does not know, from positions, velocities and the torques that acted.

    theta_k+1 = theta_k + w,     u_k = ID(q, q', q'', p(theta_k)) + noise      means over the period before a state

A Kalman filter of theta alone: positions and velocities are measured far better than any model predicts them, so that a
period tells the torque that was needed, and no state has to be guessed. In that torque the model is linear in a force
or a whole inertia, however far the estimate is off; a filter that predicts velocities instead is linear about the load
it believes in, and sends the arm astray when a heavy one is dropped: the last joint then gains 6 rad/s in a period.

Which entries of p are theta makes the estimator: the force on the flange (3; ``force_ekf`` has the arm's state in it as
well), mass and first moments of a load (4), or torques on all joints (n): then NMPC with it is
offset-free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.types import ArmState, Array, JointCommand
from controllers.arm.nominal import LOAD
from controllers.arm.step import InverseStep


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
        velocity_noise: Standard deviation of measured velocities, rad/s.
        torque_noise: (n,) or one number, N m held over a period: what acts beside what the model knows.
        surprise: Mean square of an innovation, in its standard deviations, beyond which theta is taken to have
            jumped: then its prior is added to its uncertainty before the innovation is used. 0: never.
    """

    prior: float | tuple[float, ...]
    drift: float = 0.3
    velocity_noise: float = 2e-3
    torque_noise: float | tuple[float, ...] = 0.3
    surprise: float = 0.0

    def __post_init__(self) -> None:
        numbers = (*np.ravel(self.prior).tolist(), *np.ravel(self.torque_noise).tolist(), self.velocity_noise)
        if not (np.isfinite(numbers).all() and min(numbers) > 0.0 and self.drift >= 0.0 and self.surprise >= 0.0):
            raise InvalidInput("a filter's standard deviations are positive, drift and surprise not negative")


_TANGENTS = 4  # steps onto what can be
_ITERATIONS = 3  # of an update of a theta in which torques are not linear
JITTER = 0.5  # of the period: a longer or shorter time between states is a gap, over which nothing is learnt


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

    def possible(self, theta: Array, covariance: Array) -> Array:
        """The likeliest theta that can be, for an estimate and its covariance."""
        return theta


class PointMass(Unknown):
    """theta = (m, h): a load as a point with a ball's inertia, I = (h.h 1 - h h^T) / m + m ``BALL`` 1.

    First moments without inertia are those of no body; and the last joint turns a load about an axis that may pass
    through its centre of mass, where a point has no inertia. The mass is from 0 to ``MOST`` kg and the point within
    ``REACH`` m of the flange.
    """

    MOST, REACH = 10.0, 0.5
    BALL = 0.1**2 / 6.0  # m^2, as a cube of 0.1 m has it
    _ROUND = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0])  # the unit matrix, by rows of its upper triangle
    _SMALL = 0.02  # kg, keeps the quotient regular at no load

    def __init__(self) -> None:
        super().__init__(LOAD)
        self.start = np.zeros(4)

    def values(self, theta: Array) -> Array:
        """The ten numbers of the load."""
        ball = theta[0] * self.BALL * self._ROUND
        return np.concatenate([theta, self._products(theta[1:]) / (theta[0] + self._SMALL) + ball])

    def slope(self, theta: Array) -> Array:
        """(10, 4)."""
        m, (x, y, z) = theta[0] + self._SMALL, theta[1:].tolist()
        by_h = [[0, 2 * y, 2 * z], [-y, -x, 0], [-z, 0, -x], [2 * x, 0, 2 * z], [0, -z, -y], [2 * x, 2 * y, 0]]
        slope = np.zeros((10, 4))
        slope[:4] = np.eye(4)
        slope[4:, 0] = self.BALL * self._ROUND - self._products(theta[1:]) / m**2
        slope[4:, 1:] = np.array(by_h) / m
        return slope

    def possible(self, theta: Array, covariance: Array) -> Array:
        """See the class: |h| <= REACH m, by steps onto the tangents of this cone in the metric of the covariance.

        Torques tell the moment long before the mass: the nearest point by the estimate's own measure raises the mass,
        the nearest by kilograms would take away moments that are well known.
        """
        theta = theta.copy()
        for _ in range(_TANGENTS):
            length = float(np.linalg.norm(theta[1:]))
            beyond = length - self.REACH * theta[0]
            if beyond <= 0.0:
                break
            slope = np.concatenate([[-self.REACH], theta[1:] / max(length, 1e-12)])
            theta -= covariance @ slope * (beyond / float(slope @ covariance @ slope))
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
        model: Of the arm; its step is the control period.
        unknown: What theta is.
        settings: See there.
    """

    def __init__(self, model: InverseStep, unknown: Unknown, settings: FilterSettings):
        self._model, self._unknown, self.settings = model, unknown, settings
        self._at = np.arange(len(model.spec.parameters))[unknown.entries]
        self._n, self._m, self._dt = model.joints, len(unknown.start), model.spec.dt
        self._prior = np.diag(np.broadcast_to(np.square(np.asarray(settings.prior, dtype=float)), (self._m,)))
        self._torques = model.slopes("ap")
        noise = np.broadcast_to(np.square(np.asarray(settings.torque_noise, dtype=float)), (self._n,))
        self._noise, self._walk = np.diag(noise), settings.drift**2 * self._dt * self._prior
        self._rough = 2.0 * (settings.velocity_noise / self._dt) ** 2  # variance of a measured acceleration
        self.reset()

    def reset(self) -> None:
        """Back to the model's defaults."""
        self.p = np.array(self._model.spec.defaults, dtype=float)
        self._theta = self._unknown.start.copy()
        self._before: tuple[float, ArmState] | None = None
        self._cov = self._prior.copy()
        self.jumps = 0

    def update(self, t: float, state: ArmState, sent: JointCommand) -> tuple[Array, Array]:
        """See ``ArmEstimator``."""
        before, self._before = self._before, (t, state)
        self._cov = self._cov + self._walk
        if before is None or abs(t - before[0] - self._dt) > JITTER * self._dt:
            return self.p.copy(), self._std()
        dt, last = t - before[0], before[1]
        q = 0.5 * (last.position + state.position)
        v, a = (state.position - last.position) / dt, (state.velocity - last.velocity) / dt
        self._learn((q, v, a), np.asarray(sent.effort, dtype=float))
        self.p[self._at] = self._unknown.values(self._theta)
        return self.p.copy(), self._std()

    def _learn(self, motion: tuple[Array, Array, Array], torque: Array) -> None:
        """Kalman's update by one period; iterated about its own result, as an inertia is not linear in a point's h."""
        left, slope, noise = self._seen(motion, torque, self._theta)
        s = slope @ self._cov @ slope.T + noise
        if self.settings.surprise and left @ np.linalg.solve(s, left) > self.settings.surprise * self._n:
            self._cov, self.jumps = self._cov + self._prior, self.jumps + 1
        theta = self._theta
        for k in range(_ITERATIONS):
            if k:
                left, slope, noise = self._seen(motion, torque, theta)
            s = slope @ self._cov @ slope.T + noise
            gain = np.linalg.solve(s, slope @ self._cov).T
            theta = self._theta + gain @ (left + slope @ (theta - self._theta))
            kept = np.eye(self._m) - gain @ slope
            cov = kept @ self._cov @ kept.T + gain @ noise @ gain.T
            theta = self._unknown.possible(theta, cov)
        self._theta, self._cov = theta, 0.5 * (cov + cov.T)

    def _seen(self, motion: tuple[Array, Array, Array], torque: Array, theta: Array) -> tuple[Array, Array, Array]:
        """Of one period: the torque (n,) that theta leaves unexplained, its slope (n, m), the noise (n, n) in it."""
        p = self.p.copy()
        p[self._at] = self._unknown.values(theta)
        tau, mass, by_p = (np.asarray(value) for value in self._torques(*motion, p))
        slope = by_p[:, self._at] @ self._unknown.slope(theta)
        return torque - tau.ravel(), slope, self._noise + self._rough * mass @ mass.T

    def _std(self) -> Array:
        std, slope = np.zeros(len(self.p)), self._unknown.slope(self._theta)
        std[self._at] = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slope, self._cov, slope), 0.0))
        return std
