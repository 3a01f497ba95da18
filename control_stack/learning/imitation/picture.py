"""The picture of a study: learning curves of all arms, and where each seed ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from control_stack.learning.imitation.arms import ARMS, Member

_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"
# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_COLOURS = {
    "cloning": "#6B7480", "none": "#D55E00", "spectral": "#E69F00", "penalty": "#56B4E9", "both": "#0072B2",
    "constant": "#CC79A7",
}  # fmt: skip


def study_picture(
    course: Sequence[Mapping[str, Any]], members: Sequence[Member], ends: Mapping[str, Mapping[str, Any]], path: Path,
    subtitle: str,
) -> Path:  # fmt: skip
    """Draws the scores (0 chance, 1 expert) of all arms.

    Args:
        course: Records of a trainer. members: Of its stack.
        ends: {arm: {"score", "interval", "seeds"}} at the end.
        path: The PNG to write. subtitle: Second line.
    """
    figure = Figure(figsize=(11.5, 4.6), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Imitation with and without a Lipschitz discriminator\n{subtitle}", fontsize=13, color=_INK)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1.0), sharey=True)
    steps = np.array([record["steps"] for record in course])
    scores = np.array([record["scores"] for record in course])  # (evaluations, members)
    for arm in ends:
        own = scores[:, [k for k, member in enumerate(members) if member.arm == arm]]
        left.plot(steps, own.mean(1), color=_COLOURS[arm], linewidth=1.8, label=ARMS[arm].label)
        left.fill_between(steps, own.min(1), own.max(1), color=_COLOURS[arm], alpha=0.13, linewidth=0)
    for place, (arm, end) in enumerate(ends.items()):
        seeds = np.array(end["seeds"])
        spread = 0.12 * np.linspace(-1.0, 1.0, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        right.plot(place + spread, seeds, "o", color=_COLOURS[arm], markersize=5, alpha=0.8)
        right.plot([place - 0.28, place + 0.28], [end["score"]] * 2, color=_COLOURS[arm], linewidth=2.4)
    left.set_xlabel("steps in the task (cloning: updates alone)", fontsize=10, color=_INK)
    left.set_ylabel("score: 0 chance, 1 expert", fontsize=10, color=_INK)
    left.set_title("course: mean and range over seeds", fontsize=11, color=_INK, loc="left")
    left.legend(fontsize=9, frameon=False)
    right.set_title("end: a point a seed, the bar their mean", fontsize=11, color=_INK, loc="left")
    right.set_xticks(range(len(ends)), [ARMS[arm].label for arm in ends], rotation=25, ha="right", fontsize=9)
    for axes in (left, right):
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_FAINT, labelsize=9)
        axes.axhline(0.9, color=_FAINT, linewidth=1.0, linestyle=(0, (4, 3)))
    figure.savefig(path)
    return path
