"""An exact Gaussian process over a window of samples: what a model misses now, and how sure that is.

    y(t, z) = f(z) + g(t) + noise      f: squared exponential kernel in the features z, lasts
                                       g: exp(-|t - t'| / time_constant), Ornstein-Uhlenbeck: forgets

Both are independent with mean zero, so their kernels add. All outputs share the kernel, hence one Cholesky factor
serves them all (Rasmussen, Williams 2006, algorithm 2.1). The window is a ring: the oldest sample goes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from control_stack.errors import InputRejected, InvalidInput
from control_stack.types import Array


@dataclass(frozen=True)
class Kernel:
    """Of samples (t, z).

    Attributes:
        lengths: Of z, in its units: changes of f over less are unlikely.
        spread: Standard deviation of f before there is data, in units of y.
        time_spread: Of g. time_constant: s.
        noise: Standard deviation of a sample.
    """

    lengths: tuple[float, ...]
    spread: float
    time_spread: float
    time_constant: float
    noise: float

    def __post_init__(self) -> None:
        parts = (*self.lengths, self.spread, self.time_spread, self.time_constant, self.noise)
        if not self.lengths or not all(math.isfinite(v) for v in parts) or min(parts) < 0.0:
            raise InvalidInput("a kernel's numbers are finite and not negative")
        if min(*self.lengths, self.time_constant, self.noise) <= 0.0:
            raise InvalidInput("a kernel's lengths, time constant and noise are above zero")

    @property
    def prior(self) -> float:
        """Standard deviation without data."""
        return math.hypot(self.spread, self.time_spread)

    def __call__(self, t: Array, z: Array, other_t: Array, other_z: Array) -> Array:
        """(..., n) covariances of (...) times and (..., d) features with (n,) and (n, d)."""
        scaled, others = z / self._scale, other_z / self._scale
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b: one product of matrices instead of all differences.
        square = (scaled * scaled).sum(-1)[..., None] + (others * others).sum(-1) - 2.0 * scaled @ others.T
        lasting = self.spread**2 * np.exp(-0.5 * np.maximum(square, 0.0))
        return np.asarray(lasting + self.in_time(np.asarray(t, dtype=float)[..., None], other_t))

    def in_time(self, t: Array, other_t: Array) -> Array:
        """The covariance of g alone; shapes are broadcast."""
        return np.asarray(self.time_spread**2 * np.exp(-np.abs(t - other_t) / self.time_constant))

    @property
    def _scale(self) -> Array:
        return np.array(self.lengths)


class GaussianProcess:
    """The posterior of ``outputs`` functions from the last ``window`` samples.

    Attributes:
        kernel: As given. count: Samples that it holds.
    """

    def __init__(self, kernel: Kernel, outputs: int, window: int = 120):
        if window < 1 or outputs < 1:
            raise InvalidInput(f"a Gaussian process needs samples and outputs, got {window} and {outputs}")
        self.kernel, self._window, self._outputs = kernel, window, outputs
        self.reset()

    def reset(self) -> None:
        """Forgets all samples."""
        self.count = self._next = 0
        self._t, self._z = np.zeros(self._window), np.zeros((self._window, len(self.kernel.lengths)))
        self._y = np.zeros((self._window, self._outputs))
        self._weights, self._whiten = np.zeros((0, self._outputs)), np.zeros((0, 0))

    def add(self, t: float, z: Array, y: Array) -> None:
        """One sample: t s, z (d,), y (outputs,). Costs one Cholesky factor of the window.

        Raises:
            InputRejected: "nan" where it is not finite.
        """
        if not (math.isfinite(t) and np.isfinite(z).all() and np.isfinite(y).all()):
            raise InputRejected("nan", "gaussian process: sample")
        k = self._next
        self._t[k], self._z[k], self._y[k] = t, z, y
        self._next, self.count = (k + 1) % self._window, min(self.count + 1, self._window)
        n = self.count
        covariance = self.kernel(self._t[:n], self._z[:n], self._t[:n], self._z[:n])
        covariance[range(n), range(n)] += self.kernel.noise**2
        self._whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        self._weights = self._whiten.T @ (self._whiten @ self._y[:n])

    def mean(self, t: Array, z: Array) -> Array:
        """(..., outputs) at times (...) and features (..., d)."""
        n = self.count
        return np.asarray(self.kernel(t, z, self._t[:n], self._z[:n]) @ self._weights)

    def deviation(self, t: Array, z: Array) -> Array:
        """(...) standard deviation of each output, without the noise of a sample."""
        n = self.count
        white = self.kernel(t, z, self._t[:n], self._z[:n]) @ self._whiten.T
        return np.sqrt(np.maximum(self.kernel.prior**2 - (white * white).sum(-1), 0.0))
