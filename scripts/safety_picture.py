"""The picture of docs/safety.md: flights through one scene in several winds, with the filter and without.

python scripts/safety_picture.py docs/safety.png
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from benchmarks.lipschitz_filter import GOAL, START, Flown, fly, scene_of
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.safety.barrier.scene import Scene
from control_stack.types import CommandLevel
from sim.wind import WindConfig

SEED, WINDS = 8, 8
_BLUE, _RED, _GREY, _INK = "#0072B2", "#D55E00", "#8A94A0", "#22272E"


def flights(filtered: bool) -> tuple[Scene, list[Flown]]:
    """The same scene in winds of 2.5 m/s from all sides, with gusts."""
    scene, _ = scene_of(SEED)
    turns = 2.0 * np.pi * np.arange(WINDS) / WINDS
    winds = [WindConfig((2.5 * np.cos(a), 2.5 * np.sin(a), 0.0), wind_20ft=1.5) for a in turns]
    parameters = load_vehicle("crazyflie")
    return scene, [fly(scene, wind, k, CommandLevel.CTBR, filtered, parameters) for k, wind in enumerate(winds)]


def draw(path: str) -> None:
    """Seen from above; what is hit is drawn where it was hit."""
    figure = Figure(figsize=(12.0, 4.6), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    for k, (filtered, title) in enumerate(((False, "without the filter"), (True, "with the filter"))):
        scene, flown = flights(filtered)
        axes = figure.add_subplot(1, 2, k + 1)
        hits = sum(f.clearance < 0.0 for f in flown)
        times = [f.time for f in flown if np.isfinite(f.time)]
        axes.set_title(
            f"{title}: {hits} of {WINDS} hit, least distance {1e3 * min(f.clearance for f in flown):.0f} mm, "
            f"{np.mean(times):.1f} s", fontsize=11, color=_INK,
        )  # fmt: skip
        for obstacle in scene.obstacles:
            if obstacle.radius > 0.0:
                axes.add_patch(Circle(obstacle.low[:2], obstacle.radius, color=_GREY, alpha=0.6))
            else:
                low, size = obstacle.low, np.subtract(obstacle.high, obstacle.low)
                axes.add_patch(Rectangle(low[:2], size[0], size[1], color=_GREY, alpha=0.6))
        for f in flown:
            axes.plot(f.path[:, 0], f.path[:, 1], color=_BLUE if f.clearance >= 0.0 else _RED, linewidth=1.3)
        axes.plot(*START[:2], "o", color=_INK, markersize=6)
        axes.plot(*GOAL[:2], "*", color=_INK, markersize=11)
        axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal", xlim=(-2.7, 2.7), ylim=(-1.8, 1.8))
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="PNG to write")
    draw(parser.parse_args().path)
