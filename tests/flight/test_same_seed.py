"""Equal seeds give equal flights, to the last bit; different ones, with wind and noise, different flights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from control_stack.trajectories import Hover
from sim.sensors import sensor_preset
from sim.wind import parse_wind


def flown(rig: Callable, seed: int):
    flight = rig(seed=seed, wind=parse_wind("1,0,0+dryden:light"), sensors=sensor_preset("mocap"))
    flight.mission(Hover((0.0, 0.0, 1.0145), duration=1.0))
    return flight.memory


def test_equal_seeds_equal_flights(rig: Callable) -> None:
    a, b = flown(rig, 7), flown(rig, 7)
    assert np.array_equal(a.positions(), b.positions()) and a.events == b.events
    other = flown(rig, 8)
    n = min(len(a.t), len(other.t))
    assert np.max(np.abs(a.positions()[:n] - other.positions()[:n])) > 1e-3
