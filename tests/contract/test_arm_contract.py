"""What every Arm promises, whatever is behind it: the vehicles' contract at the level of joint torques."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from control_stack.arm.library import arm_names, load_arm
from control_stack.errors import InputRejected, NotConnected
from control_stack.protocols import Arm
from control_stack.types import CommandLevel, JointCommand, RotorCommand
from sim.arm.bullet import BulletArm

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pybullet") is None, reason="pybullet is not installed")


@pytest.fixture(params=arm_names())
def new_arm(request: pytest.FixtureRequest) -> Iterator[Callable[[], BulletArm]]:
    """Makes arms of one kind, closed at the end."""
    made: list[BulletArm] = []

    def build() -> BulletArm:
        made.append(BulletArm(load_arm(request.param)))
        return made[-1]

    yield build
    for arm in made:
        arm.close()


@pytest.fixture
def arm(new_arm) -> BulletArm:
    return new_arm()


def small(arm: BulletArm) -> JointCommand:
    return JointCommand(0.02 * arm.parameters.torque_limit, stamp=1.5)


def test_is_an_arm_and_is_known_before_it_is_connected(arm):
    assert isinstance(arm, Arm)
    assert arm.spec.name == arm.parameters.name and arm.spec.rate_hz > 0.0
    assert arm.spec.levels == (CommandLevel.JOINTS,)


def test_nothing_works_before_connect_and_after_close_which_may_be_twice(arm):
    uses = (arm.state, arm.arm, arm.disarm, lambda: arm.send(small(arm)))

    def all_refuse() -> None:
        for use in uses:
            with pytest.raises(NotConnected):
                use()

    arm.close()
    all_refuse()
    arm.connect()
    arm.state()
    arm.close()
    arm.close()
    all_refuse()


def test_states_are_finite_and_ever_later(arm):
    arm.connect()
    arm.arm()
    stamps = []
    for _ in range(10):
        arm.send(small(arm))
        arm.step(0.01)
        state = arm.state()
        assert state.valid and state.is_finite()
        assert state.position.shape == state.velocity.shape == (arm.parameters.joints,)
        stamps.append(state.stamp)
    np.testing.assert_allclose(np.diff(stamps), 0.01, rtol=1e-9)


def test_send_returns_what_was_allowed_or_clipped(arm):
    arm.connect()
    arm.arm()
    sent = arm.send(small(arm))
    np.testing.assert_array_equal(sent.effort, small(arm).effort)
    assert sent.stamp == 1.5
    wild = 1e6 * (-1.0) ** np.arange(arm.parameters.joints)
    np.testing.assert_array_equal(arm.send(JointCommand(wild)).effort, np.sign(wild) * arm.parameters.torque_limit)


def test_bad_commands_are_refused_by_reason_and_the_last_good_one_stays(new_arm):
    spoken_to, twin = new_arm(), new_arm()
    for one in (spoken_to, twin):
        one.connect()
        one.arm()
        one.send(small(one))
    n = spoken_to.parameters.joints
    bad = [
        ("nan", JointCommand(np.full(n, np.nan))),
        ("nan", JointCommand(np.array([np.inf, *np.zeros(n - 1)]))),
        ("shape", JointCommand(np.zeros(n + 1))),
        ("shape", JointCommand(np.zeros((2, n)))),
        ("type", JointCommand(np.array(["a"] * n))),
        ("level", RotorCommand(np.zeros(4))),
        ("type", np.zeros(n)),
    ]
    for reason, command in bad:
        with pytest.raises(InputRejected) as caught:
            spoken_to.send(command)
        assert caught.value.reason == reason
        for one in (spoken_to, twin):
            one.step(0.01)
    np.testing.assert_array_equal(spoken_to.state().position, twin.state().position)


def test_a_command_is_taken_when_it_is_sent_and_states_are_ours(new_arm):
    touched, twin = new_arm(), new_arm()
    for one in (touched, twin):
        one.connect()
        one.arm()
        effort = small(one).effort
        one.send(JointCommand(effort))
        if one is touched:
            effort[:] = 50.0
            one.state().position[:] = 9.0
        one.step(0.05)
    np.testing.assert_array_equal(touched.state().position, twin.state().position)


def test_the_brakes_hold_while_disarmed_and_before_the_first_command(arm):
    arm.connect()
    home = arm.state().position.copy()
    np.testing.assert_array_equal(arm.send(small(arm)).effort, 0.0)
    arm.step(0.1)
    np.testing.assert_array_equal(arm.state().position, home)
    arm.arm()
    arm.step(0.1)
    np.testing.assert_array_equal(arm.state().position, home)
    arm.send(small(arm))
    arm.step(0.1)
    moved = arm.state().position
    assert np.abs(moved - home).max() > 1e-4
    arm.disarm()
    arm.step(0.1)
    np.testing.assert_array_equal(arm.state().position, moved)
    np.testing.assert_array_equal(arm.state().velocity, 0.0)
    arm.arm()
    arm.step(0.1)
    np.testing.assert_array_equal(arm.state().position, moved)  # the old command does not come back
