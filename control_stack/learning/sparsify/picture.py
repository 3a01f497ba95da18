"""The picture of a fit: prediction errors of every rung over its ReLUs."""

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


def ladder_picture(rungs: Mapping[str, Mapping[int, Mapping[str, Any]]], path: Path, subtitle: str) -> Path:
    """Draws test errors after 1 and 5 steps.

    Args:
        rungs: By method and budget: ``relus`` and ``test``, as in a fit's summary.
        path: The PNG to write.
        subtitle: Second line.
    """
    figure = Figure(figsize=(11.0, 4.8), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Prediction error over ReLUs\n{subtitle}", fontsize=13, color=_INK)
    colours = dict(zip((m for m in rungs if m not in ("dense", "scratch")), _COLOURS, strict=False))
    for axes, ahead in zip(figure.subplots(1, len(_AHEAD)), _AHEAD, strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        for method, found in rungs.items():
            points = [
                (rung["relus"], rung["test"]["rmse"][ahead - 1])
                for rung in found.values()
                if rung["relus"] > 0 and len(rung["test"]["rmse"]) >= ahead and rung["test"]["rmse"][ahead - 1]
            ]
            if points:
                style = (
                    {"linestyle": "--", "color": _FAINT} if method == "dense" else {"color": colours.get(method, _INK)}
                )
                marker = "*" if method == "scratch" else "o"
                axes.plot(*zip(*points, strict=True), marker=marker, markersize=5, linewidth=1.4, label=method, **style)
        ticks = sorted({rung["relus"] for found in rungs.values() for rung in found.values() if rung["relus"] > 0})
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{ahead} step{'s' if ahead > 1 else ''} ahead", fontsize=11, color=_INK, loc="left")
        axes.set_xlabel("ReLUs", fontsize=10, color=_INK)
        axes.set_ylabel("RMSE over the standard deviation of a change", fontsize=10, color=_INK)
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_FAINT, labelsize=9)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, fontsize=9, frameon=False)
    figure.savefig(path)
    return path
