"""What the nominal model misses, learnt in flight: the Gaussian process's samples and its bound.

    y = (v(t) - v(t - T)) / T  -  mean over T of (thrust along the body's z axis + drag in still air + gravity)

in the world: wind and a cable keep their direction there while the body turns below them. Features are the velocity
in the world and the specific thrust. One sample every T, so that the cost of a call is bounded.
"""

from __future__ import annotations

import math

import numpy as np

from control_stack.algebra import body_axes
from control_stack.laws.allocation import RESPONSE_TIME
from control_stack.learning.gaussian_process import GaussianProcess, Kernel
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.types import Array, QuadrotorState

OVER = 0.1  # s, T: long enough for the noise of velocities, short enough for gusts
_LONGEST = 0.05  # s between two calls; after a longer pause a sample is begun anew
_MOST = 8.0  # m/s^2: a sample beyond that is a collision or an estimator's jump, no air
# (m/s, m/s, m/s, m/s^2) and m/s^2: half of an unknown drag and half of wind, whose gusts last a few seconds.
KERNEL = Kernel((2.0, 2.0, 2.0, 4.0), spread=0.4, time_spread=0.6, time_constant=4.0, noise=0.15)


class FlightResidual:
    """Watches one vehicle and learns. Call ``observe`` with every state, ``sent`` with what was flown.

    Attributes:
        process: The Gaussian process.
        beta: Deviations that its bound counts on.
    """

    def __init__(self, parameters: QuadrotorParameters, kernel: Kernel = KERNEL, window: int = 120, beta: float = 2.0):
        self.process, self.beta = GaussianProcess(kernel, 3, window), beta
        self._drag = np.asarray(parameters.drag, dtype=float) / float(parameters.mass)
        self.reset()

    def reset(self) -> None:
        """Forgets the flight."""
        self.process.reset()
        self._lift = self._wanted = GRAVITY
        self._begin(None)

    def _begin(self, last: tuple[float, Array, Array] | None) -> None:
        self._last: tuple[float, Array, Array] | None = last  # time, acceleration, velocity of the last state
        self._sum: Array = np.zeros(3)  # integrals since the sample began: of the acceleration,
        self._moved: Array = np.zeros(4)  # and of velocity and thrust
        self._since: float = 0.0 if last is None else last[0]
        self._velocity: Array = np.zeros(3) if last is None else last[2]

    def sent(self, specific_thrust: float) -> None:
        """The specific thrust along the body's z axis that is commanded from now on, m/s^2."""
        self._wanted = specific_thrust

    def observe(self, t: float, state: QuadrotorState) -> None:
        """A state at t (s); adds a sample where T is over."""
        now = self._last
        if now is None or not 0.0 < t - now[0] <= _LONGEST:
            self._begin((t, self._acceleration(state), state.velocity_w))
            return
        dt = t - now[0]
        self._lift += (1.0 - math.exp(-dt / RESPONSE_TIME)) * (self._wanted - self._lift)
        acceleration = self._acceleration(state)
        self._sum = self._sum + 0.5 * dt * (now[1] + acceleration)
        self._moved = self._moved + dt * np.append(0.5 * (now[2] + state.velocity_w), self._lift)
        self._last, span = (t, acceleration, state.velocity_w), t - self._since
        if span < OVER - 1e-6:
            return
        y = (state.velocity_w - self._velocity - self._sum) / span
        if float(np.linalg.norm(y)) < _MOST:
            self.process.add(t - 0.5 * span, self._moved / span, y)
        self._begin(self._last)

    def mean(self, t: float, velocity: Array, thrust: Array) -> Array:
        """(..., 3) the acceleration that the nominal model misses, m/s^2. velocity: (..., 3). thrust: (...)."""
        z = np.concatenate([velocity, thrust[..., None]], axis=-1)
        return self.process.mean(np.full(z.shape[:-1], t), z)

    def bound(self, t: Array, velocity: Array, thrust: Array) -> Array:
        """(...) |mean| + beta sigma at times (...), m/s^2: how much is missing at most, so sure as beta says."""
        z = np.concatenate([velocity, thrust[..., None]], axis=-1)
        mean = self.process.mean(t, z)
        return np.asarray(np.sqrt((mean * mean).sum(-1)) + self.beta * self.process.deviation(t, z))

    def _acceleration(self, state: QuadrotorState) -> Array:
        body: Array = np.array(body_axes(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
        a = self._lift * body[2] - (body.T * self._drag) @ (body @ state.velocity_w)
        a[2] -= GRAVITY
        return np.asarray(a)
