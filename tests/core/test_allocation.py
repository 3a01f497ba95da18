"""Allocation: exact inside the limits, never beyond them, roll/pitch before thrust before yaw at them."""

from __future__ import annotations

import math
from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_stack.laws.allocation import RESPONSE_TIME, Mixer, allocate, lead_rotor_speeds, rotor_speeds
from control_stack.quadrotor.dynamics import rotor_acceleration, rotor_thrust, rotor_wrench
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle, vehicle_names

VEHICLES = {name: load_vehicle(name) for name in vehicle_names()}
# A payload on the body's x axis makes the rotors' shares unequal.
VEHICLES["x500 with a load ahead"] = VEHICLES["x500"].with_payload(0.3, np.array([0.1, 0.0, 0.0]))
names = st.sampled_from(sorted(VEHICLES))
part = st.floats(-1.0, 1.0)
share = st.floats(0.0, 1.0)


def scales(vehicle: QuadrotorParameters) -> np.ndarray:
    """Thrust, roll, pitch and yaw torque that one pair of rotors at full thrust can give."""
    pair = vehicle.max_thrust / 2.0
    arm = np.abs(vehicle.rotor_position).max(axis=0)
    return np.array([vehicle.max_thrust, pair * arm[1], pair * arm[0], pair * vehicle.torque_constant[0]])


def achieved(thrusts, vehicle: QuadrotorParameters) -> np.ndarray:
    total, torque = rotor_wrench(thrusts, vehicle.airframe)
    return np.array([total, *torque])


@given(names, st.tuples(share, share, share, share))
def test_reachable_wrenches_are_given_exactly(name: str, fractions):
    """Any wrench that comes from thrusts within the limits comes back as those thrusts.

    Yaw is the last priority, so roll, pitch and thrust have to fit without it; and the law takes the room for
    roll and pitch between the highest lower and the lowest upper limit per share, so that has to hold them.
    """
    vehicle = VEHICLES[name]
    mixer = Mixer.of(vehicle)
    low, high = np.array(mixer.thrust_min), np.array(mixer.thrust_max)
    thrusts = low + np.array(fractions) * (high - low)
    total, torque = rotor_wrench(tuple(thrusts.tolist()), vehicle.airframe)
    rows = np.array(mixer.rows)
    tilt, level = rows[:, 1:3] @ torque[:2], rows[:, 0]
    fits = np.all(level * total + tilt >= low) and np.all(level * total + tilt <= high)
    if fits and np.ptp(tilt / level) <= (high / level).min() - (low / level).max():
        given = allocate(total, torque, mixer)
        assert np.allclose(given, thrusts, rtol=1e-9, atol=1e-9 * vehicle.max_thrust)


@settings(max_examples=300)
@given(names, st.floats(-1.0, 2.0), st.tuples(part, part, part), st.floats(0.0, 4.0))
def test_limits_and_priority(name: str, thrust: float, torque, size: float):
    vehicle = VEHICLES[name]
    mixer, scale = Mixer.of(vehicle), scales(vehicle)
    wanted = np.array([thrust, *(size * t for t in torque)]) * scale
    out = allocate(float(wanted[0]), tuple(wanted[1:].tolist()), mixer)
    slack = 1e-9 * vehicle.max_thrust
    assert all(lo - slack <= f <= hi + slack for lo, f, hi in zip(mixer.thrust_min, out, mixer.thrust_max, strict=True))

    got = achieved(out, vehicle)
    close = 1e-9 * scale
    # Roll and pitch: the wanted direction, scaled by one k in [0, 1].
    k = 1.0
    norm = np.linalg.norm(wanted[1:3] / scale[1:3])
    if norm > 1e-6:
        k = float(got[1:3] / scale[1:3] @ (wanted[1:3] / scale[1:3]) / norm**2)
        assert -1e-9 <= k <= 1.0 + 1e-9
    assert np.all(np.abs(got[1:3] - k * wanted[1:3]) <= 10.0 * close[1:3])
    # Yaw: the wanted sign, never more than wanted.
    assert got[3] * wanted[3] >= -close[3] * abs(wanted[3]) and abs(got[3]) <= abs(wanted[3]) + close[3]

    # Each is what it would be if those of lower priority had not been asked for.
    without_yaw = achieved(allocate(float(wanted[0]), (*wanted[1:3].tolist(), 0.0), mixer), vehicle)
    assert np.all(np.abs(got[:3] - without_yaw[:3]) <= 10.0 * close[:3])
    other_thrust = achieved(allocate(0.5 * vehicle.max_thrust, (*wanted[1:3].tolist(), 0.0), mixer), vehicle)
    assert np.all(np.abs(got[1:3] - other_thrust[1:3]) <= 10.0 * close[1:3])


@given(names, st.floats(0.0, 1.0), st.tuples(part, part))
def test_thrust_moves_no_more_than_needed(name: str, thrust: float, torque):
    """Where the collective is not what was asked, some rotor is at the limit that stopped it."""
    vehicle = VEHICLES[name]
    mixer, scale = Mixer.of(vehicle), scales(vehicle)
    wanted = thrust * scale[0]
    out = allocate(float(wanted), (torque[0] * float(scale[1]), torque[1] * float(scale[2]), 0.0), mixer)
    slack = 1e-9 * vehicle.max_thrust
    if sum(out) > wanted + slack:
        assert any(f - lo <= slack for f, lo in zip(out, mixer.thrust_min, strict=True))
    elif sum(out) < wanted - slack:
        assert any(hi - f <= slack for f, hi in zip(out, mixer.thrust_max, strict=True))


def test_no_thrust_and_full_roll_still_rolls(vehicle: QuadrotorParameters):
    """Idle on the way down, the vehicle still turns: thrust is raised to make room for roll."""
    torque = 0.3 * scales(vehicle)[1]
    total, got = rotor_wrench(allocate(0.0, (float(torque), 0.0, 0.0), Mixer.of(vehicle)), vehicle.airframe)
    assert got[0] == pytest.approx(torque) and total > 0.0


def test_batches_and_symbols_take_the_same_path(vehicle: QuadrotorParameters):
    mixer, scale = Mixer.of(vehicle), scales(vehicle)
    wanted = np.random.default_rng(4).uniform(-1.5, 1.5, (100, 4)) * scale
    columns = tuple(wanted.T)
    batch = np.stack(allocate(columns[0], columns[1:], mixer), axis=-1)
    s = ca.SX.sym("w", 4)
    f = ca.Function("f", [s], [ca.vertcat(*allocate(s[0], (s[1], s[2], s[3]), mixer))])
    for row, expected in zip(batch, wanted, strict=True):
        one = allocate(float(expected[0]), tuple(expected[1:].tolist()), mixer)
        assert np.allclose(row, one, rtol=0.0, atol=1e-12 * vehicle.max_thrust)
        assert np.allclose(np.array(f(expected)).ravel(), one, rtol=0.0, atol=1e-12 * vehicle.max_thrust)


@given(names, st.floats(0.1, 0.8), st.tuples(part, part, part))
def test_rotor_speeds_make_the_thrusts_that_were_allocated(name: str, thrust: float, torque):
    vehicle = VEHICLES[name]
    mixer, scale = Mixer.of(vehicle), scales(vehicle)
    wanted = (float(thrust * scale[0]), tuple((0.3 * np.array(torque) * scale[1:]).tolist()))
    speeds = rotor_speeds(*wanted, mixer, vehicle.airframe)
    assert np.allclose(
        rotor_thrust(speeds, vehicle.airframe),
        allocate(*wanted, mixer),
        rtol=1e-9,
        atol=1e-9 * vehicle.max_thrust,
    )


@pytest.mark.parametrize(("start", "goal"), [(0.5, 0.52), (0.6, 0.58)])
def test_lead_makes_every_rotor_answer_within_response_time(vehicle: QuadrotorParameters, start: float, goal: float):
    """A small step reaches 1 - 1/e in RESPONSE_TIME, or in the rotor's own lag where that is shorter."""
    top = float(vehicle.rotor_speed_max[0])
    own = vehicle.rise_time[0] if goal > start else vehicle.fall_time[0]
    expected = min(RESPONSE_TIME, float(own))
    speed, dt, n = (start * top,) * 4, expected / 2000, 2000
    for _ in range(n):
        command = lead_rotor_speeds((goal * top,) * 4, speed, vehicle.airframe)
        rate = rotor_acceleration(speed, command, vehicle.airframe)
        speed = tuple(w + dt * r for w, r in zip(speed, rate, strict=True))
    reached = (speed[0] / top - start) / (goal - start)
    assert reached == pytest.approx(1.0 - math.exp(-1.0), abs=1e-3)


@given(names, share, share)
def test_lead_stays_within_the_rotors_range_and_towards_the_goal(name: str, now: float, goal: float):
    vehicle = VEHICLES[name]
    airframe = vehicle.airframe
    low, high = airframe.rotor_speed_min[0], airframe.rotor_speed_max[0]
    now, goal = low + now * (high - low), low + goal * (high - low)
    for command in lead_rotor_speeds((goal,) * 4, (now,) * 4, airframe):
        assert low <= command <= high
        assert (command - goal) * (goal - now) >= -1e-9 * high * abs(goal - now)  # at or beyond the goal


def test_lead_computes_in_the_type_it_is_given(crazyflie: QuadrotorParameters):
    torch = pytest.importorskip("torch")
    goal, now = (torch.full((3,), v, dtype=torch.float64) for v in (1500.0, 1499.0))
    command = lead_rotor_speeds((goal,) * 4, (now,) * 4, crazyflie.airframe)[0]
    assert command.dtype is torch.float64
    assert command.tolist() == pytest.approx([1499.0 + crazyflie.rise_time[0] / RESPONSE_TIME] * 3, rel=1e-14)


def test_rotors_of_unequal_strength(crazyflie: QuadrotorParameters):
    """A vehicle that knows one rotor is weak allocates within that rotor's limit."""
    curve = crazyflie.thrust_curve * np.array([1.0, 1.0, 0.6, 1.0])[:, None]
    weak = replace(crazyflie, thrust_curve=curve)
    mixer = Mixer.of(weak)
    assert mixer.thrust_max[2] == pytest.approx(0.6 * mixer.thrust_max[0])
    out = allocate(weak.max_thrust, (0.0, 0.0, 0.0), mixer)
    assert max(out) <= mixer.thrust_max[2] * (1 + 1e-12)  # more would roll and pitch it
    assert np.allclose(achieved(out, weak)[1:], 0.0, atol=1e-12)
