"""Controllers of an arm on the simulated Panda: what true parameters are worth, estimates, fallback, refusals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from control_stack.arm.changes import LoadChange, changes_of, load_at
from control_stack.arm.draws import draw_reference
from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import Load
from control_stack.arm.sampled import SampledJoints
from control_stack.errors import InputRejected, InvalidInput, UnknownName
from control_stack.types import ArmState, JointCommand, JointReference
from controllers.arm.base import ArmController, following
from controllers.arm.estimate import PointMass
from controllers.arm.factory import make_controller
from controllers.arm.models import make_estimator
from controllers.arm.nmpc import ArmNmpc, ArmWeights
from controllers.arm.nominal import flange_force, nominal_step
from controllers.nmpc.problem import Constraint
from controllers.nmpc.solver import Settings

pytest.importorskip("pybullet")
from sim.arm.bullet import BulletArm
from sim.arm.closed_loop import ArmLoop, delay_of, simulation

ARM = load_arm("panda")
HEAVY = Load.box(3.0, (0.1, 0.1, 0.1), (0.06, -0.04, 0.12))
REFERENCE = SampledJoints.of(draw_reference(ARM, seed=4, loads=(HEAVY,)))
HOLDS = (LoadChange(0.0, HEAVY),)


def rms(controller: ArmController, changes: Sequence[LoadChange] = HOLDS, steps: int = 100, delay: str = "fixed"):
    """RMS error of the flange over the run, m, and over its last quarter."""
    arm = BulletArm(ARM, simulation(0, "typical", 1.0))
    arm.connect()
    loop = ArmLoop(arm, REFERENCE, changes, delay_of(delay, 0.02))
    error, model = [], ArmDynamics(ARM, 0.02)
    while loop.taken < steps:
        loop.answer(controller(loop.t, arm.state(), following(REFERENCE, loop.t)))
        reached, wanted = arm.true_state().position, REFERENCE(loop.t).position
        error.append(np.linalg.norm(model.flange(reached)[0] - model.flange(wanted)[0]))
    arm.close()
    return float(np.sqrt(np.mean(np.square(error)))), float(np.sqrt(np.mean(np.square(error[-steps // 4 :]))))


def made(model: str = "nominal", estimator: str = "own", delay: float = 0.02, **more) -> ArmController:
    return make_controller(ARM, "nmpc", model, estimator, changes=HOLDS, delay=delay, settings={}, **more)


def test_true_parameters_are_worth_most_of_the_error_under_a_heavy_load() -> None:
    oracle, nominal = (rms(made(model))[0] for model in ("oracle", "nominal"))
    assert oracle < 0.003 and nominal > 10.0 * oracle


def test_the_payload_filter_finds_mass_and_first_moments_and_then_follows() -> None:
    controller = made(estimator="payload")
    _, settled = rms(controller, steps=150)
    found, true = controller.p[:4], HEAVY.parameters[:4]
    assert found[0] == pytest.approx(true[0], rel=0.05)
    np.testing.assert_allclose(found[1:], true[1:], atol=0.06 * np.linalg.norm(true[1:]) + 0.02)
    assert (controller.uncertainty[:4] > 0.0).all() and settled < 0.01


@pytest.mark.parametrize("estimator", ["force-ekf", "force"])
def test_a_force_on_the_flange_is_found_by_both_filters(estimator: str) -> None:
    """On the filters' own model: a steady force, sensors with noise, an arm that swings."""
    rng, model, n = np.random.default_rng(0), nominal_step(ARM, 0.02), ARM.joints
    found = make_estimator(ARM, model, estimator)
    p = np.array(model.spec.defaults)
    p[flange_force(n)] = pushed = np.array([6.0, -4.0, -15.0])
    x, hold = np.concatenate([ARM.home, np.zeros(n)]), ArmDynamics(ARM, 0.02)
    torque = np.zeros(n)
    for k in range(100):
        q, v = x[:n] + 2e-5 * rng.standard_normal(n), x[n:] + 2e-3 * rng.standard_normal(n)
        told, std = found.update(0.02 * k, ArmState(q, v), JointCommand(torque))
        torque = np.asarray(hold.inverse(q, v, 40.0 * (ARM.home + 0.2 * np.sin(0.1 * k) - q) - 10.0 * v)).ravel()
        x = model.step(x, torque, p)
    np.testing.assert_allclose(told[flange_force(n)], pushed, atol=1.0)
    assert (std[flange_force(n)] < 5.0).all() and not told[:10].any()


def test_a_weight_on_the_flange_brings_it_nearer_with_a_wrong_model() -> None:
    """Beside the same weights of the joints; where the model is wrong there is an error to divide anew."""
    errors = []
    for flange in (np.inf, 0.01):
        controller = ArmNmpc(ARM, nominal_step(ARM, 0.02), delay=0.02, weights=ArmWeights(flange=flange))
        errors.append(rms(controller)[0])
    assert errors[1] < 0.9 * errors[0]


def test_a_delay_that_the_controller_knows_of_costs_little() -> None:
    delayed, undelayed = rms(made("oracle"))[0], rms(made("oracle", delay=0.0), delay="none")[0]
    assert delayed < 3.0 * undelayed + 0.002


def test_computed_torque_with_the_true_load_beats_itself_without() -> None:
    errors = [
        rms(make_controller(ARM, "computed-torque", model, changes=HOLDS, delay=0.02, settings={}))[0]
        for model in ("oracle", "nominal")
    ]
    assert errors[0] < 0.01 and errors[1] > 3.0 * errors[0]


def test_without_a_feasible_plan_it_brakes_and_holds_against_gravity() -> None:
    """A hard limit that no torque can keep: first nothing is left of an old plan, so it is the safe torques at once."""
    model = nominal_step(ARM, 0.02)
    wall = Constraint("wall", lambda x, u, p, y: x[0], np.array([50.0]), np.array([60.0]))
    controller = ArmNmpc(ARM, model, constraints=[wall], settings=Settings(patience=2.0))
    state = ArmState(ARM.home, np.full(7, 0.2))
    still = JointReference(ARM.home, np.zeros(7), np.zeros(7))
    torque = controller(0.0, state, still).effort
    assert controller.last_result.status == "safe: infeasible" and controller.counts["safe"] == 1
    nominal = ArmDynamics(ARM, 0.02)
    expected = nominal.inverse(ARM.home, np.zeros(7), np.full(7, -2.0))  # all speed but 1/e in 0.1 s
    np.testing.assert_allclose(torque, np.clip(expected, -ARM.torque_limit, ARM.torque_limit), atol=1e-6)


class Beyond:
    """A reference that jumps to 0.2 rad beyond the second joint's stop."""

    duration = 1.6

    def __call__(self, t):
        goal = ARM.home.copy()
        if np.ndim(t) or t > 0.0:
            goal[1] = ARM.position_upper[1] + 0.2
        position = np.broadcast_to(goal, (*np.shape(t), 7))
        return JointReference(position, np.zeros_like(position), np.zeros_like(position))


@pytest.mark.parametrize("changes", [(), (LoadChange(0.0, HEAVY), LoadChange(0.6, Load()))])
def test_limits_of_angles_and_speeds_hold_on_the_arm_itself(changes: Sequence[LoadChange]) -> None:
    """Torques keep both; what a dropped load does within the period in which nobody knows of it is not theirs."""
    controller = make_controller(ARM, "nmpc", "oracle", changes=changes, delay=0.02, settings={})
    arm = BulletArm(ARM, simulation(0, "typical", 1.0))
    arm.connect()
    loop = ArmLoop(arm, Beyond(), changes, delay_of("fixed", 0.02))
    beyond, speeds = [], []
    while not loop.over:
        loop.answer(controller(loop.t, arm.state(), following(Beyond(), loop.t)))
        state = arm.true_state()
        beyond.append(max((state.position - ARM.position_upper).max(), (ARM.position_lower - state.position).max()))
        speeds.append((np.abs(state.velocity) / ARM.velocity_limit).max())
    arm.close()
    at = round(0.6 / 0.02)
    known = [k for k in range(len(speeds)) if not changes or not at <= k < at + 5]
    assert max(beyond) < 0.005 and max(speeds[k] for k in known) < 1.1
    assert beyond[-1] > -0.02  # it went there
    assert set(controller.counts) == {"ok"}


def test_a_call_takes_one_step_however_far_the_state_is_from_the_plan() -> None:
    controller = made()
    still = JointReference(ARM.home, np.zeros(7), np.zeros(7))
    controller(0.0, ArmState(ARM.home, np.zeros(7)), still)
    for k in range(1, 4):  # a jolt of the wrist in each period
        controller(0.02 * k, ArmState(ARM.home, np.array([0.0] * 6 + [(-1.0) ** k * 5.0])), still)
        assert controller.last_result.iterations == 1
    assert controller.counts == {"ok": 4}
    controller.reset()
    assert controller.counts == {}


def test_the_deadline_is_of_the_whole_call() -> None:
    """Time that passes before the solver begins is used up: here all of it, by a clock that jumps at every look."""
    ticks = iter(np.arange(0.0, 100.0, 0.5))
    controller = ArmNmpc(
        ARM, nominal_step(ARM, 0.02), settings=Settings(deadline=0.4), clock=lambda: float(next(ticks))
    )
    controller(0.0, ArmState(ARM.home, np.zeros(7)), JointReference(ARM.home, np.zeros(7), np.zeros(7)))
    assert controller.last_result.status == "safe: deadline" and controller.counts["late"] == 1


def test_torques_stay_within_their_limits_whatever_is_asked() -> None:
    controller = made()
    far = JointReference(ARM.home + 2.0, np.zeros(7), np.zeros(7))
    for k in range(3):
        command = controller(0.02 * k, ArmState(ARM.home, np.zeros(7)), far)
        assert (np.abs(command.effort) <= ARM.torque_limit + 1e-9).all()


def test_a_point_mass_has_the_slope_of_its_values_and_nothing_impossible() -> None:
    unknown, theta = PointMass(), np.array([2.0, 0.3, -0.2, 0.4])
    d = 1e-6
    numeric = np.stack(
        [(unknown.values(theta + d * e) - unknown.values(theta - d * e)) / (2.0 * d) for e in np.eye(4)], 1
    )
    np.testing.assert_allclose(unknown.slope(theta), numeric, atol=1e-6)
    sure = np.diag([4.0, 1e-6, 1e-6, 1e-6])  # of the moments, not of the mass: that is what gives way
    found = unknown.possible(np.array([0.1, 0.3, 0.0, 0.4]), sure)
    np.testing.assert_allclose(found, [0.5 / PointMass.REACH, 0.3, 0.0, 0.4], rtol=1e-3)
    inside = np.array([2.0, 0.1, 0.2, 0.3])
    np.testing.assert_array_equal(unknown.possible(inside, sure), inside)
    for wild in np.random.default_rng(0).normal(0.0, 5.0, (50, 4)):
        m, *h = unknown.possible(wild, np.eye(4))
        assert 0.0 <= m <= PointMass.MOST and np.linalg.norm(h) <= PointMass.REACH * m + 1e-9


def test_the_payload_filter_knows_within_two_periods_that_a_heavy_load_was_dropped() -> None:
    """The last joint gains 6 rad/s in the period of the drop: far outside what is linear about the old load."""
    controller, drop = made(estimator="payload"), 1.0
    arm = BulletArm(ARM, simulation(0, "typical", 1.0))
    arm.connect()
    loop = ArmLoop(arm, REFERENCE, [*HOLDS, LoadChange(drop, Load())], delay_of("fixed", 0.02))
    masses = []
    while loop.t < drop + 0.5:
        loop.answer(controller(loop.t, arm.state(), following(REFERENCE, loop.t)))
        masses.append(controller.p[0])
    arm.close()
    at = round(drop / 0.02)
    assert masses[at] == pytest.approx(HEAVY.mass, rel=0.1) and max(masses[at + 2 :]) < 0.2


def test_bad_states_are_refused_and_bad_choices_named() -> None:
    controller, still = made(), JointReference(ARM.home, np.zeros(7), np.zeros(7))
    with pytest.raises(InputRejected, match="nan"):
        controller(0.0, ArmState(np.full(7, np.nan), np.zeros(7)), still)
    with pytest.raises(InputRejected, match="shape"):
        controller(0.0, ArmState(np.zeros(6), np.zeros(6)), still)
    for choice in ({"model": "nothing"}, {"estimator": "crystal"}):
        with pytest.raises(UnknownName):
            make_controller(ARM, **choice)
    with pytest.raises(UnknownName, match="setting"):
        make_controller(ARM, settings={"speed": 3.0})
    with pytest.raises(InvalidInput, match="delay"):
        made(delay=0.5)


def test_changes_of_load_are_read_and_known_at_every_time() -> None:
    changes = changes_of("3:1,0.1,0,0;0:2;5:0")
    assert [load_at(changes, t).mass for t in (0.0, 2.99, 3.0, 5.0, 9.0)] == [2.0, 2.0, 1.0, 0.0, 0.0]
    for text in ("x:1", "1", "-1:2", "1:2,3", "1:nan", "1:-2"):
        with pytest.raises(InvalidInput):
            changes_of(text)


def test_a_sampled_reference_is_that_which_was_sampled() -> None:
    true = draw_reference(ARM, seed=4, loads=(HEAVY,))
    t = np.linspace(0.0, 10.0, 2001)  # between samples as well
    for field, tolerance in (("position", 1e-6), ("velocity", 1e-4), ("acceleration", 3e-2)):
        np.testing.assert_allclose(getattr(REFERENCE(t), field), getattr(true(t), field), atol=tolerance)
