"""Outward rounding against exact rational arithmetic: no tolerance, and proof that without it the check would fail."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import exact_values, points_in, random_affine, random_box, relu_network

from control_stack.bounds import (
    Affine,
    Bounds,
    Box,
    Concat,
    Input,
    Network,
    Node,
    Product,
    Relu,
    Sigmoid,
    Slice,
    Sum,
    Tanh,
    interval_bounds,
    linear_bounds,
    lp_bounds,
    reachable_boxes,
    split_bounds,
)
from control_stack.bounds import interval as interval_module
from control_stack.bounds import linear as linear_module
from control_stack.bounds.milp import proven_minimum
from control_stack.bounds.rounding import EPS, TANH_ULPS


def outside(network: Network, box: Box, bounds: Bounds, seed: int) -> int:
    """How many exact values at some points are not within the bounds."""
    count = 0
    for x in points_in(box, 12, seed):
        for value, low, high in zip(exact_values(network, x), bounds.lower, bounds.upper, strict=True):
            count += not Fraction(float(low)) <= value <= Fraction(float(high))
    return count


def cancelling_network(seed: int) -> Network:
    """Large terms that all but cancel, and products: rounding errors far above the size of the result."""
    random = np.random.default_rng(seed)
    x = Input(3)
    a = random_affine(x, 4, random, 1e6)
    nearly = -a.weight * (1.0 + 1e-9)
    b = Relu(Sum(a, Affine(x, nearly, -a.bias), Affine(Concat(x, x), np.hstack([a.weight, nearly]))))
    c = Product(Slice(a, 0, 3), Affine(b, random.standard_normal((3, 4))))
    return Network(Sum(c, Affine(c, -np.eye(3) * (1.0 - 1e-12))))


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("make", [relu_network, cancelling_network])
def test_exact_values_lie_inside(make, seed: int):
    network = make(seed)
    box = random_box(network, seed)
    point = Box(box.lower, box.lower)
    for where in (box, point):
        for method in (interval_bounds, linear_bounds, lambda n, b: split_bounds(n, b, 4)):
            assert outside(network, where, method(network, where), seed) == 0


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_zonotopes_hold_every_exact_rollout(seed: int):
    """Of a step with linear units, which are multiplied away, and large terms that all but cancel."""
    random = np.random.default_rng(seed)
    x = Input(3)
    a = random_affine(x, 4, random, 1e6)
    hidden = Relu(Sum(a, Affine(x, -a.weight * (1.0 + 1e-9), -a.bias)), ("relu", "identity", "zero", "relu"))
    step = Network(Sum(Slice(x, 0, 2), Affine(Relu(random_affine(hidden, 4, random)), random.standard_normal((2, 4)))))
    box = random_box(Network(Affine(Input(4), np.eye(4))), seed)
    state, inputs = Box(box.lower[:2], box.upper[:2]), Box(box.lower[2:, None], box.upper[2:, None])
    found = reachable_boxes(step, state, inputs, "zonotope").states
    whole = Input(4)
    first = step.on(Concat(Slice(whole, 0, 2), Slice(whole, 2, 3)))[-1]
    second = step.on(Concat(first, Slice(whole, 3, 4)))[-1]
    for where in (box, Box(box.lower, box.lower)):
        if where is not box:
            state, inputs = Box(box.lower[:2], box.lower[:2]), Box(box.lower[2:, None], box.lower[2:, None])
            found = reachable_boxes(step, state, inputs, "zonotope").states
        for k, node in ((1, first), (2, second)):
            of_step = Bounds(found.lower[k], found.upper[k], "zonotope", True)
            assert outside(Network(node), where, of_step, seed) == 0


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_linear_programs_prove_what_they_say(seed: int):
    pytest.importorskip("highspy")
    network = relu_network(seed)
    box = random_box(network, seed)
    assert outside(network, box, lp_bounds(network, box), seed) == 0


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_any_duals_prove_a_bound(seed: int):
    """Wrong duals give a loose bound, never a false one: exact minimum over the corners as the judge."""
    random = np.random.default_rng(seed)
    matrix, cost = random.standard_normal((3, 4)), random.standard_normal(4)
    low = random.standard_normal(4)
    high = low + random.random(4)
    right = matrix @ (0.5 * low + 0.5 * high) - random.random(3)
    bound = proven_minimum(cost, 3.0 * random.standard_normal(3), matrix, right, low, high)
    for v in low + random.random((300, 4)) * (high - low):
        if (matrix @ v >= right).all():
            assert Fraction(bound) <= sum(Fraction(float(c)) * Fraction(float(x)) for c, x in zip(cost, v, strict=True))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_proven_minimum_at_a_point_lies_below_it(seed: int):
    """Columns that cannot move: the minimum is c.v, exactly, and terms of 1e12 cancel in it."""
    random = np.random.default_rng(seed)
    half, v = 1e12 * random.standard_normal(5), random.standard_normal(5)
    cost, v = np.concatenate([half, -half, [1.0]]), np.concatenate([v, v, [random.standard_normal()]])
    matrix, duals = random.standard_normal((2, 11)), random.random(2)
    exact = sum(Fraction(float(c)) * Fraction(float(x)) for c, x in zip(cost, v, strict=True))
    right = [sum(Fraction(float(a)) * Fraction(float(x)) for a, x in zip(row, v, strict=True)) for row in matrix]
    bound = proven_minimum(cost, duals, matrix, np.array([float(r) for r in right]) - 1e-9, v, v)
    assert exact - Fraction(1, 10) < Fraction(bound) <= exact


@pytest.mark.parametrize("method", [interval_bounds, linear_bounds])
def test_without_outward_rounding_the_check_fails(method, monkeypatch: pytest.MonkeyPatch):
    """The test above has teeth: plain float64 bounds of the same networks are wrong."""
    for module in (interval_module, linear_module):
        monkeypatch.setattr(module, "down", lambda x, error=0.0: x)
        if module is interval_module:
            monkeypatch.setattr(module, "up", lambda x, error=0.0: x)
    wrong = 0
    for seed in range(10):
        network = cancelling_network(seed)
        box = random_box(network, seed)
        point = Box(box.lower, box.lower)
        wrong += outside(network, point, method(network, point), seed)
    assert wrong > 0


def test_margin_is_small():
    """A point comes back as a point, to within a few hundred roundings of the terms."""
    network = relu_network(0)
    x = np.array([0.3, -0.2, 0.5])
    bounds = linear_bounds(network, Box(x, x))
    assert (bounds.width < 1e-13).all()
    np.testing.assert_allclose(bounds.lower, network(x), atol=1e-13)


def precise_tanh(x: float) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        grown = (2 * Decimal(x)).exp()
        return (grown - 1) / (grown + 1)


X = Input(4)
CANCELLING = Affine(Concat(X, X), np.hstack([1e6 * np.eye(4) + 0.3, -1e6 * np.eye(4) - 0.2]), np.full(4, 0.1))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("layer", [CANCELLING, Product(X, X), Sum(X, X, X), Tanh(X), Sigmoid(X)])
def test_each_layer_at_a_point(layer: Node, seed: int):
    """The interval rule alone, where there is no width to hide a rounding error."""
    x = np.random.default_rng(seed).standard_normal(4)
    low, high = interval_bounds(Network(layer), Box(x, x)).lower, interval_bounds(Network(layer), Box(x, x)).upper
    if isinstance(layer, Tanh):
        exact = [Fraction(precise_tanh(float(v))) for v in x]
    elif isinstance(layer, Sigmoid):
        exact = [(1 + Fraction(precise_tanh(float(v) / 2.0))) / 2 for v in x]
    else:
        exact = exact_values(Network(layer), x)
    for value, a, b in zip(exact, low, high, strict=True):
        assert Fraction(float(a)) <= value <= Fraction(float(b))


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_tanh_is_as_accurate_as_assumed(library: str):
    random = np.random.default_rng(0)
    x = np.concatenate(
        [random.standard_normal(300), 10.0 ** random.uniform(-8, 1.4, 600), random.uniform(0.4, 0.7, 100)]
    )
    if library == "torch":
        torch = pytest.importorskip("torch")
        found = torch.tanh(torch.tensor(x)).numpy()
    else:
        found = np.tanh(x)
    exact = [precise_tanh(float(v)) for v in x]
    worst = max(abs((Decimal(float(f)) - e) / e) for f, e in zip(found, exact, strict=True))
    assert worst < Decimal(TANH_ULPS / 2.0 * EPS)
