"""The picture of a fit: its loss, what is left of the torques after a change of the load, and errors by joint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_INK, _FAINT, _GRID, _BLUE, _ORANGE = "#22272E", "#6B7480", "#DDE1E6", "#0072B2", "#D55E00"


def fit_picture(found: Mapping[str, Any], losses: Sequence[float], dt: float, path: Path, title: str) -> Path:
    """Draws the figures of a fit (``evaluate.figures`` of "validation" and "test") and the loss of every round."""
    figure = Figure(figsize=(12.0, 3.8), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Lagrangian model with context: {title}", fontsize=12, color=_INK)
    left, middle, right = figure.subplots(1, 3)
    left.plot(np.arange(len(losses)), losses, color=_BLUE, linewidth=1.2)
    left.set(title="loss", xlabel="rounds", yscale="log")
    after = np.asarray(found["test"]["after_change"], dtype=float)
    if np.any(after > 0.0):
        middle.plot(np.arange(len(after)) * dt, after, color=_BLUE, linewidth=1.4, label="model")
        middle.axhline(1.0, color=_ORANGE, linewidth=1.2, linestyle="--", label="nominal")
        middle.set(yscale="log", xlabel="time since the load changed, s", ylabel="share of the unexplained torque")
        middle.legend(fontsize=8, frameon=False)
    else:
        middle.text(0.5, 0.5, "no changes of the load known", ha="center", color=_FAINT, transform=middle.transAxes)
    middle.set_title("after a change of the load")
    nominal, model = (np.asarray(found["test"][who]["torque_rmse"], dtype=float) for who in ("nominal", "model"))
    place = np.arange(len(nominal))
    right.bar(place - 0.2, nominal, 0.38, color=_ORANGE, label="nominal")
    right.bar(place + 0.2, model, 0.38, color=_BLUE, label="model")
    right.set(yscale="log", xlabel="joint", ylabel="torque error, N m", xticks=place, xticklabels=place + 1)
    right.set_title("settled, on held-out episodes")
    right.legend(fontsize=8, frameon=False)
    for axes in (left, middle, right):
        axes.title.set_fontsize(10)
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_FAINT, labelsize=8, which="both")
    figure.savefig(path)
    return path
