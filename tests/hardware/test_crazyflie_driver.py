"""The Crazyflie driver at the emulated vehicle, over UDP, in the emulator's own time: what is sent is what flies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cflib")

from emulated_crazyflie import Served, SteppedCrazyflie, connected

from control_stack.crazyflie.wire import Info
from control_stack.errors import InputRejected, InvalidInput, VehicleRefused
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.trajectories import parse_trajectory
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    Reference,
    RotorCommand,
    VelocityCommand,
)
from controllers.loader import build_controller
from hardware.crazyflie import CrazyflieVehicle
from hardware.crazyflie.setpoints import FLIGHT_MODES

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])


@pytest.fixture
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, SteppedCrazyflie]]:
    with connected(tmp_path_factory.getbasetemp() / "toc") as both:
        yield both


def truth(served: Served):
    return served.firmware.vehicle.true_state()


def modes(served: Served) -> list[float]:
    return [served.firmware.parameters.values[name] for name in FLIGHT_MODES]


def fly(vehicle: SteppedCrazyflie, seconds: float, command) -> None:
    """Sends command(t, state) every 10 ms of the vehicle's time."""
    for k in range(round(seconds / 0.01)):
        vehicle.send(command(0.01 * k, vehicle.state()))
        vehicle.pass_time(0.01)


def up(vehicle: SteppedCrazyflie, height: float = 1.0) -> None:
    vehicle.arm()
    fly(vehicle, 3.0, lambda t, s: PositionCommand(np.array([0.0, 0.0, height])))


def test_states_are_the_estimators(rig) -> None:
    served, vehicle = rig
    vehicle.arm()
    fly(vehicle, 1.2, lambda t, s: PositionCommand(np.array([0.3, -0.2, 0.8]), yaw=0.5))
    state, true = vehicle.state(), truth(served)
    np.testing.assert_allclose(state.position_w, true.position_w, atol=1e-6)
    np.testing.assert_allclose(state.velocity_w, true.velocity_w, atol=1e-6)
    np.testing.assert_allclose(state.quat_xyzw, true.quat_xyzw, atol=1e-6)
    np.testing.assert_allclose(state.omega_b, true.omega_b, atol=2e-3)  # FP16 of degrees/s
    assert state.stamp == pytest.approx(served.firmware.time, abs=1e-9)
    assert np.linalg.norm(true.omega_b) > 0.05, "it did not turn at all"
    assert vehicle.telemetry.voltage == pytest.approx(4.0) and vehicle.telemetry.info & Info.ARMED


def test_only_arm_arms(rig) -> None:
    served, vehicle = rig
    sent = vehicle.send(PositionCommand(np.array([0.0, 0.0, 1.0])))
    assert isinstance(sent, RotorCommand) and not sent.rotor_speed.any()
    vehicle.external_pose(np.zeros(3), LEVEL, 0.0)
    vehicle.preflight()
    for action in (lambda: vehicle.takeoff(1.0, 2.0), lambda: vehicle.land(0.0, 2.0)):
        with pytest.raises(VehicleRefused, match="arm"):
            action()
    vehicle.pass_time(0.2)
    assert not served.firmware.supervisor.armed
    vehicle.arm()
    assert served.firmware.supervisor.armed
    vehicle.disarm()
    vehicle.pass_time(0.05)
    assert not served.firmware.supervisor.armed


def test_rates_and_thrust_are_flown_with_the_right_signs(rig) -> None:
    served, vehicle = rig
    up(vehicle)
    weight = float(vehicle.parameters.mass) * GRAVITY
    for axis in range(3):
        rates = np.zeros(3)
        rates[axis] = 0.8
        fly(vehicle, 0.25, lambda t, s, rates=rates: RatesThrustCommand(rates, weight))
        np.testing.assert_allclose(truth(served).omega_b, rates, atol=0.12)
        fly(vehicle, 2.0, lambda t, s: PositionCommand(np.array([0.0, 0.0, 1.0])))


def test_attitudes_are_flown_with_the_right_signs(rig) -> None:
    served, vehicle = rig
    up(vehicle)
    weight = float(vehicle.parameters.mass) * GRAVITY
    for wanted in ([0.1, 0.0, 0.0], [0.0, 0.12, 0.0], [0.08, -0.1, 0.3]):
        q = np.array([*wanted, np.sqrt(1.0 - np.dot(wanted, wanted))])
        fly(vehicle, 0.8, lambda t, s, q=q: AttitudeThrustCommand(q, weight))
        assert abs(np.dot(truth(served).quat_xyzw, q)) > 1.0 - 2e-4
        fly(vehicle, 2.5, lambda t, s: PositionCommand(np.array([0.0, 0.0, 1.0])))


def test_thrust_arrives_in_newtons(rig) -> None:
    """In hover, twice the weight for a moment accelerates by g; a quarter of a second is enough to see it."""
    served, vehicle = rig
    up(vehicle)
    weight = float(vehicle.parameters.mass) * GRAVITY
    fly(vehicle, 0.5, lambda t, s: AttitudeThrustCommand(LEVEL, 1.2 * weight))
    before = truth(served).velocity_w[2]
    fly(vehicle, 0.1, lambda t, s: AttitudeThrustCommand(LEVEL, 1.2 * weight))
    drag = float(vehicle.parameters.drag[2]) * before / float(vehicle.parameters.mass)
    assert (truth(served).velocity_w[2] - before) / 0.1 == pytest.approx(0.2 * GRAVITY - drag, rel=0.05)


def test_thrust_beyond_the_wire_is_reported_as_clipped(rig) -> None:
    _, vehicle = rig
    vehicle.arm()
    sent = vehicle.send(AttitudeThrustCommand(LEVEL, 10.0))
    assert sent.thrust == pytest.approx(60000 / 65536 * 0.5884)


def test_velocities_and_headings(rig) -> None:
    served, vehicle = rig
    up(vehicle)
    fly(vehicle, 2.5, lambda t, s: VelocityCommand(np.array([0.3, -0.1, 0.05]), yaw=0.6))
    np.testing.assert_allclose(truth(served).velocity_w, [0.3, -0.1, 0.05], atol=0.02)
    x, y, z, w = truth(served).quat_xyzw
    assert np.arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z)) == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("level", [CommandLevel.CTBR, CommandLevel.ATTITUDE])
def test_the_figure_eight_is_as_good_as_in_the_simulator(rig, level: CommandLevel) -> None:
    """Within 1.5 times the RMSE of the direct simulator at the same level and rate."""
    served, vehicle = rig
    trajectory = parse_trajectory("eight:laps=1", (0.0, 0.0, 1.0))

    def errors(advance, send, state) -> float:
        controller = build_controller("geometric", vehicle.parameters, [level], 100.0)
        controller.reset()
        squares = []
        for k in range(round(trajectory.duration / 0.01)):
            now = state()
            wanted: Reference = trajectory(0.01 * k)
            send(controller(0.01 * k, now, wanted))
            advance(0.01)
            squares.append(np.sum((now.position_w - wanted.position_w) ** 2))
        return float(np.sqrt(np.mean(squares)))

    up(vehicle)
    over_the_link = errors(vehicle.pass_time, vehicle.send, lambda: vehicle.state())
    direct = served.firmware.vehicle
    direct.reset()
    for _ in range(300):
        direct.send(PositionCommand(np.array([0.0, 0.0, 1.0])))
        direct.step(0.01)
    assert over_the_link < 1.5 * errors(direct.step, direct.send, direct.state)


def test_flight_modes_are_set_for_rates_and_put_back(rig) -> None:
    served, vehicle = rig
    served.firmware.parameters.values["flightmode.stabModeYaw"] = 1  # not the value of power-up
    vehicle._setpoints.learn()
    up(vehicle)
    assert modes(served) == [1, 1, 1]
    fly(vehicle, 0.1, lambda t, s: RatesThrustCommand(np.zeros(3), 0.26))
    assert modes(served) == [0, 0, 0]
    fly(vehicle, 0.1, lambda t, s: AttitudeThrustCommand(LEVEL, 0.26))
    assert modes(served) == [1, 1, 1]
    fly(vehicle, 0.1, lambda t, s: RatesThrustCommand(np.zeros(3), 0.26))
    vehicle.disarm()
    assert modes(served) == [1, 1, 1]


def test_a_mode_that_is_not_confirmed_keeps_the_command_before(rig) -> None:
    """Rates sent as angles would be flown as angles: better nothing new for a moment."""
    served, vehicle = rig
    up(vehicle)
    hold = vehicle.send(PositionCommand(np.array([0.0, 0.0, 1.0])))
    answer, served.firmware.parameters.handle = served.firmware.parameters.handle, lambda packet: iter(())
    try:
        assert vehicle.send(RatesThrustCommand(np.zeros(3), 0.0)) is hold
        vehicle.pass_time(0.1)
        assert truth(served).position_w[2] == pytest.approx(1.0, abs=0.05)
    finally:
        served.firmware.parameters.handle = answer
    assert isinstance(vehicle.send(RatesThrustCommand(np.zeros(3), 0.26)), RatesThrustCommand)


def test_on_board_take_off_way_and_landing_follow_streamed_setpoints(rig) -> None:
    served, vehicle = rig
    vehicle.arm()
    vehicle.takeoff(0.8, 2.0)
    vehicle.pass_time(2.5)
    assert truth(served).position_w[2] == pytest.approx(0.8, abs=0.03)
    fly(vehicle, 1.5, lambda t, s: PositionCommand(np.array([0.2, 0.0, 0.8])))
    vehicle.go_to(np.array([0.5, 0.5, 1.2]), 0.0, 2.0)
    vehicle.pass_time(3.0)
    np.testing.assert_allclose(truth(served).position_w, [0.5, 0.5, 1.2], atol=0.03)
    vehicle.land(0.0, 2.0)
    vehicle.pass_time(3.0)
    assert truth(served).position_w[2] < 0.03
    assert vehicle.lost_control() is None
    vehicle.pass_time(5.0)
    assert "disarmed" in vehicle.lost_control()
    with pytest.raises(InvalidInput, match="finite"):
        vehicle.takeoff(float("nan"), 1.0)


def test_an_emergency_stop_is_seen_and_latches(rig) -> None:
    served, vehicle = rig
    up(vehicle)
    vehicle.emergency_stop()
    vehicle.pass_time(1.0)
    assert truth(served).position_w[2] < 0.1
    assert "emergency" in vehicle.lost_control()
    vehicle.disarm()
    with pytest.raises(VehicleRefused, match="switch it off"):
        vehicle.arm()
    assert not all(check.ok for check in vehicle.preflight())


def test_external_poses_reach_the_estimator(rig) -> None:
    served, vehicle = rig
    served.firmware.vehicle.config = type(served.firmware.vehicle.config)(pose_source="external")
    vehicle.external_pose(np.array([1.0, 2.0, 0.5]), np.array([0.0, 0.0, 0.6, 0.8]), 0.0)
    vehicle.pass_time(0.02)
    np.testing.assert_allclose(vehicle.state().position_w, [1.0, 2.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(vehicle.state().quat_xyzw, [0.0, 0.0, 0.6, 0.8], atol=1e-6)
    vehicle.external_position(np.array([-1.0, 0.0, 0.5]))
    vehicle.pass_time(0.02)
    np.testing.assert_allclose(vehicle.state().position_w, [-1.0, 0.0, 0.5], atol=1e-6)
    with pytest.raises(InputRejected):
        vehicle.external_position(np.array([np.nan, 0.0, 0.0]))


def test_closing_in_the_air_stops_the_motors(rig) -> None:
    served, vehicle = rig
    up(vehicle)
    vehicle.close()
    served.advance(0.1)
    assert not served.firmware.supervisor.armed


def test_tables_come_from_the_cache_the_second_time(rig, tmp_path: Path) -> None:
    served, vehicle = rig
    vehicle.close()
    table, asked = served.firmware.parameters.table, []
    answer = table.answer
    table.answer = lambda data: asked.append(data) or answer(data)
    counts = []
    for _ in range(2):
        one = CrazyflieVehicle(vehicle.parameters, served.uri, type(vehicle.config)(cache=tmp_path))
        served.go_on()
        one.connect()
        one.close()
        counts.append(len(asked) - sum(counts))
    assert counts[0] > len(table.entries) and counts[1] == 1
