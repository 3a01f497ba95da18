"""Commands or states that stop coming, at the supervisor alone. The same in flight: tests/flight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.algebra import quat_from_yaw
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import AttitudeThrustCommand, PositionCommand, RotorCommand

COMMAND = RotorCommand(np.full(4, 1700.0))
SAFETY = SafetyConfig()
BAD = [{"valid": False}, {"position_w": np.full(3, np.nan)}, {"quat_xyzw": np.full(4, np.inf)}]
BAD_IDS = ["invalid", "nan position", "infinite attitude"]


def test_in_flight_the_controllers_command_is_sent_as_it_is(bench) -> None:
    bench.take_off()
    for speed in (1000.0, 1500.0, 2000.0):
        command = RotorCommand(np.full(4, speed))
        assert bench.step(command=command) is command


def test_without_commands_it_holds_then_lands(bench) -> None:
    bench.take_off()
    bench.step(1.0, COMMAND)
    last, where = bench.t - 0.01, bench.state.position_w.copy()
    while bench.phase is Phase.FLYING:
        assert bench.sent is COMMAND  # held until the time-out
        bench.step()
    assert bench.t - 0.01 - last == pytest.approx(SAFETY.command_timeout, abs=0.011)
    assert isinstance(bench.sent, PositionCommand) and np.allclose(bench.sent.position_w, where)
    began = bench.t
    while bench.phase is Phase.HOLD:
        bench.step()
    assert bench.t - began == pytest.approx(SAFETY.hold_time, abs=0.021)
    bench.step(10.0)
    assert bench.phase is Phase.DISARMED
    assert bench.names[-3:] == ["command_timeout", "landing", "landed"]


def test_commands_that_return_during_hold_fly_on(bench) -> None:
    bench.take_off()
    bench.step(0.2)
    assert bench.phase is Phase.HOLD
    assert bench.step(0.5, COMMAND) is COMMAND and bench.phase is Phase.FLYING


def test_commands_that_return_while_landing_do_not_stop_it(bench) -> None:
    bench.take_off()
    bench.step(1.2)
    assert bench.phase is Phase.LANDING
    bench.step(10.0, COMMAND)
    assert bench.phase is Phase.DISARMED


def test_commands_during_take_off_are_not_flown(bench) -> None:
    bench.to(Phase.TAKEOFF)
    assert isinstance(bench.step(command=COMMAND), PositionCommand)


def test_a_controller_that_is_dead_at_take_over_is_noticed(bench) -> None:
    bench.to(Phase.TAKEOFF)
    while bench.phase is Phase.TAKEOFF:
        bench.step()
    bench.step(SAFETY.command_timeout + 0.02)
    assert bench.phase is Phase.HOLD


def test_a_command_that_the_vehicle_refuses_lands(bench) -> None:
    """No driver refuses what passed the boundary; if one did, new commands would hide it from the time-
    out."""
    bench.take_off()
    bench.supervisor.refused(bench.t)
    assert bench.phase is Phase.LANDING
    bench.step(10.0, COMMAND)
    assert bench.phase is Phase.DISARMED


@pytest.mark.parametrize("bad", BAD, ids=BAD_IDS)
def test_a_lost_state_is_a_blind_level_descent_and_then_a_cut(bench, bad: dict) -> None:
    bench.take_off()
    bench.state = replace(bench.state, quat_xyzw=np.array(quat_from_yaw(0.7)))
    bench.step(0.5, COMMAND)
    last_good, good = bench.t - 0.01, bench.state
    bench.frozen, bench.state = True, replace(good, stamp=last_good, **bad)
    while bench.phase is not Phase.LANDING:
        sent = bench.step(command=COMMAND)
        assert sent is not None and bench.t < 10.0
    assert bench.t - 0.01 - last_good == pytest.approx(SAFETY.state_timeout, abs=0.011)
    assert bench.names[-1] == "state_timeout"
    weight = float(load_vehicle("crazyflie").mass) * GRAVITY
    began = bench.t
    while bench.phase is Phase.LANDING:
        assert isinstance(bench.sent, AttitudeThrustCommand)
        assert 0.85 * weight < bench.sent.thrust < weight  # it sinks, and keeps its attitude authority
        assert np.allclose(bench.sent.quat_xyzw, quat_from_yaw(0.7))  # level, at the last heading known
        bench.step(command=COMMAND)
    assert bench.t - began == pytest.approx(SAFETY.blind_descent_time, abs=0.021)
    assert bench.phase is Phase.EMERGENCY and bench.sent is None


def test_a_frozen_state_is_a_lost_one(bench) -> None:
    """An estimator that repeats itself: values fine, valid, but the stamp stands still."""
    bench.take_off()
    bench.step(0.1, COMMAND)
    last, bench.frozen = bench.state.stamp, True
    while "state_timeout" not in bench.names:
        bench.step(command=COMMAND)
        assert bench.t < 10.0
    assert bench.t - 0.01 - last == pytest.approx(SAFETY.state_timeout, abs=0.011)


def test_a_state_that_freezes_while_landing_is_no_touchdown(bench) -> None:
    """Even where the state's time-out is longer than a touchdown takes to be recognised."""
    bench = type(bench)(SafetyConfig(state_timeout=2.0))
    bench.take_off()
    bench.supervisor.land(bench.t, bench.state)
    bench.step(0.45)
    bench.state = replace(bench.state, velocity_w=np.zeros(3))
    bench.frozen = True  # at 1 m, at rest, with the ramp about to begin
    while bench.phase is Phase.LANDING and "state_timeout" not in bench.names:
        bench.step()
    assert "landed" not in bench.names and bench.phase is Phase.LANDING


@pytest.mark.parametrize("bad", BAD, ids=BAD_IDS)
def test_hold_and_landing_never_aim_at_a_bad_state(bench, bad: dict) -> None:
    """State and controller fail together, the state for less than its time-out: all that is sent is
    finite."""
    bench.take_off()
    good = bench.state
    bench.frozen, bench.state = True, replace(good, **bad)
    for _ in range(15):
        sent = bench.step()
        assert sent is None or all(np.isfinite(v).all() for v in vars(sent).values())
    assert bench.phase is Phase.HOLD
    assert bench.supervisor.land(bench.t, bench.state).accepted
    sent = bench.step()
    assert isinstance(sent, PositionCommand) and np.allclose(sent.position_w, good.position_w)


def test_a_state_that_returns_lands_under_control(bench) -> None:
    bench.take_off()
    good = bench.state
    bench.frozen, bench.state = True, replace(good, valid=False)
    bench.step(1.0)
    bench.frozen, bench.state = False, replace(good, position_w=np.array([0.2, 0.1, 0.6]))
    sent = bench.step()
    assert isinstance(sent, PositionCommand) and np.allclose(sent.position_w, [0.2, 0.1, 0.6])
    bench.step(10.0)
    assert bench.phase is Phase.DISARMED and bench.names[-1] == "landed"


def test_an_emergency_while_blind_leaves_nothing_for_the_next_flight(bench) -> None:
    bench.take_off()
    good = bench.state
    bench.frozen, bench.state = True, replace(good, valid=False)
    bench.step(1.0)
    bench.supervisor.emergency(bench.t)
    bench.supervisor.disarm(bench.t)
    bench.frozen, bench.state = False, replace(good, position_w=np.zeros(3))
    bench.names.clear()
    bench.step()
    bench.take_off()
    assert bench.names[-1] == "takeoff_done"


def test_from_high_up_the_blind_descent_is_long_enough_to_arrive(bench) -> None:
    """Falling 30 m from rest at 7 % of gravity takes 9.3 s, without drag."""
    bench.take_off()
    bench.state = replace(bench.state, position_w=np.array([0.0, 0.0, 30.0]))
    bench.step(0.1, COMMAND)
    bench.frozen, bench.state = True, replace(bench.state, valid=False)
    began = bench.t
    while bench.phase is not Phase.EMERGENCY:
        bench.step()
        assert bench.t < 60.0
    assert bench.t - began > np.sqrt(2.0 * 30.0 / (0.07 * GRAVITY)) + SAFETY.state_timeout


def test_noise_does_not_hide_a_touchdown(bench) -> None:
    """Velocity noise of 0.05 m/s per axis (visual-inertial odometry) is above the threshold of rest a third
    of the time; resting for the touchdown time without one such sample is a matter of minutes."""
    rng = np.random.default_rng(1)
    bench.take_off()
    bench.supervisor.land(bench.t, bench.state)
    for _ in range(600):
        bench.step()
        bench.state = replace(bench.state, velocity_w=bench.state.velocity_w + rng.normal(0.0, 0.05, 3))
        if bench.phase is Phase.DISARMED:
            break
    assert bench.phase is Phase.DISARMED


def test_a_landing_that_ends_on_its_back_is_said(bench) -> None:
    bench.take_off()
    bench.supervisor.land(bench.t, bench.state)
    while bench.state.position_w[2] > 0.05:
        bench.step()
    bench.state = replace(bench.state, quat_xyzw=np.array([1.0, 0.0, 0.0, 0.0]))
    bench.step(10.0)
    assert bench.phase is Phase.DISARMED and bench.names[-1] == "tipped_over"
    assert not bench.supervisor.arm(bench.t, bench.state).accepted
