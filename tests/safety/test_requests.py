"""What may be asked for in which phase, and what it does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from control_stack.algebra import quat_from_yaw, quat_multiply
from control_stack.safety.events import AIRBORNE, Phase
from control_stack.safety.supervisor import SafetyConfig
from control_stack.types import PositionCommand, QuadrotorState, RotorCommand

TILTED = np.array([math.sin(0.3), 0.0, 0.0, math.cos(0.3)])  # 34 degrees


def test_nothing_arms_by_itself(bench) -> None:
    for _ in range(300):
        assert bench.step(command=RotorCommand(np.full(4, 2000.0))) is None
    assert bench.phase is Phase.DISARMED and bench.names == []


def test_armed_is_not_flying(bench) -> None:
    bench.to(Phase.ARMED)
    assert bench.step(5.0) is None
    assert bench.phase is Phase.ARMED


def test_arming(bench_in, phase: Phase) -> None:
    reply = bench_in.supervisor.arm(bench_in.t, bench_in.state)
    assert reply.accepted is (phase is not Phase.EMERGENCY)
    assert bench_in.phase is (Phase.ARMED if phase is Phase.DISARMED else phase)


def test_take_off_only_when_armed(bench_in, phase: Phase) -> None:
    reply = bench_in.supervisor.takeoff(bench_in.t, bench_in.state)
    assert reply.accepted is (phase is Phase.ARMED)
    assert bench_in.phase is (Phase.TAKEOFF if phase is Phase.ARMED else phase)
    if not reply.accepted:
        assert phase.value in reply.message and "arm first" in reply.message


def test_landing_from_anywhere_in_the_air_ends_disarmed(bench_in, phase: Phase) -> None:
    reply = bench_in.supervisor.land(bench_in.t, bench_in.state)
    assert reply.accepted is (phase in AIRBORNE)
    if phase not in AIRBORNE:
        assert bench_in.phase is phase
        return
    where = bench_in.state.position_w.copy()
    bench_in.step(10.0)
    assert bench_in.phase is Phase.DISARMED and bench_in.sent is None
    assert np.allclose(bench_in.state.position_w[:2], where[:2]) and bench_in.state.position_w[2] == 0.0


def test_disarming_is_refused_in_the_air(bench_in, phase: Phase) -> None:
    reply = bench_in.supervisor.disarm(bench_in.t)
    assert reply.accepted is (phase not in AIRBORNE)
    assert bench_in.phase is (phase if phase in AIRBORNE else Phase.DISARMED)


def test_emergency_stops_at_once_and_latches_until_disarmed(bench_in) -> None:
    supervisor = bench_in.supervisor
    assert supervisor.emergency(bench_in.t).accepted
    assert bench_in.step() is None and bench_in.phase is Phase.EMERGENCY
    assert not supervisor.arm(bench_in.t, bench_in.state).accepted
    assert not supervisor.takeoff(bench_in.t, bench_in.state).accepted
    assert not supervisor.land(bench_in.t, bench_in.state).accepted
    assert bench_in.step(3.0) is None and bench_in.phase is Phase.EMERGENCY
    assert supervisor.disarm(bench_in.t).accepted and supervisor.arm(bench_in.t, bench_in.state).accepted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"valid": False}, "valid"),
        ({"position_w": np.array([0.0, np.nan, 0.0])}, "not finite"),
        ({"stamp": -1.0}, "old (at most 300)"),
        ({"stamp": math.nan}, "not finite"),
        ({"quat_xyzw": TILTED}, "tilted"),
    ],
    ids=["invalid", "nan", "stale", "nan stamp", "tilted"],
)
def test_arming_needs_a_good_state_and_an_upright_vehicle(bench, change: dict, word: str) -> None:
    bench.step()
    reply = bench.supervisor.arm(bench.t, replace(bench.state, **change))
    assert not reply.accepted and word in reply.message
    assert bench.phase is Phase.DISARMED


def test_take_off_needs_a_good_state_too(bench) -> None:
    bench.to(Phase.ARMED)
    reply = bench.supervisor.takeoff(bench.t, replace(bench.state, valid=False))
    assert not reply.accepted and bench.phase is Phase.ARMED


def test_take_off_goes_straight_up_at_the_present_heading(bench) -> None:
    bench.state = replace(bench.state, position_w=np.array([3.0, -2.0, 0.5]), quat_xyzw=np.array(quat_from_yaw(2.0)))
    bench.to(Phase.ARMED)
    start = bench.state.position_w.copy()
    assert bench.supervisor.takeoff(bench.t, bench.state).accepted
    heights, speeds = [], []
    while bench.phase is Phase.TAKEOFF:
        sent = bench.step()
        assert isinstance(sent, PositionCommand) and sent.yaw == pytest.approx(2.0)
        assert np.array_equal(sent.position_w[:2], start[:2])
        heights.append(sent.position_w[2] - start[2])
        speeds.append(sent.velocity_w[2])
    assert np.all(np.diff(heights) >= 0.0) and heights[0] == 0.0 and heights[-1] == pytest.approx(1.0)
    assert np.max(np.diff(heights)) / 0.01 == pytest.approx(SafetyConfig().climb_speed, rel=1e-3)


def test_a_vehicle_that_does_not_get_up_is_not_handed_over(bench) -> None:
    """Dead motors, too heavy, tethered: the take-off is given up, on the ground it ends disarmed."""
    bench.to(Phase.ARMED)
    bench.supervisor.takeoff(bench.t, bench.state)
    ground = bench.state
    for _ in range(1000):
        bench.step()
        bench.state = replace(ground, stamp=bench.t)
    assert "takeoff_done" not in bench.names and bench.phase is Phase.DISARMED


def test_a_take_off_short_of_its_height_by_a_little_flies(bench) -> None:
    """As in wind, where the position law leaves an offset: after a few seconds the controller takes over."""
    bench.to(Phase.ARMED)
    bench.supervisor.takeoff(bench.t, bench.state)
    for _ in range(800):
        bench.step(command=None)
        bench.state = replace(bench.state, position_w=bench.state.position_w * [1, 1, 0.97] + [0.3, 0.0, 0.0])
        if "takeoff_done" in bench.names:
            break
    assert "takeoff_done" in bench.names


def test_events_carry_time_severity_and_phase(bench) -> None:
    bench.to(Phase.ARMED)
    bench.supervisor.emergency(1.25)
    event = bench.supervisor.drain_events()[-1]
    assert (event.t, event.name, event.severity.name) == (1.25, "emergency", "ERROR")
    assert event.values == {"phase": "emergency", "position_w": "0.00, 0.00, 0.00"}  # where to look for it
    assert bench.supervisor.drain_events() == []


def test_yaw_of_a_tilted_vehicle_is_its_heading(bench) -> None:
    """The hover that follows a banked turn keeps the heading, not the bank."""
    bench.take_off()
    banked = np.array(quat_multiply(quat_from_yaw(1.2), (math.sin(0.2), 0.0, 0.0, math.cos(0.2))))
    bench.state = QuadrotorState(np.array([0.0, 0.0, 1.0]), np.zeros(3), banked, np.zeros(3))
    sent = bench.step(0.1)
    assert bench.phase is Phase.HOLD and isinstance(sent, PositionCommand)
    assert sent.yaw == pytest.approx(1.2, abs=1e-9)


def test_a_state_that_is_too_old_is_refused_with_its_age_and_what_is_to_blame(bench) -> None:
    bench.step()
    old = replace(bench.state, stamp=bench.t - 0.412)
    reply = bench.supervisor.arm(bench.t, old)
    assert not reply.accepted and reply.message == (
        "refused: the newest state is 412 ms old (at most 300): this computer or the link is too slow"
    )
    assert bench.supervisor.arm(bench.t, bench.state).accepted
    assert "412 ms old (at most 300)" in bench.supervisor.takeoff(bench.t, old).message
    assert "does not know where it is" in bench.supervisor.takeoff(bench.t, replace(bench.state, valid=False)).message
    assert bench.phase is Phase.ARMED
