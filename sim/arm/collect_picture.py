"""The picture of a collection: what the flange held, and an episode's joints and torques."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from control_stack.arm.parameters import ArmParameters
from control_stack.types import Array

_INK, _FAINT, _GRID, _BLUE = "#22272E", "#6B7480", "#DDE1E6", "#0072B2"
_RATE_HZ = 50.0


def collection_picture(arm: ArmParameters, data: Mapping[str, Array], path: Path, title: str) -> None:
    """Draws masses over offsets, and joint angles, torques over their limits and the mass of episode 0."""
    # Late: processes that only simulate need no Matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 3.6), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Loads and one episode: {title}", fontsize=12, color=_INK)
    axes = figure.subplots(1, 3)
    held = np.unique(data["load"].reshape(-1, data["load"].shape[-1]), axis=0)
    held = held[held[:, 0] > 0.0]
    if len(held):
        offset = np.linalg.norm(held[:, 1:4], axis=1) / held[:, 0]
        axes[0].plot(offset, held[:, 0], "o", markersize=2.5, alpha=0.6, color=_BLUE)
    axes[0].set(title=f"{len(held)} loads", xlabel="offset of the centre of mass, m", ylabel="mass, kg")
    states, inputs, load = (data[name][0] for name in ("states", "inputs", "load"))
    t = np.arange(len(inputs)) / _RATE_HZ
    axes[1].plot(t, states[:-1, : arm.joints], linewidth=1.0)
    axes[1].set(title="joint angles of episode 0", xlabel="t, s", ylabel="rad")
    axes[2].plot(t, inputs / arm.torque_limit, linewidth=0.8)
    axes[2].plot(t, load[:, 0] / 10.0, color=_INK, linewidth=1.5, linestyle="--", label="mass, 10 kg")
    axes[2].set(title="torques over their limits", xlabel="t, s", ylim=(-1.05, 1.05))
    axes[2].legend(fontsize=8, frameon=False)
    for one in axes:
        one.grid(True, color=_GRID, linewidth=0.8)
        one.tick_params(colors=_FAINT, labelsize=8)
        one.title.set_fontsize(10)
    figure.savefig(path)
