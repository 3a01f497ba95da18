"""Measured state: noise of the stated size, delay, losses that keep the old stamp, external poses."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import InputRejected, InvalidInput, UnknownName
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import QuadrotorState
from sim.sensors import SensorConfig, Sensors, sensor_preset

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])


def truth(t=0.0):
    quat = np.array([0.2, -0.1, 0.3, 0.9])
    quat /= np.linalg.norm(quat)
    return QuadrotorState(np.full(3, t), np.arange(3.0), quat, -np.arange(3.0), np.full(4, 100.0), t)


def many(config, n=20_000):
    sensors = Sensors(config, 0.001, np.random.default_rng(1))
    sensors.start(truth())
    return [sensors.measure() for _ in range(n)]


def test_perfect_sensors_tell_the_truth(make, backend):
    sim = make(backend)
    sim.step(0.05)
    for name in ("position_w", "velocity_w", "quat_xyzw", "omega_b", "rotor_speed"):
        np.testing.assert_array_equal(getattr(sim.state(), name), getattr(sim.true_state(), name))
    assert sim.state().stamp == sim.time == pytest.approx(0.05)


def test_noise_has_the_stated_size_on_every_channel():
    config = SensorConfig(position_std=0.01, velocity_std=0.2, attitude_std=0.03, rate_std=0.4)
    measured, exact = many(config), truth()
    # 20000 samples: 4 standard errors of a standard deviation are 2 %.
    for name, std in (("position_w", 0.01), ("velocity_w", 0.2), ("omega_b", 0.4)):
        errors = np.array([getattr(m, name) for m in measured]) - getattr(exact, name)
        np.testing.assert_allclose(errors.std(axis=0), std, rtol=0.03)
        np.testing.assert_allclose(errors.mean(axis=0), 0.0, atol=0.04 * std)
    quats = np.array([m.quat_xyzw for m in measured])
    np.testing.assert_allclose(np.linalg.norm(quats, axis=1), 1.0, atol=1e-12)
    # Angle of the rotation between: three axes of 0.03 rad each.
    angles = 2.0 * np.arccos(np.clip(np.abs(quats @ exact.quat_xyzw), 0.0, 1.0))
    assert np.sqrt(np.mean(angles**2)) == pytest.approx(0.03 * np.sqrt(3.0), rel=0.03)


def test_delay_reports_the_past_with_its_stamp(make, backend, airborne):
    sim = make(backend, drag=False, sensors=SensorConfig(delay=0.025))
    sim.reset(airborne((0.0, 0.0, 20.0)))
    for _ in range(2):
        sim.step(0.01)
        assert sim.state().stamp == 0.0, "before the delay has passed there is only the start"
    sim.step(0.08)
    state = sim.state()
    assert state.stamp == pytest.approx(0.075)
    assert state.velocity_w[2] == pytest.approx(-GRAVITY * 0.075)
    assert sim.true_state().velocity_w[2] == pytest.approx(-GRAVITY * 0.1)


def test_a_lost_measurement_is_the_last_one_with_its_old_stamp():
    sensors = Sensors(SensorConfig(dropout=0.3), 0.001, np.random.default_rng(0))
    sensors.start(truth())
    stamps = []
    for k in range(1, 4001):
        sensors.record(truth(float(k)))
        measured = sensors.measure()
        assert measured.stamp == measured.position_w[0], "stamp and values belong together"
        stamps.append(measured.stamp)
    assert np.all(np.diff(stamps) >= 0.0)
    assert np.mean(np.array(stamps) < np.arange(1, 4001)) == pytest.approx(0.3, abs=0.03)


def test_seeds_reproduce_a_noisy_flight(make, backend):
    def fly(seed):
        sim = make(backend, sensors=sensor_preset("mocap"), seed=seed)
        out = []
        for _ in range(5):
            sim.step(0.01)
            out.append(sim.state().position_w)
        return np.array(out)

    np.testing.assert_array_equal(fly(3), fly(3))
    assert np.abs(fly(3) - fly(4)).min() > 0.0


def test_reading_the_state_twice_gives_one_measurement(make, backend):
    sim = make(backend, sensors=sensor_preset("vio"))
    sim.step(0.05)
    np.testing.assert_array_equal(sim.state().position_w, sim.state().position_w)


def test_external_poses_give_position_and_attitude(make, backend, airborne):
    sim = make(backend, pose_source="external", drag=False)
    sim.reset(airborne((0.0, 0.0, 20.0)))
    assert not sim.state().valid and sim.state().is_finite()
    sim.step(0.1)
    turned = np.array([0.0, 0.0, np.sin(0.2), np.cos(0.2)])
    sim.external_pose(np.array([1.0, 2.0, 3.0]), turned, stamp=sim.time)
    state = sim.state()
    assert state.valid
    np.testing.assert_array_equal(state.position_w, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(state.quat_xyzw, turned)
    assert state.velocity_w[2] == pytest.approx(-GRAVITY * 0.1)
    sim.step(0.5)
    assert sim.state().valid
    sim.step(0.01)
    assert not sim.state().valid, "0.51 s without a pose"
    sim.external_pose(np.array([1.0, 2.0, 3.0]), turned, stamp=sim.time)
    assert sim.state().valid


def test_internal_vehicles_ignore_external_poses(make, backend):
    sim = make(backend)
    sim.external_pose(np.array([9.0, 9.0, 9.0]), LEVEL, stamp=0.0)
    assert np.abs(sim.state().position_w).max() < 1.0


@pytest.mark.parametrize(
    ("position", "quat", "stamp", "reason"),
    [
        (np.array([np.nan, 0.0, 0.0]), LEVEL, 0.0, "nan"),
        (np.zeros(3), 1.1 * LEVEL, 0.0, "quaternion"),
        (np.zeros(2), LEVEL, 0.0, "shape"),
        (np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.0, "shape"),
        (np.zeros(3), LEVEL, np.inf, "nan"),
    ],
)
def test_bad_external_poses_are_refused_and_the_last_stays(make, backend, position, quat, stamp, reason):
    sim = make(backend, pose_source="external")
    sim.external_pose(np.array([1.0, 2.0, 3.0]), LEVEL, stamp=0.0)
    with pytest.raises(InputRejected) as caught:
        sim.external_pose(position, quat, stamp)
    assert caught.value.reason == reason
    np.testing.assert_array_equal(sim.state().position_w, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("fields", [{"position_std": -1.0}, {"delay": np.nan}, {"dropout": 1.0}, {"rate_std": np.inf}])
def test_impossible_sensors_are_refused(fields):
    with pytest.raises(InvalidInput):
        SensorConfig(**fields)


def test_presets_by_name():
    assert sensor_preset("none").is_perfect and not sensor_preset("mocap").is_perfect
    with pytest.raises(UnknownName, match="none, mocap, vio"):
        sensor_preset("gps")
