"""A reference of joints that is given at equal intervals: what travels over ROS and is read back from logs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from control_stack.errors import InvalidInput
from control_stack.protocols import JointTrajectory
from control_stack.types import Array, JointReference

PERIOD = 0.01  # s: what a controller at 50 Hz asks for at its steps and their middles is at samples


class SampledJoints:
    """Positions and velocities by cubic Hermite interpolation, accelerations by linear interpolation.

    Attributes:
        duration: s.
        position, velocity, acceleration: (m, n) samples. period: s between them.
    """

    def __init__(self, period: float, position: ArrayLike, velocity: ArrayLike, acceleration: ArrayLike):
        self.position, self.velocity, self.acceleration = (
            np.array(a, dtype=float) for a in (position, velocity, acceleration)
        )
        shape = self.position.shape
        samples = (self.position, self.velocity, self.acceleration)
        if len(shape) != 2 or shape[0] < 2 or any(a.shape != shape or not np.isfinite(a).all() for a in samples):
            raise InvalidInput("a sampled reference needs two samples or more, all finite and of one shape")
        if not (math.isfinite(period) and period > 0.0):
            raise InvalidInput(f"a sampled reference needs a positive period, got {period}")
        self.period, self.duration = float(period), (shape[0] - 1) * float(period)

    @classmethod
    def of(cls, trajectory: JointTrajectory, period: float = PERIOD) -> SampledJoints:
        """Samples of a trajectory, to its end or just beyond."""
        times = np.asarray(period * np.arange(math.ceil(trajectory.duration / period - 1e-9) + 1), dtype=np.float64)
        samples = trajectory(times)
        return cls(period, samples.position, samples.velocity, samples.acceleration)

    def __call__(self, t: float | Array) -> JointReference:
        """The reference at t (...), s: fields (..., n); held at its ends."""
        at = np.clip(np.asarray(t, dtype=float) / self.period, 0.0, len(self.position) - 1)
        at = np.where(np.abs(at - np.round(at)) < 1e-6, np.round(at), at)  # a sample where one is meant
        k = np.minimum(at.astype(int), len(self.position) - 2)
        s, h = (at - k)[..., None], self.period
        q0, q1, v0, v1 = self.position[k], self.position[k + 1], h * self.velocity[k], h * self.velocity[k + 1]
        r = 1.0 - s
        position = r * r * (1.0 + 2.0 * s) * q0 + s * s * (3.0 - 2.0 * s) * q1 + s * r * r * v0 - s * s * r * v1
        velocity = 6.0 * s * r * (q1 - q0) + r * (1.0 - 3.0 * s) * v0 - s * (2.0 - 3.0 * s) * v1
        return JointReference(position, velocity / h, r * self.acceleration[k] + s * self.acceleration[k + 1])
