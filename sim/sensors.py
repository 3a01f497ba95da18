"""What a vehicle's estimator would report: truth with noise, delay and dropout, from one seeded generator."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from control_stack.algebra import quat_multiply, quat_normalize
from control_stack.errors import InvalidInput, UnknownName
from control_stack.types import QuadrotorState


@dataclass(frozen=True)
class SensorConfig:
    """Errors of the measured state; all zero gives the truth.

    Attributes:
        position_std, velocity_std, rate_std: m, m/s and rad/s per axis.
        attitude_std: rad per axis of a small rotation of the body frame. All are white noise.
        delay: From truth to ``state()``, s, rounded to physics steps. The stamp stays that of the truth.
        dropout: Probability that a measurement is lost; the one before, with its stamp, is reported again.
    """

    position_std: float = 0.0
    velocity_std: float = 0.0
    attitude_std: float = 0.0
    rate_std: float = 0.0
    delay: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0.0):
                raise InvalidInput(f"sensor {name} must be at least 0, got {value:g}")
        if self.dropout >= 1.0:
            raise InvalidInput(f"sensor dropout must be below 1, got {self.dropout:g}")

    @property
    def is_perfect(self) -> bool:
        """True if the truth itself is reported."""
        return not any(vars(self).values())


# Orders of magnitude, chosen here and not identified on a system. mocap: sub-millimetre marker tracking over
# a radio link, velocity by differentiation. vio: visual-inertial odometry between loop closures. rtk: satellites with
# centimetre corrections and an inertial unit on board, whose filter tells the state of now.
PRESETS = {
    "none": SensorConfig(),
    "mocap": SensorConfig(
        position_std=0.0005, velocity_std=0.01, attitude_std=0.003, rate_std=0.02, delay=0.005, dropout=0.001
    ),
    "vio": SensorConfig(
        position_std=0.01, velocity_std=0.05, attitude_std=0.01, rate_std=0.03, delay=0.02, dropout=0.005
    ),
    "rtk": SensorConfig(position_std=0.002, velocity_std=0.01, attitude_std=0.002, rate_std=0.02),
}


def sensor_preset(name: str) -> SensorConfig:
    """none, mocap, vio or rtk. Raises UnknownName."""
    if name not in PRESETS:
        raise UnknownName("sensor preset", name, PRESETS)
    return PRESETS[name]


class Sensors:
    """Turns the true state after each step into what is reported."""

    def __init__(self, config: SensorConfig, dt: float, rng: np.random.Generator):
        self._config, self._rng = config, rng
        self.delay_steps = round(config.delay / dt)
        self._past: deque[QuadrotorState] = deque(maxlen=self.delay_steps + 1)
        self._last: QuadrotorState | None = None

    def start(self, truth: QuadrotorState) -> None:
        """Forgets the past; until the delay has passed the start is all there is to report."""
        self._past.clear()
        self._past.append(truth)
        self._last = self._noisy(truth)

    def record(self, truth: QuadrotorState) -> None:
        """Takes the truth after one physics step."""
        self._past.append(truth)

    def measure(self) -> QuadrotorState:
        """One new measurement: the truth of ``delay`` ago with noise, or the last one again if it is lost."""
        lost = self._config.dropout > 0.0 and self._rng.random() < self._config.dropout
        if self._last is None or not lost:
            self._last = self._noisy(self._past[0])
        return self._last

    def _noisy(self, truth: QuadrotorState) -> QuadrotorState:
        config = self._config
        if config.is_perfect:
            return truth
        n = self._rng.standard_normal(12)
        half = 0.5 * config.attitude_std * n[6:9]
        # exp of a small rotation vector; normalised, so the norm stays exact for large deviations too.
        turned = quat_normalize(quat_multiply(tuple(truth.quat_xyzw.tolist()), (*half.tolist(), 1.0)))  # type: ignore[arg-type]
        return replace(
            truth,
            position_w=truth.position_w + config.position_std * n[0:3],
            velocity_w=truth.velocity_w + config.velocity_std * n[3:6],
            quat_xyzw=np.array(turned),
            omega_b=truth.omega_b + config.rate_std * n[9:12],
        )
