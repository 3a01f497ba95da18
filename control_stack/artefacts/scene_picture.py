"""A scene in the picture of a flight: fence and obstacles in space, and when a filter changed commands."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from control_stack.artefacts.record import FlightRecord
from control_stack.safety.barrier.scene import Obstacle, Scene
from control_stack.types import Array

_INK, _SOLID, _CHANGED, _BRAKED = "#6B7480", "#8A94A0", "#009E73", "#D55E00"
_STRIP = 0.035  # of a panel's height
_KINDS = {"filter_changed": _CHANGED, "filter_fallback": _BRAKED}


def draw_scene(axes: Any, scene: Scene) -> None:
    """Draws what lies within the limits of 3-D axes that are set already, and widens them to nothing."""
    limits = np.array([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()])
    walls = np.array([scene.fence.x, scene.fence.y, scene.fence.z])
    low, high = np.maximum(walls[:, 0], limits[:, 0]), np.minimum(walls[:, 1], limits[:, 1])
    for axis, (wall, edges) in enumerate(zip(walls, limits, strict=True)):
        for place in wall[(wall >= edges[0]) & (wall <= edges[1])]:
            axes.plot(*_frame(axis, place, low, high).T, color=_INK, linewidth=1.2, linestyle=(0, (5, 3)))
    for obstacle in scene.obstacles:
        for surface in _surfaces(obstacle, limits):
            axes.plot_surface(*surface, color=_SOLID, alpha=0.32, linewidth=0, shade=True)


def mark_filter(axes: Any, record: FlightRecord) -> None:
    """A strip at the top of a panel over time: where commands were changed, and where the filter braked."""
    begun: tuple[float, str] | None = None
    end = float(record.t[-1])
    for t, name in [*((e.t, e.name) for e in record.events if e.name.startswith("filter_")), (end, "")]:
        if begun is not None:
            axes.axvspan(begun[0], t, ymin=1.0 - _STRIP, color=_KINDS[begun[1]], linewidth=0, zorder=3)
        begun = (t, name) if name in _KINDS else None


def _frame(axis: int, place: float, low: Array, high: Array) -> Array:
    """(5, 3) the outline of a wall across an axis."""
    others = [k for k in range(3) if k != axis]
    points = np.full((5, 3), float(place))
    first, second = others
    points[:, first] = [low[first], high[first], high[first], low[first], low[first]]
    points[:, second] = [low[second], low[second], high[second], high[second], low[second]]
    return points


def _surfaces(obstacle: Obstacle, limits: Array) -> list[tuple[Array, Array, Array]]:
    low, high = np.array(obstacle.low), np.array(obstacle.high)
    if obstacle.radius == 0.0:
        return _box(np.maximum(low, limits[:, 0]), np.minimum(high, limits[:, 1]))
    turn = np.linspace(0.0, 2.0 * np.pi, 25)
    if low[2] == high[2]:
        rise = np.linspace(0.0, np.pi, 13)
        ball = np.stack([np.outer(np.sin(rise), np.cos(turn)), np.outer(np.sin(rise), np.sin(turn)),
                         np.outer(np.cos(rise), np.ones_like(turn))])  # fmt: skip
        return [tuple(low[:, None, None] + obstacle.radius * ball)]  # type: ignore[list-item]
    z = np.array([max(low[2], limits[2, 0]), min(high[2], limits[2, 1])])
    x, y = low[0] + obstacle.radius * np.cos(turn), low[1] + obstacle.radius * np.sin(turn)
    return [(np.tile(x, (2, 1)), np.tile(y, (2, 1)), np.tile(z[:, None], (1, len(turn))))]


def _box(low: Array, high: Array) -> list[tuple[Array, Array, Array]]:
    if (low >= high).any():
        return []
    out = []
    for axis, side in product(range(3), (low, high)):
        grid = np.meshgrid(*[[side[k]] if k == axis else [low[k], high[k]] for k in range(3)], indexing="ij")
        out.append(tuple(np.array(g).squeeze(axis) for g in grid))
    return out  # type: ignore[return-value]
