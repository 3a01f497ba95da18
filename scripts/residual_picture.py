"""Writes docs/residual.png: the eight of ``bench nmpc`` in one wind, by the NMPC alone, with observer, and learned.

python scripts/residual_picture.py [--model DIR] [--wind=-2,3,0+dryden:5]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.nmpc_loop import PERIOD
from benchmarks.nmpc_wind import EIGHT, LEVEL, STEP, VEHICLE, WINDS, Flown, controller, fitted, fly_eight
from control_stack.learning.residual_file import load_residual
from control_stack.quadrotor.parameters import load_vehicle
from controllers.nmpc.disturbance import estimator_noise

ROOT = Path(__file__).resolve().parents[1]
INK, FAINT, GRID = "#22272E", "#6B7480", "#DDE1E6"
SHOWN = (
    ("nominal", False, None, "#E69F00"),
    ("nominal + force observer", False, "force", "#0072B2"),
    ("learned residual + force observer", True, "force", "#009E73"),
)
_MAGNIFIED = 10.0  # of errors in the path's picture


def main() -> None:
    """Flies and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="DIR", help="of control-stack fit residual (default: fitted now)")
    parser.add_argument("--wind", default=WINDS[1])
    parser.add_argument("--out", default=str(ROOT / "docs" / "residual.png"))
    options = parser.parse_args()
    if options.model:
        learned = load_residual(options.model, load_vehicle(VEHICLE), LEVEL, STEP)
    else:
        learned = fitted(False, 0)
    flights = []
    for name, with_residual, kind, colour in SHOWN:
        pilot = controller(learned if with_residual else None, None if kind is None else estimator_noise(kind))
        flights.append((name, fly_eight(pilot, options.wind, 100), colour))
        print(f"{name}: {1e3 * flights[-1][1].rmse():.1f} mm")
    draw(flights, options.wind, Path(options.out))
    print(f"wrote {Path(options.out).name}")


def draw(flights: list[tuple[str, Flown, str]], wind: str, path: Path) -> None:
    """Paths from above, errors over time, and the wind, which is the same for all."""
    figure = Figure(figsize=(12.0, 6.2), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"X500, figure-eight in wind {wind} m/s, which no training flight has seen", color=INK, fontsize=14)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1.0))
    above, error, air = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    first, last = (round(t / PERIOD) for t in EIGHT.steady_interval)
    part = slice(first, last)
    wanted = flights[0][1].reference_w[part]
    above.plot(wanted[:, 0], wanted[:, 1], color=FAINT, linewidth=1.0, linestyle="--", label="reference")
    t = PERIOD * np.arange(len(flights[0][1].position_w))
    for name, flown, colour in flights:
        off = flown.position_w - flown.reference_w
        shown = wanted + _MAGNIFIED * off[part]
        above.plot(shown[:, 0], shown[:, 1], color=colour, linewidth=1.8)
        label = f"{name}: {1e3 * flown.rmse():.1f} mm RMS"
        error.plot(t, 1e3 * np.linalg.norm(off, axis=1), color=colour, linewidth=1.5, label=label)
    above.set(aspect="equal", xlabel="x [m]", ylabel="y [m]", title=f"from above, errors {_MAGNIFIED:g} times as large")
    error.set(ylabel="position error [mm]", yscale="log", ylim=(0.5, None))
    for axis, colour in enumerate(("#CC79A7", "#56B4E9", "#D55E00")):
        air.plot(t, flights[0][1].wind_w[:, axis], color=colour, linewidth=1.5, label=f"along {'xyz'[axis]}")
    air.set(xlabel="time [s]", ylabel="wind [m/s]")
    for axes in (above, error, air):
        _style(axes)
    error.legend(fontsize=9, frameon=False, loc="upper left")
    error.set_ylim(0.5, 20.0 * error.get_ylim()[1])
    air.legend(fontsize=9, frameon=False, ncols=3)
    figure.savefig(path)


def _style(axes: Any) -> None:
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.title.set_color(INK)


if __name__ == "__main__":
    main()
