"""Among other vehicles: rows that keep two apart, gains that are asked for beside them, and the network's in flight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import InputRejected
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.barrier.filter import Answer, Others, SafetyFilter
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST, Pair, directions, pair_limits
from control_stack.safety.barrier.scene import BarrierGains, Bounds, Scene
from control_stack.safety.crossing.gains import Adapted
from control_stack.safety.crossing.setting import wanted_velocity
from control_stack.types import CommandLevel, QuadrotorState, RatesThrustCommand, Reference
from controllers.geometric import GeometricController
from sim.config import SimulationConfig
from sim.factory import make_vehicle

pytest.importorskip("daqp")
VEHICLE = load_vehicle("crazyflie")
OPEN = Scene("open", bounds=Bounds(speed=2.0), gains=BarrierGains(distance=16.0, speed=6.0))


def at(position, velocity=(0.0, 0.0, 0.0)) -> QuadrotorState:
    hover = np.full(4, VEHICLE.hover_rotor_speed)
    upright = np.array([0.0, 0.0, 0.0, 1.0])
    return QuadrotorState(np.array(position, float), np.array(velocity, float), upright, np.zeros(3), hover)


def one_other(position, velocity=(0.0, 0.0, 0.0), **given) -> Others:
    return Others(np.array([position], float), np.array([velocity], float), np.zeros((1, 3)), 0.4, **given)


def rows_of(guard: SafetyFilter, state: QuadrotorState, others: Others):
    return guard.rows(guard.thrust.look(state), others)


@pytest.mark.parametrize("gain", [1.0, 8.0, HIGHEST])
def test_two_that_keep_their_halves_of_the_row_never_come_too_near(gain):
    """Two points of the derivation on a line, thrust with a lag, each going at the other with all that its row allows,
    the unknown acceleration of both against them."""
    pair = Pair(0.4, 0.0, 4.0, 0.6, 6.0, 10.0, 0.0)
    p, v, f, dt, least = np.array([-2.0, 2.0]), np.zeros(2), np.zeros(2), 0.001, np.inf
    way = np.array([1.0, -1.0])
    for _ in range(4000):
        n, length = directions(np.array([[p[0] - p[1], 0.0]]))
        relative = np.array([[v[0] - v[1], 0.0]]), np.array([[f[0] - f[1], 0.0]])
        limit = 0.5 * float(pair_limits(n, length, *relative, np.array([gain]), pair)[0])
        command = way * min(3.0, limit)
        f = f + (1.0 - np.exp(-10.0 * dt)) * (command - f)
        v = v + dt * (f + 0.3 * way)
        p = p + dt * v
        least = min(least, float(p[1] - p[0]))
    assert least > 0.4 - 4e-3  # of the integration
    assert least < 0.55  # and they did come as near as it lets them


def test_gains_that_are_asked_for_only_ever_tighten_the_row():
    guard, rng = SafetyFilter(OPEN, VEHICLE), np.random.default_rng(0)
    tighter = 0
    for _ in range(100):
        state = at((0, 0, 1), rng.uniform(-1.0, 1.0, 3))
        others = one_other(rng.uniform(-1.0, 1.0, 3), rng.uniform(-1.0, 1.0, 3))
        n, limits = rows_of(guard, state, others)
        for gain in (LOWEST, 2.0, 100.0 * HIGHEST):  # the last is cut down to what may be asked for
            asked_n, asked = rows_of(guard, state, replace(others, gains=np.array([gain])))
            np.testing.assert_array_equal(n, asked_n)
            assert (asked <= limits).all()
            tighter += int((asked < limits).any())
        same = rows_of(guard, state, replace(others, gains=np.array([OPEN.gains.distance])))[1]
        np.testing.assert_array_equal(same, limits)
    assert tighter > 100


def test_what_is_only_asked_for_never_makes_it_brake():
    guard, state = SafetyFilter(OPEN, VEHICLE), at((0, 0, 1), (0.0, 1.2, 0.0))
    hover = RatesThrustCommand(np.zeros(3), float(VEHICLE.mass) * GRAVITY)
    around = np.array([[0.9, 0.2, 1.0], [-0.9, 0.2, 1.0], [0.0, 1.6, 1.0], [0.0, -1.0, 1.0]])
    others = Others(around, np.zeros((4, 3)), np.zeros((4, 3)), 0.4)
    asked = replace(others, gains=np.full(4, LOWEST))
    rows, limits = rows_of(guard, state, asked)
    assert guard._nearest(np.array([0.0, 0.0, GRAVITY]), rows, limits, guard.thrust.look(state)) is None
    guard.reset()
    flown = guard(state, hover, asked)
    assert guard.answer is Answer.CHANGED
    guard.reset()
    np.testing.assert_array_equal(flown.omega_b, guard(state, hover, others).omega_b)


def test_seen_from_above_the_height_does_not_count():
    guard, state = SafetyFilter(OPEN, VEHICLE), at((0, 0, 1), (0.5, 0.0, 0.0))
    for height in (1.0, 1.3, 3.0):
        others = one_other((0.6, 0.0, height), horizontal=True)
        n, limits = rows_of(guard, state, others)
        np.testing.assert_allclose(n[0], [1.0, 0.0, 0.0], atol=1e-12)
        if height == 1.0:
            level = limits[0]
        assert limits[0] == pytest.approx(level)
    far_above = rows_of(guard, state, one_other((0.6, 0.0, 3.0)))[1]
    assert far_above[0] > level + 5.0


@pytest.mark.parametrize("part, value, reason", [
    ("velocity", np.full((1, 3), np.nan), "nan"), ("gains", np.array([np.inf]), "nan"),
    ("gains", np.ones(2), "shape"), ("acceleration", np.zeros(3), "shape"),
])  # fmt: skip
def test_others_that_cannot_be_meant_are_refused(part, value, reason):
    guard = SafetyFilter(OPEN, VEHICLE)
    hover = RatesThrustCommand(np.zeros(3), float(VEHICLE.mass) * GRAVITY)
    with pytest.raises(InputRejected) as raised:
        guard(at((0, 0, 1)), hover, replace(one_other((1.0, 0.0, 1.0)), **{part: value}))
    assert raised.value.reason == reason


def test_an_empty_sky_asks_for_nothing():
    nobody = Others(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), 0.4)
    asked = Adapted()(at((0, 0, 1)), nobody, np.array([1.0, 0.0, 1.0]))
    assert asked.gains.shape == (0,)


def _crossing(starts, goals, adapted: bool, seconds: float, distance: float = 0.5):
    """Vehicles on the full model that go straight to their goals. Returns (n,) distances left, and the least of the
    distances between centres."""
    guards = [SafetyFilter(OPEN, VEHICLE) for _ in starts]
    vehicles, controller = [], GeometricController(VEHICLE, CommandLevel.CTBR)
    for start in starts:
        vehicle = make_vehicle("analytic", VEHICLE, SimulationConfig(position_w=tuple(start)))
        vehicle.connect()
        vehicle.reset(at(start))
        vehicle.arm()
        vehicles.append(vehicle)
    network, least = Adapted(lag=guards[0].thrust.lag), np.inf
    for k in range(round(seconds * 100)):
        states = [vehicle.state() for vehicle in vehicles]
        p, v = np.array([s.position_w for s in states]), np.array([s.velocity_w for s in states])
        a = np.array([guard.acceleration for guard in guards])
        for i, state in enumerate(states):
            rest = np.arange(len(states)) != i
            others = Others(p[rest], v[rest], a[rest], distance, horizontal=True)
            asked = network(state, others, goals[i]) if adapted else others
            wish = np.append(wanted_velocity((goals[i] - p[i])[:2], np.array(1.2)), 0.0)
            command = controller(0.01 * k, state, Reference(np.array([*p[i, :2], 1.0]), wish))
            vehicles[i].send(guards[i](state, command, asked))
        for vehicle in vehicles:
            vehicle.step(0.01)
        p = np.array([vehicle.true_state().position_w[:2] for vehicle in vehicles])
        apart = np.linalg.norm(p[:, None] - p, axis=-1) + np.diag(np.full(len(p), np.inf))
        least = min(least, float(apart.min()))
    for vehicle in vehicles:
        vehicle.close()
    return np.linalg.norm(p - goals[:, :2], axis=-1), least


def test_the_networks_gains_let_four_pass_where_one_gain_blocks_them():
    """From the corners of a square nobody comes first and no side is nearer, except to a vehicle that treats its left
    and its right neighbour differently."""
    turn = 0.5 * np.pi * np.arange(4)
    starts = np.column_stack([1.2 * np.cos(turn), 1.2 * np.sin(turn), np.ones(4)])
    goals = starts[[2, 3, 0, 1]]
    left, least = _crossing(starts, goals, adapted=False, seconds=5.0)
    assert least > 0.5 and (left > 0.8).all()
    left, least = _crossing(starts, goals, adapted=True, seconds=5.0)
    assert least > 0.5 and (left < 0.2).all()
