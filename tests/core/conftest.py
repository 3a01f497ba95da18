"""Fixtures of the core's tests: the shipped vehicles, and states and commands around hover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle, vehicle_names


@pytest.fixture(params=vehicle_names())
def vehicle(request: pytest.FixtureRequest) -> QuadrotorParameters:
    """Each shipped vehicle in turn."""
    return load_vehicle(request.param)


@pytest.fixture
def crazyflie() -> QuadrotorParameters:
    return load_vehicle("crazyflie")


@pytest.fixture
def near_hover() -> Callable[..., tuple[np.ndarray, ...]]:
    """near_hover(vehicle, n, seed) -> x (n, 17), u (n, 4), p (n, 9): any attitude, fast, away from kinks."""

    def draw(vehicle: QuadrotorParameters, n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        random = np.random.default_rng(seed)
        x = random.standard_normal((n, 17))
        x[:, 3:6] *= 3.0
        x[:, 6:10] /= np.linalg.norm(x[:, 6:10], axis=-1, keepdims=True)
        x[:, 10:13] *= 2.0
        hover = vehicle.hover_rotor_speed
        x[:, 13:] = hover * random.uniform(0.7, 1.2, (n, 4))
        # Commands at least 5 % of hover from the speed, above or below: the lag has a kink where they are
        # equal.
        u = x[:, 13:] + hover * random.uniform(0.05, 0.3, (n, 4)) * random.choice([-1.0, 1.0], (n, 4))
        weight, arm = vehicle.mass * 9.81, float(np.abs(vehicle.rotor_position).max())
        p = random.standard_normal((n, 9)) * np.repeat([2.0, 0.2 * weight, 0.05 * weight * arm], 3)
        return x, u, p

    return draw
