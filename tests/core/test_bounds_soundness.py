"""No value of a network ever lies outside what is claimed sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import mixed_network, points_in, random_box, relu_network

from control_stack.bounds import (
    Bounds,
    Box,
    Input,
    Network,
    Product,
    Relu,
    Sigmoid,
    Tanh,
    interval_bounds,
    jacobian_bounds,
    linear_bounds,
    lp_bounds,
    mip_bounds,
    sampled_bounds,
    split_bounds,
)
from control_stack.bounds.relaxation import relax

seeds = st.integers(0, 2**32 - 1)


def assert_inside(values: np.ndarray, bounds: Bounds, slack: float = 1e-12) -> None:
    """Values come from float64, whose own rounding is not the bounds' business: hence a slack."""
    room = slack * (1.0 + np.abs(values))
    assert (values >= bounds.lower - room).all()
    assert (values <= bounds.upper + room).all()


@settings(max_examples=20)
@given(seeds)
def test_every_kind_of_layer(seed: int):
    network = mixed_network(seed)
    box = random_box(network, seed, 4)
    values = network(points_in(box, 200, seed))
    for bounds in (interval_bounds(network, box), linear_bounds(network, box), split_bounds(network, box, 9)):
        assert bounds.sound
        assert_inside(values, bounds)


@settings(max_examples=10)
@given(seeds)
def test_linear_and_integer_programs(seed: int):
    pytest.importorskip("highspy")
    network = relu_network(seed)
    box = random_box(network, seed)
    values = network(points_in(box, 400, seed))
    assert_inside(values, lp_bounds(network, box))
    assert_inside(values, mip_bounds(network, box))
    assert_inside(values, mip_bounds(network, box, max_nodes=1))


@settings(max_examples=10)
@given(seeds)
@pytest.mark.parametrize("make", [mixed_network, relu_network])
def test_jacobian_holds_for_every_pair_of_points(make, seed: int):
    network = make(seed)
    box = random_box(network, seed)
    x, y = points_in(box, 100, seed), points_in(box, 100, seed + 1)
    bounds = jacobian_bounds(network, box, 5)
    step = (x - y)[:, None, :]
    terms = np.stack([bounds.lower * step, bounds.upper * step])
    change = Bounds(terms.min(0).sum(-1), terms.max(0).sum(-1), "linear", True)
    assert_inside(network(x) - network(y), change, 1e-11)


@settings(max_examples=100)
@given(seeds)
@pytest.mark.parametrize("layer", [Relu, Tanh, Sigmoid, Product])
def test_lines_enclose_their_function(layer: type, seed: int):
    """From intervals of one float to 1e3 wide; lines keep a margin above the rounding of this check itself."""
    random = np.random.default_rng(seed)
    ends = random.standard_normal((2, 2, 50)) * 10.0 ** random.uniform(-8.0, 3.0, (1, 2, 50))
    ends[0, 0, :10] = ends[0, 1, :10]
    ends[0, 1, 10:20] = np.nextafter(ends[0, 0, 10:20], np.inf)
    ends.sort(1)
    x = ends[:, :1] + np.linspace(0.0, 1.0, 201)[:, None] * (ends[:, 1:] - ends[:, :1])
    x = np.clip(x, ends[:, :1], ends[:, 1:])
    source = Input(50)
    if layer is Product:
        lines = relax(Product(source, source), [(e[0][None], e[1][None]) for e in ends])
        x = np.stack([x[0], x[1][random.permutation(201)]])
        value = x[0] * x[1]
    else:
        lines = relax(layer(source), [(ends[0, 0][None], ends[0, 1][None])])
        x = x[:1]
        value = Network(layer(source))(x[0])
    below = sum(s * v for s, v in zip(lines.below_slope, x, strict=True)) + lines.below
    above = sum(s * v for s, v in zip(lines.above_slope, x, strict=True)) + lines.above
    room = 2e-16 * lines.size if layer in (Relu, Product) else 0.0  # their lines touch at the ends
    assert (below <= value + room).all()
    assert (value <= above + room).all()


def test_far_saturation_stays_finite_and_sound():
    x = Input(1)
    for layer in (Tanh, Sigmoid):
        for low, high in ((-1e6, 1e6), (-1e15, -1e14), (700.0, 800.0), (-1e-320, 1e-320), (-0.0, 0.0)):
            network, box = Network(layer(x)), Box([low], [high])
            values = network(np.linspace(low, high, 101)[:, None])
            assert_inside(values, linear_bounds(network, box), 0.0)


def test_samples_are_labelled():
    network = mixed_network(1)
    bounds = sampled_bounds(network, random_box(network, 1, 3), 100)
    assert not bounds.sound
    assert bounds.method == "sampled"
    assert bounds.lower.shape == (3, network.outputs)
