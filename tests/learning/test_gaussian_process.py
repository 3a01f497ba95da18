"""The Gaussian process: its posterior, and what it is sure of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import InputRejected, InvalidInput
from control_stack.learning.gaussian_process import GaussianProcess, Kernel

KERNEL = Kernel((1.0, 0.5), spread=0.7, time_spread=0.4, time_constant=3.0, noise=0.1)


def samples(count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0.0, 10.0, count)), rng.normal(size=(count, 2)), rng.normal(size=(count, 3))


def filled(kernel: Kernel, t, z, y, window: int = 40) -> GaussianProcess:
    process = GaussianProcess(kernel, 3, window)
    for sample in zip(t, z, y, strict=True):
        process.add(*sample)
    return process


def covariance(k: Kernel, t, z, s, w):
    """Entry by entry, as the module's head says it."""
    out = np.empty((len(t), len(s)))
    for i in range(len(t)):
        for j in range(len(s)):
            square = sum(((a - b) / c) ** 2 for a, b, c in zip(z[i], w[j], k.lengths, strict=True))
            out[i, j] = k.spread**2 * np.exp(-0.5 * square)
            out[i, j] += k.time_spread**2 * np.exp(-abs(t[i] - s[j]) / k.time_constant)
    return out


@pytest.mark.parametrize("count", [1, 17, 40, 55])  # with 55 the window has let go of 15
def test_the_posterior_is_that_of_a_direct_dense_solve_over_the_window(count):
    t, z, y = samples(count)
    process = filled(KERNEL, t, z, y)
    kept = slice(max(count - 40, 0), None)
    at, asked, _ = samples(20, 1)
    among = covariance(KERNEL, t[kept], z[kept], t[kept], z[kept]) + KERNEL.noise**2 * np.eye(min(count, 40))
    across = covariance(KERNEL, at, asked, t[kept], z[kept])
    mean = across @ np.linalg.solve(among, y[kept])
    variance = np.diag(covariance(KERNEL, at, asked, at, asked) - across @ np.linalg.solve(among, across.T))
    np.testing.assert_allclose(process.mean(at, asked), mean, atol=1e-9)
    np.testing.assert_allclose(process.deviation(at, asked) ** 2, variance, atol=1e-9)


def test_it_interpolates_data_without_noise():
    t, z, y = samples(12)
    process = filled(replace(KERNEL, noise=1e-5), t, z, y)
    np.testing.assert_allclose(process.mean(t, z), y, atol=1e-3)
    assert process.deviation(t, z).max() < 1e-3


def test_far_from_data_it_knows_what_it_knew_before():
    t, z, y = samples(30)
    process = filled(KERNEL, t, z, y)
    far, later = np.full((1, 2), 50.0), np.array([100.0])
    assert process.deviation(later, far)[0] == pytest.approx(KERNEL.prior, abs=1e-6)
    assert np.abs(process.mean(later, far)).max() < 1e-6
    empty = GaussianProcess(KERNEL, 3)
    assert empty.deviation(later, far)[0] == pytest.approx(KERNEL.prior)
    assert not empty.mean(later, far).any()


def test_more_data_never_makes_it_less_sure():
    t, z, y = samples(30)
    process, asked = GaussianProcess(KERNEL, 3), (np.full(5, 5.0), np.random.default_rng(2).normal(size=(5, 2)))
    before = process.deviation(*asked)
    for sample in zip(t, z, y, strict=True):
        process.add(*sample)
        now = process.deviation(*asked)
        assert (now <= before + 1e-9).all()
        before = now


def test_what_is_no_sample_or_no_kernel_is_refused():
    process = GaussianProcess(KERNEL, 3)
    for t, z, y in ((np.nan, np.zeros(2), np.zeros(3)), (0.0, np.array([0.0, np.inf]), np.zeros(3))):
        with pytest.raises(InputRejected):
            process.add(t, z, y)
    assert process.count == 0
    with pytest.raises(InvalidInput):
        replace(KERNEL, noise=0.0)
    with pytest.raises(InvalidInput):
        GaussianProcess(KERNEL, 3, window=0)
