"""Making a simulated vehicle: names, configurations, the URDF, and a quiet PyBullet."""

from __future__ import annotations

import builtins
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from control_stack.errors import InvalidInput, MissingDependency, NotConnected, UnknownName
from control_stack.protocols import SimulatedVehicle
from control_stack.quadrotor.parameters import load_vehicle
from sim.config import SimulationConfig
from sim.factory import BACKENDS, make_vehicle
from sim.urdf import quadrotor_urdf


def test_backends_by_name():
    for name in BACKENDS:
        vehicle = make_vehicle(name, load_vehicle("crazyflie"), SimulationConfig())
        assert isinstance(vehicle, SimulatedVehicle)
    with pytest.raises(UnknownName, match="analytic, bullet"):
        make_vehicle("gazebo", load_vehicle("crazyflie"), SimulationConfig())


@pytest.mark.parametrize(
    "fields",
    [
        {"physics_rate_hz": 0.0},
        {"control_rate_hz": -1.0},
        {"physics_rate_hz": 1000.0, "control_rate_hz": 300.0},
        {"physics_rate_hz": 50.0},
        {"physics_rate_hz": float("nan")},
        {"pose_source": "gps"},
        {"yaw": float("nan")},
        {"position_w": (0.0, 1.0)},
        {"seed": -1},
    ],
)
def test_impossible_configurations_are_refused(fields):
    with pytest.raises(InvalidInput):
        SimulationConfig(**fields)


@pytest.mark.parametrize("dt", [0.0, -0.01, 0.0005, 0.0101, float("nan"), float("inf")])
def test_time_advances_by_whole_physics_steps_only(make, backend, dt):
    sim = make(backend)
    with pytest.raises(InvalidInput, match="whole number"):
        sim.step(dt)
    assert sim.time == 0.0


def test_the_world_is_only_there_while_connected(make, backend):
    sim = make(backend)
    sim.close()
    for use in (
        lambda: sim.step(0.01),
        sim.true_state,
        lambda: sim.time,
        lambda: sim.wind_w,
        sim.arm,
        sim.reset,
    ):
        with pytest.raises(NotConnected):
            use()
    sim.connect()
    sim.step(0.01)
    assert sim.time == pytest.approx(0.01)


def test_starts_where_it_is_told(make, backend):
    sim = make(backend, position_w=(1.0, -2.0, 5.0), yaw=1.2)
    state = sim.true_state()
    np.testing.assert_array_equal(state.position_w, [1.0, -2.0, 5.0])
    np.testing.assert_allclose(state.quat_xyzw, [0.0, 0.0, np.sin(0.6), np.cos(0.6)])


def test_reset_refuses_what_is_no_state(make, backend, airborne):
    sim = make(backend)
    for bad in (airborne((np.nan, 0.0, 1.0)), airborne((0.0, 1.0))):
        with pytest.raises(InvalidInput):
            sim.reset(bad)


def test_a_state_is_a_snapshot(make, backend):
    """Writing into what state() returned must not move the vehicle."""
    sim = make(backend)
    sim.step(0.01)
    before = sim.true_state().position_w.copy()
    sim.state().position_w[:] = 99.0
    sim.true_state().position_w[:] = 99.0
    np.testing.assert_array_equal(sim.true_state().position_w, before)
    sim.step(0.001)
    assert np.abs(sim.true_state().position_w).max() < 1.0


def test_two_bullet_worlds_do_not_meet(make, airborne):
    pytest.importorskip("pybullet")
    one, two = make("bullet", "racer"), make("bullet", "x500")
    one.reset(airborne((0.0, 0.0, 5.0)))
    before = two.true_state().position_w
    one.step(0.3)
    np.testing.assert_array_equal(two.true_state().position_w, before)
    one.close()
    two.step(0.01)


def test_urdf_carries_the_vehicle_file():
    parameters = load_vehicle("racer")
    offset = np.array([0.0, 0.0, -0.02])
    link = ElementTree.fromstring(quadrotor_urdf(parameters, offset)).find("link")
    assert float(link.find("inertial/mass").get("value")) == parameters.mass
    found = [float(link.find("inertial/inertia").get(k)) for k in ("ixx", "iyy", "izz")]
    assert found == np.asarray(parameters.inertia).tolist()
    assert link.find("inertial/origin") is None, "the link's origin is the centre of mass"
    box = link.find("collision")
    assert [float(v) for v in box.find("geometry/box").get("size").split()] == parameters.body_size.tolist()
    assert [float(v) for v in box.find("origin").get("xyz").split()] == pytest.approx([0.0, 0.0, 0.02])
    assert len(link.findall("visual/geometry/cylinder")) == 4


def test_bullet_takes_mass_and_inertia_from_the_file(make):
    pytest.importorskip("pybullet")
    sim = make("bullet", "crazyflie")
    info = sim._pb.getDynamicsInfo(sim._body, -1, physicsClientId=sim._client)
    assert info[0] == pytest.approx(sim.parameters.mass)
    np.testing.assert_allclose(info[2], sim.parameters.inertia)


def test_bullet_prints_nothing():
    """Its banner would corrupt machine-readable output."""
    pytest.importorskip("pybullet")
    program = (
        "from control_stack.quadrotor.parameters import load_vehicle\n"
        "from sim.config import SimulationConfig\n"
        "from sim.factory import make_vehicle\n"
        "v = make_vehicle('bullet', load_vehicle('racer'), SimulationConfig())\n"
        "v.connect(); v.step(0.01); v.close()\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n" and done.stderr == ""


def test_without_pybullet_the_error_names_the_extra_and_the_way_out(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "pybullet":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    vehicle = make_vehicle("bullet", load_vehicle("racer"), SimulationConfig())
    assert vehicle.spec.name == "racer", "known without PyBullet"
    with pytest.raises(MissingDependency, match=r"\[sim\].*analytic"):
        vehicle.connect()
    vehicle.close()
