"""Every setpoint of the wire flies where its maker says; signs are checked by where the vehicle goes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from emulated_crazyflie import emulator
from hypothesis import given
from hypothesis import strategies as st

from control_stack.algebra import yaw_of
from control_stack.crazyflie.quaternion import compress
from control_stack.crazyflie.wire import Packet, Port
from sim.emulators.crazyflie.firmware import EmulatedCrazyflie
from sim.emulators.crazyflie.planner import Path, Planner, State

TICK = 0.01
HEIGHT = 2.0
HOVER = 29491  # 26.5 gram-force of 60


def generic(kind: int, *values: float) -> Packet:
    return Packet(Port.GENERIC, 0, struct.pack(f"<B{len(values)}f", kind, *values))


def manual(roll: float, pitch: float, yaw_rate: float, thrust: int, rate: bool) -> Packet:
    return Packet(Port.GENERIC, 0, struct.pack("<BfffH?", 11, roll, pitch, yaw_rate, thrust, rate))


def rpyt(roll: float, pitch: float, yaw: float, thrust: int = HOVER) -> Packet:
    return Packet(Port.COMMANDER, 0, struct.pack("<fffH", roll, pitch, yaw, thrust))


def modes(roll: int, pitch: int, yaw: int) -> list[Packet]:
    values = {"Roll": roll, "Pitch": pitch, "Yaw": yaw}
    return [Packet(Port.PARAM, 3, f"\0flightmode\0stabMode{a}\0\x08".encode() + bytes((v,))) for a, v in values.items()]


@pytest.fixture(scope="module")
def aloft() -> Iterator[EmulatedCrazyflie]:
    cf = emulator()
    yield cf
    cf.close()


@pytest.fixture
def cf(aloft: EmulatedCrazyflie) -> EmulatedCrazyflie:
    """Hovering 2 m above the origin, heading +x, rate and angle modes as after power-up, thrust unlocked."""
    aloft.vehicle.reset()
    aloft.supervisor.__init__()  # type: ignore[misc]
    aloft.commander.reset()
    send(aloft, Packet(Port.SUPERVISOR, 1, b"\1\1"), *modes(1, 1, 0), rpyt(0.0, 0.0, 0.0, 0))
    fly(aloft, 4.0, generic(7, 0.0, 0.0, HEIGHT, 0.0))
    return aloft


def send(cf: EmulatedCrazyflie, *packets: Packet) -> None:
    for packet in packets:
        cf.handle(packet.encode())


def fly(cf: EmulatedCrazyflie, seconds: float, *stream: Packet) -> None:
    for _ in range(round(seconds / TICK)):
        send(cf, *stream)
        cf.step(TICK)


def pose(cf: EmulatedCrazyflie) -> tuple[np.ndarray, float]:
    state = cf.vehicle.true_state()
    return state.position_w, float(yaw_of(tuple(state.quat_xyzw)))


def test_position_and_heading(cf: EmulatedCrazyflie) -> None:
    fly(cf, 3.0, generic(7, 0.5, -0.3, 1.5, 60.0))
    position, yaw = pose(cf)
    np.testing.assert_allclose(position, [0.5, -0.3, 1.5], atol=0.01)
    assert yaw == pytest.approx(np.radians(60.0), abs=0.01)


def test_full_state(cf: EmulatedCrazyflie) -> None:
    """A circle with its velocities is tracked far better than the same positions alone would be."""
    errors = []
    for k in range(600):
        a = 0.01 * k
        p = np.array([0.4 * np.sin(a), 0.4 * (1 - np.cos(a)), HEIGHT])
        v = 0.4 * np.array([np.cos(a), np.sin(a), 0.0])
        numbers = np.rint(1e3 * np.concatenate([p, v, np.zeros(3)])).astype(int)
        send(
            cf,
            Packet(Port.GENERIC, 0, struct.pack("<B9hI3h", 6, *numbers, compress([0.0, 0.0, 0.0, 1.0]), 0, 0, 0)),
        )
        cf.step(TICK)
        errors.append(np.linalg.norm(pose(cf)[0] - p))
    assert max(errors[200:]) < 0.08


@pytest.mark.parametrize(("kind", "sign"), [(8, 1.0), (1, -1.0)])
def test_world_velocity(cf: EmulatedCrazyflie, kind: int, sign: float) -> None:
    fly(cf, 2.0, generic(kind, 0.3, -0.2, 0.1, sign * 30.0))
    state = cf.vehicle.true_state()
    np.testing.assert_allclose(state.velocity_w, [0.3, -0.2, 0.1], atol=0.02)
    assert state.omega_b[2] == pytest.approx(np.radians(30.0), abs=0.02)
    assert pose(cf)[1] == pytest.approx(np.radians(60.0), abs=0.1)


@pytest.mark.parametrize(("kind", "sign"), [(10, 1.0), (5, -1.0)])
def test_hover_flies_along_its_own_heading(cf: EmulatedCrazyflie, kind: int, sign: float) -> None:
    fly(cf, 3.0, generic(7, 0.0, 0.0, HEIGHT, 90.0))
    start = pose(cf)[0].copy()
    fly(cf, 2.0, generic(kind, 0.3, 0.0, 0.0, 1.5))
    moved = pose(cf)[0] - start
    assert moved[1] > 0.3 and abs(moved[0]) < 0.02
    assert pose(cf)[0][2] == pytest.approx(1.5, abs=0.03)
    fly(cf, 1.0, generic(kind, 0.0, 0.0, sign * 45.0, 1.5))
    assert cf.vehicle.true_state().omega_b[2] == pytest.approx(np.radians(45.0), abs=0.02)


@pytest.mark.parametrize(("kind", "last"), [(9, HEIGHT), (2, HEIGHT), (4, 0.0)])
def test_tilt_with_height_or_climb_held(cf: EmulatedCrazyflie, kind: int, last: float) -> None:
    """Roll right moves right (-y). The pitch field is reversed: positive lifts the nose and moves back (-x)."""
    fly(cf, 1.0, generic(kind, 8.0, 0.0, 0.0, last))
    assert cf.vehicle.true_state().velocity_w[1] < -0.3
    fly(cf, 3.0, generic(7, 0.0, 0.0, HEIGHT, 0.0))
    fly(cf, 1.0, generic(kind, 0.0, 8.0, 0.0, last))
    assert cf.vehicle.true_state().velocity_w[0] < -0.3
    assert pose(cf)[0][2] == pytest.approx(HEIGHT, abs=0.1)


@pytest.mark.parametrize("make", [rpyt, lambda r, p, y: manual(r, p, y, HOVER, False)])
def test_legacy_angles(cf: EmulatedCrazyflie, make) -> None:
    fly(cf, 0.6, make(8.0, 0.0, 0.0))
    assert cf.vehicle.true_state().velocity_w[1] < -0.2
    fly(cf, 3.0, generic(7, 0.0, 0.0, HEIGHT, 0.0))
    fly(cf, 0.6, make(0.0, 8.0, 0.0))
    assert cf.vehicle.true_state().velocity_w[0] < -0.2


def test_legacy_yaw_rate_is_clockwise_and_that_of_manual_is_not(cf: EmulatedCrazyflie) -> None:
    fly(cf, 1.5, rpyt(0.0, 0.0, 40.0))
    assert cf.vehicle.true_state().omega_b[2] == pytest.approx(-np.radians(40.0), abs=0.03)
    fly(cf, 2.0, manual(0.0, 0.0, 40.0, HOVER, False))
    assert cf.vehicle.true_state().omega_b[2] == pytest.approx(np.radians(40.0), abs=0.03)


def test_legacy_yaw_angle_is_counter_clockwise(cf: EmulatedCrazyflie) -> None:
    send(cf, *modes(1, 1, 1))
    fly(cf, 1.5, rpyt(0.0, 0.0, 30.0))
    assert pose(cf)[1] == pytest.approx(np.radians(30.0), abs=0.03)


@pytest.mark.parametrize("axis", [0, 1])
def test_legacy_rates(cf: EmulatedCrazyflie, axis: int) -> None:
    """Body rates in FLU are (roll, -pitch, -yaw) of the packet."""
    send(cf, *modes(0, 0, 0))
    values = [0.0, 0.0, 0.0]
    values[axis] = 60.0
    fly(cf, 0.25, rpyt(*values))
    expected = np.radians(values) * np.array([1.0, -1.0, -1.0])
    np.testing.assert_allclose(cf.vehicle.true_state().omega_b, expected, atol=0.1)


def test_one_axis_by_rate_and_the_others_by_angle(cf: EmulatedCrazyflie) -> None:
    send(cf, *modes(0, 1, 1))
    fly(cf, 0.25, rpyt(60.0, 0.0, 0.0))
    omega = cf.vehicle.true_state().omega_b
    assert omega[0] == pytest.approx(np.radians(60.0), abs=0.1) and abs(omega[1]) < 0.1


def test_stop_stops(cf: EmulatedCrazyflie) -> None:
    fly(cf, 0.3, generic(0))
    assert cf.vehicle.true_state().rotor_speed.max() < 600.0 and pose(cf)[0][2] < HEIGHT


@given(
    st.lists(st.floats(-3.0, 3.0), min_size=8, max_size=8),
    st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4),
    st.floats(0.1, 20.0),
)
def test_paths_begin_as_asked_and_end_at_rest(ends: list[float], velocity: list[float], duration: float) -> None:
    begin, end = np.array(ends[:4]), np.array(ends[4:])
    path = Path.between(5.0, duration, begin, np.array(velocity), end)
    for t, value, speed in ((5.0, begin, velocity), (5.0 + duration, end, np.zeros(4))):
        at, slope = path.at(t)
        np.testing.assert_allclose(at, value, atol=1e-6)
        np.testing.assert_allclose(slope, speed, atol=1e-6)
    h = 1e-6 * duration
    middle = 5.0 + 0.4 * duration
    difference = (path.at(middle + h)[0] - path.at(middle - h)[0]) / (2 * h)
    np.testing.assert_allclose(path.at(middle)[1], difference, atol=1e-4 * (1.0 + np.abs(difference).max()))


def test_the_planner_takes_off_once_and_turns_the_shorter_way() -> None:
    planner, here = Planner(), np.array([1.0, 2.0, 0.0, 3.0])
    up = struct.pack("<BBff?f", 7, 0, 1.0, -3.0, False, 2.0)
    assert planner.handle(up, 0.0, here) and not planner.handle(up, 0.5, here)
    assert planner.state is State.FLYING
    end = planner.setpoint(2.0)
    assert end.position == pytest.approx((1.0, 2.0, 1.0))
    assert end.rpy[2] == pytest.approx(2.0 * np.pi - 3.0)  # 16 degrees on, not 344 back
    assert planner.handle(struct.pack("<BBff?f", 8, 0, 0.0, 0.0, True, 1.0), 2.0, here)
    assert planner.setpoint(3.0).stops and planner.state is State.IDLE
