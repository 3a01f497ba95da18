"""Draws how the controllers of bench arm go through one swap and one drop of a load, from runs that it makes itself.

python scripts/arm_comparison.py --out docs/arm_comparison.png [--number 0] [--duration 10] [--models FILE ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.arm_models import chosen, contenders, is_ablation
from benchmarks.arm_runs import DROP, DURATION, SWAP, Run, Runs, scene

_COLOURS = ("#6B7480", "#22272E", "#D55E00", "#E69F00", "#CC79A7", "#56B4E9", "#9A6324", "#0072B2")


def main() -> None:
    """Runs and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--models", nargs="+", help="the first of each kind is drawn (default: those that ship)")
    parser.add_argument("--number", type=int, default=0, help="of the loads and the reference")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--duration", type=float, default=DURATION)
    parser.add_argument("--only", nargs="*", help="labels, as in the bench (default: all)")
    options = parser.parse_args()
    shown = {c.label: c for c in reversed(contenders(chosen(options.models))) if not is_ablation(c.label)}
    flown = [c for label, c in reversed(shown.items()) if not options.only or label in options.only]
    found = Runs(workers=1)([Run(c, "changes", options.number, options.seed, options.duration) for c in flown])
    _, first, second = scene(options.number, options.seed, options.duration)
    figure = Figure(figsize=(10.0, 4.4), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for k, (contender, result) in enumerate(zip(flown, found, strict=True)):
        error = 1e3 * np.asarray(result["error"])
        size = float(np.sqrt(np.mean(error**2)))
        colour = _COLOURS[k % len(_COLOURS)]
        t = 0.02 * (1.0 + np.arange(len(error)))
        axes.plot(t, np.maximum(error, 0.01), color=colour, linewidth=1.3, label=f"{contender.label}: {size:.1f} mm")
    share = options.duration / DURATION
    for at, text in ((SWAP * share, f"{first.mass:.1f} kg for {second.mass:.1f} kg"), (DROP * share, "dropped")):
        axes.axvline(at, color="#DDE1E6", linewidth=1.5, zorder=0)
        axes.annotate(text, (at, 0.98), xycoords=("data", "axes fraction"), fontsize=8, va="top", color="#6B7480")
    axes.set(yscale="log", xlabel="time, s", ylabel="flange error, mm")
    axes.set_title("one load swapped for another, then dropped; RMS over the run", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.grid(True, color="#DDE1E6", linewidth=0.6)
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
