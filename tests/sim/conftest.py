"""Fixtures of the simulator tests: a factory of connected vehicles, closed at the end."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle
from control_stack.types import QuadrotorState
from sim.config import SimulationConfig
from sim.factory import make_vehicle
from sim.quadrotor import SimulatedQuadrotor

Maker = Callable[..., SimulatedQuadrotor]
needs_bullet = pytest.mark.skipif(importlib.util.find_spec("pybullet") is None, reason="pybullet is not installed")


@pytest.fixture(params=["analytic", pytest.param("bullet", marks=needs_bullet)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make() -> Iterator[Maker]:
    """make(backend, vehicle, armed, drag, **fields of SimulationConfig) -> connected vehicle."""
    made: list[SimulatedQuadrotor] = []

    def build(
        backend: str,
        vehicle: str | QuadrotorParameters = "crazyflie",
        armed: bool = True,
        drag: bool = True,
        **config,
    ) -> SimulatedQuadrotor:
        parameters = load_vehicle(vehicle) if isinstance(vehicle, str) else vehicle
        if not drag:
            parameters = replace(parameters, drag=np.zeros(3))
        sim = make_vehicle(backend, parameters, SimulationConfig(**config))
        sim.connect()
        if armed:
            sim.arm()
        made.append(sim)
        return sim

    yield build
    for sim in made:
        sim.close()


@pytest.fixture
def airborne() -> Callable[..., QuadrotorState]:
    """airborne(position, velocity, quat, omega, rotor_speed) -> a state; at rest and level unless told."""

    def state(position=(0.0, 0.0, 2.0), velocity=(0.0,) * 3, quat=(0.0, 0.0, 0.0, 1.0), omega=(0.0,) * 3, rotors=0.0):
        unit = np.array(quat) / np.linalg.norm(quat)
        return QuadrotorState(np.array(position), np.array(velocity), unit, np.array(omega), np.full(4, float(rotors)))

    return state
