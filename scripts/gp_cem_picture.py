"""The picture of docs/gp_cem.md: flights through a blocked scene, an eight in wind, and what was learnt on it.

python scripts/gp_cem_picture.py docs/gp_cem.png
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.lipschitz_filter import GOAL, START, straight
from benchmarks.lipschitz_gp import BLOCKED, DT, IN_WIND, PATIENCE, blocked, fly
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters, load_vehicle
from control_stack.safety.barrier.scene import Scene
from control_stack.trajectories import Lissajous
from control_stack.types import Command, QuadrotorState, Reference
from controllers.gp_cem.quadrotor import GpCemController
from sim.wind import WindConfig

SCENES = (2, 3)
WIND = (2.0, 1.0, 0.0)  # m/s
EIGHT = Lissajous((0.0, 0.0, 1.0), laps=1)
_COLOURS = {
    "geometric": "#8A94A0", "gp_cem, filter only after": "#D55E00", "gp_cem, filter in the loop": "#0072B2",
    "gp_cem without GP": "#D55E00", "gp_cem": "#0072B2",
}  # fmt: skip


class Watched(GpCemController):
    """Notes what it has learnt along x at every call: t, mean, beta sigma."""

    def __init__(self, *given: Any, **named: Any):
        self.noted: list[tuple[float, float, float]] = []
        super().__init__(*given, **named)

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """As its base."""
        command = super().__call__(t, state, reference)
        v, thrust = state.velocity_w[None], np.array([GRAVITY])
        assert self.residual is not None
        z = np.append(v, [thrust], axis=1)
        sigma = float(self.residual.process.deviation(np.array([t]), z)[0])
        self.noted.append((t, float(self.residual.mean(t, v, thrust)[0, 0]), self.residual.beta * sigma))
        return command


def scene(axes: Axes, seed: int) -> None:
    """Flights from above."""
    given, wind = blocked(seed)
    for obstacle in given.obstacles:
        low, size = obstacle.low, np.subtract(obstacle.high, obstacle.low)
        axes.add_patch(Rectangle(low[:2], size[0], size[1], color="#8A94A0", alpha=0.5))
    for name in ("geometric", "gp_cem, filter only after", "gp_cem, filter in the loop"):
        flown = fly(BLOCKED[name], straight(), wind, seed, PATIENCE, given, goal=GOAL)
        label = f"{name}: {flown.arrived:.1f} s"
        axes.plot(flown.path[:, 0], flown.path[:, 1], color=_COLOURS[name], label=label, linewidth=1.4)
    axes.annotate("", xy=np.add((1.2, -1.1), 0.25 * np.array(wind.steady_w[:2])), xytext=(1.2, -1.1),
                  arrowprops={"arrowstyle": "->"})  # fmt: skip
    axes.text(1.2, -1.35, "wind", fontsize=8)
    axes.plot(*START[:2], "o", color="#22272E", markersize=5)
    axes.plot(*GOAL[:2], "*", color="#22272E", markersize=10)
    axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal", xlim=(-2.7, 2.7), ylim=(-1.7, 1.7))
    axes.set_title("the filter behind each, the scene's wind unknown", fontsize=10)
    axes.legend(fontsize=7, loc="upper left")


def eight(error: Axes, learnt: Axes) -> None:
    """The eight in steady wind: how far off, and what the process says of the missing acceleration."""
    wind, watched = WindConfig(WIND), []

    def make(parameters: QuadrotorParameters, scene: Scene | None) -> Watched:
        watched.append(Watched(parameters))
        return watched[0]

    for name in ("geometric", "gp_cem without GP", "gp_cem"):
        flown = fly(make if name == "gp_cem" else IN_WIND[name], EIGHT, wind, 0, EIGHT.duration)
        off = np.linalg.norm(flown.path - flown.wanted, axis=1)
        error.plot(DT * np.arange(len(off)), 1e3 * off, color=_COLOURS[name], label=name, linewidth=1.3)
    error.set(xlabel="t [s]", ylabel="off the reference [mm]", ylim=(0.0, None))
    error.set_title(f"the eight in {np.hypot(*WIND[:2]):.1f} m/s of wind that nobody tells", fontsize=10)
    error.legend(fontsize=7)
    t, mean, width = np.array(watched[0].noted).T
    parameters = load_vehicle("crazyflie")
    learnt.fill_between(t, mean - width, mean + width, color="#0072B2", alpha=0.2, label="mean +- 2 sigma")
    learnt.plot(t, mean, color="#0072B2", linewidth=1.3)
    true = float(parameters.drag[0]) / float(parameters.mass) * WIND[0]
    learnt.axhline(true, color="#22272E", linestyle="--", linewidth=1.0, label="drag of this wind, level")
    learnt.set(xlabel="t [s]", ylabel="missing acceleration along x [m/s$^2$]")
    learnt.set_title("what the Gaussian process has learnt", fontsize=10)
    learnt.legend(fontsize=7, loc="lower right")


def draw(path: str) -> None:
    """Two scenes above, the eight below."""
    figure = Figure(figsize=(12.0, 8.0), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    for k, seed in enumerate(SCENES):
        scene(axes[0, k], seed)
    eight(axes[1, 0], axes[1, 1])
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="PNG to write")
    draw(parser.parse_args().path)
