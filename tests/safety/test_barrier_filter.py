"""The filter on one vehicle: what it leaves alone, what it changes, what it never lets through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control_stack.errors import IncompatibleLevels, InputRejected, InvalidInput
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.barrier.filter import Answer, Others, SafetyFilter
from control_stack.safety.barrier.projection import solve
from control_stack.safety.barrier.scene import Bounds, Margin, Obstacle, Scene, Walls
from control_stack.types import (
    AttitudeThrustCommand,
    CommandLevel,
    PositionCommand,
    QuadrotorState,
    RatesThrustCommand,
    Reference,
    RotorCommand,
)
from controllers.geometric import GeometricController
from sim.config import SimulationConfig
from sim.factory import make_vehicle

pytest.importorskip("daqp")
VEHICLE = load_vehicle("crazyflie")
ROOM = Scene("room", Walls((-2.0, 2.0), (-2.0, 2.0), (0.2, 2.5)), margin=Margin(wind=2.0))
# rad that the attitude loop goes beyond the limit of tilt, behind controllers and with any commands: docs/safety.md
OVERSHOOT, WILD_OVERSHOOT = 0.03, 0.1
LEVELS = (CommandLevel.ROTORS, CommandLevel.CTBR, CommandLevel.ATTITUDE)


def at(position, velocity=(0.0, 0.0, 0.0)) -> QuadrotorState:
    hover = np.full(4, VEHICLE.hover_rotor_speed)
    upright = np.array([0.0, 0.0, 0.0, 1.0])
    return QuadrotorState(np.array(position, float), np.array(velocity, float), upright, np.zeros(3), hover)


def hover_commands():
    weight = float(VEHICLE.mass) * GRAVITY
    return (
        RotorCommand(np.full(4, VEHICLE.hover_rotor_speed), 3.0),
        RatesThrustCommand(np.array([0.1, -0.2, 0.3]), weight, 3.0),
        AttitudeThrustCommand(np.array([0.0, 0.0, 0.0, 1.0]), weight, stamp=3.0),
    )


@pytest.mark.parametrize("command", hover_commands(), ids=[v.value for v in LEVELS])
def test_a_safe_command_is_passed_on_bit_for_bit(command):
    guard = SafetyFilter(ROOM, VEHICLE)
    assert guard(at((0, 0, 1)), command) is command
    assert guard.answer is Answer.UNCHANGED and guard.counts[Answer.UNCHANGED] == 1


@pytest.mark.parametrize("level", LEVELS)
def test_the_flown_thrust_vector_is_the_nearest_admissible_one(level):
    guard = SafetyFilter(replace(ROOM, obstacles=(Obstacle((1.2, 0.6, 1.0), (1.2, 0.6, 1.0), 0.4),)), VEHICLE)
    state, seen = at((1.2, 0.0, 1.2), (1.0, 0.3, 0.2)), []
    plain = guard.thrust.write
    guard.thrust.write = lambda force, like, outlook: (seen.append((force, outlook)), plain(force, like, outlook))[1]
    command = GeometricController(VEHICLE, level)(0.0, state, Reference(np.array([3.0, 1.0, 1.5])))
    outlook = guard.thrust.look(state)
    wanted, least = guard.thrust.read(command, outlook), guard.thrust.lowest
    guard(state, command)
    assert guard.answer is Answer.CHANGED
    force = seen[0][0]
    rows, limits = guard.rows(seen[0][1])
    assert (rows @ force - limits).max() < 1e-6
    # Nearest among those that keep the rows of the scene alone: no solution without motors and cone is much nearer.
    loose = solve(wanted, rows, limits)
    assert np.linalg.norm(force - wanted) >= np.linalg.norm(loose - wanted) - 1e-6
    for direction in np.random.default_rng(0).normal(size=(2000, 3)) * 0.3:
        other = force + direction
        tilted = np.hypot(*other[:2]) > np.tan(guard._tilt) * np.cos(np.pi / 16) * other[2]
        body = outlook.body @ other
        turned = max(abs(body[0]), abs(body[1])) > guard.thrust.steepest * GRAVITY  # the thrust before the first
        weak = not least <= body[2] <= guard.thrust.most
        if not (tilted or turned or weak) and (rows @ other - limits <= 0.0).all():
            assert np.linalg.norm(other - wanted) >= np.linalg.norm(force - wanted) - 1e-6


@pytest.mark.parametrize("level", LEVELS)
def test_read_and_write_agree(level):
    """A thrust vector that is written and then read is the same, but for the time that the thrust takes."""
    guard = SafetyFilter(ROOM, VEHICLE)
    thrust = guard.thrust
    state = at((0, 0, 1))
    like = dict(zip(LEVELS, hover_commands(), strict=True))[level]
    outlook = thrust.look(state)
    wanted = np.array([1.5, -0.7, GRAVITY])
    again = thrust.read(thrust.write(wanted, like, outlook), outlook)
    np.testing.assert_allclose(again, wanted, rtol=0.0, atol=0.12)


def test_between_walls_that_are_too_near_it_brakes_and_then_holds():
    narrow = replace(ROOM, fence=Walls((-0.05, 0.05), (-2.0, 2.0), (0.2, 2.5)))
    guard = SafetyFilter(narrow, VEHICLE)
    fast = RatesThrustCommand(np.zeros(3), float(VEHICLE.mass) * GRAVITY)
    flown = guard(at((0, 0, 1), (0.0, 1.5, 0.0)), fast)
    assert guard.answer is Answer.FALLBACK and flown is not fast
    assert flown.omega_b[0] > 0.5  # tilts back against the velocity, y being to the left of x
    assert guard._anchor is None
    guard(at((0, 0.3, 1), (0.0, 0.1, 0.0)), fast)
    assert guard.answer is Answer.FALLBACK
    np.testing.assert_allclose(guard._anchor, [0.0, 0.3, 1.0], atol=0.02)  # now it holds its place
    assert guard.counts[Answer.FALLBACK] == 2


@pytest.mark.parametrize("bad", ["nan", "level", "state"])
def test_what_cannot_be_guarded_is_never_flown(bad):
    guard, state = SafetyFilter(ROOM, VEHICLE), at((0, 0, 1))
    command = RatesThrustCommand(np.array([np.nan, 0.0, 0.0]), 0.3) if bad == "nan" else hover_commands()[1]
    if bad == "level":
        command = PositionCommand(np.zeros(3))
    if bad == "state":
        state = at((np.nan, 0, 1))
    with pytest.raises(InputRejected):
        guard(state, command)


@pytest.mark.parametrize("level", LEVELS)
def test_a_command_that_lets_the_rotors_stop_is_not_passed_on(level):
    """Without thrust there is no torque: the body would go on turning, whatever was asked for next."""
    off = {
        CommandLevel.ROTORS: RotorCommand(np.zeros(4)),
        CommandLevel.CTBR: RatesThrustCommand(np.zeros(3), 0.0),
        CommandLevel.ATTITUDE: AttitudeThrustCommand(np.array([0.0, 0.0, 0.0, 1.0]), 0.0),
    }[level]
    guard, vehicle = SafetyFilter(Scene("open"), VEHICLE), _aloft(VEHICLE, (0.0, 0.0, 9.0))
    for _ in range(30):  # they coast down in half that time
        vehicle.send(guard(vehicle.state(), off))
        vehicle.step(0.01)
        c0, c1, c2 = np.asarray(VEHICLE.thrust_curve).T
        speed = vehicle.true_state().rotor_speed
        assert (c0 + c1 * speed + c2 * speed**2).sum() > 0.18 * float(VEHICLE.mass) * GRAVITY
    assert guard.answer is Answer.CHANGED
    vehicle.close()


@pytest.mark.parametrize("level", LEVELS)
def test_braking_stays_within_tilt_and_what_the_body_rates_can_do(level):
    narrow = replace(ROOM, fence=Walls((-0.05, 0.05), (-2.0, 2.0), (0.2, 2.5)), bounds=Bounds(tilt=0.6))
    guard, seen = SafetyFilter(narrow, VEHICLE), []
    plain = guard.thrust.write
    guard.thrust.write = lambda force, like, outlook: (seen.append((force, outlook)), plain(force, like, outlook))[1]
    like = dict(zip(LEVELS, hover_commands(), strict=True))[level]
    guard.thrust._thrust = 0.25 * GRAVITY  # little: a body that has to be turned far for the same force
    aside = guard.thrust.farthest_aside
    assert aside < 1.2 * 0.25 * GRAVITY  # 12 rad/s at 10 1/s: so little thrust cannot turn the body as fast
    guard(at((0, 0, 1), (0.5, 2.5, -1.0)), like)
    assert guard.answer is Answer.FALLBACK
    force, outlook = seen[0]
    assert np.hypot(*force[:2]) <= np.tan(0.6) * force[2] + 1e-9
    assert np.abs(outlook.body[:2] @ force).max() <= aside + 1e-6
    assert force @ np.array([0.5, 2.5, 0.0]) < 0.0


def test_levels_that_are_closed_on_board_are_refused_with_the_reason():
    with pytest.raises(IncompatibleLevels, match="loops on board"):
        SafetyFilter(ROOM, VEHICLE).check_levels([CommandLevel.VELOCITY], "mine")


def test_a_scene_in_which_it_could_not_brake_is_refused_with_the_numbers():
    with pytest.raises(InvalidInput, match=r"upwards by at most [0-9.]+ m/s\^2.*12.00 m/s\^2.*0.83"):
        SafetyFilter(replace(ROOM, bounds=Bounds(acceleration=12.0)), VEHICLE)
    with pytest.raises(InvalidInput, match="sideways"):
        SafetyFilter(replace(ROOM, bounds=Bounds(tilt=0.2)), VEHICLE)


def _aloft(parameters, start):
    """An analytic vehicle that hovers."""
    vehicle = make_vehicle("analytic", parameters, SimulationConfig(position_w=start))
    vehicle.connect()
    hover = np.full(4, parameters.hover_rotor_speed)
    vehicle.reset(QuadrotorState(np.array(start), np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), hover))
    vehicle.arm()
    return vehicle


def _flight(scene, level, wish, seconds, start=(0.0, 0.0, 1.2), push=True, parameters=VEHICLE):
    """The full model under a wish (t, state) -> reference, pushed towards the nearest surface with all that the filter
    was told may be unknown. Returns clearances of the hull, speeds, tilts and the filter."""
    guard, vehicle = SafetyFilter(scene, parameters), _aloft(parameters, start)
    controller = GeometricController(parameters, level)
    path = []
    for k in range(round(seconds * 100)):
        state = vehicle.state()
        if push:
            surfaces = guard.seen(state.position_w)
            n = surfaces.towards[surfaces.gap.argmin()]
            vehicle.set_disturbance(0.95 * guard.unknown * float(parameters.mass) * n, np.zeros(3))
        vehicle.send(guard(state, controller(0.01 * k, state, wish(0.01 * k, state))))
        vehicle.step(0.01)
        path.append(np.concatenate([vehicle.true_state().position_w, vehicle.true_state().velocity_w,
                                    vehicle.true_state().quat_xyzw]))  # fmt: skip
    vehicle.close()
    x = np.array(path)
    walls = Scene("w", scene.fence).clearance(x[:, :3])
    gaps = np.minimum(walls, Scene("o", obstacles=scene.obstacles).clearance(x[:, :3]) - guard.radius)
    tilt = np.arccos(1.0 - 2.0 * (x[:, 6] ** 2 + x[:, 7] ** 2))
    return gaps, np.linalg.norm(x[:, 3:6], axis=1), tilt, guard


def random_scene(seed: int) -> Scene:
    rng, obstacles = np.random.default_rng(seed), []
    while len(obstacles) < 4:
        x, y = rng.uniform(-1.7, 1.7, 2)
        size = rng.uniform(0.1, 0.35)
        if np.hypot(x, y) < 0.9:
            continue
        obstacles.append(
            [
                Obstacle((x, y, -np.inf), (x, y, np.inf), size),
                Obstacle((x, y, 1.2), (x, y, 1.2), size),
                Obstacle((x - size, y - size, 0.0), (x + size, y + size, 2.5), 0.0),
            ][rng.integers(3)]
        )
    margin = Margin(distance=0.08, wind=rng.uniform(0.0, 4.0))
    return Scene(f"{seed}", ROOM.fence, tuple(obstacles), Bounds(speed=1.8, tilt=0.7), margin)


def hostile_wish(seed: int):
    """References that jump about, beyond the walls and into the obstacles."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((-4.0, -4.0, -1.0), (4.0, 4.0, 4.0), (50, 3))
    return lambda t, state: Reference(places[int(t / 0.7)])


@pytest.mark.parametrize("seed", range(3))
def test_hostile_flights_on_the_full_model_stay_inside(seed):
    gaps, speed, tilt, guard = _flight(random_scene(seed), LEVELS[seed], hostile_wish(seed), 5.0)
    assert gaps.min() > 0.0
    assert speed.max() < 1.02 * 1.8
    assert tilt.max() < 0.7 + OVERSHOOT
    assert guard.counts[Answer.CHANGED] > 50  # it was needed


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_hostile_flights_on_the_full_model_stay_inside_many(seed):
    parameters = load_vehicle(("crazyflie", "x500")[seed % 2])
    scene = random_scene(seed)
    if parameters.name == "x500":
        scene = replace(scene, margin=replace(scene.margin, radius=0.1, model=0.6),
                        bounds=replace(scene.bounds, acceleration=3.0))  # fmt: skip
    gaps, speed, tilt, _ = _flight(scene, LEVELS[seed % 3], hostile_wish(seed), 12.0, parameters=parameters)
    assert gaps.min() > 0.0 and speed.max() < 1.02 * 1.8 and tilt.max() < 0.7 + OVERSHOOT


def wild_commands(seed: int, level: CommandLevel, parameters):
    """Anything, held for 50 to 400 ms: full rates, attitudes on the back, rotors on and off."""
    rng = np.random.default_rng(seed)
    weight, fastest = float(parameters.mass) * GRAVITY, np.asarray(parameters.rotor_speed_max)
    while True:
        thrust = float(rng.choice([0.0, 0.3, 1.0, 2.0])) * weight
        if level is CommandLevel.ROTORS:
            command = RotorCommand((rng.integers(0, 2, 4) if rng.random() < 0.5 else rng.random(4)) * fastest)
        elif level is CommandLevel.CTBR:
            command = RatesThrustCommand(rng.choice([-1.0, 0.0, 1.0], 3) * parameters.limits.body_rate, thrust)
        else:
            quat = rng.normal(size=4)
            command = AttitudeThrustCommand(quat / np.linalg.norm(quat), thrust)
        yield from [command] * int(rng.integers(5, 40))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("level", LEVELS)
def test_wild_commands_do_not_tilt_it_further(level, seed):
    """With commands that no controller would give it is the filter alone that keeps the tilt."""
    scene = replace(ROOM, bounds=Bounds(speed=1.8, tilt=0.7))
    guard, vehicle = SafetyFilter(scene, VEHICLE), _aloft(VEHICLE, (0.0, 0.0, 1.2))
    tilt, commands = [], wild_commands(seed, level, VEHICLE)
    for _ in range(300):
        vehicle.send(guard(vehicle.state(), next(commands)))
        vehicle.step(0.01)
        x = vehicle.true_state()
        tilt.append(np.arccos(1.0 - 2.0 * (x.quat_xyzw[0] ** 2 + x.quat_xyzw[1] ** 2)))
        assert scene.clearance(x.position_w[None]).min() > 0.0
    vehicle.close()
    assert max(tilt) < 0.7 + WILD_OVERSHOOT and guard.counts[Answer.CHANGED] > 50


def test_two_vehicles_that_fly_at_each_other_keep_their_distance():
    scene = Scene("open", bounds=Bounds(speed=2.0))
    guards = [SafetyFilter(scene, VEHICLE) for _ in range(2)]
    p = [np.array([-1.5, 0.0, 1.0]), np.array([1.5, 0.05, 1.0])]
    vehicles, controllers = [], []
    for start in p:
        vehicle = make_vehicle("analytic", VEHICLE, SimulationConfig(position_w=tuple(start)))
        vehicle.connect()
        vehicle.reset(at(start))
        vehicle.arm()
        vehicles.append(vehicle)
        controllers.append(GeometricController(VEHICLE, CommandLevel.CTBR))
    apart, flown = [], [np.zeros(3), np.zeros(3)]
    for k in range(450):
        states = [vehicle.state() for vehicle in vehicles]
        for i, vehicle in enumerate(vehicles):
            other = states[1 - i]
            others = Others(other.position_w[None], other.velocity_w[None], flown[1 - i][None], distance=0.4)
            command = controllers[i](0.01 * k, states[i], Reference(p[1 - i]))
            vehicle.send(guards[i](states[i], command, others))
            flown[i] = guards[i].acceleration
        for vehicle in vehicles:
            vehicle.step(0.01)
        apart.append(np.linalg.norm(vehicles[0].true_state().position_w - vehicles[1].true_state().position_w))
    assert min(apart) > 0.4
    assert np.linalg.norm(vehicles[0].true_state().position_w - p[1]) < 0.3  # they pass, being not quite head on
