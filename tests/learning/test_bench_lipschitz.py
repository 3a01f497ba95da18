"""control-stack bench lipschitz: its groups exist, and what it compares is what it says."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.lipschitz import _GROUPS
from benchmarks.lipschitz_bounds import _outside, rate_of_change
from benchmarks.lipschitz_models import EPISODES, TASKS, _agreeing, _equal_widths, made, shipped


def test_every_group_names_a_function_that_exists():
    assert len({name for name, _, _ in _GROUPS}) == len(_GROUPS)
    for _, module, function in _GROUPS:
        found = importlib.util.find_spec(module)
        assert found is not None and found.origin is not None, module
        defined = {node.name for node in ast.parse(Path(found.origin).read_text()).body if hasattr(node, "name")}
        assert function in defined, f"{module}.{function}"


@pytest.mark.parametrize("task", TASKS)
def test_shipped_models_are_proved_and_what_is_bounded_is_their_rate_of_change(task):
    model = shipped(task)  # loading checks the proof
    figures = model.card["figures"]
    assert figures["largest_slope_found"] <= model.certificate.gamma <= 2.5 * figures["largest_slope_found"]
    random = np.random.default_rng(0)
    a = random.uniform(figures["range_lower"], figures["range_upper"], (50, model.matrix.shape[1]))
    x, u = a[:, : model.nx], a[:, model.nx :]
    rate = (model.step(x, u) - x) / model.spec.dt
    np.testing.assert_allclose(rate_of_change(model)(a), rate, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_rivals_have_as_many_numbers_as_the_shipped_models_training(task):
    pytest.importorskip("torch")
    from control_stack.learning.lipschitz.fitting import Course, Recipe, Samples

    model = shipped(task)
    n, m, widths = model.matrix.shape[1], model.nx, tuple(model.card["training"]["widths"])
    samples = Samples(np.random.default_rng(0).standard_normal((10, n)), np.zeros((10, m)), np.ones(n), np.ones(m))
    count = model.card["figures"]["trained_numbers"]
    assert Course(samples, Recipe(widths=widths)).form.count - count in (0, 1)
    free = Recipe("free", widths=_equal_widths(samples, Recipe(widths=widths), count))
    assert abs(Course(samples, free).form.count - count) <= 0.1 * count


def test_samples_beyond_a_bound_are_counted():
    from control_stack.bounds import Box, Input, Network, Relu

    network, box = Network(Relu(Input(1))), Box([-1.0], [1.0])
    random = np.random.default_rng(0)
    assert _outside(network, box, np.array([0.0]), np.array([1.0]), 1000, random) == 0
    assert 600 < _outside(network, box, np.array([0.0]), np.array([0.5]), 2000, random) < 900


def test_a_rivals_cap_is_searched_until_as_much_is_proved_of_it():
    pytest.importorskip("torch")
    from control_stack.learning.lipschitz.fitting import Recipe

    asked = []

    def proved(recipe: Recipe) -> float:
        asked.append(recipe.gamma)
        return 0.5 * float(recipe.gamma or 0.0) ** 0.8

    found = _agreeing(Recipe("spectral", gamma=10.0), 10.0, proved)
    assert abs(np.log(proved(found) / 10.0)) <= 0.05 and len(asked) == 4 and asked[0] == 10.0
    stuck = _agreeing(Recipe("spectral", gamma=10.0), 10.0, lambda recipe: 1.0 if recipe.gamma == 10.0 else 20.0)
    assert stuck.gamma == 100.0  # nothing agrees: the nearest


def test_fresh_episodes_are_none_of_the_shipped_models_data():
    old, fresh = made("planar-quadrotor", EPISODES["planar-quadrotor"], 0), made("planar-quadrotor", 5, 1000)
    assert fresh.states.shape[1:] == old.states.shape[1:]
    assert not (fresh.states[:, None, 0] == old.states[None, :, 0]).all(-1).any()
