"""The filter on many states at once against the filter on one."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.errors import InvalidInput
from control_stack.quadrotor.parameters import GRAVITY, load_vehicle
from control_stack.safety.barrier.batch import BatchFilter
from control_stack.safety.barrier.filter import SafetyFilter
from control_stack.safety.barrier.scene import Bounds, Margin, Obstacle, Scene, Walls
from control_stack.safety.barrier.thrust import Outlook

VEHICLE = load_vehicle("crazyflie")
SCENE = Scene(
    "room", Walls((-2.0, 2.0), (-2.0, 2.0), (0.2, 2.5)), (Obstacle((0.5, 0.0, 1.0), (0.5, 0.0, 1.0), 0.3),),
    Bounds(speed=2.0), Margin(wind=2.0),
)  # fmt: skip


def states(count: int):
    rng = np.random.default_rng(3)
    position = rng.uniform((-1.5, -1.5, 0.6), (1.5, 1.5, 2.0), (count, 3))
    velocity, force = rng.normal(0.0, 0.7, (count, 3)), rng.normal(0.0, 1.0, (count, 3)) + (0.0, 0.0, GRAVITY)
    return position, velocity, force, np.array([0.0, 0.0, -GRAVITY]) - 0.2 * velocity


def rows_of(guard: SafetyFilter, p, v, force, without):
    return guard.rows(Outlook(p, v, force + without, without, np.eye(3), ()))


def test_where_one_row_is_broken_it_is_the_nearest_thrust_vector_that_keeps_it():
    guard = SafetyFilter(SCENE, VEHICLE)
    parts = states(400)
    rng = np.random.default_rng(4)
    wanted = rng.normal(0.0, 2.0, (400, 3)) + (0.0, 0.0, GRAVITY)
    found, gap = BatchFilter(guard)(*parts, wanted, guard.unknown)
    moved = 0
    for k in range(400):
        rows, limits = rows_of(guard, *(part[k] for part in parts))
        assert gap[k] == pytest.approx(guard.seen(parts[0][k]).gap.min())
        excess = rows @ wanted[k] - limits
        broken = np.flatnonzero(excess > 0.0)
        nearest = wanted[k] - (excess[broken[0]] * rows[broken[0]] if len(broken) == 1 else 0.0)
        cone = np.hypot(*nearest[:2]) < guard.slope * nearest[2] and np.linalg.norm(nearest) < guard.thrust.most
        if len(broken) > 1 or not cone or (rows @ nearest - limits).max() > 1e-9 or nearest[2] < 0.3 * GRAVITY:
            continue
        moved += len(broken)
        np.testing.assert_allclose(found[k], nearest, atol=1e-6)
    assert moved > 20


def test_a_wider_margin_never_lets_the_vehicle_nearer():
    guard = SafetyFilter(SCENE, VEHICLE)
    one = tuple(part[:50] for part in states(50))
    surfaces = guard.seen(one[0])
    limits = [guard.surface_limits(surfaces, one[1], one[2] + one[3], one[3], unknown) for unknown in (0.3, 0.8, 1.6)]
    assert (limits[0] >= limits[1]).all() and (limits[1] >= limits[2]).all()


def test_a_filter_is_widened_never_narrowed_and_not_beyond_what_it_can_brake():
    guard = SafetyFilter(SCENE, VEHICLE)
    told = guard.unknown
    guard.widen(0.0)
    assert guard.unknown == told
    guard.widen(told + 0.1)
    assert guard.unknown == pytest.approx(told + 0.1)
    guard.widen(1e3)
    most = guard.unknown
    assert most > told + 0.1
    guard.unknown = most - 1e-6
    guard._check_braking()  # raises where the vehicle could not brake
    guard.unknown = most + 1e-6
    with pytest.raises(InvalidInput):
        guard._check_braking()
    guard.reset()
    assert guard.unknown == told
