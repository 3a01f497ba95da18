"""Lipschitz models: the proof, what it says in SI units, twins in torch, CasADi and bounds, and the artefact."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from lipschitz_models import TRAINING, linear_model, random_model, random_network
from safetensors.numpy import load_file, save_file

from control_stack.bounds import Box
from control_stack.bounds.norms import enclosed_norm
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.certificate import Certificate, by_norms, margin
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.network import CertifiedNetwork
from control_stack.learning.lipschitz.sdp import tightened
from control_stack.protocols import Dynamics


def chords(network: CertifiedNetwork, seed: int, count: int = 20_000):
    """Pairs of points, far and near, and the differences of the outputs; physical units."""
    random = np.random.default_rng(seed)
    a = network.center + 3.0 * network.certificate.input_scale * random.standard_normal((count, network.inputs))
    reach = 10.0 ** random.uniform(-4.0, 1.0, (count, 1))
    b = a + reach * network.certificate.input_scale * random.standard_normal(a.shape)
    return a - b, network(a) - network(b)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("seed", range(4))
def test_no_chord_is_steeper_than_the_certificate_says(seed, activation):
    network = random_network(seed, 5, 3, activation)
    c = network.certificate
    moved, changed = chords(network, seed)
    slopes = np.linalg.norm(changed / c.output_scale, axis=1) / np.linalg.norm(moved / c.input_scale, axis=1)
    assert slopes.max() <= c.gamma
    assert slopes.max() >= 0.2 * c.gamma  # and it is not a number so large that it says nothing
    assert (np.abs(changed) <= c.change(np.abs(moved)) * (1.0 + 1e-9)).all()
    norms = np.diag([3.0, 0.2, 1.0, 4.0, 0.5]) + 0.1, np.array([[1.0, 2.0, 0.0], [0.0, 0.3, 5.0]])
    lengths = [np.linalg.norm(d @ m.T, axis=1) for d, m in zip((moved, changed), norms, strict=True)]
    assert (lengths[1] <= c.constant(*norms) * lengths[0] * (1.0 + 1e-9)).all()


@pytest.mark.parametrize("seed", range(4))
def test_slopes_in_si_units_bound_every_partial_derivative(seed):
    network = random_network(seed, 4, 2, "tanh")
    a = network.center + network.certificate.input_scale * np.random.default_rng(seed).standard_normal((500, 4))
    for j in range(4):
        step = np.zeros(4)
        step[j] = 1e-6 * network.certificate.input_scale[j]
        slope = np.abs(network(a + step) - network(a - step)) / (2.0 * step[j])
        assert (slope <= network.certificate.slopes()[:, j] * (1.0 + 1e-6)).all()


def test_the_solver_finds_the_exact_constant_where_it_is_known():
    diagonal = [np.diag([2.0, 0.5]), np.diag([0.3, 3.0])]  # slopes 0.6 and 1.5: a product of norms says 6
    assert by_norms(diagonal)[0] == pytest.approx(6.0, rel=1e-5)
    assert tightened(diagonal)[0] == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize("sizes", [(2, 5, 1), (4, 12, 9, 3), (3, 8, 8, 8, 2)])
def test_the_solver_improves_on_norms_and_stays_proved(sizes):
    random = np.random.default_rng(len(sizes))
    weights = [random.standard_normal((b, a)) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    gamma, multipliers = tightened(weights)
    assert gamma < by_norms(weights)[0]
    assert margin(weights, gamma**2, multipliers) > 0.0
    jacobian = np.linalg.multi_dot(list(reversed(weights)))
    assert gamma >= np.linalg.norm(jacobian, 2)  # all neurons on is one of the pieces


@pytest.mark.parametrize("seed", range(3))
def test_a_constant_below_a_slope_is_never_proved(seed):
    network = random_network(seed, 4, 3)
    moved, changed = chords(network, seed)
    c = network.certificate
    seen = np.linalg.norm(changed / c.output_scale, axis=1) / np.linalg.norm(moved / c.input_scale, axis=1)
    for factor in (0.5, 0.9, 0.999):
        for multipliers in (c.multipliers, by_norms(network.weights)[1]):
            assert margin(network.weights, (factor * seen.max()) ** 2, multipliers) < 0.0
    with pytest.raises(InvalidInput, match="is not proved"):
        replace(network, certificate=replace(c, gamma=0.999 * seen.max()))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_local_constants_hold_in_their_box_and_shrink_with_it(activation):
    network = random_network(7, 3, 2, activation)
    c, before = network.certificate, np.inf
    for radius in (10.0, 1.0, 0.1):
        box = Box(network.center - radius * c.input_scale, network.center + radius * c.input_scale)
        found = network.local_gamma(box)
        assert found <= min(before, c.gamma) * (1.0 + 1e-9)
        before = found
        random = np.random.default_rng(0)
        a, b = (box.lower + random.random((5000, 3)) * (box.upper - box.lower) for _ in range(2))
        gap = np.linalg.norm((network(a) - network(b)) / c.output_scale, axis=1)
        assert (gap <= found * np.linalg.norm((a - b) / c.input_scale, axis=1) * (1.0 + 1e-9)).all()
    with pytest.raises(InvalidInput, match="a box of"):
        network.local_gamma(Box(-np.ones(2), np.ones(2)))


def test_the_norm_of_an_enclosure_is_above_that_of_every_matrix_in_it():
    random = np.random.default_rng(0)
    low = random.standard_normal((3, 4))
    high = low + random.random((3, 4))
    for _ in range(300):
        part = np.round(random.random((3, 4)))
        assert np.linalg.norm(low + part * (high - low), 2) <= enclosed_norm(low, high)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_numpy_torch_casadi_and_bounds_compute_the_same_step(activation):
    torch = pytest.importorskip("torch")
    pytest.importorskip("casadi")
    from control_stack.learning.lipschitz.forms import forward

    model = random_model(1, activation=activation)
    assert isinstance(model, Dynamics)
    random = np.random.default_rng(0)
    x, u, p = (random.standard_normal((40, n)) for n in (3, 2, 1))
    expected = model.step(x, u, p)
    a, c = np.hstack([x, u, p]), model.certificate
    layers = [
        tuple(map(torch.as_tensor, pair)) for pair in zip(model.network.weights, model.network.biases, strict=True)
    ]
    h = forward(layers, torch.as_tensor((a - model.network.center) / c.input_scale), activation).numpy()
    theirs = a @ model.matrix.T + model.constant + 0.1 * (model.network.offset + c.output_scale * h)
    np.testing.assert_allclose(theirs, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.to_network()(a), expected, rtol=1e-10, atol=1e-10)
    f = model.to_casadi()
    symbolic = [np.array(f(*row)).ravel() for row in zip(x, u, p, strict=True)]
    np.testing.assert_allclose(symbolic, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(model.step(x, u), model.step(x, u, model.spec.defaults))
    rolled = model.rollout(x, np.stack([u, u, u], 1), p)
    np.testing.assert_allclose(rolled[:, 3], model.step(model.step(expected, u, p), u, p))


def test_a_saved_model_is_the_same_and_checks_its_proof_again(tmp_path):
    path = tmp_path / "model.safetensors"
    model = random_model(2).save(path, training=TRAINING, figures={})
    again = LipschitzDynamics.load(path)
    x, u = np.ones((4, 3)), np.ones((4, 2))
    np.testing.assert_array_equal(again.step(x, u), model.step(x, u))
    assert again.certificate.gamma == model.certificate.gamma
    assert again.card["certificate"]["norm"] == "Euclidean, each channel over its scale"

    def written(**changes):
        save_file({**load_file(path), **changes}, tmp_path / "other.safetensors")
        import hashlib

        digest = hashlib.sha256((tmp_path / "other.safetensors").read_bytes()).hexdigest()
        card = {**json.loads(path.with_suffix(".json").read_text()), "sha256": digest}
        (tmp_path / "other.json").write_text(json.dumps(card))
        return tmp_path / "other.safetensors"

    with pytest.raises(InvalidInput, match="gamma .* is not proved"):
        LipschitzDynamics.load(written(gamma=np.array([0.3 * model.certificate.gamma])))
    with pytest.raises(InvalidInput, match="gamma .* is not proved"):
        LipschitzDynamics.load(written(**{"layer.1.weight": 3.0 * model.network.weights[0]}))
    with pytest.raises(InvalidInput, match="missing or unknown"):
        LipschitzDynamics.load(written(extra=np.zeros(1)))
    with pytest.raises(InvalidInput, match="certificate is not that of the weights"):
        LipschitzDynamics.load(written(gamma=np.array([1.01 * model.certificate.gamma])))


def test_an_activation_without_a_bound_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    random_model(2).save(path, training=TRAINING, figures={})
    card = json.loads(path.with_suffix(".json").read_text())
    card["architecture"]["activation"] = "gelu"
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(InvalidInput, match="activation 'gelu' has no certificate; known: relu, tanh"):
        LipschitzDynamics.load(path)


def test_shapes_that_do_not_fit_are_refused():
    model = linear_model(np.eye(2))
    with pytest.raises(InvalidInput, match="x has shape"):
        model.step(np.zeros(3), np.zeros(1))
    with pytest.raises(InvalidInput, match="p has shape"):
        model.step(np.zeros(2), np.zeros(1), np.zeros(2))
    with pytest.raises(InvalidInput, match="expected"):
        replace(model, matrix=np.eye(2))
    with pytest.raises(InvalidInput, match="loses a direction"):
        model.certificate.constant(np.ones((3, 3)), np.eye(2))
    with pytest.raises(InvalidInput, match="scales must be above 0"):
        c = model.certificate
        replace(model.network, certificate=Certificate(c.gamma, -c.input_scale, c.output_scale, c.multipliers))
