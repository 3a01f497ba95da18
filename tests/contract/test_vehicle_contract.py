"""What every Vehicle promises, whatever is behind it."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import InputRejected, NotConnected
from control_stack.protocols import Vehicle
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    JointCommand,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])
NAN3 = np.array([0.0, np.nan, 0.0])


def hover(level, parameters, position):
    """The command of a level that keeps a vehicle where it is."""
    weight = float(parameters.mass) * GRAVITY
    return {
        CommandLevel.ROTORS: RotorCommand(np.full(4, parameters.hover_rotor_speed)),
        CommandLevel.CTBR: RatesThrustCommand(np.zeros(3), weight),
        CommandLevel.ATTITUDE: AttitudeThrustCommand(LEVEL, weight),
        CommandLevel.VELOCITY: VelocityCommand(np.zeros(3)),
        CommandLevel.POSITION: PositionCommand(np.array(position)),
    }[level]


def excessive(level):
    """A command of a level far outside every limit."""
    return {
        CommandLevel.ROTORS: RotorCommand(np.array([-1e6, 1e6, 1e6, 0.0])),
        CommandLevel.CTBR: RatesThrustCommand(np.array([1e3, -1e3, 0.1]), 1e6),
        CommandLevel.ATTITUDE: AttitudeThrustCommand(LEVEL, -5.0, np.full(3, 1e3)),
        CommandLevel.VELOCITY: VelocityCommand(np.array([300.0, 400.0, 0.0]), 0.0, 1e3),
        CommandLevel.POSITION: PositionCommand(np.array([500.0, 0.0, 1.0]), np.array([300.0, 400.0, 0.0])),
    }[level]


def bad_commands(position):
    """(reason, command) of everything a vehicle must refuse."""
    here = np.array(position)
    return [
        ("nan", RotorCommand(np.array([1.0, np.inf, 1.0, 1.0]))),
        ("nan", RatesThrustCommand(NAN3, 0.2)),
        ("nan", RatesThrustCommand(np.zeros(3), float("nan"))),
        ("nan", AttitudeThrustCommand(np.full(4, np.nan), 0.2)),
        ("nan", VelocityCommand(np.zeros(3), yaw=float("inf"))),
        ("nan", PositionCommand(here, velocity_w=NAN3)),
        ("shape", RotorCommand(np.zeros(3))),
        ("shape", PositionCommand(np.zeros((2, 3)))),
        ("shape", RatesThrustCommand(np.zeros(3), np.ones(2))),
        ("quaternion", AttitudeThrustCommand(1.01 * LEVEL, 0.2)),
        ("quaternion", AttitudeThrustCommand(np.zeros(4), 0.2)),
        ("level", JointCommand(np.zeros(4))),
    ]


def test_is_a_vehicle_and_is_known_before_it_is_connected(subject):
    assert isinstance(subject.vehicle, Vehicle)
    spec = subject.vehicle.spec
    assert spec.name == subject.parameters.name and spec.rate_hz > 0.0
    assert spec.levels and len(set(spec.levels)) == len(spec.levels)


def test_nothing_works_before_connect_and_after_close(subject):
    vehicle = subject.vehicle
    uses = (
        vehicle.state,
        vehicle.arm,
        vehicle.disarm,
        lambda: vehicle.send(PositionCommand(np.zeros(3))),
        lambda: vehicle.external_pose(np.zeros(3), LEVEL, 0.0),
    )

    def all_refuse():
        for use in uses:
            with pytest.raises(NotConnected):
                use()

    all_refuse()
    vehicle.connect()
    vehicle.state()
    vehicle.close()
    all_refuse()


def test_closing_twice_or_before_connecting_is_fine(subject):
    subject.vehicle.close()
    subject.vehicle.connect()
    subject.vehicle.close()
    subject.vehicle.close()


def test_states_are_finite_unit_and_ever_later(subject):
    subject.vehicle.connect()
    subject.vehicle.arm()
    stamps = []
    for _ in range(20):
        subject.vehicle.send(hover(subject.vehicle.spec.levels[0], subject.parameters, (0.0, 0.0, 2.0)))
        subject.advance(0.01)
        state = subject.vehicle.state()
        assert state.valid and state.is_finite()
        assert state.position_w.shape == state.velocity_w.shape == state.omega_b.shape == (3,)
        assert np.linalg.norm(state.quat_xyzw) == pytest.approx(1.0, abs=1e-6)
        stamps.append(state.stamp)
    assert np.all(np.diff(stamps) > 0.0)
    assert stamps[-1] - stamps[0] == pytest.approx(0.19, abs=0.02)


def test_send_returns_what_is_allowed_unchanged(subject):
    vehicle = subject.vehicle
    vehicle.connect()
    vehicle.arm()
    for level in vehicle.spec.levels:
        command = hover(level, subject.parameters, (0.0, 0.0, 2.0))
        sent = vehicle.send(command)
        assert type(sent) is type(command)
        for key, value in vars(command).items():
            np.testing.assert_allclose(getattr(sent, key), value, rtol=1e-12)


def test_send_returns_what_was_clipped(subject):
    vehicle, p = subject.vehicle, subject.parameters
    vehicle.connect()
    vehicle.arm()
    rate = p.limits.body_rate
    fast = np.array([0.6, 0.8, 0.0]) * p.limits.speed
    low, high = np.asarray(p.rotor_speed_min), np.asarray(p.rotor_speed_max)
    expected = {
        CommandLevel.ROTORS: {"rotor_speed": [low[0], high[1], high[2], max(low[3], 0.0)]},
        CommandLevel.CTBR: {"omega_b": [rate[0], -rate[1], 0.1], "thrust": p.max_thrust},
        CommandLevel.ATTITUDE: {"quat_xyzw": LEVEL, "thrust": 0.0, "omega_b": rate},
        CommandLevel.VELOCITY: {"velocity_w": fast, "yaw_rate": rate[2]},
        CommandLevel.POSITION: {"position_w": [500.0, 0.0, 1.0], "velocity_w": fast},
    }
    for level in vehicle.spec.levels:
        sent = vehicle.send(excessive(level))
        for key, value in expected[level].items():
            np.testing.assert_allclose(getattr(sent, key), value, rtol=1e-12, err_msg=f"{level.value} {key}")


def test_bad_commands_are_refused_by_reason_and_the_last_good_one_stays(new_subject):
    """A twin that never hears the bad commands must move exactly alike."""
    spoken_to, twin = new_subject(), new_subject()
    goal = np.array([0.2, 0.1, 2.1])
    for subject in (spoken_to, twin):
        subject.vehicle.connect()
        subject.vehicle.arm()
    levels = twin.vehicle.spec.levels
    good = PositionCommand(goal) if CommandLevel.POSITION in levels else hover(levels[0], twin.parameters, goal)
    twin.vehicle.send(good)
    accepted = spoken_to.vehicle.send(good)
    for reason, command in bad_commands(goal):
        if command.level not in levels:
            reason = "level"
        with pytest.raises(InputRejected) as caught:
            spoken_to.vehicle.send(command)
        assert caught.value.reason == reason, f"{command}"
        if spoken_to.in_force is not None:
            assert spoken_to.in_force() is accepted
        for subject in (spoken_to, twin):
            subject.advance(0.02)
    a, b = spoken_to.vehicle.state(), twin.vehicle.state()
    np.testing.assert_array_equal(a.position_w, b.position_w)
    np.testing.assert_array_equal(a.quat_xyzw, b.quat_xyzw)


def test_a_command_is_taken_when_it_is_sent(new_subject):
    """Changing the arrays afterwards changes nothing."""
    touched, twin = new_subject(), new_subject()
    for subject in (touched, twin):
        subject.vehicle.connect()
        subject.vehicle.arm()
        goal = np.array([0.3, 0.0, 2.0])
        subject.vehicle.send(PositionCommand(goal))
        if subject is touched:
            goal[:] = -50.0
        subject.advance(0.2)
    np.testing.assert_array_equal(touched.vehicle.state().position_w, twin.vehicle.state().position_w)


def test_disarmed_it_never_lifts(subject):
    """Vehicles connect disarmed; full thrust is then checked, answered with zeros, and not flown."""
    vehicle = subject.vehicle
    vehicle.connect()
    start = vehicle.state().position_w[2]
    for level in vehicle.spec.levels:
        sent = vehicle.send(excessive(level))
        assert isinstance(sent, RotorCommand)
        np.testing.assert_array_equal(sent.rotor_speed, 0.0)
        subject.advance(0.1)
        state = vehicle.state()
        assert state.position_w[2] <= start + 1e-9
        if state.rotor_speed is not None:
            np.testing.assert_array_equal(state.rotor_speed, 0.0)
    with pytest.raises(InputRejected):
        vehicle.send(RotorCommand(np.full(4, np.nan)))


def test_arming_alone_does_not_turn_the_motors(subject):
    """Nor does a command that was sent while disarmed."""
    vehicle = subject.vehicle
    vehicle.connect()
    strong = excessive(vehicle.spec.levels[0])
    vehicle.send(strong)
    vehicle.arm()
    before = vehicle.state()
    subject.advance(0.1)
    vehicle.disarm()
    vehicle.arm()
    subject.advance(0.1)
    after = vehicle.state()
    assert after.position_w[2] <= before.position_w[2] + 1e-9
    if after.rotor_speed is not None:
        np.testing.assert_array_equal(after.rotor_speed, 0.0)


def test_disarming_ends_the_command(subject):
    vehicle = subject.vehicle
    vehicle.connect()
    vehicle.arm()
    vehicle.send(PositionCommand(np.array([0.0, 0.0, 5.0])))
    subject.advance(0.5)
    assert vehicle.state().velocity_w[2] > 0.0, "it did not fly at all"
    vehicle.disarm()
    cut = vehicle.state()
    subject.advance(1.5)
    # Without thrust it falls (or, scripted, stands still), after coasting up for a moment.
    assert vehicle.state().position_w[2] <= cut.position_w[2] + 1e-9


def test_bad_external_poses_are_refused(subject):
    vehicle = subject.vehicle
    vehicle.connect()
    vehicle.external_pose(np.zeros(3), LEVEL, 0.0)
    for position, quat, stamp, reason in (
        (NAN3, LEVEL, 0.0, "nan"),
        (np.zeros(3), 2.0 * LEVEL, 0.0, "quaternion"),
        (np.zeros(3), LEVEL, float("nan"), "nan"),
    ):
        with pytest.raises(InputRejected) as caught:
            vehicle.external_pose(position, quat, stamp)
        assert caught.value.reason == reason


@pytest.mark.parametrize("level", [level for level in CommandLevel if level is not CommandLevel.JOINTS])
def test_every_accepted_level_holds_hover(subject, level):
    """From hover. The open levels have nothing that pulls back, the closed ones must stay put."""
    if not subject.simulated or level not in subject.vehicle.spec.levels:
        pytest.skip("not a simulator, or the level is not accepted")
    vehicle = subject.vehicle
    vehicle.connect()
    vehicle.arm()
    start = (0.0, 0.0, 2.0)
    settle(subject, start)
    here = vehicle.state().position_w.copy()
    command = hover(level, subject.parameters, start)
    for _ in range(100):
        vehicle.send(command)
        subject.advance(0.01)
    np.testing.assert_allclose(vehicle.state().position_w, here, rtol=0, atol=0.01)
    np.testing.assert_allclose(vehicle.state().quat_xyzw, LEVEL, rtol=0, atol=1e-3)


def settle(subject, position):
    """Spins up from rest in the air and comes to hover."""
    subject.vehicle.send(PositionCommand(np.array(position)))
    subject.advance(5.0)
