"""The picture of an episode of a task: from above for those with a pusher, else what suits the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from control_stack.learning.spec import Goal
from control_stack.types import Array
from sim.tasks import cartpole, sorting
from sim.tasks.cartpole import CartPoleTask
from sim.tasks.numeric import NumericTask
from sim.tasks.piecewise import PiecewiseTask
from sim.tasks.planar import HALF, PlanarTask, world_keypoints
from sim.tasks.world import PUSHER_RADIUS

# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"
_SNAPSHOTS = 5


def episode_picture(
    task: PlanarTask | NumericTask, states: Array, path: str | Path, title: str, goal: Goal | None = None
) -> Path:
    """Draws an episode into a PNG: faint where it begins, full where it ends.

    Args:
        task: Whose episode it is.
        states: (T + 1, nx).
        path: The file to write.
        title: Above the picture.
        goal: Drawn dashed, if there is one.
    """
    # Late: processes that only simulate need no Matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.2), dpi=90, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, color=_INK, loc="left")
    axes.tick_params(colors=_FAINT, labelsize=9)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_color(_GRID)
    if isinstance(task, PlanarTask):
        _draw_planar(axes, task, states, goal)
    elif isinstance(task, CartPoleTask):
        _draw_cartpole(axes, states, task.spec.dt)
    elif isinstance(task, PiecewiseTask):
        _draw_piecewise(axes, task, states, goal)
    figure.savefig(path)
    return Path(path)


def _shown(states: Array) -> tuple[Any, Any]:
    """Numbers of the states that are drawn, and how full."""
    numbers = np.unique(np.linspace(0, len(states) - 1, _SNAPSHOTS).round().astype(int))
    return numbers, np.linspace(0.2, 1.0, len(numbers))


def _colours(task: PlanarTask, count: int) -> list[str]:
    if task.spec.task == "sorting":
        return [(_BLUE, _ORANGE)[colour] for colour in sorting.COLOURS]
    return [_BLUE] * count


def _draw_planar(axes: Any, task: PlanarTask, states: Array, goal: Goal | None) -> None:
    if goal is not None:
        _draw_goal(axes, task, goal)
    for k, full in zip(*_shown(states), strict=True):
        points = world_keypoints(states[k])
        curves = task.outlines(points)
        for curve, colour in zip(curves, _colours(task, len(curves)), strict=True):
            axes.plot(*curve.T, color=colour, alpha=full, linewidth=1.6)
            if np.allclose(curve[0], curve[-1]):  # a body, not a rope
                axes.fill(*curve.T, color=colour, alpha=0.25 * full, linewidth=0)
        axes.plot(*points.T, ".", color=_INK, alpha=full, markersize=4)
        axes.add_patch(_circle(states[k, :2], full))
    axes.plot(*states[:, :2].T, color=_GREEN, linewidth=1.0, label="path of the pusher")
    axes.plot([], [], ".", color=_INK, label="keypoints")
    axes.set_xlim(-1.2 * HALF, 1.2 * HALF)
    axes.set_ylim(-1.2 * HALF, 1.2 * HALF)
    axes.set_aspect("equal")
    axes.set_xlabel("x [m]", color=_INK)
    axes.set_ylabel("y [m]", color=_INK)
    axes.legend(loc="upper right", fontsize=8, frameon=False, labelcolor=_INK)


def _draw_goal(axes: Any, task: PlanarTask, goal: Goal) -> None:
    points = goal.target.reshape(-1, 2)
    if task.spec.task != "sorting":
        for curve in task.outlines(points):
            axes.plot(*curve.T, "--", color=_ORANGE, linewidth=1.4)
        return
    half = goal.half_width.reshape(-1, 2) + sorting.RADIUS
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
    for centre, size, colour in zip(points, half, _colours(task, len(points)), strict=True):
        axes.plot(*(centre + square * size).T, "--", color=colour, linewidth=1.4)


def _circle(centre: Array, full: float) -> Any:
    from matplotlib.patches import Circle

    return Circle(tuple(centre), PUSHER_RADIUS, facecolor=_GREEN, edgecolor="none", alpha=full)


def _draw_cartpole(axes: Any, states: Array, dt: float) -> None:
    for side in (-1.0, 1.0):
        axes.axvline(side * cartpole.WALL, color=_ORANGE, linewidth=3.0, label="soft walls" if side > 0.0 else None)
    tips = states[:, 0] + cartpole.LENGTH * np.sin(states[:, 1])
    heights = cartpole.LENGTH * np.cos(states[:, 1])
    axes.plot(tips, heights, color=_GREEN, linewidth=1.0, label=f"tip, {dt * (len(states) - 1):.1f} s")
    for k, full in zip(*_shown(states), strict=True):
        axes.plot([states[k, 0], tips[k]], [0.0, heights[k]], "-o", color=_BLUE, alpha=full, markersize=5)
    axes.set_aspect("equal")
    axes.set_xlabel("x [m]", color=_INK)
    axes.set_ylabel("height over the cart [m]", color=_INK)
    axes.legend(loc="upper right", fontsize=8, frameon=True, labelcolor=_INK)


def _draw_piecewise(axes: Any, task: PiecewiseTask, states: Array, goal: Goal | None) -> None:
    low, high = task.spec.state_lower, task.spec.state_upper
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, 300) for a, b in zip(low, high, strict=True))), axis=-1)
    pieces = task.piece(grid, np.zeros(1)) @ (1 << np.arange(len(task.piece(low, np.zeros(1)))))
    shades = np.unique(pieces, return_inverse=True)[1].reshape(pieces.shape)
    # Neighbouring numbers get different shades.
    axes.imshow((shades * 5) % 13, extent=(low[0], high[0], low[1], high[1]), origin="lower", cmap="Pastel1", alpha=0.6,
                interpolation="nearest")  # fmt: skip
    axes.plot(*states.T, "-o", color=_BLUE, markersize=3, linewidth=1.2, label="states, one step apart")
    axes.plot(*states[0], "o", color=_INK, markersize=6, label="start")
    if goal is not None:
        axes.plot(*goal.target, "x", color=_ORANGE, markersize=10, label="goal")
    axes.set_xlabel("x0 (colours: pieces of the map for u = 0)", color=_INK)
    axes.set_ylabel("x1", color=_INK)
    axes.legend(loc="upper right", fontsize=8, frameon=True, labelcolor=_INK)
