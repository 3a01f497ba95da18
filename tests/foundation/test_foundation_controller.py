"""The controller: motors of each vehicle file, refusals, resets, and what NaN does to a flight."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from random_policy import random_policy, random_weights

from control_stack.errors import FlightAborted, IncompatibleLevels, InputRejected, InvalidInput
from control_stack.flight.controller_side import ControllerSide
from control_stack.flight.setpoints import Setpoints
from control_stack.foundation.observation import features
from control_stack.foundation.runtime import GRUPolicy
from control_stack.quadrotor.parameters import load_vehicle, vehicle_names
from control_stack.types import CommandLevel, QuadrotorState, Reference
from controllers.foundation import FoundationController, motor_of_rotor
from controllers.loader import build_controller, load_controller

UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
HERE = Reference(np.zeros(3))


def state(position=(0.0, 0.0, 0.0), velocity=(0.0, 0.0, 0.0), stamp: float = 0.0) -> QuadrotorState:
    return QuadrotorState(np.array(position, float), np.array(velocity, float), UPRIGHT, np.zeros(3), None, stamp)


@pytest.fixture
def weights(tmp_path):
    return random_weights(tmp_path)


@pytest.fixture
def build(weights):
    def _build(vehicle="crazyflie", rate_hz: float = 100.0):
        parameters = load_vehicle(vehicle) if isinstance(vehicle, str) else vehicle
        return build_controller(f"foundation:{weights}", parameters, list(CommandLevel), rate_hz)

    return _build


def path(k: int) -> tuple[float, QuadrotorState, Reference]:
    """A smooth motion seen at 100 Hz."""
    t = k / 100.0
    return (
        t,
        state((0.1 * math.sin(t), 0.0, 0.02 * t), (0.1 * math.cos(t), 0.0, 0.02), t),
        Reference(np.zeros(3)),
    )


def speeds(controller, first: int = 0, count: int = 20) -> np.ndarray:
    return np.array([controller(*path(k)).rotor_speed for k in range(first, first + count)])


# --- motors ---


@pytest.mark.parametrize("vehicle", vehicle_names())
def test_each_motor_lifts_its_corner_and_turns_its_way(vehicle):
    """One motor faster than the others must roll, pitch and yaw the vehicle as it does in training."""
    parameters = load_vehicle(vehicle)
    place, spin = np.asarray(parameters.rotor_position), np.asarray(parameters.rotor_spin)
    wanted = {0: (-1, -1, -1), 1: (-1, 1, 1), 2: (1, 1, -1), 3: (1, -1, 1)}  # torque signs of FR, BR, BL, FL
    for rotor, motor in enumerate(motor_of_rotor(parameters)):
        torque = np.cross(place[rotor], [0.0, 0.0, 1.0])
        torque[2] += spin[rotor]
        assert tuple(np.sign(torque)) == wanted[motor]


def test_rotors_in_any_order_get_the_motor_that_stands_there(weights):
    parameters = load_vehicle("x500")
    order = [2, 0, 3, 1]
    shuffled = replace(
        parameters,
        rotor_position=np.asarray(parameters.rotor_position)[order],
        rotor_spin=np.asarray(parameters.rotor_spin)[order],
    )
    assert motor_of_rotor(shuffled) == tuple(order)
    first, second = (FoundationController.flying(weights)(p, CommandLevel.ROTORS) for p in (parameters, shuffled))
    np.testing.assert_array_equal(speeds(second), speeds(first)[:, order])


def test_mirrored_spins_are_refused_by_that_name(build):
    parameters = load_vehicle("racer")
    with pytest.raises(InvalidInput, match=r"racer.*mirrored"):
        build(replace(parameters, rotor_spin=-np.asarray(parameters.rotor_spin)))
    with pytest.raises(InvalidInput, match=r"spins .* do not fit"):
        build(replace(parameters, rotor_spin=np.array([-1.0, -1.0, 1.0, 1.0])))


def test_a_plus_frame_is_refused(build):
    arms = np.array([[0.1, 0, 0], [0, -0.1, 0], [-0.1, 0, 0], [0, 0.1, 0]])
    with pytest.raises(InvalidInput, match="X quad"):
        build(replace(load_vehicle("crazyflie"), rotor_position=arms))


@pytest.mark.parametrize("vehicle", vehicle_names())
def test_rotor_speeds_are_the_action_as_part_of_the_maximum(vehicle, build, weights):
    parameters = load_vehicle(vehicle)
    policy = GRUPolicy.load(weights)
    action, _ = policy.step(
        [
            *features((*path(0)[1].position_w, *path(0)[1].velocity_w, *UPRIGHT, 0, 0, 0), *[(0.0,) * 3] * 4, 0.0),
            *[0.0] * 4,
        ],
        policy.initial_hidden(),
    )
    low, high = parameters.rotor_speed_min[0], parameters.rotor_speed_max[0]
    expected = np.clip((action + 1) / 2 * high, low, high)
    np.testing.assert_allclose(speeds(build(vehicle), count=1)[0], expected, rtol=1e-5)


def test_commands_stay_in_the_range_of_the_motors(tmp_path):
    policy = random_policy()
    policy.weights["output.bias"][:] = (5.0, -5.0, 5.0, -5.0)
    from random_policy import TRAINING

    from control_stack.foundation.weights import save

    save(tmp_path / "wild.safetensors", policy.weights.tensors, training=TRAINING, figures={})
    parameters = load_vehicle("racer")
    controller = FoundationController.flying(tmp_path / "wild.safetensors")(parameters, CommandLevel.ROTORS)
    assert speeds(controller)[-1].tolist() == [2800.0, 150.0, 2800.0, 150.0]


# --- putting together ---


def test_no_rotor_level_points_to_the_firmware_export(weights):
    with pytest.raises(IncompatibleLevels, match="control-stack export foundation") as error:
        build_controller(f"foundation:{weights}", load_vehicle("crazyflie"), [CommandLevel.CTBR, CommandLevel.ATTITUDE])
    assert "rotors" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("rate_hz", [50.0, 130.0])
def test_wrong_rates_are_refused_before_flight(build, rate_hz):
    with pytest.raises(InvalidInput, match="multiples of 100 Hz"):
        build(rate_hz=rate_hz)


def test_missing_weights_are_one_line(tmp_path):
    with pytest.raises(InvalidInput, match="does not exist"):
        build_controller(f"foundation:{tmp_path}/no.safetensors", load_vehicle("crazyflie"), list(CommandLevel))


def test_names(build, weights):
    assert load_controller("foundation") is FoundationController
    controller = build()
    assert (controller.spec.name, controller.spec.levels, controller.spec.rate_hz) == (
        "foundation",
        (CommandLevel.ROTORS,),
        100.0,
    )


# --- memory ---


def test_reset_starts_afresh(build):
    controller = build()
    fresh = speeds(controller)
    assert not np.array_equal(speeds(controller, 20), fresh)
    controller.reset()
    np.testing.assert_array_equal(speeds(controller), fresh)


def test_memory_starts_when_its_commands_come_into_force(build):
    """On the ground and while the supervisor climbs it would learn from motion that it does not cause."""
    controller, limits = build(), load_vehicle("crazyflie").limits
    fresh = speeds(controller)
    controller.reset()
    side = ControllerSide({"foundation": controller}, "foundation", Setpoints(limits))
    for k in range(200):
        side.compute(k / 100, state((0.0, 0.0, 0.005 * k), (0.0, 0.0, 0.5), k / 100), flying=False)
    above, flown = np.array([0.0, 0.0, 1.0]), []
    for k in range(20):
        t, here, _ = path(k)
        here = replace(here, position_w=here.position_w + above)
        flown.append(controller(t + 2.0, here, Reference(above)).rotor_speed)
    np.testing.assert_allclose(flown, fresh, rtol=1e-4, atol=0.1)


def test_an_estimator_reset_starts_afresh_and_fast_flight_does_not(build):
    controller, twin = build(), build()
    speeds(controller), speeds(twin)
    far = Reference(np.array([4.0, 0.0, 0.0]))
    jumped = controller(0.2, state((4.2, 0.0, 0.0), stamp=0.2), far).rotor_speed
    twin.reset()
    np.testing.assert_array_equal(jumped, twin(0.2, state((4.2, 0.0, 0.0), stamp=0.2), far).rotor_speed)
    controller.reset()
    passes = []
    for k in range(10):
        controller(k / 10, state((2.0 * k, 0.0, 0.0), (20.0, 0.0, 0.0), k / 10), HERE)
        passes.append(controller._policy._net.hidden)
    controller.reset()
    controller(0.9, state((18.0, 0.0, 0.0), (20.0, 0.0, 0.0), 0.9), HERE)
    assert not np.allclose(passes[-1], controller._policy._net.hidden)


def test_time_going_back_starts_afresh(build):
    controller = build()
    fresh = speeds(controller)
    np.testing.assert_array_equal(speeds(controller), fresh)


# --- not a number ---


@pytest.mark.parametrize("where", ["position_w", "velocity_w", "omega_b", "quat_xyzw", "reference", "yaw"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_gets_the_last_valid_command_once(build, where, bad):
    controller = build()
    last = speeds(controller)[-1]
    t, here, reference = path(20)
    if where == "reference":
        reference = Reference(np.array([0.0, bad, 0.0]))
    elif where == "yaw":
        reference = Reference(np.zeros(3), yaw=bad)
    else:
        here = replace(here, **{where: np.full_like(getattr(here, where), bad)})
    np.testing.assert_array_equal(controller(t, here, reference).rotor_speed, last)
    with pytest.raises(InputRejected, match="nan"):
        controller(t + 0.01, here, reference)


def test_lasting_nan_ends_the_controller_so_that_the_supervisor_lands(build):
    controller = build()
    side = ControllerSide({"foundation": controller}, "foundation", Setpoints(load_vehicle("crazyflie").limits))
    for k in range(3):
        side.compute(k / 100, path(k)[1], flying=True)
    broken = state((math.nan, 0.0, 0.0))
    side.compute(0.03, broken, flying=True)
    with pytest.raises(FlightAborted, match=r"foundation.*nan"):
        side.compute(0.04, broken, flying=True)
