"""The second picture of docs/safety.md: the same crossing of eight vehicles with a fixed gain and with adapted ones.

python scripts/crossing_picture.py docs/crossing.png
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from control_stack.safety.crossing.gains import gains_of, load
from control_stack.safety.crossing.setting import Crossing
from control_stack.safety.crossing.world import constant, fly

GAIN, SEED = 10.0, 2  # 1/s; the first crossing of the benchmark in which this gain fails
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#22272E", "#8A94A0")
_INK = "#22272E"


def draw(path: str) -> None:
    """Paths from rings to dots, seen from above, until the patience is over."""
    figure = Figure(figsize=(11.0, 5.8), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    crossing = Crossing()
    ways = ((constant(GAIN), f"fixed gain, {GAIN:g} 1/s"), (gains_of(load()), "adapted gains"))
    for k, (policy, title) in enumerate(ways):
        out = fly(np.array([SEED]), policy, crossing)
        axes = figure.add_subplot(1, 2, k + 1)
        told = f"arrived after {out.time[0]:.1f} s" if out.arrived[0] else f"not arrived after {crossing.patience:g} s"
        axes.set_title(f"{title}: {told}, least distance {1e3 * out.least[0]:.0f} mm", fontsize=10.5, color=_INK)
        for i, colour in enumerate(_COLOURS):
            way = out.paths[:, 0, i]
            axes.plot(way[:, 0], way[:, 1], color=colour, linewidth=1.6)
            axes.plot(*way[0], "o", markersize=9, markerfacecolor="none", markeredgecolor=colour)
            axes.plot(*way[-1], "o", markersize=6, color=colour)
        axes.set(xlabel="x [m]", ylabel="y [m]", aspect="equal", xlim=(-2.3, 2.3), ylim=(-2.3, 2.3))
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="PNG to write")
    draw(parser.parse_args().path)
