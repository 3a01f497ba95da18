"""The emulated Crazyflie, byte by byte: arming, locks, time-outs, priorities. All in its own time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from emulated_crazyflie import emulator

from control_stack.crazyflie.wire import Info, Packet, Port, decode
from control_stack.quadrotor.parameters import load_vehicle
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie, FirmwareOptions

pytestmark = pytest.mark.filterwarnings("error")
ARM, DISARM = Packet(Port.SUPERVISOR, 1, b"\1\1"), Packet(Port.SUPERVISOR, 1, b"\1\0")
EMERGENCY = Packet(Port.SUPERVISOR, 1, b"\3")
NOTIFY_STOP = Packet(Port.GENERIC, 1, b"\0\0\0\0\0")
HOVER = round(load_vehicle("crazyflie").mass * 9.80665 / 0.5884 * 65536)
TICK = 0.01


def rpyt(thrust: int, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Packet:
    return Packet(Port.COMMANDER, 0, struct.pack("<fffH", roll, pitch, yaw, thrust))


def position(x: float, y: float, z: float, yaw: float = 0.0) -> Packet:
    return Packet(Port.GENERIC, 0, struct.pack("<Bffff", 7, x, y, z, yaw))


def takeoff(height: float, duration: float) -> Packet:
    return Packet(Port.HIGH_LEVEL, 0, struct.pack("<BBff?f", 7, 0, height, 0.0, True, duration))


def land(duration: float) -> Packet:
    return Packet(Port.HIGH_LEVEL, 0, struct.pack("<BBff?f", 8, 0, 0.0, 0.0, True, duration))


@pytest.fixture
def build() -> Iterator[Callable[..., EmulatedCrazyflie]]:
    made = []

    def make(**options: object) -> EmulatedCrazyflie:
        made.append(emulator(FirmwareOptions(**options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for firmware in made:
        firmware.close()


@pytest.fixture
def cf(build: Callable[..., EmulatedCrazyflie]) -> EmulatedCrazyflie:
    return build()


def tell(cf: EmulatedCrazyflie, *packets: Packet) -> list[Packet]:
    answers = [decode(a) for p in packets for a in cf.handle(p.encode())]
    return [a for a in answers if a is not None]


def fly(cf: EmulatedCrazyflie, seconds: float, *stream: Packet) -> None:
    """Lets time pass, with packets sent every 10 ms."""
    for _ in range(round(seconds / TICK)):
        tell(cf, *stream)
        cf.step(TICK)


def height(cf: EmulatedCrazyflie) -> float:
    return float(cf.vehicle.true_state().position_w[2])


def rotors(cf: EmulatedCrazyflie) -> np.ndarray:
    return cf.vehicle.true_state().rotor_speed


def test_it_says_who_it_is(cf: EmulatedCrazyflie) -> None:
    (source,) = tell(cf, Packet(Port.LINK, 1, b"\0"))
    assert source.data[:18] == b"Bitcraze Crazyflie"
    (version,) = tell(cf, Packet(Port.PLATFORM, 1, b"\0"))
    assert version.data == b"\x00\x0c"
    (echo,) = tell(cf, Packet(Port.LINK, 0, b"ping"))
    assert echo.data == b"ping"


def test_nothing_flies_unarmed(cf: EmulatedCrazyflie) -> None:
    start = height(cf)
    for stream in (rpyt(60000), position(0, 0, 2), takeoff(1.0, 1.0)):
        fly(cf, 0.3, rpyt(0), stream)
        assert not rotors(cf).any() and height(cf) <= start


def test_setpoints_from_before_arming_are_not_flown_after_it(cf: EmulatedCrazyflie) -> None:
    fly(cf, 0.1, position(0, 0, 2))
    (answer,) = tell(cf, ARM)
    assert answer.data == b"\x81\x01\x01"
    fly(cf, 0.3)
    assert not rotors(cf).any()


def test_thrust_is_locked_until_a_zero(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM)
    fly(cf, 0.3, rpyt(HOVER))
    assert not rotors(cf).any()
    fly(cf, 0.02, rpyt(0))
    fly(cf, 0.3, rpyt(HOVER))
    assert rotors(cf).all()


def test_thrust_locks_again_when_setpoints_have_stopped(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM, rpyt(0))
    fly(cf, 2.1)
    assert cf.supervisor.armed  # on the ground nothing has timed out but the setpoint
    fly(cf, 0.2, rpyt(HOVER))
    assert not rotors(cf).any()


def test_it_levels_after_half_a_second_and_stops_after_two(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM, rpyt(0))
    fly(cf, 3.0, position(0, 0, 5))
    fly(cf, 0.2, rpyt(HOVER, roll=10.0))
    last = cf.time
    tilts = {}
    while cf.time < last + 2.4:
        cf.step(TICK)
        x, y, _, _ = cf.vehicle.true_state().quat_xyzw
        tilts[round(cf.time - last, 2)] = 2.0 * np.degrees(np.hypot(x, y))
        if cf.time - last < 1.95:
            assert cf.supervisor.armed and rotors(cf).all()
    assert tilts[0.45] == pytest.approx(10.0, abs=1.0)
    assert tilts[1.2] < 1.0
    assert not cf.supervisor.armed
    spun = rotors(cf).max()
    fly(cf, 0.5)
    assert rotors(cf).max() < 0.2 * spun  # e^(-0.5 s / 0.2494 s) of it is left
    assert np.isfinite(height(cf))


def test_an_aged_setpoint_of_height_keeps_the_height_while_it_levels(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM)
    fly(cf, 4.0, position(0, 0, 1.5))
    fly(cf, 1.8)
    assert height(cf) == pytest.approx(1.5, abs=0.05)


def test_an_emergency_stop_is_for_good(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM)
    fly(cf, 2.0, position(0, 0, 1))
    tell(cf, EMERGENCY)
    fly(cf, 1.0, position(0, 0, 1))
    assert height(cf) < 0.1 and cf.info() & Info.LOCKED
    (answer,) = tell(cf, ARM)
    assert answer.data == b"\x81\x00\x00"
    fly(cf, 0.2, position(0, 0, 1))
    assert not cf.supervisor.armed


@pytest.mark.parametrize(
    "stop", [Packet(Port.LOCALIZATION, 1, b"\3"), Packet(Port.PARAM, 3, b"\0stabilizer\0stop\0\x08\1")]
)
def test_older_ways_to_stop_do_the_same(cf: EmulatedCrazyflie, stop: Packet) -> None:
    tell(cf, ARM)
    fly(cf, 1.0, position(0, 0, 1))
    tell(cf, stop)
    fly(cf, 0.02)
    assert cf.info() & Info.LOCKED and not cf.supervisor.armed


def test_the_emergency_watchdog_must_be_fed_once_it_has_been(cf: EmulatedCrazyflie) -> None:
    feed = Packet(Port.SUPERVISOR, 1, b"\4")
    tell(cf, ARM)
    fly(cf, 2.0, position(0, 0, 1), feed)
    assert cf.supervisor.armed
    fly(cf, 0.95, position(0, 0, 1))
    assert cf.supervisor.armed
    fly(cf, 0.1, position(0, 0, 1))
    assert cf.supervisor.locked


def test_streamed_setpoints_keep_the_planner_out_until_told(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM)
    fly(cf, 3.0, position(0, 0, 1))
    goto = Packet(Port.HIGH_LEVEL, 0, struct.pack("<BB??fffff", 12, 0, False, False, 0.0, 0.0, 1.4, 0.0, 1.0))
    tell(cf, goto)
    fly(cf, 0.4)
    assert height(cf) == pytest.approx(1.0, abs=0.03)  # still the streamed one
    tell(cf, NOTIFY_STOP, goto)
    fly(cf, 2.0)
    assert height(cf) == pytest.approx(1.4, abs=0.03)
    assert cf.info() & Info.HIGH_LEVEL_FINISHED
    tell(cf, land(2.0))
    fly(cf, 3.0)
    assert height(cf) < 0.03 and cf.supervisor.armed and not cf.info() & Info.HIGH_LEVEL_ACTIVE
    fly(cf, 5.0)
    assert not cf.supervisor.armed  # 2 s until it counts as landed, and 3 s more


def test_armed_and_left_alone_it_disarms(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM)
    fly(cf, 29.9)
    assert cf.supervisor.armed
    fly(cf, 0.2)
    assert not cf.supervisor.armed


def test_upside_down_it_disarms_and_wants_recovery(cf: EmulatedCrazyflie) -> None:
    tell(cf, ARM)
    fly(cf, 2.0, position(0, 0, 3))
    tell(cf, *(Packet(Port.PARAM, 3, f"\0flightmode\0stabMode{a}\0\x08\0".encode()) for a in ("Roll", "Pitch", "Yaw")))
    tell(cf, rpyt(0))
    fly(cf, 1.2, rpyt(HOVER, roll=600.0))
    fly(cf, 3.0)
    assert cf.info() & Info.CRASHED and not cf.supervisor.armed
    assert tell(cf, ARM)[0].data == b"\x81\x00\x00"


def test_firmware_of_before_the_supervisor_port_arms_over_the_platform(
    build: Callable[..., EmulatedCrazyflie],
) -> None:
    cf = build(protocol=7)
    assert tell(cf, ARM) == [] and not cf.supervisor.armed
    tell(cf, Packet(Port.PLATFORM, 0, b"\1\1"))
    assert cf.supervisor.armed


def test_equal_bytes_give_equal_flights(build: Callable[..., EmulatedCrazyflie]) -> None:
    ends = []
    for _ in range(2):
        cf = build()
        tell(cf, ARM)
        fly(cf, 1.0, position(0.2, -0.1, 0.6, 30.0))
        ends.append(np.concatenate([cf.vehicle.true_state().position_w, cf.vehicle.true_state().quat_xyzw]))
    np.testing.assert_array_equal(*ends)
