"""The picture of fits: prediction errors of every rung over its ReLUs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_COLOURS = ("#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442")
_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"
_AHEAD = (1, 5)  # steps


Rungs = Mapping[str, Mapping[int, Mapping[str, Any]]]


def ladders_picture(fits: Mapping[str, Rungs], path: Path) -> Path:
    """Draws test errors after 1 and 5 steps, a row for each fit.

    Args:
        fits: By title the rungs by method and budget: ``relus`` and ``test``, as in a fit's summary.
        path: The PNG to write.
    """
    figure = Figure(figsize=(11.0, 0.6 + 4.2 * len(fits)), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Prediction error over ReLUs", fontsize=13, color=_INK)
    methods = dict.fromkeys(m for rungs in fits.values() for m in rungs if m not in ("dense", "scratch"))
    colours = dict(zip(methods, _COLOURS, strict=False))
    panels = figure.subplots(len(fits), len(_AHEAD), squeeze=False)
    for row, (title, rungs) in zip(panels, fits.items(), strict=True):
        for axes, ahead in zip(row, _AHEAD, strict=True):
            _panel(axes, rungs, ahead, colours)
            steps = f"{ahead} step{'s' if ahead > 1 else ''} ahead"
            axes.set_title(f"{title}, {steps}", fontsize=11, color=_INK, loc="left")
        handles, labels = row[-1].get_legend_handles_labels()
        if handles:
            row[-1].legend(handles, labels, fontsize=9, frameon=False)
    figure.savefig(path)
    return path


def _panel(axes: Any, rungs: Rungs, ahead: int, colours: Mapping[str, str]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for method, found in rungs.items():
        points = [
            (rung["relus"], rung["test"]["rmse"][ahead - 1])
            for rung in found.values()
            if rung["relus"] > 0 and len(rung["test"]["rmse"]) >= ahead and rung["test"]["rmse"][ahead - 1]
        ]
        if points:
            dense = {"linestyle": "--", "color": _FAINT}
            style = dense if method == "dense" else {"color": colours.get(method, _INK)}
            marker = "*" if method == "scratch" else "o"
            axes.plot(*zip(*points, strict=True), marker=marker, markersize=5, linewidth=1.4, label=method, **style)
    ticks = sorted({rung["relus"] for found in rungs.values() for rung in found.values() if rung["relus"] > 0})
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("ReLUs", fontsize=10, color=_INK)
    axes.set_ylabel("RMSE over the standard deviation of a change", fontsize=10, color=_INK)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, labelsize=9)
