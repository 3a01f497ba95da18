"""The filter on many predicted states at once: for rollouts that should do what the vehicle will be made to do.

The rows n.F <= limit are those of ``SafetyFilter``. Instead of a quadratic program for each state, F is moved onto the
row that it breaks most, a few times over (each is the closed form of one row), and then into the cone of tilt and
below the largest thrust. With one broken row that is the exact projection; with several it may be off, which is
why it serves predictions, and what is flown passes ``SafetyFilter``.
"""

from __future__ import annotations

import numpy as np

from control_stack.laws.position import specific_force
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.safety.barrier.filter import HALF, SafetyFilter
from control_stack.types import Array

_SWEEPS = 3


class BatchFilter:
    """Rows and projection of a ``SafetyFilter`` for states (S, 3); it has no memory."""

    def __init__(self, guard: SafetyFilter):
        self._guard = guard

    def __call__(
        self, position: Array, velocity: Array, force: Array, without_thrust: Array, wanted: Array, unknown: float
    ) -> tuple[Array, Array]:
        """(S, 3) thrust vectors near the wanted ones that keep the rows, m/s^2, and (S,) the least gaps, m.

        Args:
            position, velocity: (S, 3) m, m/s. force: (S, 3) the thrust vectors in force, m/s^2.
            without_thrust: (S, 3) gravity and drag, m/s^2. wanted: (S, 3) thrust vectors, m/s^2.
            unknown: Acceleration that is not known, m/s^2.
        """
        surfaces = self._guard.seen(position)
        acceleration = force + without_thrust
        limits = self._guard.surface_limits(surfaces, velocity, acceleration, without_thrust, unknown)
        n, along, speed_limit = surfaces.towards, *self._speed(velocity, acceleration, without_thrust, unknown)
        found, every = wanted, np.arange(len(wanted))
        for _ in range(_SWEEPS):
            if limits.shape[-1]:
                excess = (n @ found[..., None])[..., 0] - limits
                worst = excess.argmax(axis=-1)
                found = found - np.maximum(excess[every, worst], 0.0)[:, None] * n[every, worst]
            found = found - np.maximum((along * found).sum(-1) - speed_limit, 0.0)[:, None] * along
        x, y, z = found.T
        kept = specific_force((x, y, z - GRAVITY), self._guard.slope, self._guard.thrust.most)
        gap = surfaces.gap.min(axis=-1) if limits.shape[-1] else np.full(len(wanted), np.inf)
        return np.stack(kept, axis=-1), gap

    def _speed(self, v: Array, a: Array, without_thrust: Array, unknown: float) -> tuple[Array, Array]:
        """The row along the velocity that keeps the speed, as ``SafetyFilter`` has it."""
        speed = np.maximum(np.sqrt((v * v).sum(-1)), 1e-6)
        n = v / speed[:, None]
        limits = self._guard.speed_limits(n, speed, a, without_thrust, unknown)
        # A vehicle that hardly moves has no direction, and no need of this row.
        return n, np.where(speed > HALF * self._guard.speed, limits, np.inf)
