"""A damped pendulum with torque as a Dynamics: small, unstable upright, and with parameters that matter."""

from __future__ import annotations

import casadi as ca
import numpy as np

from control_stack.protocols import DynamicsSpec
from controllers.nmpc.problem import Problem

GRAVITY_OVER_LENGTH = 9.81


class Pendulum:
    """x = (angle from upright, rate), u = torque / (m l^2), p = (payload share, wind torque); counts its exports."""

    def __init__(self, dt: float = 0.05):
        names = ("angle [rad]", "rate [rad/s]"), ("torque [1/s^2]",), ("payload [1]", "wind [1/s^2]")
        self.spec = DynamicsSpec(*names, np.zeros(2), dt)
        self.exports = 0

    def _slope(self, x, u, p, sin):
        return x[1], GRAVITY_OVER_LENGTH * sin(x[0]) - 0.1 * x[1] + u[0] / (1.0 + p[0]) + p[1]

    def _step(self, x, u, p, sin):
        dt = self.spec.dt
        k1 = self._slope(x, u, p, sin)
        k2 = self._slope([a + 0.5 * dt * b for a, b in zip(x, k1)], u, p, sin)  # noqa: B905
        return [a + dt * b for a, b in zip(x, k2)]  # noqa: B905

    def step(self, x, u, p=None):
        return np.array(self._step([x[0], x[1]], u, self.spec.defaults if p is None else p, np.sin))

    def to_casadi(self):
        self.exports += 1
        x, u, p = ca.SX.sym("x", 2), ca.SX.sym("u", 1), ca.SX.sym("p", 2)
        y = self._step([x[0], x[1]], u, p, ca.sin)
        return ca.Function("pendulum", [x, u, p], [ca.vertcat(*y)])


def pendulum_problem(model=None, **changes) -> Problem:
    """Upright and still, with y = (angle, rate) wanted."""
    weights = np.array([3.0, 0.5])
    given = {
        "model": model or Pendulum(),
        "horizon": 20,
        "residual": lambda x, u, p, y: ca.vertcat(weights * (x - y), 0.1 * u),
        "terminal": lambda x, p, y: 5.0 * weights * (x - y),
        "reference_size": 2,
        "input_lower": np.array([-15.0]),
        "input_upper": np.array([15.0]),
        "rest_input": np.zeros(1),
    }
    return Problem(**{**given, **changes})
