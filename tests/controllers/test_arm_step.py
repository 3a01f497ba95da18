"""The step from inverse dynamics: as the fine integration of the same arm, with derivatives that are its own."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import Load
from control_stack.errors import InvalidInput
from control_stack.protocols import Dynamics, DynamicsSpec
from controllers.arm.nominal import defaults, disturbance, flange_force, nominal_step
from controllers.arm.step import InverseStep
from controllers.nmpc.problem import Linearised

ARM = load_arm("panda")
LOAD = Load.box(2.0, (0.1, 0.1, 0.1), (0.05, 0.02, 0.1))
P = defaults(ARM, LOAD)
MODEL = nominal_step(ARM, 0.02)


def states(count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """States in motion with torques that accelerate them by a few rad/s^2."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        q, v = ARM.home + 0.4 * rng.standard_normal(7), 0.7 * rng.standard_normal(7)
        a = 3.0 * rng.standard_normal(7)
        out.append((np.concatenate([q, v]), ArmDynamics(ARM, 0.02).inverse(q, v, a, LOAD.parameters)))
    return out


def test_it_is_a_dynamics_that_knows_its_linearisation() -> None:
    assert isinstance(MODEL, Dynamics) and isinstance(MODEL, Linearised)


def test_a_step_agrees_with_runge_kutta_in_steps_of_5_ms() -> None:
    fine, x, u = ArmDynamics(ARM, 0.02), *map(np.array, zip(*states(30, 0), strict=True))
    after, true = MODEL.step(x, u, P), fine.step(x, u, LOAD.parameters)
    missed, moved = (np.sqrt(np.mean(np.square(d), axis=0)) for d in (after - true, true - x))
    assert (missed[:7] < 0.01 * moved[:7]).all() and (missed[7:] < 0.06 * moved[7:]).all()


def test_the_error_of_a_step_falls_with_its_length_as_a_second_order_method() -> None:
    x, u = map(np.array, zip(*states(10, 1), strict=True))
    arm = ARM.with_friction_scaled(0.0)
    errors = []
    for h in (0.02, 0.01):
        p = defaults(arm, LOAD)
        errors.append(
            np.abs(nominal_step(arm, h).step(x, u, p) - ArmDynamics(arm, h).step(x, u, LOAD.parameters)).max()
        )
    assert errors[0] / errors[1] > 6.0  # locally of third order: 8


def test_friction_stops_a_light_joint_within_a_step_instead_of_throwing_it_about() -> None:
    """An explicit step of 20 ms through the Panda's wrist would turn the motion round."""
    x = np.concatenate([ARM.home, np.zeros(7)])
    x[13] = 0.02  # rad/s, of the last joint
    hold = np.asarray(MODEL.inverse(ARM.home, np.zeros(7), np.zeros(7), defaults(ARM, Load()))).ravel()
    after = MODEL.step(x, hold)[13]
    assert abs(after) < 0.3 * 0.02


def test_without_friction_the_linearisation_is_the_derivative() -> None:
    model = nominal_step(ARM.with_friction_scaled(0.0), 0.02)
    for one, two in zip(model.linearise()(*(at := (*states(1, 2)[0], P))), model.linearise(0.0)(*at), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(two), atol=1e-9)


def test_where_joints_turn_round_friction_is_linearised_by_its_chord() -> None:
    """The tangent would have a correction of 1 rad/s opposed by more than all friction there is."""
    x, u = np.concatenate([ARM.home, np.zeros(7)]), np.asarray(MODEL.inverse(ARM.home, *np.zeros((2, 7)), P)).ravel()
    push = np.zeros(7)
    push[6] = 1.0  # N m
    moved = MODEL.step(x, u + push, P)[13]
    _, _, chord = MODEL.linearise()(x, u, P)
    _, _, tangent = MODEL.linearise(0.0)(x, u, P)
    missed = [abs(float((np.asarray(b) @ push)[13]) - moved) for b in (chord, tangent)]
    assert missed[0] < 0.5 * missed[1]


def test_tangents_are_the_derivatives_of_the_step() -> None:
    x, u = states(1, 2)[0]
    after, a, b = (np.asarray(value) for value in MODEL.linearise(0.0)(x, u, P))
    np.testing.assert_allclose(after.ravel(), MODEL.step(x, u, P), atol=1e-12)
    d = 1e-6
    by_x = np.stack([(MODEL.step(x + d * e, u, P) - MODEL.step(x - d * e, u, P)) / (2 * d) for e in np.eye(14)], 1)
    by_u = np.stack([(MODEL.step(x, u + d * e, P) - MODEL.step(x, u - d * e, P)) / (2 * d) for e in np.eye(7)], 1)
    # Two Newton steps do not end exactly where the implicit function theorem holds, and t(z) is taken as constant.
    assert np.abs(a - by_x).max() < 0.03 * np.abs(by_x).max()
    assert np.abs(b - by_u).max() < 0.01 * np.abs(by_u).max()


def test_disturbance_and_flange_force_act_as_torques_that_nobody_sent() -> None:
    q = ARM.home
    still = np.zeros(7)
    force, p = np.array([3.0, -2.0, 5.0]), defaults(ARM, Load())
    p[flange_force(7)] = force
    free = np.asarray(MODEL.inverse(q, still, still, defaults(ARM, Load()))).ravel()
    expected = ArmDynamics(ARM, 0.02).jacobian(q)[:3].T @ force
    np.testing.assert_allclose(free - np.asarray(MODEL.inverse(q, still, still, p)).ravel(), expected, atol=1e-9)
    p = defaults(ARM, Load())
    p[disturbance(7)] = 1.0
    np.testing.assert_allclose(free - np.asarray(MODEL.inverse(q, still, still, p)).ravel(), np.ones(7), atol=1e-12)


def test_a_function_of_other_sizes_is_refused() -> None:
    spec = DynamicsSpec(MODEL.spec.state, MODEL.spec.inputs, ("one",), np.zeros(1), 0.02)
    with pytest.raises(InvalidInput, match="inverse dynamics of 7 joints"):
        InverseStep(MODEL.inverse, spec)
