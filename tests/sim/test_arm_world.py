"""The arm in Bullet: the same mechanics as pinocchio and the nominal model, loads that change in motion."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import arm_names, load_arm
from control_stack.arm.load import Load
from control_stack.errors import InvalidInput
from control_stack.protocols import SimulatedArm
from control_stack.types import ArmState, JointCommand
from sim.arm.bullet import BulletArm
from sim.arm.config import TYPICAL_SENSORS, ArmSensorConfig, ArmSimulationConfig

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pybullet") is None, reason="pybullet is not installed")
BOX = Load.box(2.3, [0.1, 0.2, 0.05], [0.05, -0.1, 0.12])
Maker = Callable[..., BulletArm]
arms = pytest.mark.parametrize("name", arm_names())


@pytest.fixture
def make() -> Iterator[Maker]:
    """make(arm, **fields of ArmSimulationConfig) -> connected and armed."""
    made: list[BulletArm] = []

    def build(name: str, **config) -> BulletArm:
        made.append(BulletArm(load_arm(name), ArmSimulationConfig(**config)))
        made[-1].connect()
        made[-1].arm()
        return made[-1]

    yield build
    for arm in made:
        arm.close()


def model_of(arm: BulletArm, friction: float = 1.0) -> ArmDynamics:
    return ArmDynamics(arm.parameters.with_friction_scaled(friction), 0.001)


@arms
@pytest.mark.parametrize("load", [None, BOX], ids=["bare", "loaded"])
def test_bullet_computes_pinocchios_dynamics(name, load, make):
    pytest.importorskip("pinocchio")
    from pinocchio_twin import Twin

    arm = make(name)
    if load is not None:
        arm.attach(load)
    twin, n, rng = Twin.of(arm.parameters, load), arm.parameters.joints, np.random.default_rng(0)
    pb, body, options = arm._world.pb, arm._world.body, arm._world.options
    for _ in range(4):
        q = rng.uniform(arm.parameters.position_lower, arm.parameters.position_upper)
        qd, qdd = rng.standard_normal((2, n))
        matrix = pb.calculateMassMatrix(body, q.tolist(), **options)
        np.testing.assert_allclose(matrix, twin.mass_matrix(q), rtol=1e-10, atol=1e-10)
        tau = pb.calculateInverseDynamics(body, q.tolist(), qd.tolist(), qdd.tolist(), **options)
        np.testing.assert_allclose(tau, twin.inverse(q, qd, qdd), rtol=1e-10, atol=1e-10)


@arms
def test_pinocchios_static_torque_holds_the_load_and_a_hundredth_more_does_not(name, make):
    pytest.importorskip("pinocchio")
    from pinocchio_twin import Twin

    arm = make(name, friction=0.0)
    arm.attach(BOX)
    home, still = arm.parameters.home, np.zeros(arm.parameters.joints)
    torque = Twin.of(arm.parameters, BOX).inverse(home, still, still)
    moved = {}
    for factor in (1.0, 1.01):
        arm.reset()
        arm.attach(BOX)
        arm.send(JointCommand(factor * torque))
        arm.step(0.1)
        moved[factor] = np.abs(arm.true_state().position - home).max()
    assert moved[1.0] < 1e-7 < 1e-4 < moved[1.01]


@arms
def test_without_friction_energy_is_kept_to_first_order_in_the_step(name, make):
    drift = {}
    for rate in (1000.0, 2000.0):
        arm = make(name, friction=0.0, physics_rate_hz=rate)
        arm.attach(BOX)
        model, n = model_of(arm), arm.parameters.joints
        start = model.energy(arm.parameters.home, np.zeros(n), BOX.parameters)
        arm.send(JointCommand(np.zeros(n)))
        swings = []
        for _ in range(6):
            arm.step(0.02)
            x = arm.true_state()
            assert np.all((x.position > arm.parameters.position_lower) & (x.position < arm.parameters.position_upper))
            kinetic = 0.5 * x.velocity @ model.mass_matrix(x.position, BOX.parameters) @ x.velocity
            error = model.energy(x.position, x.velocity, BOX.parameters) - start
            swings.append((abs(error), kinetic))
        drift[rate] = max(error for error, _ in swings) / max(kinetic for _, kinetic in swings)
    assert drift[1000.0] < 0.03
    assert drift[1000.0] / drift[2000.0] == pytest.approx(2.0, rel=0.1)


@arms
def test_follows_the_nominal_model_with_friction(name, make):
    """Bullet's semi-implicit Euler at 1 ms against RK4, 0.1 s under constant torques."""
    arm = make(name)
    n = arm.parameters.joints
    model = ArmDynamics(arm.parameters, 0.02)
    torque = model.bias(arm.parameters.home, np.zeros(n)) + 0.03 * arm.parameters.torque_limit * (-1.0) ** np.arange(n)
    arm.send(JointCommand(torque))
    x = np.concatenate([arm.parameters.home, np.zeros(n)])
    for _ in range(5):
        arm.step(0.02)
        x = model.step(x, torque)
    truth = arm.true_state()
    moved = np.abs(x[:n] - arm.parameters.home).max()
    assert moved > 0.005
    assert np.abs(truth.position - x[:n]).max() < 0.03 * moved
    assert np.abs(truth.velocity - x[n:]).max() < 0.03 * np.abs(x[n:]).max()


def test_loads_come_and_go_in_motion_without_a_jump(make):
    arm = make("panda", friction=0.0)
    model, n, dt = model_of(arm, 0.0), 7, 0.001
    torque = model.bias(arm.parameters.home, np.zeros(n)) + 0.3
    arm.send(JointCommand(torque))
    arm.step(0.2)
    heavy = Load.box(4.0, [0.1] * 3, [0.0, 0.05, 0.1])
    for change, load in ((lambda: arm.attach(BOX), BOX), (lambda: arm.attach(heavy), heavy), (arm.drop, Load())):
        before = arm.true_state()
        change()
        after = arm.true_state()
        np.testing.assert_array_equal(after.position, before.position)
        np.testing.assert_array_equal(after.velocity, before.velocity)
        assert after.stamp == before.stamp and arm.load.mass == load.mass
        arm.step(dt)
        gained = (arm.true_state().velocity - before.velocity) / dt
        expected = model.forward(before.position, before.velocity, torque, load.parameters)
        np.testing.assert_allclose(gained, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())
        arm.step(0.02)


def test_torques_are_clipped_counted_and_stops_stop(make):
    arm = make("panda")
    sent = arm.send(JointCommand(np.array([200.0, 0, 0, -100.0, 0, 0, 13.0])))
    np.testing.assert_array_equal(sent.effort, [87.0, 0, 0, -87.0, 0, 0, 12.0])
    arm.send(sent)
    np.testing.assert_array_equal(arm.saturation, [0.5, 0, 0, 0.5, 0, 0, 0.5])
    arm.step(0.6)
    p, low, high = arm.true_state().position, arm.parameters.position_lower, arm.parameters.position_upper
    assert np.all(p > low - 0.05) and np.all(p < high + 0.05) and p[6] > high[6] - 0.05


def test_friction_of_the_world_is_the_arms_times_a_factor(make):
    """From a start in motion without torques, more friction leaves less speed; each joint has its own factor."""
    speeds = []
    for factor in (0.0, 1.0, (1.0,) * 6 + (2.0,)):
        arm = make("panda", friction=factor)
        arm.reset(ArmState(arm.parameters.home, np.array([0, 0, 0, 0, 0, 0, 1.0])))
        hold = model_of(arm).bias(arm.parameters.home, np.zeros(7))
        arm.send(JointCommand(hold))
        arm.step(0.005)
        speeds.append(arm.true_state().velocity[6])
    assert 1.0 > speeds[0] - 1e-3 > speeds[1] > speeds[2] > 0.0
    with pytest.raises(InvalidInput, match="friction"):
        BulletArm(load_arm("panda"), ArmSimulationConfig(friction=-1.0))
    with pytest.raises(InvalidInput, match="'panda_joint7'.* physics_rate_hz must be at least"):
        BulletArm(load_arm("panda"), ArmSimulationConfig(friction=8.0))


def test_noise_is_seeded_and_has_the_size_that_was_asked_for(make):
    def states(seed: int) -> np.ndarray:
        arm = make("planar", seed=seed, sensors=ArmSensorConfig(0.01, 0.2, 0.5))
        arm.disarm()  # still, so that all that is measured is noise about the truth
        rows = []
        for _ in range(400):
            arm.step(0.001)
            s, t = arm.state(), arm.true_state()
            rows.append(np.concatenate([s.position - t.position, s.velocity - t.velocity, s.effort - t.effort]))
        return np.array(rows)

    a, b, c = states(1), states(1), states(2)
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.0
    np.testing.assert_allclose(a.std(axis=0), np.repeat([0.01, 0.2, 0.5], 2), rtol=0.15)
    assert TYPICAL_SENSORS.position_std > 0.0


def test_same_seed_same_run_whatever_was_before(make):
    arm = make("panda", sensors=TYPICAL_SENSORS)
    assert isinstance(arm, SimulatedArm)

    def run() -> np.ndarray:
        arm.reset()
        arm.attach(BOX)
        arm.send(JointCommand(np.linspace(-5.0, 5.0, 7)))
        arm.step(0.05)
        arm.drop()
        arm.step(0.05)
        return np.concatenate([arm.state().position, arm.state().velocity])

    np.testing.assert_array_equal(run(), run())


def test_bad_configurations_are_refused(make):
    panda = load_arm("panda")
    for config, said in (
        ({"position": (0.0,) * 7}, "panda_joint4.*beyond its stops"),
        ({"position": (0.0,)}, "7 joints"),
        ({"physics_rate_hz": 333.0}, "whole multiple"),
        ({"control_rate_hz": 0.0}, "control_rate_hz must be positive"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(InvalidInput, match=said):
            BulletArm(panda, ArmSimulationConfig(**config))
    with pytest.raises(InvalidInput, match="velocity_std"):
        ArmSensorConfig(velocity_std=-1.0)
    arm = make("panda")
    with pytest.raises(InvalidInput, match="beyond its stops"):
        arm.reset(ArmState(np.full(7, 3.0), np.zeros(7)))
    with pytest.raises(InvalidInput, match="velocities"):
        arm.reset(ArmState(panda.home, np.full(7, np.nan)))
    with pytest.raises(InvalidInput, match="whole number of steps"):
        arm.step(0.0005)


def test_the_picture_shows_the_arm_and_its_load(make):
    arm = make("panda")
    bare = arm.picture().astype(int)
    assert bare.shape[2] == 3 and 0.02 < np.mean(np.ptp(bare, axis=2) > 4) < 0.9
    arm.attach(Load(4.0, np.array([0.0, 0.0, 0.1])))
    orange = (arm.picture()[..., 0].astype(int) - arm.picture()[..., 2]) > 60
    assert 20 < orange.sum() < 0.2 * orange.size and ((bare[..., 0] - bare[..., 2]) > 60).sum() == 0
