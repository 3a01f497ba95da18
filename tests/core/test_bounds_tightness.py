"""How tight bounds are against one another, against enumeration, and against what is reached."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_networks import mixed_network, points_in, random_box, relu_network
from scipy.optimize import linprog

from control_stack.bounds import (
    Affine,
    Bounds,
    Box,
    Input,
    Network,
    Relu,
    Tanh,
    interval_bounds,
    linear_bounds,
    lp_bounds,
    mip_bounds,
    preactivation_bounds,
    sampled_bounds,
    split_bounds,
)


def assert_within(tight: Bounds, loose: Bounds, slack: float = 0.0) -> None:
    assert (tight.lower >= loose.lower - slack).all()
    assert (tight.upper <= loose.upper + slack).all()


@pytest.mark.parametrize("seed", range(4))
def test_order_of_methods(seed: int):
    """sampled <= exact <= LP <= linear <= interval and exact <= split <= linear; LP and split are not ordered."""
    pytest.importorskip("highspy")
    network = relu_network(seed)
    box = Box(-np.ones(3), np.ones(3))
    loose, linear, split = interval_bounds(network, box), linear_bounds(network, box), split_bounds(network, box)
    lp, mip = lp_bounds(network, box), mip_bounds(network, box)
    assert_within(sampled_bounds(network, box), mip)
    assert_within(mip, lp, 1e-6)
    assert_within(mip, split, 1e-6)
    assert_within(lp, linear)
    assert_within(split, linear)
    assert_within(linear, loose)
    assert (loose.width > linear.width).all()
    assert (linear.width > mip.width).all()


@pytest.mark.parametrize("seed", range(3))
def test_preactivations_have_the_same_order(seed: int):
    pytest.importorskip("highspy")
    network = relu_network(seed, widths=(5, 5, 5))
    box = Box(-np.ones(3), np.ones(3))
    found = [preactivation_bounds(network, box, method) for method in ("mip", "lp", "linear", "interval")]
    for tight, loose in itertools.pairwise(found):
        assert len(tight) == 3
        for a, b in zip(tight, loose, strict=True):
            mixed = (a.lower < 0.0) & (a.upper > 0.0)  # programs are solved for these only
            assert (a.lower >= b.lower - 1e-6)[mixed].all()
            assert (a.upper <= b.upper + 1e-6)[mixed].all()


def enumerated_range(network: Network, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Range of a network Affine, Relu, Affine, Relu, Affine by one linear program for each activation pattern."""
    layers = [node for node in network.nodes if isinstance(node, Affine)]
    gates = [np.array(node.gates) for node in network.nodes if isinstance(node, Relu)]
    low, high = np.full(network.outputs, np.inf), np.full(network.outputs, -np.inf)
    sizes = [int((g == "relu").sum()) for g in gates]
    for pattern in itertools.product((0.0, 1.0), repeat=sum(sizes)):
        keep = [np.where(g == "identity", 1.0, 0.0) for g in gates]
        keep[0][gates[0] == "relu"], keep[1][gates[1] == "relu"] = pattern[: sizes[0]], pattern[sizes[0] :]
        e, c = np.eye(network.inputs), np.zeros(network.inputs)
        rows, right = [], []
        for layer, on, gate in zip(layers, keep, gates, strict=False):
            z, d = layer.weight @ e, layer.weight @ c + layer.bias
            sign = np.where(on > 0.5, -1.0, 1.0)[gate == "relu"]  # sign (z x + d) <= 0
            rows.append(sign[:, None] * z[gate == "relu"])
            right.append(-sign * d[gate == "relu"])
            e, c = on[:, None] * z, on * d
        z, d = layers[2].weight @ e, layers[2].weight @ c + layers[2].bias
        for i, sign in itertools.product(range(network.outputs), (1.0, -1.0)):
            bounds = list(zip(box.lower, box.upper, strict=True))
            answer = linprog(sign * z[i], np.concatenate(rows), np.concatenate(right), bounds=bounds)
            if answer.status == 2:  # no point has this pattern
                break
            assert answer.status == 0
            value = sign * answer.fun + d[i]
            low[i], high[i] = min(low[i], value), max(high[i], value)
    return low, high


@pytest.mark.parametrize("seed", range(3))
def test_mip_equals_enumeration_of_activation_patterns(seed: int):
    pytest.importorskip("highspy")
    random = np.random.default_rng(seed)
    x = Input(2)
    a = Relu(Affine(x, random.standard_normal((3, 2)), 0.3 * random.standard_normal(3)))
    b = Relu(Affine(a, random.standard_normal((4, 3)), random.standard_normal(4)), ["relu", "relu", "identity", "relu"])
    network = Network(Affine(b, random.standard_normal((2, 4)), random.standard_normal(2)))
    box = Box([-1.0, -0.5], [0.5, 1.0])
    low, high = enumerated_range(network, box)
    bounds = mip_bounds(network, box)
    np.testing.assert_allclose(bounds.lower, low, atol=1e-6)
    np.testing.assert_allclose(bounds.upper, high, atol=1e-6)
    # and the first layer's arguments are affine in the input: exact for every method, interval arithmetic included
    first = preactivation_bounds(network, box, "interval")[0]
    mip_first = preactivation_bounds(network, box, "mip")[0]
    np.testing.assert_allclose(first.lower, mip_first.lower, atol=1e-12)


def test_interval_is_exact_for_affine_and_linear_for_affine_compositions():
    random = np.random.default_rng(0)
    x = Input(4)
    w, v = random.standard_normal((5, 4)), random.standard_normal((3, 5))
    one, two = Network(Affine(x, w)), Network(Affine(Affine(x, w), v))
    box = Box(-np.ones(4), np.ones(4))
    np.testing.assert_allclose(interval_bounds(one, box).upper, np.abs(w).sum(1), rtol=1e-12)
    np.testing.assert_allclose(linear_bounds(two, box).upper, np.abs(v @ w).sum(1), rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_splitting_never_widens(seed: int):
    network = mixed_network(seed)
    box = Box(-np.ones(network.inputs), np.ones(network.inputs))
    found = [split_bounds(network, box, boxes, 0.0) for boxes in (1, 2, 5, 17, 64)]
    for loose, tight in itertools.pairwise(found):
        assert_within(tight, loose)
    assert_within(found[0], linear_bounds(network, box))


def test_splitting_converges_to_what_is_reached():
    """Three inputs, two tanh layers: within 3 % of a dense grid, where interval arithmetic is several times wider."""
    random = np.random.default_rng(1)
    x = Input(3)
    a = Tanh(Affine(x, random.standard_normal((16, 3)), random.standard_normal(16)))
    b = Tanh(Affine(a, random.standard_normal((16, 16)) / 4.0, random.standard_normal(16)))
    network = Network(Affine(b, random.standard_normal((2, 16)) / 4.0))
    box = Box(np.full(3, -0.3), np.full(3, 0.3))
    axis = np.linspace(-0.3, 0.3, 25)
    values = network(np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3))
    spread = np.ptp(values, axis=0)
    assert (split_bounds(network, box, 512, 0.0).width < 1.03 * spread).all()
    assert (interval_bounds(network, box).width > 3.0 * spread).all()


def test_tolerance_is_kept_and_stops_early():
    network = mixed_network(3)
    box = Box(np.full(network.inputs, -0.3), np.full(network.inputs, 0.3))
    bounds = split_bounds(network, box, 4096, 0.05)
    reached = sampled_bounds(network, box, 20_000)
    assert (bounds.width <= 1.1 * reached.width * 1.05).all()
    assert (bounds.width > split_bounds(network, box, 4096, 0.01).width).any()


@pytest.mark.parametrize("method", [interval_bounds, linear_bounds, lambda n, b: split_bounds(n, b, 11)])
def test_a_batch_equals_a_loop(method):
    network = mixed_network(5)
    box = random_box(network, 5, 3, 2)
    together = method(network, box)
    for i, j in itertools.product(range(3), range(2)):
        alone = method(network, Box(box.lower[i, j], box.upper[i, j]))
        np.testing.assert_allclose(together.lower[i, j], alone.lower, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(together.upper[i, j], alone.upper, rtol=1e-12, atol=1e-13)


def test_a_batch_of_programs_equals_a_loop():
    pytest.importorskip("highspy")
    network = relu_network(5)
    box = random_box(network, 5, 2)
    together = lp_bounds(network, box)
    for i in range(2):
        alone = lp_bounds(network, Box(box.lower[i], box.upper[i]))
        np.testing.assert_allclose(together.lower[i], alone.lower, rtol=1e-12)


@pytest.mark.parametrize(
    "method", [interval_bounds, linear_bounds, lambda n, b: split_bounds(n, b, 20), sampled_bounds]
)
def test_torch_equals_numpy(method):
    torch = pytest.importorskip("torch")
    network = mixed_network(2)
    box = random_box(network, 2, 3)
    theirs = method(network, Box(torch.tensor(box.lower), torch.tensor(box.upper)))
    ours = method(network, box)
    assert isinstance(theirs.lower, torch.Tensor)
    np.testing.assert_allclose(theirs.lower.numpy(), ours.lower, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(theirs.upper.numpy(), ours.upper, rtol=1e-10, atol=1e-12)
    assert (network(points_in(box, 50, 0)) <= ours.upper + 1e-12).all() or not ours.sound
