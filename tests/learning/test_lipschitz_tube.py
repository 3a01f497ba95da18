"""Tubes: closed loops stay inside, refusals give their number, and conformal noise covers whole trajectories."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lipschitz_models import linear_model

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube, conformal_noise, contracting_shape, tube

A = np.array([[1.0, 0.1], [0.0, 1.0]])
B = np.array([[0.005], [0.1]])
K = np.array([[-8.0, -5.0]])


def cart(bend: float) -> LipschitzDynamics:
    """A double integrator with a residual of a given steepness."""
    model = linear_model(A, bend=bend, activation="tanh")
    return replace(model, matrix=np.hstack([A, B]))


def test_no_loop_leaves_its_tube_whatever_the_disturbance():
    model = cart(0.05)
    shape = contracting_shape(model, K)
    found = tube(model, K, shape, noise=0.02)
    assert found.rho < 1.0 and found.growth < 1.0
    horizon, count = 60, 500
    radii = found.radii(horizon, first=0.1)
    random = np.random.default_rng(0)
    z = np.zeros((count, 2))
    e = random.standard_normal((count, 2))
    x = z + 0.1 * np.linalg.solve(shape, (e / np.linalg.norm(e, axis=1, keepdims=True)).T).T
    rows, wide = np.array([[1.0, 0.0], [0.3, -1.0]]), np.array([[1.0], [-2.0]])
    margins, effort = found.state_margins(radii, rows), found.input_margins(radii, wide)
    used = 0.0
    for k in range(horizon + 1):
        error = np.linalg.norm((x - z) @ shape.T, axis=1)
        assert (error <= radii[k] * (1.0 + 1e-9)).all()
        assert (np.abs((x - z) @ rows.T) <= margins[k]).all()
        assert (np.abs((x - z) @ K.T @ wide.T) <= effort[k]).all()
        used = max(used, float(error.max() / radii[k]))
        v = np.full((count, 1), np.sin(0.2 * k))
        push = (x - z) @ shape.T  # outwards: the worst that the noise can do to a linear loop
        push = 0.02 * push / np.maximum(np.linalg.norm(push, axis=1, keepdims=True), 1e-12)
        x, z = model.step(x, v + (x - z) @ K.T) + np.linalg.solve(shape, push.T).T, model.step(z, v)
    assert used > 0.5  # and the tube is not so wide that it says nothing


def test_radii_follow_their_recursion_and_settle():
    found = Tube(np.eye(2), np.zeros((1, 2)), 0.7, 0.1, 0.3)
    radii = found.radii(80, 2.0)
    np.testing.assert_allclose(radii[1:], 0.8 * radii[:-1] + 0.3)
    assert radii[0] == 2.0 and found.limit() == pytest.approx(1.5) == pytest.approx(radii[-1], abs=1e-6)


def test_a_steep_residual_is_refused_with_the_number():
    gentle, steep = cart(0.05), cart(50.0)
    shape = contracting_shape(gentle, K)
    found = tube(gentle, K, shape, 0.0)
    with pytest.raises(InvalidInput, match=r"rho \+ dt c gamma_res = \d+\.?\d* >= 1") as refusal:
        tube(steep, K, shape, 0.0)
    told = float(str(refusal.value).split("gamma_res = ")[1].split()[0])
    ratio = steep.certificate.gamma / gentle.certificate.gamma
    assert told == pytest.approx(found.rho + ratio * found.residual, rel=1e-2)


def test_a_local_gamma_holds_in_its_box_alone_and_plans_that_leave_it_are_refused():
    model = cart(0.05)
    shape, box = contracting_shape(model, K), Box([0.5, -0.2, -2.0], [0.7, 0.2, 2.0])
    everywhere, local = tube(model, K, shape, 1e-4), tube(model, K, shape, 1e-4, box)
    ratio = model.network.local_gamma(box) / model.certificate.gamma
    assert ratio < 0.95 and local.residual == pytest.approx(ratio * everywhere.residual)
    radii, names = local.radii(3), (*model.spec.state, *model.spec.inputs)
    states, inputs = np.tile([0.6, 0.0], (4, 1)), np.zeros((3, 1))
    local.check_region(states, inputs, radii, names)
    with pytest.raises(InvalidInput, match=r"at step 0 x0 \[m\] may leave the box of the local gamma, 0.5 to 0.7, by"):
        local.check_region(states + [0.0999, 0.0], inputs, local.radii(3, first=1e-3), names)
    with pytest.raises(InvalidInput, match=r"at step 2 u0 \[N\] may leave"):
        local.check_region(states, np.array([[0.0], [0.0], [2.1]]), radii, names)
    states[-1, 0] = 5.0  # no step is taken from the last
    local.check_region(states, inputs, radii)
    everywhere.check_region(100.0 * states, inputs, radii)


def test_a_tube_knows_its_model():
    model = cart(0.05)
    found = tube(model, K, contracting_shape(model, K), 0.1)
    found.check_model(model)
    found.check_model(replace(model))
    for other in (cart(0.04), replace(model, matrix=model.matrix * (1.0 + 1e-12))):
        with pytest.raises(InvalidInput, match="of another model"):
            found.check_model(other)


def test_what_cannot_carry_a_tube_is_refused():
    model = cart(0.05)
    shape = contracting_shape(model, K)
    with pytest.raises(InvalidInput, match="a tube needs a model with a certificate, got str"):
        tube("model", K, shape, 0.0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="does not contract .* rho = "):
        tube(model, np.zeros((1, 2)), shape, 0.0)
    with pytest.raises(InvalidInput, match="noise must be at least 0"):
        tube(model, K, shape, -1.0)
    with pytest.raises(InvalidInput, match="spectral radius is 1"):
        contracting_shape(model, np.zeros((1, 2)))


def test_conformal_noise_covers_whole_trajectories_as_often_as_it_says():
    model, shape, delta = cart(0.05), np.eye(2), 0.2
    random = np.random.default_rng(0)

    def flown(count: int):
        gusts = 0.05 * random.standard_normal((count, 1, 1))  # one wind for a whole trajectory
        u = random.uniform(-1.0, 1.0, (count, 15, 1))
        x = [np.zeros((count, 2))]
        for k in range(15):
            x.append(model.step(x[-1], u[:, k]) + gusts[:, 0] + 0.01 * random.standard_normal((count, 2)))
        return np.stack(x, 1), u

    covered = []
    for _ in range(60):
        w = conformal_noise(model, shape, *flown(30), delta)
        states, inputs = flown(200)
        errors = np.linalg.norm(states[:, 1:] - model.step(states[:, :-1], inputs), axis=-1).max(1)
        covered.append(np.mean(errors <= w))
    # exact coverage is ceil(31 * 0.8) / 31 = 0.806; the mean of 60 calibrations scatters by about 0.01
    assert 0.77 <= np.mean(covered) <= 0.85
    with pytest.raises(InvalidInput, match="delta 0.01 needs 99 trajectories or more, got 30"):
        conformal_noise(model, shape, *flown(30), 0.01)
    with pytest.raises(InvalidInput, match="delta must lie within 0 and 1"):
        conformal_noise(model, shape, *flown(30), 1.0)
