"""Wind: a steady part and Dryden gusts of the low-altitude model of MIL-F-8785C (1980, section 3.7).

With the height h and lengths in feet, W20 the wind at 20 ft, V the speed at which the gust field is swept:

    L_w = h        L_u = L_v = h / (0.177 + 0.000823 h)^1.2
    sigma_w = 0.1 W20        sigma_u = sigma_v = sigma_w / (0.177 + 0.000823 h)^0.4

Each component is unit white noise through a filter, with T = L / V and sigma its standard deviation:

    u:     H(s) = sigma sqrt(2 T) / (1 + T s)                        R(t) = sigma^2 exp(-t / T)
    v, w:  H(s) = sigma sqrt(T) (1 + sqrt(3) T s) / (1 + T s)^2      R(t) = sigma^2 exp(-t / T) (1 - t / 2T)

u is along the steady wind (along x where there is none), w up. The filters are discretised exactly and start
in their stationary distribution, so variance and correlation hold from the first sample and for any step.

A multirotor may hover, so V is not its airspeed but the mean wind that carries the gusts past it: W20 unless
the configuration says otherwise. Height is a constant of the configuration, 20 ft by default: the model is
not defined below 10 ft, where indoor flights are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.types import Array

FOOT = 0.3048  # m
KNOT = 1852.0 / 3600.0  # m/s
# MIL-F-8785C figure 7: light, moderate and severe turbulence are a wind at 20 ft of 15, 30 and 45 knots.
INTENSITIES = {"light": 15.0 * KNOT, "moderate": 30.0 * KNOT, "severe": 45.0 * KNOT}
MAX_WIND = 100.0  # m/s: no storm that anything flies in
_SYNTAX = "expected 'none', 'x,y,z' in m/s, 'dryden:light|moderate|severe|<m/s at 20 ft>', or 'x,y,z+dryden:...'"


@dataclass(frozen=True)
class WindConfig:
    """Steady wind and gusts.

    Attributes:
        steady_w: (3,) velocity of the air, m/s.
        wind_20ft: W20 of the gusts, m/s; 0 for none.
        height: At which the gusts' lengths and intensities are taken, m, 10 to 1000 ft.
        sweep_speed: V, m/s; None for W20.
    """

    steady_w: tuple[float, float, float] = (0.0, 0.0, 0.0)
    wind_20ft: float = 0.0
    height: float = 20.0 * FOOT
    sweep_speed: float | None = None

    def __post_init__(self) -> None:
        if len(self.steady_w) != 3 or not all(math.isfinite(v) for v in self.steady_w):
            raise InvalidInput(f"steady wind needs three finite values in m/s, got {self.steady_w}")
        if math.hypot(*self.steady_w) > MAX_WIND:
            raise InvalidInput(f"steady wind is at most {MAX_WIND:g} m/s, got {math.hypot(*self.steady_w):g} m/s")
        if not 0.0 <= self.wind_20ft <= MAX_WIND:
            raise InvalidInput(f"wind at 20 ft must be from 0 to {MAX_WIND:g} m/s, got {self.wind_20ft:g}")
        if not 10.0 * FOOT - 1e-9 <= self.height <= 1000.0 * FOOT:
            raise InvalidInput(f"the gust model holds from 3.048 to 304.8 m above ground, got {self.height:g} m")
        if self.sweep_speed is not None and not (math.isfinite(self.sweep_speed) and self.sweep_speed > 0.0):
            raise InvalidInput(f"sweep_speed must be positive, got {self.sweep_speed:g} m/s")


def parse_wind(text: str) -> WindConfig:
    """Wind from the command line: "none", "2,0,0", "dryden:moderate", "dryden:6.5", "2,0,0+dryden:light".

    Raises:
        InvalidInput: The text is none of these; the message is one line.
    """
    steady: tuple[float, ...] = (0.0, 0.0, 0.0)
    gusts = 0.0
    seen: set[str] = set()
    # A '+' may also be a sign ("+2,0,0" or "1e+1,0,0"), so only one before "dryden" separates.
    head, separator, tail = text.strip().partition("+dryden:")
    parts = [head, f"dryden:{tail}"] if separator else [head]
    for part in (p.strip() for p in parts):
        kind = "gusts" if part.startswith("dryden:") else "steady"
        if kind in seen:
            raise InvalidInput(f"wind '{text}': {_SYNTAX}")
        seen.add(kind)
        try:
            if kind == "gusts":
                word = part.removeprefix("dryden:").strip()
                gusts = INTENSITIES[word] if word in INTENSITIES else float(word)
            elif part != "none":
                steady = tuple(float(v) for v in part.split(","))
        except ValueError:
            raise InvalidInput(f"wind '{text}': {_SYNTAX}") from None
    if len(steady) != 3:
        raise InvalidInput(f"wind '{text}': {_SYNTAX}")
    return WindConfig((steady[0], steady[1], steady[2]), gusts)


def gust_statistics(config: WindConfig) -> tuple[Array, Array]:
    """(standard deviations m/s, time constants L / V in s) of u, v, w."""
    h = config.height / FOOT
    shape = 0.177 + 0.000823 * h
    sigma_w = 0.1 * config.wind_20ft
    sigma_u = sigma_w / shape**0.4
    length_u = h / shape**1.2 * FOOT
    speed = config.sweep_speed or config.wind_20ft
    return np.array([sigma_u, sigma_u, sigma_w]), np.array([length_u, length_u, config.height]) / speed


def first_order_filter(sigma: float, tau: float, dt: float) -> tuple[Array, Array, Array, Array]:
    """(A, B, C, P) of x+ = A x + B n, y = C x with n standard normal; P is the stationary covariance of x."""
    a = math.exp(-dt / tau)
    return np.array([[a]]), np.array([[math.sqrt(1.0 - a * a)]]), np.array([sigma]), np.eye(1)


def second_order_filter(sigma: float, tau: float, dt: float) -> tuple[Array, Array, Array, Array]:
    """As ``first_order_filter`` for H of v and w, with x = (n, n / (1 + T s)) / (1 + T s) and A = exp(F dt).

    The process noise follows from stationarity, Q = P - A P A^T, exact for any dt.
    """
    a = math.exp(-dt / tau)
    transition = np.array([[a, 0.0], [dt / tau * a, a]])
    stationary = np.array([[2.0, 1.0], [1.0, 1.0]]) / (4.0 * tau)
    noise = stationary - transition @ stationary @ transition.T
    # (1 + sqrt3 T s) / (1 + T s)^2 = sqrt3 / (1 + T s) + (1 - sqrt3) / (1 + T s)^2
    output = sigma * math.sqrt(tau) * np.array([math.sqrt(3.0), 1.0 - math.sqrt(3.0)])
    values, vectors = np.linalg.eigh(noise)
    return transition, vectors * np.sqrt(np.maximum(values, 0.0)), output, stationary


class Wind:
    """The air's velocity at the vehicle, step by step of dt seconds."""

    def __init__(self, config: WindConfig, dt: float, rng: np.random.Generator):
        self._steady = np.array(config.steady_w, dtype=float)
        self._rng = rng
        self.now: Array = self._steady.copy()
        self._advance: Callable[[], Array] | None = self._gusts(config, dt) if config.wind_20ft > 0.0 else None

    def sample(self, n: int) -> Array:
        """(n, 3) wind_w of the next n steps, m/s; ``now`` is left at the last."""
        out = np.empty((n, 3))
        if self._advance is None:
            out[:] = self._steady
            return out
        for row in out:
            row[:] = self._advance()
        self.now = out[-1].copy()
        return out

    def _gusts(self, config: WindConfig, dt: float) -> Callable[[], Array]:
        """The three filters as one system of five states."""
        sigma, tau = gust_statistics(config)
        filters = [
            first_order_filter(sigma[0], tau[0], dt),
            second_order_filter(sigma[1], tau[1], dt),
            second_order_filter(sigma[2], tau[2], dt),
        ]
        east, north = config.steady_w[0], config.steady_w[1]
        speed = math.hypot(east, north)
        c, s = (east / speed, north / speed) if speed > 1e-6 else (1.0, 0.0)
        to_world = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        a, b, c_out, start = np.zeros((5, 5)), np.zeros((5, 5)), np.zeros((3, 5)), np.zeros((5, 5))
        for axis, at in enumerate((slice(0, 1), slice(1, 3), slice(3, 5))):
            a[at, at], b[at, at], c_out[axis, at], covariance = filters[axis]
            start[at, at] = np.linalg.cholesky(covariance)
        output, steady, rng = to_world @ c_out, self._steady, self._rng
        x = start @ rng.standard_normal(5)
        self.now = steady + output @ x

        def advance() -> Array:
            nonlocal x
            x = a @ x + b @ rng.standard_normal(5)
            return steady + output @ x

        return advance
