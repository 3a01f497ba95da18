"""Lagrangian models: what makes them mechanics, whatever their weights, and one answer of NumPy, torch and CasADi."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import Load
from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian import LagrangianDynamics, load
from control_stack.learning.lagrangian.flange import load_code
from control_stack.learning.lagrangian.structures import STRUCTURES, initial_weights
from control_stack.protocols import Dynamics
from control_stack.types import Array

CONTEXTS = 5
TRAINING = {"command": "none", "seed": 0, "git_revision": "none", "wall_time_s": 0.0, "hardware": {}}


def make(kind: str, arm_name: str = "panda", seed: int = 0) -> LagrangianDynamics:
    """A model with random weights everywhere, also where training starts at zero."""
    arm, rng = load_arm(arm_name), np.random.default_rng(seed)
    weights = initial_weights(kind, arm.joints, CONTEXTS, seed, (12, 10))
    weights = {k: v + 0.2 * rng.standard_normal(v.shape) / np.sqrt(v.shape[-1]) for k, v in weights.items()}
    return LagrangianDynamics(arm, kind, weights, CONTEXTS, 0.02)


def draw(model: LagrangianDynamics, count: int, seed: int = 1) -> tuple[Array, Array, Array, Array]:
    rng, n = np.random.default_rng(seed), model.arm.joints
    q = model.arm.home + 0.7 * rng.standard_normal((count, n))
    return q, rng.standard_normal((count, n)), rng.standard_normal((count, n)), rng.standard_normal((count, CONTEXTS))


@pytest.mark.parametrize("kind", STRUCTURES)
def test_mass_matrix_is_symmetric_and_positive_definite_for_every_context(kind: str) -> None:
    model = make(kind)
    q, _, _, z = draw(model, 200)
    for size in (1.0, 30.0):
        mass = model.mass_matrix(q, size * z)
        np.testing.assert_allclose(mass, mass.swapaxes(1, 2), atol=1e-9 * np.abs(mass).max())
        assert np.linalg.eigvalsh(mass).min() > 0.0


@pytest.mark.parametrize("kind", STRUCTURES)
def test_inverse_and_forward_dynamics_undo_each_other_and_share_one_mass_matrix(kind: str) -> None:
    model = make(kind)
    q, qd, qdd, z = draw(model, 20)
    tau = model.inverse(q, qd, qdd, z)
    np.testing.assert_allclose(model.forward(q, qd, tau, z), qdd, atol=1e-7)
    inertial = (model.mass_matrix(q, z) @ qdd[..., None])[..., 0]
    np.testing.assert_allclose(tau, inertial + model.bias(q, qd, z) + model.friction(qd, z), atol=1e-9)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_power_in_is_the_change_of_energy(kind: str) -> None:
    model = make(kind)
    q, qd, qdd, z = draw(model, 20)
    h = 1e-5
    early, late = (model.energy(q + s * qd + 0.5 * h * h * qdd, qd + s * qdd, z) for s in (-h, h))
    power = (qd * (model.inverse(q, qd, qdd, z) - model.friction(qd, z))).sum(-1)
    np.testing.assert_allclose((late - early) / (2.0 * h), power, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_coriolis_torques_are_those_of_the_mass_matrix_and_hdot_minus_2c_is_skew(kind: str) -> None:
    model = make(kind)
    (q, *_), (qd, *_), _, (z, *_) = draw(model, 1)
    n, h = len(q), 1e-6
    slopes = np.stack(
        [(model.mass_matrix(q + h * e, z) - model.mass_matrix(q - h * e, z)) / (2.0 * h) for e in np.eye(n)], axis=-1
    )  # dH_ij / dq_k
    christoffel = 0.5 * (slopes + slopes.transpose(0, 2, 1) - slopes.transpose(2, 1, 0))
    c = np.einsum("ijk,k->ij", christoffel, qd)
    np.testing.assert_allclose(model.bias(q, qd, z) - model.bias(q, 0.0 * qd, z), c @ qd, rtol=1e-5, atol=1e-6)
    skew = slopes @ qd - 2.0 * c
    np.testing.assert_allclose(skew + skew.T, 0.0, atol=1e-6)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_friction_takes_energy_for_every_context(kind: str) -> None:
    model = make(kind)
    _, qd, _, z = draw(model, 300)
    assert ((model.friction(qd, 20.0 * z) * qd) >= 0.0).all()


@pytest.mark.parametrize("kind", STRUCTURES)
def test_energy_is_kept_without_friction_and_torque(kind: str) -> None:
    model = make(kind, "planar")
    no_friction = np.vstack([-10.0 * np.ones((4, 1))])
    weights = dict(model.weights) | {
        "friction.weight": 0.0 * model.weights["friction.weight"],
        "friction.bias": no_friction,
    }
    model = replace(model, weights=weights, dt=0.005)
    z = 0.3 * np.random.default_rng(2).standard_normal(CONTEXTS)
    x0 = np.array([0.3, -0.8, 0.5, -0.4])
    path = model.rollout(x0, np.zeros((200, 2)), z)
    energy = model.energy(path[:, :2], path[:, 2:], z)
    moved = np.ptp(0.5 * np.einsum("ti,tij,tj->t", path[:, 2:], model.mass_matrix(path[:, :2], z), path[:, 2:]))
    assert moved > 0.01  # there is something to keep
    assert np.abs(energy - energy[0]).max() < 1e-4 * max(moved, 1.0)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_torch_and_casadi_agree_in_value_and_jacobian(kind: str) -> None:
    torch, ca = pytest.importorskip("torch"), pytest.importorskip("casadi")
    model = make(kind, "panda" if kind == "flange" else "planar")
    function = model.inverse_casadi()
    symbols = [ca.MX.sym(name, function.numel_in(k)) for k, name in enumerate(("q", "qd", "qdd", "p"))]
    jacobian = ca.Function("j", symbols, [ca.jacobian(function(*symbols), s) for s in symbols[:3]])
    for point in zip(*draw(model, 2), strict=True):
        tensors = [torch.tensor(a, dtype=torch.float64) for a in point]
        tau = model.inverse(*tensors).numpy()
        np.testing.assert_allclose(np.asarray(function(*point)).ravel(), tau, rtol=1e-6, atol=1e-6 * np.abs(tau).max())
        np.testing.assert_allclose(model.inverse(*point), tau, rtol=1e-9, atol=1e-9 * np.abs(tau).max())
        slopes = torch.autograd.functional.jacobian(lambda *a: model.inverse(*a), tuple(tensors))
        for mine, theirs in zip(jacobian(*point), slopes[:3], strict=True):
            scale = max(np.abs(theirs.numpy()).max(), 1e-3)
            np.testing.assert_allclose(np.asarray(mine), theirs.numpy(), rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_step_is_the_casadi_step_and_rollout_repeats_it(kind: str) -> None:
    pytest.importorskip("casadi")
    model = make(kind, "planar")
    assert isinstance(model, Dynamics)
    rng = np.random.default_rng(3)
    x, us, z = rng.standard_normal((3, 4)), rng.standard_normal((3, 4, 2)), rng.standard_normal((3, CONTEXTS))
    states = model.rollout(x, us, z)
    once = model.to_casadi()
    for b in range(3):
        found = x[b]
        for t in range(4):
            found = np.asarray(once(found, us[b, t], z[b])).ravel()
            np.testing.assert_allclose(states[b, t + 1], found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("arm_name", ["panda", "iiwa", "planar"])
def test_flange_is_the_nominal_arm_without_context_and_any_rigid_load_with_one(arm_name: str) -> None:
    arm = load_arm(arm_name)
    nominal, n = ArmDynamics(arm, 0.02), arm.joints
    box = Load.box(2.5, (0.1, 0.12, 0.2), (0.05, -0.1, 0.1))
    weights = {
        "flange.weight": load_code(box.parameters)[:, None],
        "friction.weight": np.zeros((2 * n, 1)), "friction.bias": np.zeros((2 * n, 1)),
    }  # fmt: skip
    model = LagrangianDynamics(arm, "flange", weights, 1, 0.02)
    rng = np.random.default_rng(4)
    q, qd, qdd = (rng.standard_normal((30, n)) for _ in range(3))
    for z, p in ((np.zeros(1), None), (np.ones(1), box.parameters), (np.full(1, 0.4), 0.4 * box.parameters)):
        np.testing.assert_allclose(model.inverse(q, qd, qdd, z), nominal.inverse(q, qd, qdd, p), atol=1e-10)
        np.testing.assert_allclose(model.mass_matrix(q, z), nominal.mass_matrix(q, p), atol=1e-11)


def test_flange_takes_inertia_away_down_to_half_of_the_last_link() -> None:
    arm = load_arm("panda")
    inertia = np.array(arm.chain.inertias[-1])
    from control_stack.arm.chain import apply, move_inertia

    flange = arm.chain.flange
    back = tuple(-x for x in apply(flange.inverse, flange.offset))
    own = np.array(move_inertia(tuple(inertia), lambda v: apply(flange.inverse, v), back))
    weights = {
        "flange.weight": -load_code(own)[:, None],
        "friction.weight": np.zeros((14, 1)),
        "friction.bias": np.zeros((14, 1)),
    }
    model = LagrangianDynamics(arm, "flange", weights, 1, 0.02)
    nominal = ArmDynamics(arm, 0.02)
    q = arm.home + np.random.default_rng(5).standard_normal((10, 7))
    taken = model.mass_matrix(q, np.full(1, 0.4))
    np.testing.assert_allclose(taken, nominal.mass_matrix(q, -0.4 * own), atol=1e-11)
    assert np.linalg.eigvalsh(model.mass_matrix(q, np.full(1, 3.0))).min() > 0.0


def test_factor_starts_as_the_nominal_arm() -> None:
    arm = load_arm("panda")
    weights = initial_weights("factor", 7, 3, 0, (8,))
    model = LagrangianDynamics(arm, "factor", weights | {"friction.weight": np.zeros((14, 3))}, 3, 0.02)
    rng, nominal = np.random.default_rng(6), ArmDynamics(arm, 0.02)
    q, qd, qdd, z = (rng.standard_normal((9, k)) for k in (7, 7, 7, 3))
    np.testing.assert_allclose(model.inverse(q, qd, qdd, z), nominal.inverse(q, qd, qdd), atol=1e-9)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_what_is_saved_is_what_is_loaded(kind: str, tmp_path: Path) -> None:
    model = make(kind)
    model.save(tmp_path / "model.safetensors", training=TRAINING, figures={})
    found = load(tmp_path)
    q, qd, qdd, z = draw(model, 4)
    np.testing.assert_array_equal(found.inverse(q, qd, qdd, z), model.inverse(q, qd, qdd, z))
    assert found.spec.parameters == model.spec.parameters and found.arm.joint_names == model.arm.joint_names


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    make("flange").save(path, training=TRAINING, figures={})
    card = path.with_suffix(".json")
    text = card.read_text(encoding="utf-8")
    for old, new, reason in (
        ('"structure": "flange"', '"structure": "full"', "weights do not fit"),
        ('"contexts": 5', '"contexts": 4', "weights do not fit"),
        ("Lagrangian dynamics, 1", "Lagrangian dynamics, 9", "format"),
        ('"home"', '"house"', "house"),
    ):
        card.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(InvalidInput, match=reason):
            load(path)
    card.write_text(text, encoding="utf-8")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InvalidInput):
        load(path)


def test_bad_input_is_refused() -> None:
    model = make("flange")
    with pytest.raises(InvalidInput, match="7 components"):
        model.inverse(np.zeros(6), np.zeros(7), np.zeros(7))
    with pytest.raises(InvalidInput, match="5 components"):
        model.step(np.zeros(14), np.zeros(7), np.zeros(4))
    with pytest.raises(InvalidInput, match="no encoder"):
        model.estimator()
    with pytest.raises(InvalidInput, match="not finite"):
        replace(model, weights=dict(model.weights) | {"flange.weight": np.full((25, CONTEXTS), np.nan)})
