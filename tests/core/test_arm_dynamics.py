"""The arm's model: equal to pinocchio, the same in four forms, and a mechanical system."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import arm_names, load_arm
from control_stack.arm.load import Load
from control_stack.errors import InvalidInput
from control_stack.protocols import Dynamics

BOX = Load.box(2.3, [0.1, 0.2, 0.05], [0.05, -0.1, 0.12])
P = BOX.parameters


@pytest.fixture(params=arm_names())
def model(request) -> ArmDynamics:
    return ArmDynamics(load_arm(request.param), 0.02)


def draws(model: ArmDynamics, count: int, seed: int = 0):
    """(count, n) positions inside the limits, velocities and accelerations."""
    rng, arm = np.random.default_rng(seed), model.arm
    q = rng.uniform(arm.position_lower, arm.position_upper, (count, arm.joints))
    return q, rng.standard_normal((count, arm.joints)), rng.standard_normal((count, arm.joints))


@pytest.mark.parametrize("load", [None, BOX], ids=["bare", "loaded"])
def test_equals_pinocchio_on_the_same_urdf(model: ArmDynamics, load: Load | None):
    pytest.importorskip("pinocchio")
    from pinocchio_twin import Twin

    twin, p = Twin.of(model.arm, load), None if load is None else load.parameters
    for q, qd, qdd in zip(*draws(model, 10), strict=True):
        rigid = model.inverse(q, qd, qdd, p) - model.friction(qd)
        np.testing.assert_allclose(rigid, twin.inverse(q, qd, qdd), rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(model.mass_matrix(q, p), twin.mass_matrix(q), rtol=1e-11, atol=1e-12)
        position, rotation = model.flange(q)
        expected_position, expected_rotation = twin.pose(q)
        np.testing.assert_allclose(position, expected_position, atol=1e-13)
        np.testing.assert_allclose(rotation, expected_rotation, atol=1e-13)
        np.testing.assert_allclose(model.jacobian(q), twin.jacobian(q), atol=1e-13)


def test_the_planar_arm_equals_its_textbook_equations():
    """Two rods: hand-written Lagrangian, angles from the horizontal."""
    model = ArmDynamics(load_arm("planar"), 0.01)
    (m1, m2), (l1, c1, c2), g = (3.0, 2.0), (0.5, 0.25, 0.2), 9.80665
    i1, i2 = 0.0637, 0.0824 / 3.0
    q, qd = np.array([0.3, -0.9]), np.array([0.7, 1.1])
    h12 = m2 * (c2**2 + l1 * c2 * np.cos(q[1])) + i2
    h11 = m1 * c1**2 + i1 + m2 * (l1**2 + c2**2 + 2.0 * l1 * c2 * np.cos(q[1])) + i2
    np.testing.assert_allclose(model.mass_matrix(q), [[h11, h12], [h12, m2 * c2**2 + i2]], rtol=1e-12)
    s = m2 * l1 * c2 * np.sin(q[1])
    coriolis = np.array([-s * qd[1] * (2.0 * qd[0] + qd[1]), s * qd[0] ** 2])
    tip = m2 * c2 * g * np.cos(q.sum())
    gravity = np.array([(m1 * c1 + m2 * l1) * g * np.cos(q[0]) + tip, tip])
    np.testing.assert_allclose(model.bias(q, qd), coriolis + gravity, rtol=1e-12)
    np.testing.assert_allclose(
        model.flange(q)[0], [0.5 * np.cos(0.3) + 0.4 * np.cos(-0.6), 0.0, 1.0 + 0.5 * np.sin(0.3) + 0.4 * np.sin(-0.6)]
    )


def test_the_mass_matrix_is_positive_definite_with_and_without_a_load(model: ArmDynamics):
    q, _, _ = draws(model, 200)
    for p in (None, P):
        matrices = model.mass_matrix(q, p)
        np.testing.assert_array_equal(matrices, matrices.swapaxes(-1, -2))
        assert np.linalg.eigvalsh(matrices).min() > 1e-4
    # A load adds kinetic energy to every motion.
    assert np.linalg.eigvalsh(model.mass_matrix(q, P) - model.mass_matrix(q)).min() > -1e-12


def test_torques_are_linear_in_the_load(model: ArmDynamics):
    q, qd, qdd = draws(model, 20)
    bare = model.inverse(q, qd, qdd)
    one = model.inverse(q, qd, qdd, P) - bare
    np.testing.assert_allclose(model.inverse(q, qd, qdd, 2.0 * P) - bare, 2.0 * one, rtol=1e-9, atol=1e-10)


def test_forward_dynamics_invert_inverse_dynamics(model: ArmDynamics):
    q, qd, qdd = draws(model, 50)
    tau = model.inverse(q, qd, qdd, P)
    np.testing.assert_allclose(model.forward(q, qd, tau, P), qdd, rtol=1e-8, atol=1e-9)


def test_gravity_is_the_gradient_of_potential_energy_and_energy_is_conserved(model: ArmDynamics):
    q, qd, _ = draws(model, 8)
    still, h = np.zeros_like(qd), 1e-6
    for i in range(model.arm.joints):
        nudge = h * np.eye(model.arm.joints)[i]
        slope = (model.energy(q + nudge, still, P) - model.energy(q - nudge, still, P)) / (2.0 * h)
        np.testing.assert_allclose(model.bias(q, still, P)[:, i], slope, rtol=1e-6, atol=1e-6)
    free = ArmDynamics(model.arm.with_friction_scaled(0.0), 0.002)
    x0 = np.concatenate([q[0], qd[0]])
    path = free.rollout(x0, np.zeros((50, model.arm.joints)), P)
    energy = free.energy(*np.split(path, 2, axis=-1), P)
    moving = np.abs(energy - free.energy(path[:, : model.arm.joints], 0.0 * path[:, model.arm.joints :], P)).max()
    assert np.abs(energy - energy[0]).max() < 1e-6 * moving


def test_hdot_minus_2c_is_skew(model: ArmDynamics):
    """C from Christoffel symbols of our M gives our Coriolis torques, and then Hdot - 2 C is skew."""
    ca = pytest.importorskip("casadi")
    from control_stack.arm.symbolic import mass_matrix_function

    n, function = model.arm.joints, mass_matrix_function(model)
    q, p = ca.SX.sym("q", n), ca.SX.sym("p", 10)
    slopes = ca.Function("slopes", [q, p], [ca.jacobian(ca.vec(function(q, p)), q)])
    for position, qd, _ in zip(*draws(model, 5), strict=True):
        slope = np.array(slopes(position, P)).reshape(n, n, n)  # vec is column-major, and M symmetric
        christoffel = 0.5 * (slope + slope.transpose(0, 2, 1) - slope.transpose(2, 1, 0))
        c = christoffel @ qd
        still = model.bias(position, 0.0 * qd, P)
        np.testing.assert_allclose(c @ qd, model.bias(position, qd, P) - still, rtol=1e-9, atol=1e-10)
        skew = slope @ qd - 2.0 * c
        np.testing.assert_allclose(skew, -skew.T, atol=1e-12)


def test_friction_never_drives(model: ArmDynamics):
    speed = np.linspace(-8.0, 8.0, 401)[:, None] * np.ones(model.arm.joints)
    drag = model.friction(speed)
    assert np.all(drag * speed >= 0.0) and np.all(model.friction(np.zeros(model.arm.joints)) == 0.0)
    assert np.all(np.diff(drag, axis=0) >= 0.0)
    assert np.isfinite(model.friction(1e6 * np.ones(model.arm.joints))).all()


def test_panda_friction_is_the_published_sigmoid():
    """Formula and numbers of Gaz et al. 2019 for joint 4, in their own form."""
    speed = np.array([0.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0])
    a, k, s = 1.2794, 5.5903, 0.036194
    expected = a / (1.0 + np.exp(-k * (0.7 + s))) - a / (1.0 + np.exp(-k * s))
    drag = ArmDynamics(load_arm("panda"), 0.01).friction(speed)
    np.testing.assert_allclose(drag, [0.0, 0.0, 0.0, expected, 0.0, 0.0, 0.0], rtol=1e-12)


def test_four_forms_agree(model: ArmDynamics):
    ca, torch = pytest.importorskip("casadi"), pytest.importorskip("torch")
    from control_stack.arm import symbolic

    assert isinstance(model, Dynamics)
    q, qd, qdd = draws(model, 4)
    x = np.concatenate([q, qd], axis=-1)
    tau = model.inverse(q, qd, qdd, P)
    names = ("inverse", "forward", "step")
    arguments = {"inverse": (q, qd, qdd, P), "forward": (q, qd, tau, P), "step": (x, tau, P)}
    functions = {
        "inverse": symbolic.inverse_function(model),
        "forward": symbolic.forward_function(model),
        "step": model.to_casadi(),
    }
    for name in names:
        batch = getattr(model, name)(*arguments[name])
        tensor = getattr(model, name)(*(torch.tensor(a) for a in arguments[name]))
        for i in range(len(q)):
            one = tuple(a if a is P else a[i] for a in arguments[name])
            floats, casadi = getattr(model, name)(*one), np.array(functions[name](*one)).ravel()
            for other in (batch[i], tensor[i].numpy(), casadi):
                np.testing.assert_allclose(other, floats, rtol=1e-10, atol=1e-10)
    # Derivatives, in the load too.
    symbols = [ca.SX.sym(s, k) for s, k in zip("abcp", (*(model.arm.joints,) * 3, 10), strict=True)]
    taken = [ca.jacobian(functions["inverse"](*symbols), s) for s in symbols]
    by_casadi = ca.Function("jacobians", symbols, taken)(q[0], qd[0], qdd[0], P)
    given = tuple(torch.tensor(v) for v in (q[0], qd[0], qdd[0], P))
    for ours, theirs in zip(torch.autograd.functional.jacobian(model.inverse, given), by_casadi, strict=True):
        np.testing.assert_allclose(ours.numpy(), np.array(theirs), rtol=1e-9, atol=1e-9)


def test_batches_broadcast_and_wrong_sizes_are_refused(model: ArmDynamics):
    n = model.arm.joints
    q, qd, _ = draws(model, 6)
    x = np.concatenate([q, qd], axis=-1).reshape(2, 3, 2 * n)
    assert model.step(x, np.zeros(n), P).shape == (2, 3, 2 * n)
    path = model.rollout(x[0, 0], np.zeros((4, n)), np.stack([P, 0.0 * P]))
    assert path.shape == (2, 5, 2 * n)
    np.testing.assert_array_equal(path[:, 0], np.stack([x[0, 0]] * 2))
    np.testing.assert_allclose(path[1], model.rollout(x[0, 0], np.zeros((4, n))), rtol=1e-12)
    with pytest.raises(InvalidInput, match="q must have"):
        model.mass_matrix(np.zeros(n + 1))
    with pytest.raises(InvalidInput, match="broadcast"):
        model.inverse(q, qd[:4], 0.0 * qd)
    with pytest.raises(InvalidInput, match="dt"):
        ArmDynamics(model.arm, 0.0)


def test_a_load_about_the_flange_is_steiners():
    load = Load(2.0, np.array([0.1, 0.0, 0.0]), np.diag([0.01, 0.02, 0.02]))
    np.testing.assert_allclose(load.parameters, [2.0, 0.2, 0, 0, 0.01, 0, 0, 0.04, 0, 0.04], atol=1e-15)
    with pytest.raises(InvalidInput, match="negative"):
        Load(-1.0)
    with pytest.raises(InvalidInput, match="no rigid body"):
        Load(1.0, np.zeros(3), np.diag([1.0, 1.0, 3.0]))
    with pytest.raises(InvalidInput, match="finite"):
        Load(np.nan)
