"""Quaternions are a group, rotate vectors as scipy says, and survive the trip through rotation matrices."""

from __future__ import annotations

import math

import casadi as ca
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from control_stack import algebra as al

finite = st.floats(-10.0, 10.0, allow_nan=False)
vectors = st.tuples(finite, finite, finite)


@st.composite
def quaternions(draw):
    q = np.array(draw(st.tuples(*[st.floats(-1.0, 1.0)] * 4)))
    assume(np.linalg.norm(q) > 1e-3)
    return tuple((q / np.linalg.norm(q)).tolist())


def close(a, b, tolerance=1e-12):
    return np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=0.0, atol=tolerance)


def same_rotation(p, q, tolerance=1e-9):
    return close(p, q, tolerance) or close(p, [-c for c in q], tolerance)


@given(quaternions(), quaternions(), quaternions())
def test_multiplication_is_associative(p, q, r):
    assert close(al.quat_multiply(al.quat_multiply(p, q), r), al.quat_multiply(p, al.quat_multiply(q, r)))


@given(quaternions())
def test_identity_and_inverse(q):
    one = (0.0, 0.0, 0.0, 1.0)
    assert close(al.quat_multiply(one, q), q) and close(al.quat_multiply(q, one), q)
    assert close(al.quat_multiply(q, al.quat_conjugate(q)), one)


@given(quaternions(), quaternions())
def test_the_product_of_unit_quaternions_has_unit_norm(p, q):
    assert math.isclose(sum(c * c for c in al.quat_multiply(p, q)), 1.0, abs_tol=1e-12)


@given(quaternions(), quaternions(), vectors)
def test_the_product_rotates_by_the_right_factor_first(p, q, v):
    assert close(al.rotate(al.quat_multiply(p, q), v), al.rotate(p, al.rotate(q, v)), 1e-11)


@given(quaternions(), vectors)
def test_rotate_agrees_with_scipy(q, v):
    r = Rotation.from_quat(q)
    assert close(al.rotate(q, v), r.apply(v), 1e-11)
    assert close(al.rotate_inverse(q, v), r.inv().apply(v), 1e-11)
    assert close(np.array(al.body_axes(q)).T, r.as_matrix())


@given(quaternions(), quaternions())
def test_product_agrees_with_scipy(p, q):
    assert same_rotation(al.quat_multiply(p, q), (Rotation.from_quat(p) * Rotation.from_quat(q)).as_quat())


@given(vectors, vectors, vectors)
def test_products_of_vectors(a, b, c):
    assert close(al.cross(a, b), np.cross(a, b))
    assert close(al.cross(a, b), al.scale(-1.0, al.cross(b, a)))
    assert math.isclose(al.dot(a, al.cross(b, c)), np.linalg.det(np.array([a, b, c])), abs_tol=1e-9)
    assert math.isclose(al.norm(al.subtract(a, b)), math.dist(a, b), abs_tol=1e-12)
    assert close(al.add(al.subtract(a, b), b), a, 1e-14 * 100)


@given(quaternions())
def test_axes_and_back(q):
    assert same_rotation(al.quat_from_axes(*al.body_axes(q)), q)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, -1), (-1, 2, 3)])
@pytest.mark.parametrize("slip", [0.0, 1e-9, -1e-9])
def test_half_turns_and_back(axis, slip):
    """Where 1 + trace R = 0 the scalar part cannot be the pivot."""
    n = np.array(axis) / np.linalg.norm(axis)
    q = Rotation.from_rotvec((math.pi + slip) * n).as_quat()
    assert same_rotation(al.quat_from_axes(*al.body_axes(tuple(q.tolist()))), q)


def test_axes_of_a_batch_are_the_axes_of_each():
    q = Rotation.random(50, np.random.default_rng(1)).as_quat()
    together = np.stack(al.quat_from_axes(*al.body_axes(tuple(q.T))), axis=-1)
    one_by_one = [al.quat_from_axes(*al.body_axes(tuple(row.tolist()))) for row in q]
    assert close(together, one_by_one, 1e-15)


@given(st.floats(-3.14, 3.14))
def test_yaw_and_back(yaw):
    assert math.isclose(al.yaw_of(al.quat_from_yaw(yaw)), yaw, abs_tol=1e-12)


def test_yaw_is_counter_clockwise_from_above():
    assert close(al.rotate(al.quat_from_yaw(math.pi / 2), (1.0, 0.0, 0.0)), (0.0, 1.0, 0.0))


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2.0), np.array(2.0)])
def test_functions_take_every_kind_of_number(number):
    assert math.isclose(float(al.sin(number)), math.sin(2.0))
    assert math.isclose(float(al.cos(number)), math.cos(2.0))
    assert math.isclose(float(al.sqrt(number)), math.sqrt(2.0))
    assert math.isclose(float(al.arctan2(number, number)), math.pi / 4)
    assert float(al.clip(number, -1.0, 1.5)) == 1.5


@given(finite, finite)
def test_minimum_maximum_and_clip(a, b):
    assert al.minimum(a, b) == min(a, b) and al.maximum(a, b) == max(a, b)
    assert float(al.minimum(np.array(a), b)) == min(a, b)
    assert float(ca.DM(al.maximum(ca.DM(a), b))) == max(a, b)
    low, high = sorted((a, b))
    assert low <= al.clip(0.0, low, high) <= high


@given(quaternions(), vectors)
def test_symbols_take_the_same_path(q, v):
    sq, sv = ca.SX.sym("q", 4), ca.SX.sym("v", 3)
    columns = tuple(sq[i] for i in range(4))
    f = ca.Function(
        "f",
        [sq, sv],
        [
            ca.vertcat(*al.rotate(columns, tuple(sv[i] for i in range(3)))),
            ca.vertcat(*al.quat_from_axes(*al.body_axes(columns))),
            al.yaw_of(columns),
        ],
    )
    rotated, back, yaw = f(q, v)
    assert close(np.array(rotated).ravel(), al.rotate(q, v), 1e-12)
    assert close(np.array(back).ravel(), al.quat_from_axes(*al.body_axes(q)), 1e-12)
    assert close(float(yaw), al.yaw_of(q), 1e-12)
