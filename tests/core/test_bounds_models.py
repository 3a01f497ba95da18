"""Bounds of the models that ask for them: a GRU policy, sandwich layers, a dynamics model over a horizon."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import points_in, relu_network
from random_policy import random_tensors

from control_stack.bounds import (
    Affine,
    Bounds,
    Box,
    Concat,
    Input,
    Network,
    Relu,
    Slice,
    Sum,
    Tanh,
    cache_key,
    gru,
    gru_policy,
    interval_bounds,
    jacobian_bounds,
    linear_bounds,
    preactivation_bounds,
    reachable_boxes,
    split_bounds,
)
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import PolicyWeights


def assert_inside(values: np.ndarray, bounds: Bounds, slack: float = 1e-11) -> None:
    assert (values >= bounds.lower - slack).all()
    assert (values <= bounds.upper + slack).all()


def policy_box(radius: float, hidden: int = 16) -> Box:
    """Observations around 0, and any hidden state."""
    side = np.concatenate([np.full(22, radius), np.ones(hidden)])
    return Box(-side, side)


def test_gru_equals_torch():
    torch = pytest.importorskip("torch")
    cell = torch.nn.GRUCell(5, 4).double()
    x = Input(9)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [getattr(cell, name).detach().numpy() for name in names]
    network = Network(gru(Slice(x, 0, 5), Slice(x, 5, 9), *weights))
    points = np.random.default_rng(0).standard_normal((20, 9))
    theirs = cell(torch.tensor(points[:, :5]), torch.tensor(points[:, 5:])).detach().numpy()
    np.testing.assert_allclose(network(points), theirs, atol=1e-14)


def test_policy_equals_its_runtime_and_stays_inside_its_bounds():
    tensors = random_tensors(0)
    network = gru_policy(tensors)
    box = policy_box(0.3)
    x = points_in(box, 2000, 0)
    action, hidden = GRUPolicy(PolicyWeights(tensors, {})).step(x[:, :22], x[:, 22:])
    np.testing.assert_allclose(network(x), np.concatenate([action, hidden], -1), rtol=0.0, atol=1e-6)  # float32 there
    loose, linear, split = interval_bounds(network, box), linear_bounds(network, box), split_bounds(network, box, 64)
    for bounds in (loose, linear, split):
        assert_inside(network(x), bounds)
    assert (linear.width[:4] < 0.8 * loose.width[:4]).all()
    assert (split.width[:4] < linear.width[:4]).all()
    # h' = (1 - z) n + z h never leaves [-1, 1], which the bounds cannot know but nearly find
    assert (np.abs(network(x)[:, 4:]) <= 1.0).all()


def test_policy_step_on_a_small_box_converges():
    """Four inputs move, the rest stands still: splitting closes in on what is reached."""
    network = gru_policy(random_tensors(1))
    centre = np.random.default_rng(1).uniform(-0.5, 0.5, 38)
    radius = np.zeros(38)
    radius[[0, 5, 24, 30]] = 0.5
    box = Box(centre - radius, centre + radius)
    reached = np.ptp(network(points_in(box, 20_000, 1)), axis=0)
    assert (split_bounds(network, box, 512, 0.0).width[:4] < 1.1 * reached[:4] + 1e-9).all()


def sandwich(seed: int, inputs: int, width: int, outputs: int, gain: float) -> Network:
    """y = sqrt(2) A' P relu(sqrt(2) P^-1 B x + b) with A A' + B B' = I by the Cayley transform: 1-Lipschitz layers."""
    random = np.random.default_rng(seed)

    def layer(of, size):
        x, y = random.standard_normal((size, size)), random.standard_normal((of.size, size))
        z = x - x.T + y.T @ y
        inverse = np.linalg.inv(np.eye(size) + z)
        a, b = ((np.eye(size) - z) @ inverse).T, (-2.0 * y @ inverse).T
        psi = np.exp(0.3 * random.standard_normal(size))
        inner = Affine(of, np.sqrt(2.0) * b / psi[:, None], random.standard_normal(size))
        return Affine(Relu(inner), np.sqrt(2.0) * a.T * psi)

    x = Input(inputs)
    h = layer(layer(Affine(x, gain * np.eye(inputs)), width), width)
    return Network(Affine(h, np.linalg.qr(random.standard_normal((width, outputs)))[0].T))


def test_sandwich_layers_are_bounded_and_their_constant_is_found():
    """By construction no slope exceeds the gain; the Jacobian's bounds on a small box prove no more than 2 x that."""
    network = sandwich(0, 3, 8, 2, 2.0)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 5000, 3))
    slopes = np.linalg.norm(network(x) - network(y), axis=-1) / np.linalg.norm(x - y, axis=-1)
    assert slopes.max() <= 2.0
    box = Box(np.full(3, -0.05), np.full(3, 0.05))
    assert_inside(network(points_in(box, 1000, 0)), split_bounds(network, box))
    bounds = jacobian_bounds(network, box, 64)
    most = np.maximum(np.abs(bounds.lower), np.abs(bounds.upper))
    x, y = points_in(box, 2000, 1), points_in(box, 2000, 2)
    local = np.linalg.norm(network(x) - network(y), axis=-1) / np.maximum(np.linalg.norm(x - y, axis=-1), 1e-12)
    assert local.max() <= np.linalg.norm(most, 2) <= 2.0 * 2.0


def test_jacobian_of_a_tanh_network_equals_automatic_differentiation():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(2)
    x = Input(3)
    a = Tanh(Affine(x, random.standard_normal((8, 3))))
    network = Network(Sum(Slice(x, 0, 2), Affine(Tanh(Affine(a, random.standard_normal((8, 8)) / 3)), np.ones((2, 8)))))
    box = Box(np.full(3, -0.1), np.full(3, 0.1))
    bounds = jacobian_bounds(network, box, 64)
    points = torch.tensor(points_in(box, 200, 0))
    slopes = torch.func.vmap(torch.func.jacrev(lambda v: network(v)))(points).numpy()
    assert_inside(slopes, bounds)
    at = np.array([0.03, -0.05, 0.08])
    exact = torch.func.jacrev(lambda v: network(v))(torch.tensor(at)).numpy()
    point = jacobian_bounds(network, Box(at, at))
    np.testing.assert_allclose(point.lower, exact, atol=1e-12)
    np.testing.assert_allclose(point.upper, exact, atol=1e-12)
    wide = jacobian_bounds(network, box)
    assert (bounds.width < 0.8 * wide.width).all()


@pytest.mark.parametrize("method", ["interval", "zonotope", "linear"])
def test_rollouts_stay_in_their_boxes(method: str):
    step, horizon = residual_step(0), 4
    random = np.random.default_rng(0)
    start = random.uniform(-0.5, 0.5, (3, 2))
    state, inputs = Box(start - 0.05, start + 0.05), Box(-np.ones((horizon, 1)), np.ones((horizon, 1)))
    found = reachable_boxes(step, state, inputs, method)
    assert found.states.lower.shape == (3, horizon + 1, 2)
    units = [np.arange(6)] * 2
    if method == "zonotope":  # what is no ReLU needs none
        units = [np.flatnonzero(step.nodes[k].mask("relu")) for k in step.nonlinear]
    assert [b.lower.shape for b in found.arguments] == [(3, horizon, len(of)) for of in units]
    x = points_in(state, 3000, 0)
    relus = [step.parents[k][0] for k in step.nonlinear]
    for i in range(horizon):
        xu = np.concatenate([x, np.round(random.uniform(-1.0, 1.0, (3000, 3, 1)))], -1)
        values = step.values(xu)
        for bounds, k, of in zip(found.arguments, relus, units, strict=True):
            assert (values[k][..., of] >= bounds.lower[:, i] - 1e-11).all()
            assert (values[k][..., of] <= bounds.upper[:, i] + 1e-11).all()
        change, x = values[-1] - x, values[-1]
        assert (change >= found.changes.lower[:, i] - 1e-11).all()
        assert (change <= found.changes.upper[:, i] + 1e-11).all()
        assert (x >= found.states.lower[:, i + 1] - 1e-11).all()
        assert (x <= found.states.upper[:, i + 1] + 1e-11).all()


def residual_step(seed: int) -> Network:
    """x+ = x + 0.3 f(x, u), two states and one input."""
    inner = relu_network(seed, 3)
    return Network(Sum(Slice(inner.nodes[0], 0, 2), Affine(inner.nodes[-1], 0.3 * np.eye(2))))


def test_one_network_of_all_steps_is_tighter_than_a_box_each_step():
    step = residual_step(1)
    state, inputs = Box(np.zeros(2), np.zeros(2)), Box(-np.ones((6, 1)), np.ones((6, 1)))
    boxed = reachable_boxes(step, state, inputs, "interval").states
    for method in ("zonotope", "linear"):
        joint = reachable_boxes(step, state, inputs, method).states
        assert (joint.width[0] == 0.0).all()
        assert (joint.width <= boxed.width * (1.0 + 1e-12) + 1e-12).all()
        assert (joint.width[-1] < 0.7 * boxed.width[-1]).all()


def test_a_stable_linear_model_keeps_its_box_exactly():
    """x+ = 0.5 x + u, |u| <= 1 from 0: |x_k| <= 2 - 2^(1-k)."""
    x = Input(2)
    step = Network(Affine(x, [[0.5, 1.0]]))
    for method in ("interval", "zonotope", "linear"):
        found = reachable_boxes(step, Box([0.0], [0.0]), Box(-np.ones((5, 1)), np.ones((5, 1))), method)
        np.testing.assert_allclose(found.states.upper[:, 0], 2.0 - 2.0 ** (1.0 - np.arange(6)), rtol=1e-12)


def test_zonotopes_are_the_same_for_tensors_and_in_a_batch():
    torch = pytest.importorskip("torch")
    step, plan = residual_step(4), np.ones((3, 1))
    starts = np.array([[0.2, 0.1], [-0.3, 0.4]])
    alone = [reachable_boxes(step, Box(x, x), Box(-plan, plan), "zonotope") for x in starts]
    tensor, inputs = torch.tensor(starts), torch.tensor(plan)
    together = reachable_boxes(step, Box(tensor, tensor), Box(-inputs, inputs), "zonotope")
    assert (together.states.upper.numpy() == np.stack([of.states.upper for of in alone])).all()
    for k in range(2):
        assert (together.arguments[k].lower.numpy() == np.stack([of.arguments[k].lower for of in alone])).all()


def test_boxes_of_one_state_lie_inside_those_of_all():
    step = residual_step(2)
    inputs = Box(-np.ones((3, 1)), np.ones((3, 1)))
    everywhere = reachable_boxes(step, Box(-np.ones(2), np.ones(2)), inputs).arguments
    here = reachable_boxes(step, Box([0.2, 0.1], [0.2, 0.1]), inputs).arguments
    assert sum((a.width < b.width).sum() for a, b in zip(here, everywhere, strict=True)) > 0
    # of the first step, before any relaxation, inclusion is certain
    assert (here[0].upper[0] <= everywhere[0].upper[0]).all()


def test_composition_is_exact():
    """Bounds of f(f(x)) as one network hold for the values of f applied twice."""
    inner = relu_network(3, 2, outputs=2)
    x = Input(2)
    first = inner.on(x)[-1]
    twice = Network(Concat(inner.on(first)[-1], x))
    box = Box(-np.ones(2), np.ones(2))
    points = points_in(box, 500, 3)
    np.testing.assert_allclose(twice(points)[:, :2], inner(inner(points)), atol=1e-13)
    assert_inside(twice(points), linear_bounds(twice, box))


def test_cache_key_follows_weights_box_and_method():
    network, box = relu_network(0), Box(-np.ones(3), np.ones(3))
    key = cache_key(network, box, "linear")
    assert key == cache_key(relu_network(0), Box(-np.ones(3), np.ones(3)), "linear")
    nudged = Box(-np.ones(3), np.array([1.0, 1.0, np.nextafter(1.0, 2.0)]))
    others = {
        cache_key(relu_network(1), box, "linear"),
        cache_key(network, nudged, "linear"),
        cache_key(network, box, "lp"),
    }
    assert key not in others
    assert len(others) == 3
    x = Input(3)
    gates = [Network(Relu(x, [gate, "relu", "relu"])).digest() for gate in ("relu", "identity", "zero")]
    assert len(set(gates)) == 3


def test_stable_neurons_need_no_program():
    """Where every sign is known the network is affine, and all methods agree without a solver."""
    x = Input(2)
    hidden = Relu(Affine(x, np.eye(2), [5.0, -5.0]))
    network = Network(Affine(Relu(Affine(hidden, np.eye(2), [0.0, 1.0])), [[1.0, 1.0]]))
    box = Box([-1.0, -1.0], [1.0, 1.0])
    for method in ("interval", "linear", "lp", "mip"):
        bounds = preactivation_bounds(network, box, method)[1]
        np.testing.assert_allclose(bounds.lower, [4.0, 1.0], atol=1e-12)
        np.testing.assert_allclose(bounds.upper, [6.0, 1.0], atol=1e-12)
