"""Coloured noise and MPPI's weights: variance, correlation, and the limits of temperature."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.planning.sampling_cem import ICEMSettings
from controllers.planning.sampling_mppi import weights
from controllers.planning.sampling_noise import coloured

SAMPLES = 40_000


@pytest.mark.parametrize("steps", [1, 2, 7, 8])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_every_step_is_standard_normal(steps: int, beta: float):
    noise = coloured(np.random.default_rng(0), beta, SAMPLES, steps, 2)
    assert noise.shape == (SAMPLES, steps, 2)
    np.testing.assert_allclose(noise.std(axis=0), 1.0, atol=0.02)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.02)


def neighbours(beta: float, steps: int = 8) -> float:
    noise = coloured(np.random.default_rng(0), beta, SAMPLES, steps, 1)[..., 0]
    return float((noise[:, 1:] * noise[:, :-1]).mean())


def test_white_noise_has_no_memory_and_colour_lengthens_it():
    found = [neighbours(beta) for beta in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert abs(found[0]) < 0.01 and (np.diff(found) > 0.05).all() and found[-1] < 1.0


def test_inputs_are_independent():
    noise = coloured(np.random.default_rng(0), 2.0, SAMPLES, 6, 2)
    assert abs((noise[..., 0] * noise[..., 1]).mean()) < 0.02


SCORES = np.array([3.0, 1.0, 2.0, 7.0])


def test_temperature_zero_takes_the_best_alone():
    np.testing.assert_array_equal(weights(SCORES, 0.0), [0.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(weights(SCORES, 1e-6), [0.0, 1.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(weights(np.array([1.0, 1.0, 2.0]), 0.0), [0.5, 0.5, 0.0])


def test_infinite_temperature_takes_all_alike():
    np.testing.assert_allclose(weights(SCORES, np.inf), 0.25)
    np.testing.assert_allclose(weights(np.ones(4), 0.3), 0.25)


def test_weights_fall_with_the_cost_and_do_not_mind_its_offset_and_unit():
    found = weights(SCORES, 0.5)
    assert (np.argsort(-found) == np.argsort(SCORES)).all() and found.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(weights(100.0 * SCORES - 3.0, 0.5), found)
    # The ratio of two weights is that of Boltzmann.
    assert found[1] / found[2] == pytest.approx(np.exp(1.0 / (0.5 * np.quantile(SCORES - 1.0, 0.25))))


@pytest.mark.parametrize("rollouts", [100, 512, 1000])
def test_rounds_of_icem_fall_and_make_up_the_budget(rollouts: int):
    settings = ICEMSettings(rollouts=rollouts, iterations=6, decay=1.5)
    sizes = settings.sizes()
    assert sum(sizes) + 3 == rollouts and sizes == sorted(sizes, reverse=True) and sizes[0] > 1.5 * sizes[2]
