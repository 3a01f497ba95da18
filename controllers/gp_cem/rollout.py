"""Many flights of the thrust-vector model at once, with the filter in each of their steps, and what they cost.

The model is the one that the filter is derived for: the thrust vector F follows its command with a lag of rate k,

    F' = k (F_cmd - F),   v' = F - g e_z - D v / m + r(t, v, |F|),   p' = v

r is the Gaussian process's mean; within a step all but F is held, and F integrated exactly. The command of a step is
that of the tracking law at the predicted state plus an offset, which is what is searched for; then it is filtered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from control_stack.laws.position import specific_force
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.safety.barrier.batch import BatchFilter
from control_stack.types import Array, Reference
from controllers.gp_cem.residual import FlightResidual
from controllers.nmpc.flight_reference import ahead

_DOWN = np.array([0.0, 0.0, -GRAVITY])
_FAR = 1.0  # m: references further off are tracked as if they were so far, in the same direction
_LEAD = 1.0  # m/s^2 of a lead: the short ways that join references at hand-over have jerks that no body follows
_FARTHEST = 1e6  # m, m/s: a prediction beyond has diverged


@dataclass(frozen=True)
class Weights:
    """Errors that cost as much as each other.

    Attributes:
        position: m. velocity: m/s. offset: of the command from the tracking law's, m/s^2. change: of the offset from
            step to step, m/s^2. gap: m inside what is to be kept free. terminal: factor on the last errors.
    """

    position: float = 0.2
    velocity: float = 0.8
    offset: float = 1.5
    change: float = 3.0
    gap: float = 0.02
    terminal: float = 3.0


class Start(NamedTuple):
    """t: s. position, velocity, force: (3,) m, m/s, and the thrust vector in force, m/s^2."""

    t: float
    position: Array
    velocity: Array
    force: Array


class Ahead(NamedTuple):
    """The reference at T + 1 times: position, velocity, acceleration, jerk, each (T + 1, 3)."""

    position: Array
    velocity: Array
    acceleration: Array
    jerk: Array


class ThrustRollout:
    """Rollouts of one vehicle.

    Attributes:
        steps: T. dt: s of a step.
    """

    def __init__(
        self, parameters: QuadrotorParameters, lag_rate: float, tan_tilt: float, most: float, steps: int, dt: float,
        weights: Weights, residual: FlightResidual | None, guard: BatchFilter | None,
    ):  # fmt: skip
        """lag_rate: k, 1/s. tan_tilt: of the largest tilt. most: specific thrust, m/s^2. residual: None without a
        Gaussian process. guard: None where rollouts know of no filter."""
        self.steps, self.dt, self.weights = steps, dt, weights
        self._residual, self._guard, self._k, self._tan, self._most = residual, guard, lag_rate, tan_tilt, most
        self._drag = np.asarray(parameters.drag, dtype=float) / float(parameters.mass)
        self._gains = parameters.gains
        # Of F - F_cmd: what is left of it after a step, its integral over the step, and the integral of that.
        self._left = float(np.exp(-lag_rate * dt))
        self._first = (1.0 - self._left) / lag_rate
        self._second = (dt - self._first) / lag_rate

    def references(self, reference: Reference, offset: float, position: Array) -> Ahead:
        """From ``offset`` s on; a far one is brought near."""
        steps = [ahead(reference, offset + k * self.dt) for k in range(self.steps + 1)]
        names = ("position_w", "velocity_w", "acceleration_w", "jerk_w")
        found = Ahead(*(np.array([getattr(r, name) for r in steps]) for name in names))
        gap = found.position[0] - position
        far = max(float(np.linalg.norm(gap)), 1e-9)
        return found._replace(position=found.position + (min(1.0, _FAR / far) - 1.0) * gap)

    def margins(self, start: Start, references: Ahead, told: float) -> Array:
        """(T,) unknown acceleration along the reference, m/s^2: the process's bound where that is above ``told``."""
        if self._residual is None:
            return np.full(self.steps, told)
        thrust = references.acceleration[:-1] - _DOWN
        t = np.asarray(start.t + self.dt * np.arange(self.steps), dtype=float)
        bound = self._residual.bound(t, references.velocity[:-1], np.sqrt((thrust * thrust).sum(-1)))
        return np.maximum(bound, told)

    def tracking(self, p: Array, v: Array, force: Array, t: float, references: Ahead, k: int) -> tuple[Array, Array]:
        """(S, 3) the law's thrust vector at step k and (S, 3) all that is not thrust there, m/s^2."""
        missed: Array | float = 0.0
        if self._residual is not None:
            missed = self._residual.mean(t + k * self.dt, v, np.sqrt((force * force).sum(-1)))
        without = _DOWN - self._drag * v + missed
        error = np.clip(references.position[k] - p, -_FAR, _FAR)
        wanted = self._gains.position * error + self._gains.velocity * (references.velocity[k] - v)
        # The lag is led by the jerk: F + F'/k is what has to be commanded for F.
        lead = np.clip(references.jerk[k] / self._k, -_LEAD, _LEAD)
        return wanted + references.acceleration[k] + lead - without, without

    def limited(self, force: Array) -> Array:
        """(..., 3) within tilt and thrust."""
        x, y, z = np.moveaxis(force, -1, 0)
        return np.stack(specific_force((x, y, z - GRAVITY), self._tan, self._most), axis=-1)

    def __call__(self, start: Start, references: Ahead, offsets: Array, margins: Array) -> tuple[Array, Array]:
        """Costs (S,), infinite where a prediction is not finite, and positions (S, T + 1, 3), of offsets (S, T, 3)."""
        samples, w = len(offsets), self.weights
        p, v, force = (np.tile(part, (samples, 1)) for part in (start.position, start.velocity, start.force))
        path, cost = np.empty((samples, self.steps + 1, 3)), np.zeros(samples)
        path[:, 0] = p
        for k in range(self.steps):
            law, without = self.tracking(p, v, force, start.t, references, k)
            wanted = self.limited(law + offsets[:, k])
            if self._guard is not None:
                nominal = _DOWN - self._drag * v  # what the filter that flies knows
                wanted, gap = self._guard(p, v, force, nominal, wanted, float(margins[k]))
                cost += (np.maximum(-gap, 0.0) / w.gap) ** 2
            left = force - wanted
            a = wanted + without
            p = p + self.dt * v + 0.5 * self.dt**2 * a + self._second * left
            v = v + self.dt * a + self._first * left
            force = wanted + self._left * left
            path[:, k + 1] = p
            error, faster = p - references.position[k + 1], v - references.velocity[k + 1]
            factor = w.terminal if k == self.steps - 1 else 1.0
            cost += factor * ((error * error).sum(-1) / w.position**2 + (faster * faster).sum(-1) / w.velocity**2)
        cost += (offsets * offsets).sum((1, 2)) / w.offset**2
        step = np.diff(offsets, axis=1)
        cost += (step * step).sum((1, 2)) / w.change**2
        # Not a number compares as false.
        good = (np.abs(p) < _FARTHEST).all(-1) & (np.abs(v) < _FARTHEST).all(-1) & np.isfinite(cost)
        return np.where(good, cost, np.inf), path
