"""SparseReLUDynamics: collapsing, its twins in CasADi and in bounds.Network, and the artefact with its refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from control_stack.bounds import Box, linear_bounds, stored_bounds
from control_stack.errors import InvalidInput
from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from control_stack.protocols import Dynamics, DynamicsSpec

SPEC = DynamicsSpec(("x [m]", "y [m]", "v [m/s]"), ("fx [N]", "fy [N]"), (), np.zeros(0), 0.1)
TRAINING = {"command": "c", "seed": 0, "git_revision": "r", "wall_time_s": 1.0, "hardware": {}}


def gated_net(seed: int, widths=(9, 7, 8), shares=(0.4, 0.4, 0.2)) -> SparseReLUDynamics:
    """Random weights and gates; each layer reads the one before, as nets are trained."""
    random = np.random.default_rng(seed)
    layers, before = [], 5
    for k, n in enumerate((*widths, 3)):
        gates = (
            tuple(random.choice(["relu", "identity", "zero"], n, p=shares)) if k < len(widths) else ("identity",) * 3
        )
        layers.append(
            GatedLayer({k: random.standard_normal((n, before)) / before**0.5}, random.standard_normal(n), gates)
        )
        before = n
    return SparseReLUDynamics(SPEC, tuple(layers))


def by_hand(model: SparseReLUDynamics, x, u):
    h = np.concatenate([x, u])
    for k, layer in enumerate(model.layers):
        z = layer.weights[k] @ h + layer.bias
        h = np.array(
            [{"relu": max(v, 0.0), "identity": v, "zero": 0.0}[g] for v, g in zip(z, layer.gates, strict=True)]
        )
    return x + h


def points(count: int, seed: int = 1):
    random = np.random.default_rng(seed)
    return random.uniform(-3.0, 3.0, (count, 3)), random.uniform(-3.0, 3.0, (count, 2))


def test_bounds_are_kept_with_the_model_and_refused_with_another(tmp_path):
    thin = gated_net(0).collapsed()
    with pytest.raises(InvalidInput, match="limits of states"):
        thin.bounded("linear")
    one = Box(-np.ones(5), np.ones(5))
    kept = replace(thin, bounds=stored_bounds(thin.to_network(), one, "linear"))
    loaded = SparseReLUDynamics.load(_saved(kept, tmp_path))
    assert loaded.bounds.method == "linear" and loaded.bounds.key == kept.bounds.key
    assert (loaded.bounds.box.lower == one.lower).all() and loaded.card["bounds"]["method"] == "linear"
    for a, b in zip(loaded.bounds.arguments, kept.bounds.arguments, strict=True):
        assert (a.lower == b.lower).all() and (a.upper == b.upper).all() and a.sound
    assert loaded.collapsed().bounds is loaded.bounds
    raw = gated_net(0)
    raw = replace(raw, bounds=stored_bounds(raw.to_network(), one, "linear"))
    assert raw.collapsed().bounds is None  # it has other layers
    with pytest.raises(InvalidInput, match="of another net"):
        replace(loaded, layers=gated_net(1).collapsed().layers)


def _saved(model: SparseReLUDynamics, folder):
    path = folder / "model.safetensors"
    model.save(path, training=TRAINING, figures={})
    return path


@pytest.mark.parametrize("seed", range(6))
def test_gates_do_what_they_are_called_and_collapsing_changes_nothing(seed):
    model = gated_net(seed)
    x, u = points(50)
    found = model.step(x, u)
    np.testing.assert_allclose(found, [by_hand(model, a, b) for a, b in zip(x, u, strict=True)], atol=1e-13)
    thin = model.collapsed()
    np.testing.assert_allclose(thin.step(x, u), found, atol=1e-12, rtol=0.0)
    assert thin.relus == model.relus == sum(layer.gates.count("relu") for layer in model.layers)
    assert thin.count("identity") == thin.count("zero") == 0
    assert sum(len(layer.bias) for layer in thin.layers[:-1]) == model.relus


@pytest.mark.parametrize("shares", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.5, 0.5)])
def test_without_any_relu_an_affine_map_is_left(shares):
    model = gated_net(3, shares=shares)
    thin = model.collapsed()
    x, u = points(20)
    assert thin.relus == 0 and len(thin.layers) == 1 and set(thin.layers[0].weights) == {0}
    np.testing.assert_allclose(thin.step(x, u), model.step(x, u), atol=1e-12)
    middle = model.step(0.5 * (x + x[::-1]), 0.5 * (u + u[::-1]))
    np.testing.assert_allclose(middle, 0.5 * (model.step(x, u) + model.step(x[::-1], u[::-1])), atol=1e-12)


def test_a_dense_net_collapses_into_itself():
    model = gated_net(0, shares=(1.0, 0.0, 0.0))
    thin = model.collapsed()
    for before, after in zip(model.layers, thin.layers, strict=True):
        assert before.weights.keys() == after.weights.keys()
        np.testing.assert_array_equal(before.bias, after.bias)


@pytest.mark.parametrize("collapse", [False, True])
def test_network_of_the_bounds_is_the_same_function(collapse):
    model = gated_net(2).collapsed() if collapse else gated_net(2)
    x, u = points(200)
    network = model.to_network()
    np.testing.assert_allclose(network(np.hstack([x, u])), model.step(x, u), atol=1e-12)
    bounds = linear_bounds(network, Box(np.full(5, -0.5), np.full(5, 0.5)))
    inside = model.step(x / 6.0, u / 6.0)
    assert (bounds.lower <= inside).all() and (inside <= bounds.upper).all()


@pytest.mark.parametrize("collapse", [False, True])
def test_casadi_has_the_same_values_and_jacobian(collapse):
    ca = pytest.importorskip("casadi")
    model = gated_net(4).collapsed() if collapse else gated_net(4)
    f = model.to_casadi()
    x, u, p = ca.MX.sym("x", 3), ca.MX.sym("u", 2), ca.MX.sym("p", 0)
    jacobian = ca.Function("j", [x, u], [ca.jacobian(f(x, u, p), ca.vertcat(x, u))])
    for a, b in zip(*points(20), strict=True):
        np.testing.assert_allclose(np.asarray(f(a, b, [])).ravel(), model.step(a, b), atol=1e-12)
        h = 1e-6
        steps = h * np.eye(5)
        numeric = (model.step(a + steps[:, :3], b + steps[:, 3:]) - model.step(a - steps[:, :3], b - steps[:, 3:])).T
        np.testing.assert_allclose(np.asarray(jacobian(a, b)), numeric / (2.0 * h), atol=1e-7)


def test_rollout_is_repeated_steps_and_broadcasts():
    model = gated_net(5)
    assert isinstance(model, Dynamics)
    x0, us = np.zeros((4, 1, 3)), np.random.default_rng(0).standard_normal((6, 7, 2))
    states = model.rollout(x0, us)
    assert states.shape == (4, 6, 8, 3)
    x = x0[0, 0]
    for t in range(7):
        x = model.step(x, us[2, t])
        np.testing.assert_allclose(states[3, 2, t + 1], x, atol=1e-12)


@pytest.mark.parametrize(
    "arguments", [(np.zeros(2), np.zeros(2)), (np.zeros(3), np.zeros(3)), (np.zeros(3), np.zeros(2), [1.0])]
)
def test_wrong_sizes_and_parameters_are_refused(arguments):
    with pytest.raises(InvalidInput):
        gated_net(0).step(*arguments)


def test_round_trip(tmp_path):
    model = gated_net(1).collapsed()
    path = tmp_path / "m.safetensors"
    model.save(path, training=TRAINING, figures={"rmse": [0.1]})
    back = SparseReLUDynamics.load(path)
    x, u = points(10)
    np.testing.assert_array_equal(back.step(x, u), model.step(x, u))
    assert back.spec.state == SPEC.state and back.spec.dt == SPEC.dt and back.relus == model.relus
    assert back.card["figures"] == {"rmse": [0.1]} and back.card["training"] == TRAINING


def _edited(change):
    def edit(path):
        card = json.loads(path.with_suffix(".json").read_text())
        change(card)
        path.with_suffix(".json").write_text(json.dumps(card))

    return edit


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.with_suffix(".json").unlink(), "does not exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "no whole safetensors"),
        (lambda path: path.with_suffix(".json").write_text("{"), "not valid JSON"),
        (lambda path: path.with_suffix(".json").write_text("[]"), "JSON object"),
        (_edited(lambda card: card.update(format="other")), "format"),
        (_edited(lambda card: card.update(step="f(x, u)")), "step"),
        (_edited(lambda card: card["spec"]["state"].pop()), "fit"),
        (_edited(lambda card: card.pop("spec")), "spec"),
        (_edited(lambda card: card["architecture"]["layers"][0].update(relu=99)), "architecture"),
        (_edited(lambda card: card.update(sha256="0")), "sha256"),
        (_flip, "sha256"),
    ],
)
def test_what_is_not_this_model_is_refused_in_one_line(tmp_path, harm, word):
    path = tmp_path / "m.safetensors"
    gated_net(1).collapsed().save(path, training=TRAINING, figures={})
    harm(path)
    with pytest.raises(InvalidInput) as error:
        SparseReLUDynamics.load(path)
    assert word in str(error.value) and "\n" not in str(error.value)


def test_weights_that_are_not_finite_or_do_not_fit_are_refused():
    good = gated_net(0).layers
    for bad in (
        GatedLayer({0: np.full((9, 5), np.nan)}, np.zeros(9), ("relu",) * 9),
        GatedLayer({0: np.zeros((9, 4))}, np.zeros(9), ("relu",) * 9),
        GatedLayer({1: np.zeros((9, 5))}, np.zeros(9), ("relu",) * 9),
        GatedLayer({0: np.zeros((9, 5))}, np.zeros(9), ("relu",) * 8 + ("step",)),
    ):
        with pytest.raises(InvalidInput, match="layer 1"):
            SparseReLUDynamics(SPEC, (bad, *good[1:]))
    with pytest.raises(InvalidInput, match="last layer"):
        SparseReLUDynamics(SPEC, good[:-1])
    with pytest.raises(InvalidInput, match="training lacks"):
        gated_net(0).save("m.safetensors", training={}, figures={})
