"""Conversions to NED/FRD and to the vendors' motors: hand values, round trips, one meaning on both sides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from control_stack import frames as fr
from control_stack.algebra import yaw_of
from control_stack.quadrotor.parameters import QuadrotorParameters

EAST, NORTH, UP = np.eye(3)
FORWARD, LEFT, _ = np.eye(3)
finite = st.floats(-1e3, 1e3, allow_nan=False)
vectors = st.lists(finite, min_size=3, max_size=3).map(np.array)
angles = st.floats(-20.0, 20.0, allow_nan=False)


@st.composite
def attitudes(draw):
    """xyzw, w >= 0 as the converters give it."""
    q = Rotation.from_rotvec(draw(st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=3))).as_quat()
    return q if q[3] >= 0 else -q


def test_hand_values_of_vectors():
    assert np.array_equal(fr.ned_from_enu(EAST), [0, 1, 0])  # east is y in NED
    assert np.array_equal(fr.ned_from_enu(NORTH), [1, 0, 0])
    assert np.array_equal(fr.ned_from_enu(UP), [0, 0, -1])
    assert np.array_equal(fr.frd_from_flu(FORWARD), [1, 0, 0])
    assert np.array_equal(fr.frd_from_flu(LEFT), [0, -1, 0])
    assert np.array_equal(fr.frd_from_flu(UP), [0, 0, -1])


@given(vectors)
def test_vector_conversions_are_involutions(v):
    assert np.array_equal(fr.enu_from_ned(fr.ned_from_enu(v)), v)
    assert np.array_equal(fr.flu_from_frd(fr.frd_from_flu(v)), v)


@given(vectors, vectors)
def test_both_frames_are_right_handed(a, b):
    for convert in (fr.ned_from_enu, fr.frd_from_flu):
        assert np.allclose(convert(np.cross(a, b)), np.cross(convert(a), convert(b)), rtol=1e-12, atol=1e-6)


@given(attitudes())
def test_quaternion_round_trips(q):
    assert np.array_equal(fr.xyzw_from_wxyz(fr.wxyz_from_xyzw(q)), q)
    there = fr.ned_frd_wxyz_from_enu_flu_xyzw(q)
    back = fr.enu_flu_xyzw_from_ned_frd_wxyz(there)
    assert there[0] >= 0.0
    assert min(np.abs(back - q).max(), np.abs(back + q).max()) < 1e-12  # w = 0: either sign is the same attitude


def test_order_of_quaternion_components():
    assert np.array_equal(fr.wxyz_from_xyzw([1, 2, 3, 4]), [4, 1, 2, 3])
    assert np.array_equal(fr.xyzw_from_wxyz([1, 2, 3, 4]), [2, 3, 4, 1])


@given(attitudes(), vectors)
def test_rotating_then_converting_is_converting_then_rotating(q, v_flu):
    in_world = Rotation.from_quat(q).apply(v_flu)
    ned = Rotation.from_quat(fr.xyzw_from_wxyz(fr.ned_frd_wxyz_from_enu_flu_xyzw(q)))
    assert np.allclose(fr.ned_from_enu(in_world), ned.apply(fr.frd_from_flu(v_flu)), rtol=1e-12, atol=1e-9)


def test_level_and_facing_north_is_identity_for_px4():
    facing_north = Rotation.from_euler("z", math.pi / 2).as_quat()
    assert np.allclose(fr.ned_frd_wxyz_from_enu_flu_xyzw(facing_north), [1, 0, 0, 0], atol=1e-15)


def test_nose_up_in_both_conventions():
    """Nose up by 0.3 rad, facing north: -0.3 about left (FLU), +0.3 about right (FRD)."""
    nose_up = (Rotation.from_euler("z", math.pi / 2) * Rotation.from_euler("y", -0.3)).as_quat()
    assert Rotation.from_quat(nose_up).apply(FORWARD)[2] == pytest.approx(math.sin(0.3))
    ned = Rotation.from_quat(fr.xyzw_from_wxyz(fr.ned_frd_wxyz_from_enu_flu_xyzw(nose_up)))
    assert np.allclose(ned.as_rotvec(), [0.0, 0.3, 0.0], atol=1e-12)
    assert ned.apply(FORWARD)[2] == pytest.approx(-math.sin(0.3))  # up is negative z in NED
    assert np.allclose(fr.crazyflie_degrees_from_rpy([0.0, -0.3, 0.0]), [0.0, math.degrees(0.3), 0.0])


def test_roll_to_the_right_has_one_sign_everywhere():
    right = Rotation.from_euler("x", 0.2).as_quat()
    assert Rotation.from_quat(right).apply(LEFT)[2] > 0.0  # the left side goes up
    ned = Rotation.from_quat(fr.xyzw_from_wxyz(fr.ned_frd_wxyz_from_enu_flu_xyzw(right)))
    assert ned.as_euler("ZYX")[2] == pytest.approx(0.2)


@given(attitudes())
def test_yaw_of_the_attitude_and_yaw_converter_agree(q):
    forward = Rotation.from_quat(q).apply(FORWARD)
    assume(math.hypot(forward[0], forward[1]) > 1e-3)  # nose straight up: no heading
    ned = Rotation.from_quat(fr.xyzw_from_wxyz(fr.ned_frd_wxyz_from_enu_flu_xyzw(q))).apply(FORWARD)
    wanted = math.atan2(ned[1], ned[0])
    assert abs(fr.wrap_angle(fr.ned_yaw_from_enu_yaw(yaw_of(tuple(q))) - wanted)) < 1e-9


@pytest.mark.parametrize(
    ("enu", "ned"), [(0.0, math.pi / 2), (math.pi / 2, 0.0), (math.pi, -math.pi / 2), (-math.pi / 2, math.pi)]
)
def test_hand_values_of_yaw(enu, ned):
    """East, north, west and south."""
    assert float(fr.ned_yaw_from_enu_yaw(enu)) == pytest.approx(ned, abs=1e-12)


@given(angles)
def test_yaw_is_an_involution_and_wrapping_keeps_the_angle(angle):
    wrapped = float(fr.wrap_angle(angle))
    assert -math.pi < wrapped <= math.pi
    assert math.isclose(math.cos(wrapped - angle), 1.0, abs_tol=1e-12)
    there_and_back = fr.enu_yaw_from_ned_yaw(fr.ned_yaw_from_enu_yaw(angle))
    assert abs(fr.wrap_angle(there_and_back - angle)) < 1e-12


@given(vectors)
def test_crazyflie_degrees_round_trip(rpy):
    assert np.allclose(fr.rpy_from_crazyflie_degrees(fr.crazyflie_degrees_from_rpy(rpy)), rpy, rtol=1e-14)


CORNER = {"front right": (1, -1), "back right": (-1, -1), "back left": (-1, 1), "front left": (1, 1)}
PX4_QUAD_X = ("front right", "back left", "front left", "back right")  # motors 1..4, PX4 airframe reference
CRAZYFLIE = ("front right", "back right", "back left", "front left")  # M1..M4, Bitcraze documentation


@pytest.mark.parametrize(
    ("to_motors", "documented"),
    [(fr.px4_motors_from_rotors, PX4_QUAD_X), (fr.crazyflie_motors_from_rotors, CRAZYFLIE)],
)
def test_every_motor_sits_at_its_documented_corner(vehicle: QuadrotorParameters, to_motors, documented):
    x, y = to_motors(vehicle.rotor_position[:, 0]), to_motors(vehicle.rotor_position[:, 1])
    for motor, corner in enumerate(documented):
        assert (np.sign(x[motor]), np.sign(y[motor])) == CORNER[corner]


@pytest.mark.parametrize(
    ("to_motors", "counter_clockwise"),
    [(fr.px4_motors_from_rotors, {0, 1}), (fr.crazyflie_motors_from_rotors, {0, 2})],
)
def test_every_motor_turns_as_documented(vehicle: QuadrotorParameters, to_motors, counter_clockwise):
    """A rotor that turns counter-clockwise from above turns the body clockwise: spin -1."""
    spin = to_motors(vehicle.rotor_spin)
    assert {motor for motor in range(4) if spin[motor] < 0} == counter_clockwise


@given(st.lists(finite, min_size=4, max_size=4))
def test_motor_permutations_round_trip(values):
    assert fr.rotors_from_px4_motors(fr.px4_motors_from_rotors(values)).tolist() == values
    assert fr.rotors_from_crazyflie_motors(fr.crazyflie_motors_from_rotors(values)).tolist() == values


@pytest.mark.parametrize(
    ("convert", "size"),
    [
        (fr.ned_from_enu, 3),
        (fr.frd_from_flu, 3),
        (fr.wxyz_from_xyzw, 4),
        (fr.ned_frd_wxyz_from_enu_flu_xyzw, 4),
        (fr.px4_motors_from_rotors, 4),
        (fr.crazyflie_degrees_from_rpy, 3),
    ],
)
def test_batches_convert_row_by_row_and_wrong_sizes_are_refused(convert, size):
    batch = np.random.default_rng(0).standard_normal((2, 5, size))
    expected = [[convert(row) for row in block] for block in batch]
    assert np.array_equal(convert(batch), expected)
    with pytest.raises(ValueError, match=f"expected {size} components"):
        convert(np.zeros(size + 1))
