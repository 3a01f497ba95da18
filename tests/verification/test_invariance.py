"""Invariance proofs: right on systems whose answer is known, both ways, and never wrong on learned ones."""

from __future__ import annotations

import numpy as np
import pytest
from lipschitz_models import linear_model, random_model

from control_stack.bounds import Box
from control_stack.errors import InvalidInput
from control_stack.verification import Claim, invariance


def turn(angle: float, size: float) -> np.ndarray:
    return size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def claim(shape: str, generators, nu: int = 1, **changes) -> Claim:
    nx = len(generators)
    given = {
        "center": np.zeros(nx), "feedback": np.zeros((nu, nx)), "steady": np.zeros(nu),
        "disturbance": np.zeros(nx), **changes,
    }  # fmt: skip
    return Claim(shape, np.asarray(generators, dtype=float), **given)  # type: ignore[arg-type]


def test_a_turn_that_shrinks_keeps_the_ball_and_not_the_square():
    model = linear_model(turn(np.pi / 4.0, 0.9))
    ball = invariance(model, claim("ellipsoid", np.eye(2)))
    assert ball.status == "proved" and ball.reach == pytest.approx(0.9, abs=1e-6) and ball.seen <= ball.reach
    square = invariance(model, claim("box", np.eye(2)))
    assert square.status == "refuted"
    assert square.reach == pytest.approx(0.9 * 2**0.5, abs=1e-6) == square.seen
    x = square.counterexample
    assert np.abs(x).max() <= 1.0 and np.abs(model.step(x, np.zeros(1))).max() > 1.0


@pytest.mark.parametrize("shape", ["box", "ellipsoid"])
def test_the_largest_disturbance_that_a_set_bears_is_found_from_both_sides(shape):
    model = linear_model(np.diag([0.5, 0.5]))
    bears = np.array([0.5, 0.0])  # 0.5 + 0.5 = 1: the boundary itself
    assert invariance(model, claim(shape, np.eye(2), disturbance=0.99 * bears)).status == "proved"
    assert invariance(model, claim(shape, np.eye(2), disturbance=1.01 * bears)).status == "refuted"


def test_a_feedback_is_what_keeps_the_set():
    unstable = linear_model(np.diag([1.3, 0.5]))
    commanded = np.hstack([np.diag([1.3, 0.5]), [[1.0], [0.0]]])
    object.__setattr__(unstable, "matrix", commanded)
    assert invariance(unstable, claim("box", np.eye(2))).status == "refuted"
    held = claim("box", np.eye(2), feedback=np.array([[-0.5, 0.0]]))
    found = invariance(unstable, held)
    assert found.status == "proved" and found.reach == pytest.approx(0.8, abs=1e-6)
    np.testing.assert_allclose(found.inputs, [[-0.5], [0.5]])
    # a feedback that its limits would clip is another loop: not proved
    clipped = claim("box", np.eye(2), feedback=np.array([[-0.5, 0.0]]), inputs=np.array([[-0.4], [0.4]]))
    assert invariance(unstable, clipped).status == "unknown"


def test_parallelotopes_and_shifted_centres():
    matrix = np.array([[1.0, 0.1], [-0.3, 0.6]])  # eigenvalues 0.9 and 0.7
    values, vectors = np.linalg.eig(matrix)
    model = linear_model(matrix)
    assert invariance(model, claim("box", np.eye(2))).status == "refuted"
    found = invariance(model, claim("box", vectors))
    assert found.status == "proved" and found.reach == pytest.approx(max(values), abs=1e-6)
    away = claim("box", vectors, center=np.array([20.0, 0.0]))  # no fixed point there
    assert invariance(model, away).status == "refuted"


@pytest.mark.parametrize("shape", ["box", "ellipsoid"])
def test_the_certificate_decides_how_much_bend_a_set_bears(shape):
    """x+ = 0.8 x + dt g with |dg| <= gamma |dx|: it is safe up to dt gamma = 0.2, whatever g is."""
    inside = linear_model(0.8 * np.eye(3), bend=1.0)  # dt = 0.1
    found = invariance(inside, claim(shape, np.eye(3)))
    assert found.status == "proved"
    assert 0.8 - 0.1 <= found.seen <= found.reach


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("shape", ["box", "ellipsoid"])
@pytest.mark.parametrize("seed", range(4))
def test_no_point_leaves_a_set_that_is_proved_and_each_counterexample_does(seed, shape, activation):
    model = random_model(seed, 3, 2, 1, activation)
    random = np.random.default_rng(seed)
    generators = np.diag(10.0 ** random.uniform(-1.0, 2.0, 3)) @ (np.eye(3) + 0.2 * random.standard_normal((3, 3)))
    center, disturbance = 0.1 * random.standard_normal(3), 0.02 * random.random(3)
    parameters = Box(np.array([0.4]), np.array([0.6]))
    feedback = 0.1 * random.standard_normal((2, 3))
    asked = claim(
        shape, generators, 2, center=center, feedback=feedback, steady=np.array([0.1, -0.2]), disturbance=disturbance,
        parameters=parameters,
    )  # fmt: skip
    found = invariance(model, asked, boxes=64)
    order = np.inf if shape == "box" else 2
    y = random.standard_normal((20_000, 3))
    y /= np.linalg.norm(y, order, axis=1, keepdims=True)
    y *= random.random((len(y), 1)) ** 0.3
    x = center + y @ generators.T
    u = asked.steady + (x - center) @ feedback.T
    p = random.uniform(0.4, 0.6, (len(y), 1))
    after = model.step(x, u, p) + disturbance * random.choice([-1.0, 1.0], (len(y), 3))
    reached = np.linalg.norm(np.linalg.solve(generators, (after - center).T).T, order, axis=1).max()
    assert reached <= found.reach and found.seen <= found.reach
    if found.status == "proved":
        assert reached <= 1.0
    if found.status == "refuted":
        assert found.counterexample is not None and found.seen > 1.0
        assert np.linalg.norm(np.linalg.solve(generators, found.counterexample - center), order) <= 1.0 + 1e-9
    # a set from which what is seen leaves is never called proved
    assert not (found.seen > 1.0 and found.status == "proved")


def test_what_cannot_be_verified_is_refused():
    with pytest.raises(InvalidInput, match="invariance of 7 states: at most 6"):
        invariance(linear_model(0.5 * np.eye(7)), claim("box", np.eye(7)))
    model = linear_model(0.5 * np.eye(2))
    with pytest.raises(InvalidInput, match="matrix has shape"):
        invariance(model, claim("box", np.eye(3)))
    with pytest.raises(InvalidInput, match="singular"):
        invariance(model, claim("box", np.ones((2, 2))))
    with pytest.raises(InvalidInput, match="feedback has shape"):
        invariance(model, claim("box", np.eye(2), feedback=np.zeros((2, 2))))
    with pytest.raises(InvalidInput, match="at least 0"):
        invariance(model, claim("box", np.eye(2), disturbance=-np.ones(2)))
    with pytest.raises(InvalidInput, match="0 parameters for a model of 1"):
        invariance(random_model(0), claim("box", np.eye(3), 2))
