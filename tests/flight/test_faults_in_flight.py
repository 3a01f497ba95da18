"""Faults while the analytic Crazyflie flies: each ends in a safe setpoint and, but for the blind one,
upright."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from control_stack.errors import FlightAborted
from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.trajectories import Hover, Lissajous
from control_stack.types import AttitudeThrustCommand, Command, PositionCommand, QuadrotorState, RotorCommand

EIGHT = Lissajous((0.0, 0.0, 1.0145), laps=1, ramp=2.0)
FAULT = 6.0  # s: in the middle of the eight's first lap, at about 1 m/s
NAN = float("nan")


def rubbish(kind: str) -> Callable[[float, QuadrotorState, Command], Any]:
    """From FAULT on the controller answers in time, but with something that cannot be flown."""
    bad: dict[str, Any] = {
        "nan": RotorCommand(np.array([1700.0, NAN, 1700.0, 1700.0])),
        "infinite": RotorCommand(np.full(4, np.inf)),
        "shape": RotorCommand(np.full(3, 1700.0)),
        "none": None,
        "array": np.full(4, 1700.0),
        "quaternion": AttitudeThrustCommand(np.array([0.0, 0.0, 0.0, 1.005]), 0.26),
    }
    return lambda t, state, command: bad[kind] if t >= FAULT else command


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", "nan"),
        ("infinite", "nan"),
        ("shape", "shape"),
        ("none", "type"),
        ("array", "type"),
        ("quaternion", "quaternion"),
    ],
)
def test_rubbish_from_the_controller_is_dropped_held_and_landed(rig: Callable, kind: str, reason: str) -> None:
    flight = rig(change=rubbish(kind))
    flight.controllers.setpoints.follow(EIGHT)
    flight.take_off()
    flight.fly(FAULT - flight.t)
    last = flight.side.sent
    assert isinstance(last, RotorCommand)
    where = flight.truth.position_w
    while flight.phase is Phase.FLYING:
        flight.flight.tick()
        if flight.phase is Phase.FLYING:  # the last good command stays until the time-out
            assert np.array_equal(flight.side.sent.rotor_speed, last.rotor_speed)
    held = flight.memory.event_time("command_timeout")
    assert held - FAULT <= 0.1
    flight.until(Phase.DISARMED)
    flight.fly(0.2)
    assert flight.memory.names[-3:] == ["command_timeout", "landing", "landed"]
    assert flight.memory.event_time("landing") - held == pytest.approx(SafetyConfig().hold_time, abs=0.021)
    assert flight.side.rejections.counts[f"command/{reason}"] > 100
    flight.assert_landed(where, within=0.15)
    k = round(held / 0.01)
    drift = np.linalg.norm(flight.memory.positions()[k:, :2] - where[:2], axis=1)
    assert drift.max() < 0.5  # measured 0.36 m, braking from 1.2 m/s


def test_a_single_bad_command_changes_nothing_but_the_count(rig: Callable) -> None:
    def once(t: float, state: QuadrotorState, command: Command) -> Command:
        return RotorCommand(np.full(4, NAN)) if abs(t - FAULT) < 1e-9 else command

    flight = rig(change=once)
    flight.mission(EIGHT)
    assert flight.side.rejections.counts == {"command/nan": 1}
    assert flight.memory.names == ["armed", "takeoff", "takeoff_done", "landing", "landed"]
    flight.assert_landed(np.zeros(3))


def test_commands_back_during_hold_fly_on(rig: Callable) -> None:
    """0.6 s without a controller in the middle of the eight: hold, then back on the trajectory where its time
    is."""

    def silent(t: float, state: QuadrotorState, command: Command) -> Any:
        return None if FAULT <= t < FAULT + 0.6 else command

    flight = rig(change=silent)
    flight.mission(EIGHT)
    assert "command_timeout" in flight.memory.names and "command_recovered" in flight.memory.names
    times = sorted(flight.memory.references)
    back = flight.memory.event_time("command_recovered")
    places = [flight.memory.references[t].position_w for t in times]
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)[np.diff(times) < 0.015]
    assert steps.max() < 0.01 * (1.62 + flight.parameters.limits.speed)
    caught_up = flight.tracking_errors((back + 2.0 - times[0], EIGHT.duration))
    assert caught_up.max() < 0.03
    began = min(flight.memory.references)
    late = flight.memory.references[max(t for t in times if t < began + EIGHT.steady_interval[1])]
    assert np.linalg.norm(late.position_w - EIGHT(EIGHT.steady_interval[1]).position_w) < 0.02
    flight.assert_landed(np.zeros(3))


def test_a_controller_that_raises_is_landed_and_named(rig: Callable) -> None:
    def fail(t: float, state: QuadrotorState, command: Command) -> Command:
        if t >= FAULT:
            raise ZeroDivisionError("division by zero")
        return command

    flight = rig(change=fail)
    with pytest.raises(FlightAborted, match=r"'geometric' failed: ZeroDivisionError: division by zero \(.*line"):
        flight.mission(EIGHT)
    assert flight.memory.names[3:] == ["controller_failed", "command_timeout", "landing", "landed"]
    flight.assert_landed()


@pytest.mark.parametrize("kind", ["invalid", "nan", "frozen"])
def test_state_lost_for_good_is_a_blind_descent(rig: Callable, kind: str) -> None:
    flight = rig()
    flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
    flight.take_off()
    flight.fly(1.0)
    lost, honest = flight.t, flight.vehicle.state
    last = honest()

    def state() -> QuadrotorState:
        if kind == "frozen":
            return last
        now = honest()
        return replace(now, valid=False) if kind == "invalid" else replace(now, position_w=np.full(3, NAN))

    flight.vehicle.state = state
    if kind == "nan":  # never shown to the controller, so its commands stop first
        flight.fly(0.1)
        assert flight.phase is Phase.HOLD and flight.side.rejections.counts["odom/nan"] == 10
    flight.until(Phase.EMERGENCY)
    assert flight.memory.event_time("state_timeout") - lost == pytest.approx(SafetyConfig().state_timeout, abs=0.021)
    assert flight.side.sent is None
    flight.fly(0.5)
    state_after = flight.truth
    assert flight.memory.positions()[:, 2].max() < 1.2
    # On the ground before the motors stopped, level, at rest.
    down = [s for t, s in zip(flight.memory.t, flight.memory.truth, strict=True) if t > flight.t - 1.0]
    assert all(s.position_w[2] < 0.03 for s in down)
    assert np.linalg.norm(state_after.velocity_w) < 0.01 and state_after.quat_xyzw[3] > 0.99
    fall = max(-s.velocity_w[2] for s in flight.memory.truth)
    assert fall < 1.3  # measured 1.0 m/s: the square root of 2 x 7 % of g x 1 m, less drag


def test_state_back_in_time_lands_upright(rig: Callable) -> None:
    flight = rig()
    flight.controllers.setpoints.follow(Hover((0.0, 0.0, 1.0145)))
    flight.take_off()
    flight.fly(1.0)
    honest = flight.vehicle.state
    flight.vehicle.state = lambda: replace(honest(), valid=False)
    flight.fly(0.9)
    assert isinstance(flight.side.sent, AttitudeThrustCommand)
    flight.vehicle.state = honest
    flight.fly(0.02)
    assert isinstance(flight.side.sent, PositionCommand)
    flight.until(Phase.DISARMED)
    flight.fly(0.2)
    assert flight.memory.names[-3:] == ["state_timeout", "landing", "landed"]
    flight.assert_landed(np.zeros(3))


@pytest.mark.parametrize("after", [0.0, 0.3, 1.5])
def test_landing_out_of_the_take_off(rig: Callable, after: float) -> None:
    flight = rig()
    flight.flight.tick()
    flight.side.supervisor.arm(flight.t, flight.side.state)
    flight.side.supervisor.takeoff(flight.t, flight.side.state)
    flight.fly(after)
    assert flight.phase is Phase.TAKEOFF
    flight.land()
    flight.assert_landed(np.zeros(3))


def test_emergency_stops_the_motors_in_the_air(rig: Callable) -> None:
    flight = rig()
    flight.take_off()
    flight.side.supervisor.emergency(flight.t)
    before = flight.truth
    flight.fly(0.1)
    # Spinning down from hover, at the Crazyflie's slow 0.25 s, and falling.
    expected = before.rotor_speed * np.exp(-0.1 / flight.parameters.fall_time)
    assert flight.truth.rotor_speed == pytest.approx(expected, rel=1e-3)
    assert flight.truth.velocity_w[2] < -0.1 and flight.side.sent is None
    flight.fly(2.0)
    assert flight.phase is Phase.EMERGENCY and flight.truth.rotor_speed.max() < 5.0


def test_dead_motors_on_the_ground_end_disarmed(rig: Callable) -> None:
    flight = rig()
    for rotor in range(4):
        flight.vehicle.set_rotor_loss(rotor, 1.0)
    flight.mission(EIGHT)
    assert "takeoff_done" not in flight.memory.names and flight.phase is Phase.DISARMED
    assert np.abs(flight.truth.position_w[:2]).max() < 0.01


@pytest.mark.parametrize("sensors", ["mocap", "vio"])
def test_with_sensor_errors_the_landing_is_recognised(rig: Callable, sensors: str) -> None:
    from sim.sensors import sensor_preset

    flight = rig(sensors=sensor_preset(sensors), seed=3)
    flight.mission(Hover((0.0, 0.0, 1.0145), duration=1.0))
    flight.assert_landed(np.zeros(3), within=0.2)
    landed, landing = flight.memory.event_time("landed"), flight.memory.event_time("landing")
    assert landed - landing < 1.0145 / SafetyConfig().land_speed + 2.0
