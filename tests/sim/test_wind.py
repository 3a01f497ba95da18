"""Gusts have the standard deviation and correlation that MIL-F-8785C states; wind is read from one word."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from sim.wind import (
    FOOT,
    KNOT,
    Wind,
    WindConfig,
    first_order_filter,
    gust_statistics,
    parse_wind,
    second_order_filter,
)


def samples(text, n, dt, seed=0):
    return Wind(parse_wind(text), dt, np.random.default_rng(seed)).sample(n)


def test_statistics_by_hand():
    """At 20 ft in 30 knots: sigma_w = 3 kn, sigma_u = 3 kn / 0.19346^0.4, L_u = 20 ft / 0.19346^1.2."""
    sigma, tau = gust_statistics(parse_wind("dryden:moderate"))
    shape = 0.177 + 0.000823 * 20.0
    np.testing.assert_allclose(sigma, np.array([3.0 / shape**0.4, 3.0 / shape**0.4, 3.0]) * KNOT)
    np.testing.assert_allclose(tau * 30.0 * KNOT, np.array([20.0 / shape**1.2, 20.0 / shape**1.2, 20.0]) * FOOT)
    assert sigma[2] == pytest.approx(1.5433, abs=1e-4)


@pytest.mark.parametrize(
    ("build", "correlation"),
    [
        (first_order_filter, lambda s: np.exp(-s)),
        (second_order_filter, lambda s: np.exp(-s) * (1.0 - 0.5 * s)),
    ],
)
@pytest.mark.parametrize("dt", [0.001, 0.3, 4.0])
def test_the_discrete_filters_have_the_stated_autocorrelation_for_any_step(build, correlation, dt):
    """C A^k P C^T is the exact autocovariance of the samples; P must be stationary: P = A P A^T + B B^T."""
    sigma, tau = 1.7, 0.8
    a, b, c, p = build(sigma, tau, dt)
    np.testing.assert_allclose(a @ p @ a.T + b @ b.T, p, rtol=1e-9, atol=1e-12)
    for k in range(6):
        covariance = c @ np.linalg.matrix_power(a, k) @ p @ c
        assert covariance == pytest.approx(sigma**2 * correlation(k * dt / tau), abs=1e-12)


def test_the_spectrum_is_that_of_the_transfer_function():
    """Fourier sum of the autocovariance against sigma^2 T (1 + 3 (Tw)^2) / (1 + (Tw)^2)^2."""
    sigma, tau, dt = 1.3, 0.5, 0.002
    a, _, c, p = second_order_filter(sigma, tau, dt)
    lags, state = [], p @ c
    for _ in range(8000):
        lags.append(c @ state)
        state = a @ state
    k = np.arange(len(lags))
    for omega in (0.0, 1.0, 3.0, 8.0):
        power = dt * (2.0 * np.sum(np.array(lags) * np.cos(omega * k * dt)) - lags[0])
        y = (tau * omega) ** 2
        assert power == pytest.approx(sigma**2 * tau * (1.0 + 3.0 * y) / (1.0 + y) ** 2, rel=1e-3)


def test_sampled_gusts_have_the_stated_spread_and_memory():
    config = parse_wind("dryden:light")
    sigma, tau = gust_statistics(config)
    dt = 0.5
    gusts = samples("dryden:light", 40_000, dt)
    # Correlated samples: about n dt / 2 tau independent ones, 1750 along u; 4 standard errors are 7 %.
    np.testing.assert_allclose(gusts.std(axis=0), sigma, rtol=0.07)
    np.testing.assert_allclose(gusts.mean(axis=0) / sigma, 0.0, atol=0.1)
    for axis, law in enumerate((lambda s: np.exp(-s), *(lambda s: np.exp(-s) * (1.0 - 0.5 * s),) * 2)):
        found = np.mean(gusts[1:, axis] * gusts[:-1, axis]) / np.var(gusts[:, axis])
        assert found == pytest.approx(law(dt / tau[axis]), abs=0.02)


def test_u_blows_along_the_steady_wind():
    """Turning the steady wind by 90 degrees turns the gusts with it: same noise, u along the world's y."""
    config = parse_wind("0,3,0+dryden:moderate")
    wind = Wind(config, 0.01, np.random.default_rng(3)).sample(500)
    base = Wind(parse_wind("3,0,0+dryden:moderate"), 0.01, np.random.default_rng(3)).sample(500)
    np.testing.assert_allclose(wind[:, 1], base[:, 0], atol=1e-12)
    np.testing.assert_allclose(wind[:, 0], -base[:, 1], atol=1e-12)
    np.testing.assert_allclose(wind[:, 2], base[:, 2], atol=1e-12)


def test_seeds_reproduce_and_differ():
    np.testing.assert_array_equal(samples("dryden:severe", 50, 0.001, 5), samples("dryden:severe", 50, 0.001, 5))
    assert np.abs(samples("dryden:severe", 50, 0.001, 5) - samples("dryden:severe", 50, 0.001, 6)).min() > 0.0


def test_steady_wind_is_exactly_that():
    np.testing.assert_array_equal(samples("2,-1,0.5", 3, 0.001), np.tile([2.0, -1.0, 0.5], (3, 1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", WindConfig()),
        ("2,0,0", WindConfig((2.0, 0.0, 0.0))),
        (" -1.5, 2e0, 0 ", WindConfig((-1.5, 2.0, 0.0))),
        ("dryden:light", WindConfig(wind_20ft=15.0 * KNOT)),
        ("dryden:6.5", WindConfig(wind_20ft=6.5)),
        ("2,0,0+dryden:severe", WindConfig((2.0, 0.0, 0.0), 45.0 * KNOT)),
        ("+1e+1,0,0+dryden:3", WindConfig((10.0, 0.0, 0.0), 3.0)),
    ],
)
def test_parse_wind(text, expected):
    assert parse_wind(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2,0",
        "2,0,0,0",
        "a,b,c",
        "dryden",
        "dryden:",
        "dryden:hurricane",
        "dryden:-1",
        "dryden:nan",
        "nan,0,0",
        "inf,0,0",
        "2,0,0+",
        "dryden:light+2,0,0",
        "dryden:light+dryden:light",
        "2,0,0+dryden:light+dryden:light",
        "100.1,0,0",
        "60,60,60",
        "dryden:100.1",
    ],
)
def test_bad_wind_is_one_clear_line(text):
    with pytest.raises(InvalidInput) as caught:
        parse_wind(text)
    assert "\n" not in str(caught.value) and "wind" in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [{"height": 1.0}, {"height": 400.0}, {"sweep_speed": 0.0}, {"wind_20ft": -1.0}, {"steady_w": (1.0, 2.0)}],
)
def test_configurations_outside_the_model_are_refused(fields):
    with pytest.raises(InvalidInput):
        WindConfig(**fields)
