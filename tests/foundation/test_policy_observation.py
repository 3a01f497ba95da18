"""The 22 numbers: hand values, frames, clipping and lead, the same on floats, arrays and tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from control_stack.algebra import quat_from_yaw, quat_multiply, rotate
from control_stack.errors import InvalidInput
from control_stack.foundation.observation import BARE, FEATURES, Lead, Wrapper, assemble, features
from control_stack.quadrotor.parameters import GRAVITY

ZERO = (0.0, 0.0, 0.0)
WRAPPER = Wrapper(0.5, 1.0, Lead(0.05, 0.08))


def state(position=ZERO, velocity=ZERO, quat=(0.0, 0.0, 0.0, 1.0), omega=ZERO) -> tuple[float, ...]:
    return (*position, *velocity, *quat, *omega)


def random_case(seed: int, batch: tuple[int, ...] = ()):
    random = np.random.default_rng(seed)
    quat = random.standard_normal((4, *batch))
    x = [
        *random.standard_normal((6, *batch)),
        *(quat / np.linalg.norm(quat, axis=0)),
        *random.standard_normal((3, *batch)),
    ]
    reference = [tuple(random.standard_normal((3, *batch))) for _ in range(4)]
    return x, reference, random.standard_normal(batch)


def test_hover_at_the_setpoint_is_the_identity():
    assert features(state(), ZERO, ZERO, ZERO, ZERO, 0.0) == (*ZERO, 1, 0, 0, 0, 1, 0, 0, 0, 1, *ZERO, *ZERO)


def test_errors_are_measured_minus_setpoint_seen_from_the_setpoints_heading():
    seen = features(state((1.0, 0.0, 2.0), (0.0, 1.0, 0.0)), ZERO, ZERO, ZERO, ZERO, math.pi / 2)
    np.testing.assert_allclose(seen[:3], (0.0, -1.0, 2.0), atol=1e-15)  # ahead in x is to the right when facing y
    np.testing.assert_allclose(seen[12:15], (1.0, 0.0, 0.0), atol=1e-15)


def test_rotation_rows_are_body_to_yaw_frame():
    quat = quat_multiply(quat_from_yaw(0.7), (math.sin(0.1), 0.0, 0.0, math.cos(0.1)))  # heading 0.7, roll 0.2
    matrix = np.reshape(features(state(quat=quat), ZERO, ZERO, ZERO, ZERO, 0.7)[3:12], (3, 3))
    roll = [[1, 0, 0], [0, math.cos(0.2), -math.sin(0.2)], [0, math.sin(0.2), math.cos(0.2)]]
    np.testing.assert_allclose(matrix, roll, atol=1e-15)


def test_turning_the_world_changes_nothing():
    x, (p, v, a, j), yaw = random_case(0)
    turn = 1.1
    q = quat_from_yaw(turn)

    def turned(vector):
        return rotate(q, vector)

    y = [*turned(x[0:3]), *turned(x[3:6]), *quat_multiply(q, x[6:10]), *x[10:13]]
    wrapper = Wrapper(0.3, 0.4, Lead(0.1, 0.2, 0.3, 0.4))
    np.testing.assert_allclose(
        features(y, turned(p), turned(v), turned(a), turned(j), yaw + turn, wrapper),
        features(x, p, v, a, j, yaw, wrapper),
        atol=1e-12,
    )


def test_clipping_is_per_axis_and_bare_does_not_clip():
    x = state((3.0, -0.2, -7.0), (-5.0, 0.3, 2.0))
    bare, clipped = features(x, ZERO, ZERO, ZERO, ZERO, 0.0, BARE), features(x, ZERO, ZERO, ZERO, ZERO, 0.0, Wrapper())
    assert bare[:3] == (3.0, -0.2, -7.0) and bare[12:15] == (-5.0, 0.3, 2.0)
    assert clipped[:3] == (0.5, -0.2, -0.5) and clipped[12:15] == (-2.0, 0.3, 2.0)
    assert bare[3:12] == clipped[3:12]


def test_lead_looks_ahead_exactly_along_a_parabola():
    def fall(t: float):
        return (1.0 + 2.0 * t, 0.0, -0.5 * GRAVITY * t * t), (2.0, 0.0, -GRAVITY * t), (0.0, 0.0, -GRAVITY), ZERO

    tau = 0.12
    later = features(state(), *fall(0.3 + tau), 0.4)
    np.testing.assert_allclose(
        features(state(), *fall(0.3), 0.4, Wrapper(math.inf, math.inf, Lead(tau, tau * tau / 2.0, 0.0, tau))),
        later,
        atol=1e-12,
    )


def test_each_number_of_the_lead_acts_on_what_it_is_named_after():
    moving = (ZERO, (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 3.0))
    x = state()
    now = np.array(features(x, *moving, 0.0))
    for name, place, by in (
        ("position_velocity", slice(0, 3), (-0.1, 0.0, 0.0)),
        ("position_acceleration", slice(0, 3), (0.0, -0.2, 0.0)),
        ("position_jerk", slice(0, 3), (0.0, 0.0, -0.3)),
        ("velocity_acceleration", slice(12, 15), (0.0, -0.2, 0.0)),
    ):
        change = np.array(features(x, *moving, 0.0, Wrapper(math.inf, math.inf, Lead(**{name: 0.1})))) - now
        np.testing.assert_allclose(change[place], by, atol=1e-12)
        assert np.count_nonzero(change) == 1


def test_floats_arrays_and_tensors_agree():
    x, reference, yaw = random_case(3, (5,))
    arrays = np.array(features(x, *reference, yaw, WRAPPER))
    assert arrays.shape == (FEATURES, 5)
    for i in range(5):
        one = [float(c[i]) for c in x]
        floats = features(one, *([float(c[i]) for c in r] for r in reference), float(yaw[i]), WRAPPER)
        np.testing.assert_allclose(floats, arrays[:, i], atol=1e-14)
    torch = pytest.importorskip("torch")
    as_tensors = [[torch.from_numpy(np.asarray(c)) for c in r] for r in reference]
    seen = features(
        [torch.from_numpy(np.asarray(c)) for c in x],
        *as_tensors,
        torch.from_numpy(yaw),
        WRAPPER,
    )
    np.testing.assert_allclose(torch.stack(seen).numpy(), arrays, atol=1e-14)


def test_nan_is_not_hidden_by_clipping():
    for place in range(13):
        x = list(state())
        x[place] = math.nan
        assert not math.isfinite(sum(features(x, ZERO, ZERO, ZERO, ZERO, 0.0, Wrapper())))


def test_assemble_puts_arrays_and_tensors_in_the_layout():
    parts = [np.arange(n, dtype=float) + 100 * n * np.ones((2, 1)) for n in (3, 9, 3, 3, 4)]
    flat = assemble(*parts)
    np.testing.assert_array_equal(flat, np.concatenate(parts, axis=-1))
    np.testing.assert_array_equal(assemble(parts[0], parts[1].reshape(2, 3, 3), *parts[2:]), flat)
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(assemble(*map(torch.from_numpy, parts)).numpy(), flat)


@pytest.mark.parametrize(
    "bad", [{"position_limit": 0.0}, {"velocity_limit": math.nan}, {"lead": Lead(-1.1)}, {"lead": Lead(0.0, math.nan)}]
)
def test_wrappers_that_make_no_sense_are_refused(bad):
    with pytest.raises(InvalidInput):
        Wrapper(**bad)
