"""Attitude, battery and the state's age: what is beyond its limit for long enough, and not before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.events import Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import AttitudeThrustCommand, PositionCommand, RotorCommand

COMMAND = RotorCommand(np.full(4, 1700.0))
SAFETY = SafetyConfig()
VEHICLE = load_vehicle("crazyflie")
WEIGHT = float(VEHICLE.mass) * GRAVITY


def rolled(angle: float) -> np.ndarray:
    return np.array([np.sin(0.5 * angle), 0.0, 0.0, np.cos(0.5 * angle)])


def fly_with_voltage(bench, seconds: float, voltage: float) -> None:
    for _ in range(round(seconds / 0.01)):
        bench.supervisor.command(bench.t, COMMAND)
        bench.state = replace(bench.state, stamp=bench.t)
        bench.sent = bench.supervisor.update(bench.t, bench.state, voltage)
        bench.names += [event.name for event in bench.supervisor.drain_events()]
        bench.t += 0.01


@pytest.mark.parametrize(
    "change",
    [{"quat_xyzw": rolled(SAFETY.tilt_limit + 0.05)}, {"omega_b": np.array([0.0, 0.0, 2.1 * 4.0])}],
    ids=["tilt", "rate"],
)
def test_a_lost_attitude_is_levelled_and_then_landed(bench, change: dict) -> None:
    bench.take_off()
    bench.step(0.1, COMMAND)
    good = bench.state
    for k in range(round(SAFETY.tilt_time / 0.01) + 3):  # a state that moves is never the same twice
        assert bench.phase is Phase.FLYING or k > SAFETY.tilt_time / 0.01
        bench.state = replace(good, position_w=good.position_w + 1e-3 * k, **change)
        sent = bench.step(command=COMMAND)
    assert bench.phase is Phase.LANDING and bench.names[-1] == "attitude_lost"
    assert isinstance(sent, AttitudeThrustCommand) and np.allclose(sent.quat_xyzw, [0.0, 0.0, 0.0, 1.0], atol=1e-6)
    bench.state = replace(good, stamp=bench.t)
    assert isinstance(bench.step(command=COMMAND), PositionCommand)
    assert bench.names[-1] == "attitude_recovered"
    bench.step(10.0, COMMAND)
    assert bench.phase is Phase.DISARMED and bench.names[-1] == "landed"


def test_beyond_the_limit_for_a_moment_is_the_controllers_business(bench) -> None:
    bench.take_off()
    good = bench.state
    for _ in range(20):
        bench.state = replace(good, quat_xyzw=rolled(1.5), stamp=bench.t)
        bench.step(SAFETY.tilt_time - 0.02, COMMAND)
        bench.state = replace(good, stamp=bench.t)
        bench.step(0.02, COMMAND)
    assert bench.phase is Phase.FLYING


def test_what_does_not_come_upright_is_cut(bench) -> None:
    bench.take_off()
    bench.state = replace(bench.state, quat_xyzw=rolled(3.0))
    bench.step(SAFETY.tilt_time + 0.03, COMMAND)
    began = bench.t
    while bench.phase is Phase.LANDING:
        assert isinstance(bench.sent, AttitudeThrustCommand) and bench.sent.thrust < 0.5 * WEIGHT  # it lies on its back
        bench.step(command=COMMAND)
    assert bench.phase is Phase.EMERGENCY and bench.names[-1] == "cut" and bench.sent is None
    assert bench.t - began == pytest.approx(SAFETY.recovery_time, abs=0.031)


def test_a_fall_is_braked_while_it_is_levelled(bench) -> None:
    bench.take_off()
    state = replace(bench.state, velocity_w=np.array([0.0, 0.0, -4.0]), omega_b=np.array([30.0, 0.0, 0.0]))
    for k in range(30):  # a state that moves is never the same twice
        bench.state = replace(state, position_w=state.position_w - np.array([0.0, 0.0, 0.01 * k]))
        bench.step(command=COMMAND)
    assert bench.names[-1] == "attitude_lost" and bench.sent.thrust == pytest.approx(2.0 * WEIGHT)


def test_who_tips_over_on_the_ground_is_disarmed_at_once(bench) -> None:
    bench.to(Phase.ARMED)
    bench.supervisor.takeoff(bench.t, bench.state)
    bench.frozen = False
    for _ in range(40):
        bench.state = replace(bench.state, position_w=np.zeros(3), quat_xyzw=rolled(1.6))
        bench.step()
    assert bench.phase is Phase.DISARMED and bench.names[-1] == "tipped_over"


def test_a_battery_that_sags_for_a_moment_is_not_low(bench) -> None:
    bench.take_off()
    low = VEHICLE.battery.low
    for _ in range(10):
        fly_with_voltage(bench, SAFETY.battery_time - 0.05, low - 0.1)
        fly_with_voltage(bench, 0.05, low + 0.1)
    assert bench.phase is Phase.FLYING and "battery_low" not in bench.names


def test_low_is_told_once_and_critical_lands(bench) -> None:
    bench.take_off()
    fly_with_voltage(bench, 5.0, VEHICLE.battery.low - 0.01)
    assert bench.phase is Phase.FLYING and bench.names.count("battery_low") == 1
    fly_with_voltage(bench, 1.2, VEHICLE.battery.critical - 0.01)
    assert bench.phase is Phase.LANDING and bench.names[-1] == "battery_critical"


@pytest.mark.parametrize("voltage", [float("nan"), 0.0, 0.9])
def test_a_battery_that_is_not_measured_is_not_judged(bench, voltage: float) -> None:
    bench.take_off()
    fly_with_voltage(bench, 5.0, voltage)
    assert bench.phase is Phase.FLYING and not any("battery" in name for name in bench.names)


def test_the_vehicle_files_thresholds_are_in_order() -> None:
    for name in ("crazyflie", "x500"):
        limits = load_vehicle(name).battery
        assert limits is not None and 2.8 < limits.critical < limits.low < 4.2


@pytest.mark.parametrize("level", ["rotors", "position"])
def test_an_old_state_matters_where_the_loop_runs_over_the_link(bench, level: str) -> None:
    bench.take_off()
    command = COMMAND if level == "rotors" else PositionCommand(bench.state.position_w)
    for _ in range(100):
        bench.supervisor.command(bench.t, command)
        bench.state = replace(bench.state, stamp=bench.t - 0.06)
        bench.sent = bench.supervisor.update(bench.t, bench.state)
        bench.names += [event.name for event in bench.supervisor.drain_events()]
        bench.t += 0.01
    if level == "position":
        assert bench.phase is Phase.FLYING and bench.sent is command
    else:
        assert bench.phase is Phase.HOLD and bench.names[-1] == "state_late"
        bench.step(0.5, command)  # fresh again
        assert bench.phase is Phase.FLYING and bench.names[-1] == "command_recovered"


def test_a_moving_vehicle_whose_state_stays_the_same_has_no_state(bench) -> None:
    bench.take_off()
    bench.frozen = True
    stuck = replace(bench.state, velocity_w=np.array([0.4, 0.0, 0.0]))
    for _ in range(60):
        bench.state = replace(stuck, stamp=bench.t)
        bench.step(command=COMMAND)
    assert bench.phase is Phase.LANDING and bench.names[-1] == "state_timeout"


def test_a_vehicle_at_rest_may_stay_the_same(bench) -> None:
    bench.take_off()
    bench.step(5.0, COMMAND)
    assert bench.phase is Phase.FLYING
