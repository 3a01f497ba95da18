"""The emulated autopilot as a bare MAVLink client sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("pymavlink")
from px4_bench import Client, emulated_client, free_port

from control_stack.errors import LinkError
from control_stack.px4 import modes
from control_stack.quadrotor.parameters import load_vehicle
from sim.config import SimulationConfig
from sim.emulators.px4 import PX4Emulator, PX4EmulatorOptions

ARM, MODE, INTERVAL, REQUEST, TAKEOFF, LAND = 400, 176, 511, 512, 22, 21
ACCEPTED, REJECTED, DENIED, UNSUPPORTED = 0, 1, 2, 3
NAN = math.nan


@pytest.fixture
def client() -> Iterator[Client]:
    with emulated_client() as client:
        yield client


def stream(client: Client, message, seconds: float) -> None:
    for _ in range(round(seconds / 0.05)):
        client.send(message)
        client.step(0.05)


def position(client: Client, north: float, east: float, down: float, mask: int = 0b110111111000, frame: int = 1):
    return client.mav.MAVLink_set_position_target_local_ned_message(
        0, 1, 1, frame, mask, north, east, down, 0, 0, 0, 0, 0, 0, 0, 0
    )


def attitude(client: Client, mask: int = 7, q=(1.0, 0.0, 0.0, 0.0), thrust: float = 0.7145):
    return client.mav.MAVLink_set_attitude_target_message(0, 1, 1, mask, list(q), 0, 0, 0, thrust)


def test_what_clients_wait_for_comes_by_itself(client: Client):
    client.step(2.1)
    kinds = {m.get_type() for m in client.heard}
    assert kinds >= {
        *("HEARTBEAT", "SYS_STATUS", "EXTENDED_SYS_STATE", "GPS_RAW_INT", "HOME_POSITION", "ATTITUDE"),
        *("ATTITUDE_QUATERNION", "LOCAL_POSITION_NED", "GLOBAL_POSITION_INT"),
    }
    beats = client.of("HEARTBEAT")
    assert len(beats) == 3 and {(b.autopilot, b.base_mode) for b in beats} == {(12, 1)}
    assert modes.Mode.of(beats[0].custom_mode) == modes.LOITER


@pytest.mark.parametrize("rate", [10.0, 50.0, 100.0, 200.0])
def test_streams_come_at_the_rate_asked_for(client: Client, rate: float):
    assert client.command(INTERVAL, 32.0, 1e6 / rate) == ACCEPTED
    client.heard.clear()
    client.step(2.0)
    assert len(client.of("LOCAL_POSITION_NED")) == pytest.approx(2.0 * rate, abs=1)
    assert client.command(INTERVAL, 32.0, -1.0) == ACCEPTED
    client.heard.clear()
    client.step(1.0)
    assert not client.of("LOCAL_POSITION_NED")


def test_messages_on_request(client: Client):
    for number, kind in ((148.0, "AUTOPILOT_VERSION"), (331.0, "ODOMETRY"), (242.0, "HOME_POSITION")):
        client.heard.clear()
        assert client.command(REQUEST, number) == ACCEPTED
        client.step(0.01)
        assert client.of(kind)
    assert client.command(REQUEST, 9999.0) == UNSUPPORTED
    assert client.command(REQUEST, NAN) == UNSUPPORTED
    assert client.command(INTERVAL, NAN, 1e4) == DENIED
    assert client.command(31999) == UNSUPPORTED


def test_parameters_are_listed_read_and_set(client: Client):
    mav = client.mav
    client.send(mav.MAVLink_param_request_list_message(1, 1))
    client.step(1.0)
    listed = {m.param_id: m for m in client.of("PARAM_VALUE")}
    count = client.of("PARAM_VALUE")[0].param_count
    assert len(listed) == count and {m.param_index for m in listed.values()} == set(range(count))
    client.heard.clear()
    client.send(mav.MAVLink_param_set_message(1, 1, b"COM_OF_LOSS_T", 2.5, 9))
    client.send(mav.MAVLink_param_set_message(1, 1, b"COM_OF_LOSS_T", NAN, 9))
    client.send(mav.MAVLink_param_set_message(1, 1, b"COM_OF_LOSS_T", 5.0, 6))
    client.send(mav.MAVLink_param_set_message(1, 1, b"NO_SUCH", 1.0, 9))
    client.step(0.02)
    assert [m.param_value for m in client.of("PARAM_VALUE")] == [2.5, 2.5, 2.5]
    assert client.emulator.drops["PARAM_SET/value"] == 3


def test_offboard_needs_a_stream_and_arming_needs_the_checks(client: Client):
    assert client.command(MODE, 1.0, 6.0) == REJECTED
    assert "no offboard signal" in "".join(m.text for m in client.of("STATUSTEXT"))
    stream(client, position(client, 0, 0, -1.5), 1.3)
    assert client.command(MODE, 1.0, 6.0) == ACCEPTED
    client.emulator.autopilot.failures.append("Compass 0 fault")
    assert client.command(ARM, 1.0) == REJECTED
    texts = [m.text for m in client.of("STATUSTEXT")]
    assert "Preflight Fail: Compass 0 fault" in texts and "Arming denied" in "".join(texts)
    assert not client.emulator.autopilot.armed
    client.emulator.autopilot.failures.clear()
    assert client.command(ARM, 1.0) == ACCEPTED
    stream(client, position(client, 1.0, 2.0, -1.5), 6.0)
    # north 1, east 2, up: x east, y north
    np.testing.assert_allclose(client.emulator.quad.true_state().position_w, [2.0, 1.0, 1.5], atol=0.02)


@pytest.mark.parametrize("parameters", [(NAN,), (2.0,), (-1.0,), (0.5,), (NAN, 21196.0)])
def test_only_a_clean_request_arms(client: Client, parameters):
    assert client.command(ARM, *parameters) == DENIED
    assert not client.emulator.autopilot.armed


def test_disarming_in_the_air_must_be_forced(client: Client):
    assert client.command(ARM, 1.0) == ACCEPTED
    assert client.command(TAKEOFF, 0, 0, 0, NAN, NAN, NAN, NAN) == ACCEPTED
    client.step(6.0)
    truth = client.emulator.quad.true_state
    assert truth().position_w[2] == pytest.approx(0.12 + 2.5, abs=0.05)
    assert client.emulator.autopilot.mode == modes.LOITER
    assert client.command(ARM, 0.0) == REJECTED and client.emulator.autopilot.armed
    assert client.command(LAND) == ACCEPTED
    client.step(8.0)
    assert not client.emulator.autopilot.armed
    assert truth().position_w[2] == pytest.approx(0.12, abs=0.02)
    assert [name for _, name in client.emulator.autopilot.events][-1] == "disarmed"


def test_it_disarms_by_itself_if_it_is_not_flown(client: Client):
    assert client.command(ARM, 1.0) == ACCEPTED
    client.step(9.5)
    assert client.emulator.autopilot.armed
    client.step(1.0)
    assert not client.emulator.autopilot.armed


@pytest.mark.parametrize("action", ["RTL", "LAND", "LOITER", None])
def test_offboard_loss_does_what_the_parameter_says(client: Client, action: str | None):
    number = {"RTL": 0, "LAND": 4, "LOITER": 5, None: 7}[action]
    autopilot = client.emulator.autopilot
    assert autopilot.parameters.set("COM_OBL_RC_ACT", number)
    up = position(client, 2.0, 0.0, -2.0)
    stream(client, up, 1.3)
    assert client.command(MODE, 1.0, 6.0) == client.command(ARM, 1.0) == ACCEPTED
    stream(client, up, 5.0)
    stopped = client.emulator.quad.time
    client.step(0.9)
    assert autopilot.mode == modes.OFFBOARD and autopilot.armed
    client.step(0.2)
    lost = [t for t, name in autopilot.events if name == "offboard_loss"]
    assert len(lost) == 1 and 0.9 < lost[0] - stopped <= 1.1
    if action is None:
        assert not autopilot.armed
        return
    assert autopilot.mode.name == f"AUTO.{action}"
    client.step(12.0)
    state = client.emulator.quad.true_state()
    if action == "LOITER":
        np.testing.assert_allclose(state.position_w, [0.0, 2.0, 2.0], atol=0.05)
    else:
        home = 0.0 if action == "RTL" else 2.0
        np.testing.assert_allclose(state.position_w, [0.0, home, 0.12], atol=0.1)
        assert not autopilot.armed


def test_setpoints_that_make_no_sense_are_refused_and_counted(client: Client):
    bad = [
        (position(client, NAN, 0, -1), "nan"),
        (position(client, 0, math.inf, -1), "nan"),
        (position(client, 0, 0, -1, frame=5), "frame_id"),
        (position(client, 0, 0, -1, mask=0b110000111000), "level"),
        (position(client, 0, 0, -1, mask=0b110111111001), "level"),
        (position(client, 0, 0, -1, mask=0b110111111111), "level"),
        (attitude(client, thrust=NAN), "nan"),
        (attitude(client, q=(0.0, 0.0, 0.0, 0.0)), "quaternion"),
        (attitude(client, q=(NAN, 0.0, 0.0, 0.0)), "nan"),
        (attitude(client, mask=7 | 64), "level"),
        (attitude(client, mask=128 | 2), "level"),
    ]
    for message, _ in bad:
        client.send(message)
    client.step(0.01)
    counts = client.emulator.drops
    for reason in {reason for _, reason in bad}:
        found = sum(n for name, n in counts.items() if name.endswith(f"/{reason}"))
        assert found == sum(r == reason for _, r in bad), reason
    assert client.emulator.autopilot._setpoint is None


def test_what_is_for_others_or_broken_changes_nothing(client: Client):
    mav = client.mav
    client.send(mav.MAVLink_command_long_message(9, 1, ARM, 0, 1, 0, 0, 0, 0, 0, 0))
    good = client.codec.encode(mav.MAVLink_command_long_message(1, 1, ARM, 0, 1, 0, 0, 0, 0, 0, 0))
    client.send_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    client.step(0.01)
    assert not client.emulator.autopilot.armed
    assert client.emulator.drops["COMMAND_LONG/target"] == 1 and client.emulator.drops["crc"] == 1


def test_without_a_position_it_does_not_arm(client: Client):
    port = free_port()
    outside = SimulationConfig(pose_source="external")
    emulator = PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=port), outside)
    other = Client(emulator, port)
    assert other.command(ARM, 1.0) == REJECTED
    assert "Preflight Fail: No valid local position estimate" in [m.text for m in other.of("STATUSTEXT")]
    assert not other.of("LOCAL_POSITION_NED")
    other.close()
    emulator.close()


def test_conventional_ports():
    assert PX4EmulatorOptions().routes() == [(14580, 14540), (18570, 14550)]
    assert PX4EmulatorOptions(port=14542).routes() == [(14582, 14542), (18572, 14550)]
    assert PX4EmulatorOptions(port=20000).routes() == [(0, 20000)]


def test_a_port_that_is_taken_is_named(client: Client, monkeypatch: pytest.MonkeyPatch):
    taken = client.emulator.routes[0].port
    monkeypatch.setattr(PX4EmulatorOptions, "routes", lambda self: [(taken, 20000)])
    with pytest.raises(LinkError, match=f"127.0.0.1:{taken} cannot be had"):
        PX4Emulator(load_vehicle("x500"), PX4EmulatorOptions(port=20000))
