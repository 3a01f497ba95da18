"""The PX4 driver against the emulated autopilot over real sockets, in the emulator's time."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("pymavlink")
from px4_bench import Bench, Client, free_port
from pymavlink.dialects.v20 import common

from control_stack.algebra import quat_from_yaw, yaw_of
from control_stack.errors import InputRejected, InvalidInput, LinkError, VehicleRefused
from control_stack.px4 import modes
from control_stack.px4.codec import Codec
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    PositionCommand,
    RatesThrustCommand,
    RotorCommand,
    VelocityCommand,
)
from hardware.px4 import PX4Config, PX4Vehicle
from hardware.px4.telemetry import Telemetry
from sim.config import SimulationConfig

X500 = load_vehicle("x500")
WEIGHT = float(X500.mass) * GRAVITY
NewBench = Callable[..., Bench]


@pytest.fixture
def new_bench() -> Iterator[NewBench]:
    made: list[Bench] = []

    def build(*arguments, **options) -> Bench:
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    bench = new_bench()
    bench.vehicle.connect()
    return bench


def airborne(bench: Bench, height: float = 2.0) -> np.ndarray:
    """Armed and hovering; returns where."""
    bench.vehicle.arm()
    bench.fly(PositionCommand(np.array([0.0, 0.0, height]), yaw=0.5), 5.0)
    return bench.emulator.quad.true_state().position_w


def test_connecting_arms_nothing_and_sends_no_setpoint(bench: Bench):
    bench.pass_time(5.0)
    assert bench.events == [] and bench.emulator.autopilot._setpoint is None
    assert all(check.ok for check in bench.vehicle.preflight())


def test_the_estimate_is_the_truth_in_our_frames(bench: Bench):
    airborne(bench)
    bench.fly(VelocityCommand(np.array([1.0, -0.5, 0.3]), yaw=1.0), 1.5)
    # Both ends of the wire are asked about the same instant.
    told, truth = bench.vehicle.state(), bench.emulator.quad.true_state()
    np.testing.assert_allclose(told.position_w, truth.position_w, atol=1e-3)
    np.testing.assert_allclose(told.velocity_w, truth.velocity_w, atol=1e-3)
    np.testing.assert_allclose(told.omega_b, truth.omega_b, atol=1e-3)
    assert abs(float(np.dot(told.quat_xyzw, truth.quat_xyzw))) == pytest.approx(1.0, abs=1e-6)
    assert bench.vehicle.now() - told.stamp == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("kind", ["LOCAL_POSITION_NED", "ODOMETRY"])
def test_either_source_alone_gives_the_state(new_bench: NewBench, kind: str):
    bench = new_bench()
    bench.vehicle.connect()
    other = {"LOCAL_POSITION_NED": 331.0, "ODOMETRY": 32.0}[kind]
    assert bench.vehicle.link.command(511, other, -1.0) == "accepted"
    airborne(bench)
    bench.fly(VelocityCommand(np.array([1.0, -0.5, 0.0]), yaw=1.0), 1.0)
    told, truth = bench.vehicle.state(), bench.emulator.quad.true_state()
    np.testing.assert_allclose(told.velocity_w, truth.velocity_w, atol=0.05)
    np.testing.assert_allclose(told.position_w, truth.position_w, atol=0.05)


def test_position_level(bench: Bench):
    airborne(bench)
    bench.fly(PositionCommand(np.array([1.0, 0.5, 1.5]), yaw=-1.0), 5.0)
    truth = bench.emulator.quad.true_state()
    np.testing.assert_allclose(truth.position_w, [1.0, 0.5, 1.5], atol=0.02)
    assert float(yaw_of(tuple(truth.quat_xyzw))) == pytest.approx(-1.0, abs=0.02)


def test_velocity_level(bench: Bench):
    airborne(bench)
    velocity = np.array([0.8, -0.4, 0.2])
    bench.fly(VelocityCommand(velocity, yaw=0.5), 3.0)
    # The velocity law has no integrator: drag leaves some of the horizontal speed.
    np.testing.assert_allclose(bench.emulator.quad.true_state().velocity_w, velocity, atol=0.05)


def test_attitude_level(bench: Bench):
    airborne(bench)
    roll = 0.1
    quat = np.array([math.sin(roll / 2), 0.0, 0.0, math.cos(roll / 2)])
    bench.fly(AttitudeThrustCommand(quat, WEIGHT / math.cos(roll)), 1.5)
    truth = bench.emulator.quad.true_state()
    np.testing.assert_allclose(truth.quat_xyzw, quat, atol=0.02)
    assert truth.velocity_w[1] < -0.5, "roll to the right accelerates to the right"
    assert abs(truth.velocity_w[2]) < 0.1


def test_rates_level(bench: Bench):
    airborne(bench)
    before = bench.emulator.quad.true_state()
    bench.fly(RatesThrustCommand(np.array([0.0, 0.0, 0.5]), WEIGHT), 2.0)
    truth = bench.emulator.quad.true_state()
    np.testing.assert_allclose(truth.omega_b, [0.0, 0.0, 0.5], atol=0.02)
    assert abs(truth.velocity_w[2] - before.velocity_w[2]) < 0.1
    bench.fly(RatesThrustCommand(np.zeros(3), 1.2 * WEIGHT), 0.5)
    gained = bench.emulator.quad.true_state().velocity_w[2] - truth.velocity_w[2]
    assert gained == pytest.approx(0.2 * GRAVITY * 0.5, rel=0.1)


def test_rotor_level_is_refused_with_a_reason(bench: Bench):
    assert CommandLevel.ROTORS not in bench.vehicle.spec.levels
    with pytest.raises(InputRejected, match="PX4 over MAVLink declares ctbr"):
        bench.vehicle.send(RotorCommand(np.zeros(4)))


def test_a_feed_forward_of_body_rates_is_flown(bench: Bench):
    """PX4's attitude loop takes no roll or pitch rate: led by w / P, it makes the rates that were asked for."""
    airborne(bench, 3.0)
    rate, roll = 0.6, 0.0
    for _ in range(50):
        roll += 0.01 * rate
        quat = np.array([math.sin(roll / 2), 0.0, 0.0, math.cos(roll / 2)])
        bench.fly(AttitudeThrustCommand(quat, WEIGHT, np.array([rate, 0.0, 0.0])), 0.01)
    truth = bench.emulator.quad.true_state()
    assert truth.omega_b[0] == pytest.approx(rate, abs=0.03)
    assert 2.0 * math.asin(float(truth.quat_xyzw[0])) == pytest.approx(roll, abs=0.03), "without lead it lags 0.075 rad"


def test_refused_arming_is_told_in_the_vehicles_words(bench: Bench):
    bench.emulator.autopilot.failures.append("Compass Sensor 0 missing, of which nobody knows where it has gone")
    with pytest.raises(VehicleRefused) as caught:
        bench.vehicle.arm()
    text = str(caught.value)
    assert text.startswith("arming: temporarily rejected: ")
    assert "Compass Sensor 0 missing, of which nobody knows where it has gone" in text, "in two parts on the wire"
    sent = bench.vehicle._streamer.sent
    bench.pass_time(1.0)
    assert bench.vehicle._streamer.sent == sent, "it goes on streaming"
    assert isinstance(bench.vehicle.send(PositionCommand(np.ones(3))), RotorCommand)
    assert not bench.emulator.autopilot.armed


def test_what_somebody_else_has_armed_is_left_alone(bench: Bench):
    bench.emulator.autopilot.arm()
    bench.pass_time(1.5)
    assert not next(check for check in bench.vehicle.preflight() if check.name == "disarmed").ok
    with pytest.raises(VehicleRefused, match="already armed, in mode AUTO.LOITER"):
        bench.vehicle.arm()
    assert bench.emulator.autopilot.armed and bench.emulator.autopilot.mode == modes.LOITER


def test_setpoints_stream_before_offboard_and_between_commands(bench: Bench):
    """Never below 2 Hz, whatever the rate of the commands."""
    times: list[float] = []
    take = bench.emulator.autopilot.setpoint

    def listen(command):
        times.append(bench.emulator.quad.time)
        take(command)

    bench.emulator.autopilot.setpoint = listen  # type: ignore[method-assign]
    bench.vehicle.arm()
    entered = next(t for t, name in bench.emulator.autopilot.events if name == "OFFBOARD")
    assert entered - times[0] > 1.0
    for _ in range(3):
        bench.vehicle.send(PositionCommand(np.array([0.0, 0.0, 1.0])))
        bench.pass_time(1.5)
    assert max(np.diff(times)) < 0.5
    assert bench.emulator.autopilot.mode == modes.OFFBOARD


def test_a_dead_commander_is_not_kept_alive(bench: Bench):
    """S2: the driver stops repeating after a while, and the autopilot's own failsafe lands."""
    airborne(bench)
    bench.pass_time(2.9)
    assert bench.emulator.autopilot.mode == modes.OFFBOARD
    bench.pass_time(0.5)
    assert bench.vehicle._streamer.expired and "offboard_loss" in bench.events
    assert bench.until(lambda: not bench.emulator.autopilot.armed, 15.0)
    assert bench.emulator.quad.true_state().position_w[2] == pytest.approx(0.12, abs=0.02)
    assert "AUTO.LAND" in bench.events


def test_a_hung_host_ends_in_the_autopilots_landing(bench: Bench):
    airborne(bench)
    bench.cut = True
    hung = bench.emulator.quad.time
    assert bench.until(lambda: not bench.emulator.autopilot.armed, 15.0)
    lost = next(t for t, name in bench.emulator.autopilot.events if name == "offboard_loss")
    assert lost - hung == pytest.approx(1.0, abs=0.1), "COM_OF_LOSS_T"
    bench.cut = False
    bench.pass_time(1.5)
    assert bench.vehicle.lost_control() == "the autopilot has disarmed"
    assert isinstance(bench.vehicle.send(PositionCommand(np.ones(3))), RotorCommand)


def test_a_pilot_who_takes_over_is_not_fought(bench: Bench):
    airborne(bench)
    bench.emulator.autopilot.set_mode(modes.LOITER)
    for _ in range(300):
        bench.vehicle.send(PositionCommand(np.array([5.0, 0.0, 2.0])))
        bench.pass_time(0.01)
    assert bench.vehicle.lost_control() == "the autopilot has switched to mode AUTO.LOITER"
    assert bench.emulator.autopilot.mode == modes.LOITER
    sent = bench.vehicle._streamer.sent
    with pytest.raises(VehicleRefused, match="not landed"):
        bench.vehicle.disarm()
    assert bench.emulator.autopilot.armed, "its motors are not cut from here"
    bench.pass_time(1.0)
    assert bench.vehicle._streamer.sent <= sent + 1


def test_disarming_what_we_fly_cuts_it(bench: Bench):
    airborne(bench)
    bench.vehicle.disarm()
    assert not bench.emulator.autopilot.armed
    bench.pass_time(2.0)
    assert bench.events[-1] == "disarmed"


def test_closing_in_the_air_hands_over_to_a_landing(bench: Bench):
    airborne(bench)
    bench.vehicle.close()
    assert bench.emulator.autopilot.mode == modes.LAND
    bench.emulator.step(8.0)
    assert not bench.emulator.autopilot.armed
    assert bench.emulator.quad.true_state().position_w[2] == pytest.approx(0.12, abs=0.02)


def test_closing_on_the_ground_disarms(bench: Bench):
    bench.vehicle.arm()
    bench.vehicle.close()
    assert not bench.emulator.autopilot.armed


def test_its_own_take_off_and_landing(bench: Bench):
    vehicle = bench.vehicle
    with pytest.raises(VehicleRefused, match="arm\\(\\) first"):
        vehicle.takeoff(1.5)
    assert not bench.emulator.autopilot.armed, "a take-off arms nothing"
    vehicle.arm()
    vehicle.takeoff(1.5)
    assert bench.until(lambda: bench.emulator.autopilot.mode == modes.LOITER, 8.0)
    bench.pass_time(1.5)
    assert bench.emulator.quad.true_state().position_w[2] == pytest.approx(0.12 + 1.5, abs=0.05)
    assert vehicle.lost_control() is None
    assert isinstance(vehicle.send(PositionCommand(np.ones(3))), RotorCommand), "not our turn"
    vehicle.offboard(PositionCommand(np.array([0.0, 0.0, 1.6])))
    bench.fly(PositionCommand(np.array([0.5, 0.0, 1.6])), 3.0)
    np.testing.assert_allclose(bench.emulator.quad.true_state().position_w, [0.5, 0.0, 1.6], atol=0.02)
    vehicle.land()
    assert bench.until(lambda: not bench.emulator.autopilot.armed, 10.0)


def test_external_pose_reaches_the_estimator_in_its_frames(new_bench: NewBench):
    bench = new_bench(simulation=SimulationConfig(pose_source="external"))
    vehicle = bench.vehicle
    vehicle.connect()
    assert not vehicle.state().valid
    assert not next(check for check in vehicle.preflight() if check.name == "estimate").ok
    position, quat = np.array([1.0, 2.0, 0.5]), np.array(quat_from_yaw(0.7), dtype=float)
    for _ in range(20):
        vehicle.external_pose(position, quat, vehicle.now())
        bench.pass_time(0.02)
    told = vehicle.state()
    assert told.valid
    np.testing.assert_allclose(told.position_w, position, atol=1e-6)
    np.testing.assert_allclose(told.quat_xyzw, quat, atol=1e-6)


# What goes wrong before anything flies.


def test_nobody_there(new_bench: NewBench):
    bench = new_bench(config=PX4Config(connect_timeout=1.0, target_system=9))
    with pytest.raises(LinkError, match=r"needs a heartbeat of a PX4 .* as system 9, heard .*MAV_AUTOPILOT_PX4"):
        bench.vehicle.connect()


@pytest.mark.parametrize(
    ("system", "kind", "autopilot", "heard"),
    [(3, 2, 3, "ARDUPILOTMEGA"), (255, 6, 8, "a ground station"), (None, 0, 0, "nothing")],
)
def test_something_else_there(system, kind, autopilot, heard):
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:

        class Clock:
            threaded, now = False, 0.0

            def monotonic(self) -> float:
                return self.now

            def sleep(self, seconds: float) -> None:
                self.now += seconds
                if system is not None:
                    beat = common.MAVLink_heartbeat_message(kind, autopilot, 0, 0, 4, 3)
                    other.sendto(Codec(common, system, 1, True).encode(beat), ("127.0.0.1", port))

        vehicle = PX4Vehicle(X500, f"udpin:127.0.0.1:{port}", PX4Config(connect_timeout=0.5), Clock())
        with pytest.raises(LinkError, match=heard):
            vehicle.connect()


def test_a_firmware_that_lacks_a_parameter_is_named(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch):
    bench = new_bench()
    table = bench.emulator.autopilot.parameters
    find = table.find
    monkeypatch.setattr(table, "find", lambda name, index: None if name == "THR_MDL_FAC" else find(name, index))
    with pytest.raises(LinkError, match="does not have the parameter THR_MDL_FAC"):
        bench.vehicle.connect()


def test_a_firmware_without_attitude_setpoints_is_named(new_bench: NewBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sim.emulators.px4.messages.CAPABILITIES", 2 | 8192)
    with pytest.raises(LinkError, match=r"PX4 1.18.0, which lacks SET_ATTITUDE_TARGET"):
        new_bench().vehicle.connect()


@pytest.mark.parametrize(
    ("hover", "ok", "words"),
    [(0.72, True, "(hover_thrust)"), (0.5, True, "expect an error in height"), (0.4, False, "another airframe?")],
)
def test_another_thrust_scale_is_pointed_out(bench: Bench, hover: float, ok: bool, words: str):
    """PX4's own parameter is a starting value, so it fails only where it is another vehicle's."""
    bench.emulator.autopilot.parameters.set("MPC_THR_HOVER", hover)
    bench.vehicle.link.parameter("MPC_THR_HOVER")
    line = next(check for check in bench.vehicle.preflight() if check.name == "MPC_THR_HOVER")
    assert line.ok == ok and f"{hover} on the vehicle, 0.7145 in the vehicle file" in line.detail
    assert words in line.detail


def test_a_low_battery_is_pointed_out(bench: Bench):
    bench.emulator.autopilot.battery = 0.2
    bench.pass_time(1.0)
    assert not next(check for check in bench.vehicle.preflight() if check.name == "battery").ok


@pytest.mark.parametrize(
    "uri", ["", "14540", "udp:127.0.0.1:14540", "udpin:14540", "udpin:127.0.0.1:", "udpin:127.0.0.1:70000", "tcp::1"]
)
def test_what_is_no_address_is_refused(uri: str):
    with pytest.raises(InvalidInput, match="udpin:HOST:PORT"):
        PX4Vehicle(X500, uri).connect()


def test_a_port_in_use_is_named(bench: Bench):
    uri = f"udpin:127.0.0.1:{bench.port}"
    with pytest.raises(LinkError, match=f"{uri}: Address already in use"):
        PX4Vehicle(X500, uri).connect()


def test_a_vehicle_without_a_thrust_scale_is_refused():
    with pytest.raises(InvalidInput, match="'crazyflie' has no px4: block"):
        PX4Vehicle(load_vehicle("crazyflie"), "udpin:127.0.0.1:14540")


@pytest.mark.parametrize(("key", "value"), [("system", 0), ("component", 256), ("repeat_hz", 2.0)])
def test_settings_that_cannot_work_are_refused(key: str, value: float):
    with pytest.raises(InvalidInput, match=key):
        PX4Config(**{key: value})  # type: ignore[arg-type]


# Signing, and others on the wire.


def test_a_signed_link_flies_and_takes_nothing_unsigned(new_bench: NewBench):
    bench = new_bench(config=PX4Config(signing_key="pass phrase"), signing_key="pass phrase")
    bench.vehicle.connect()
    airborne(bench)
    outsider = Client(bench.emulator, free_port())
    outsider.send(common.MAVLink_command_long_message(1, 1, 400, 0, 0, 21196, 0, 0, 0, 0, 0))
    bench.pass_time(0.1)
    assert bench.emulator.autopilot.armed and bench.emulator.drops["signature"] == 1
    outsider.close()


def test_the_wrong_key_connects_to_nothing(new_bench: NewBench):
    bench = new_bench(config=PX4Config(signing_key="mine", connect_timeout=1.0), signing_key="yours")
    with pytest.raises(LinkError, match="dropped by signature"):
        bench.vehicle.connect()


def test_other_systems_are_not_believed(bench: Bench):
    """Well-formed messages of another system, at the driver's own port."""
    before = bench.vehicle.state()
    liar = Codec(common, 2, 1, True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        for message in (
            common.MAVLink_heartbeat_message(2, 12, 129, modes.OFFBOARD.custom, 4, 3),
            common.MAVLink_local_position_ned_message(2**31, 100.0, 100.0, 100.0, 0, 0, 0),
        ):
            wire.sendto(liar.encode(message), ("127.0.0.1", bench.port))
    after = bench.vehicle.state()
    np.testing.assert_array_equal(before.position_w, after.position_w)
    assert bench.vehicle.link.foreign["system"] == 2 and bench.vehicle.link.telemetry.armed is False


def test_telemetry_that_is_not_finite_is_refused_and_counted():
    telemetry = Telemetry()
    nan = math.nan
    telemetry.take(common.MAVLink_local_position_ned_message(1000, 1.0, 2.0, -3.0, 0, 0, 0))
    telemetry.take(common.MAVLink_attitude_quaternion_message(1000, 1, 0, 0, 0, 0, 0, 0))
    good = telemetry.state()
    assert good is not None
    np.testing.assert_allclose(good.position_w, [2.0, 1.0, 3.0])
    telemetry.take(common.MAVLink_local_position_ned_message(2000, nan, 2.0, -3.0, 0, 0, 0))
    telemetry.take(common.MAVLink_local_position_ned_message(2000, 1.0, 2.0, -3.0, 0, math.inf, 0))
    telemetry.take(common.MAVLink_attitude_quaternion_message(2000, 0, 0, 0, 0, 0, 0, 0))
    telemetry.take(common.MAVLink_attitude_quaternion_message(2000, 1, 0, 0, 0, 0, nan, 0))
    assert telemetry.state() == good
    assert telemetry.rejected == {
        "LOCAL_POSITION_NED/nan": 2,
        "ATTITUDE_QUATERNION/quaternion": 1,
        "ATTITUDE_QUATERNION/nan": 1,
    }


def test_an_autopilot_that_restarts_is_not_flown_on(bench: Bench):
    airborne(bench)
    beat = Codec(common, 1, 1, True)
    young = common.MAVLink_attitude_quaternion_message(100, 1, 0, 0, 0, 0, 0, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.sendto(beat.encode(young), ("127.0.0.1", bench.port))
    bench.vehicle.state()
    assert bench.vehicle.lost_control() == "the autopilot has restarted"
    assert isinstance(bench.vehicle.send(PositionCommand(np.ones(3))), RotorCommand)
