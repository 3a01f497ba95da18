"""The picture of airframe laws: the marginal of every quantity, laws over one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from control_stack.types import Array

# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"
_BINS, _COLUMNS = 50, 5


def law_picture(laws: Mapping[str, Mapping[tuple[str, str], Array]], path: Path, seed: int) -> Path:
    """Draws histograms of densities into a PNG.

    Args:
        laws: By name, ``quantities.columns`` of a sample of each.
    """
    keys = list(next(iter(laws.values())))
    rows = -(-len(keys) // _COLUMNS)
    figure = Figure(figsize=(3.0 * _COLUMNS, 0.9 + 2.2 * rows), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    counts = ", ".join(f"{name} {len(next(iter(law.values())))}" for name, law in laws.items())
    figure.suptitle(f"Airframes drawn from the laws ({counts}; seed {seed})", fontsize=13, color=_INK)
    panels = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes, key in zip(panels, keys, strict=False):
        values = {name: law[key] for name, law in laws.items()}
        low, high = (f(f(v) for v in values.values()) for f in (min, max))  # type: ignore[type-var]
        for (name, v), colour in zip(values.items(), _COLOURS, strict=False):
            # A quantity that a law does not vary is a line, not a bar that dwarfs the other law.
            if np.ptp(v) <= 1e-9 * max(abs(v).max(), 1e-12):
                axes.axvline(v[0], color=colour, linewidth=2, label=name)
            else:
                span = (low, high) if high > low else (low - 0.5, high + 0.5)
                axes.hist(v, np.linspace(*span, _BINS + 1), density=True, color=colour, alpha=0.55, label=name)
        axes.set_xlabel(f"{key[0]} [{key[1]}]", fontsize=9, color=_INK)
        axes.set_yticks([])
        axes.grid(True, axis="x", color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_FAINT, labelsize=8)
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=11, frameon=False, loc="upper right", ncols=len(labels))
    figure.savefig(path)
    return path
