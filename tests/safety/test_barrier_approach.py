"""The barrier of one surface against the motion it speaks of, integrated independently."""

from __future__ import annotations

import numpy as np
import pytest

from control_stack.safety.barrier.approach import Seen, stopping, thrust_limits
from control_stack.safety.barrier.scene import Obstacle, Scene, Walls, distance_to

GAIN, RATE, LAG_RATE, BRAKE = 4.0, 8.0, 10.0, 4.0
OBSTACLES = (
    Obstacle((1.0, 0.0, 1.0), (1.0, 0.0, 1.0), 0.3),
    Obstacle((0.0, 2.0, -np.inf), (0.0, 2.0, np.inf), 0.2),
    Obstacle((-2.0, -2.0, 0.0), (-1.0, -1.0, 2.0), 0.0),
)


def test_stopping_speed_is_smooth_and_never_asks_for_more_than_the_deceleration():
    h = np.linspace(-1.0, 5.0, 60001)
    speed, slope, bend = stopping(h, GAIN, BRAKE)
    np.testing.assert_allclose(np.gradient(speed, h)[1:-1], slope[1:-1], atol=2e-3)
    edge = abs(h - BRAKE / GAIN**2) > 1e-3  # sigma'' jumps there
    np.testing.assert_allclose(np.gradient(slope, h)[1:-1][edge[1:-1]], bend[1:-1][edge[1:-1]], atol=5e-2)
    assert (speed * slope)[h > 0].max() <= BRAKE + 1e-9


@pytest.mark.parametrize("kind", range(len(OBSTACLES)))
def test_gaps_and_directions_are_those_of_the_distance(kind):
    scene = Scene("s", obstacles=(OBSTACLES[kind],))
    seen, rng = Seen(scene, 0.1, 0.05), np.random.default_rng(kind)
    for p in rng.uniform(-3, 3, (50, 3)):
        surfaces, eps = seen(p), 1e-6
        assert surfaces.gap[0] == pytest.approx(distance_to(OBSTACLES[kind], p) - 0.15, abs=1e-9)
        slope = [(seen(p + eps * e).gap[0] - seen(p - eps * e).gap[0]) / (2 * eps) for e in np.eye(3)]
        np.testing.assert_allclose(surfaces.towards[0], -np.array(slope), atol=1e-5)


@pytest.mark.parametrize("faster", [1.0, 10.0])
@pytest.mark.parametrize("kind", [*range(len(OBSTACLES)), "wall"])
def test_the_row_keeps_the_distance_for_its_lag_and_for_faster_ones(kind, faster):
    """The vehicle of the derivation: p'' = F - g + w, F' = k (F_cmd - F), under a command that pushes ahead and a
    disturbance that does so as well, both against what the row allows."""
    if kind == "wall":
        scene = Scene("wall", Walls(x=(-5.0, 1.0)))
    else:
        scene = Scene("obstacle", obstacles=(OBSTACLES[kind],))
    seen, rng = Seen(scene, 0.1, 0.0), np.random.default_rng(3)
    gravity, unknown, dt = np.array([0.0, 0.0, -9.8]), 1.0, 0.004
    p, v = np.array([-2.5, 1.0, 1.0]) + rng.uniform(-0.3, 0.3, 3), np.zeros(3)
    if kind == 1:
        p[0] -= 1.0
    force, least = -gravity, np.inf
    aim = np.array(OBSTACLES[kind].low if kind != "wall" else (2.0, 0.0, 1.0))
    aim = np.where(np.isfinite(aim), aim, 1.0) + (0.5 if kind == 2 else 0.0)
    for _ in range(1000):
        surfaces = seen(p)
        limit = thrust_limits(
            surfaces, v, force + gravity, gravity, gain=GAIN, rate=RATE, lag_rate=LAG_RATE, deceleration=BRAKE,
            unknown=unknown, unknown_speed=0.0,
        )[0]  # fmt: skip
        n = surfaces.towards[0]
        ahead = aim - p
        wanted = -gravity + 4.0 * ahead / np.linalg.norm(ahead) * min(1.0, np.linalg.norm(ahead)) - 1.0 * v
        command = wanted - max(float(n @ wanted) - limit, 0.0) * n
        force = force + (1.0 - np.exp(-faster * LAG_RATE * dt)) * (command - force)
        v = v + dt * (force + gravity + unknown * n)
        p = p + dt * v
        least = min(least, float(seen(p).gap[0]))
    assert least > -4e-3  # of the integration
    assert least < 0.1  # and it comes close: the wish is not what keeps it away
