"""Pictures of a report of ``bench mip``: ladders of error, regret against time, cost in closed loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.foundation_picture import blank, tidy

# Okabe, Ito 2008.
COLOURS = {"mip": "#0072B2", "branching": "#009E73", "cem": "#D55E00", "icem": "#E69F00", "mppi": "#CC79A7"}
_OTHERS = ("#56B4E9", "#000000")
_METHODS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#8B5E3C", "#999999", "#000000")
_FLOOR = 1e-3  # %, below which a regret is drawn at this


def draw(report: Mapping[str, Any], path: Path) -> Path | None:
    """A row of panels for each task, with what was measured of it; None if nothing was."""
    details = report.get("details", {})
    tasks = list(dict.fromkeys(name.split(":")[0] for name in details if ":" in name))
    if not tasks:
        return None
    figure = blank(16.0, 4.4 * len(tasks))
    panels = np.reshape(figure.subplots(len(tasks), 3), (-1, 3))
    tidy(*panels.ravel())
    for task, (left, middle, right) in zip(tasks, panels, strict=True):
        for axes, part, panel in (
            (left, "prediction", _ladders), (middle, "open loop", _regrets), (right, "closed loop", _costs)
        ):  # fmt: skip
            if f"{task}: {part}" in details:
                panel(axes, details[f"{task}: {part}"])
            axes.set_title(f"{task}: {part}", fontsize="medium")
    figure.savefig(path)
    return path


def _ladders(axes: Any, details: Mapping[str, Any]) -> None:
    for (method, rungs), colour in zip(details["errors"].items(), _METHODS, strict=False):
        relus = sorted(map(int, rungs))
        style = "o-" if len(relus) > 1 else "s"
        axes.plot(relus, [rungs[str(n)][0] for n in relus], style, ms=4, color=colour, label=method)
        far = [rungs[str(n)][min(4, len(rungs[str(n)]) - 1)] for n in relus]
        axes.plot(relus, far, style.replace("-", ":"), ms=3, color=colour, alpha=0.6)
    axes.set(xscale="log", yscale="log", xlabel="ReLUs", ylabel="test error, 1 step (solid) and 5 (dotted)")
    axes.legend(frameon=False, fontsize="small")


def _regrets(axes: Any, details: Mapping[str, Any]) -> None:
    others = iter(_OTHERS)
    for name, found in details["regret"].items():
        colour = COLOURS.get(name) or next(others)
        low, half, high = (100.0 * np.quantile(np.array(found, float), q, axis=1) for q in (0.25, 0.5, 0.75))
        low, half, high = (np.maximum(part, _FLOOR) for part in (low, half, high))
        axes.plot(details["deadlines"], half, "o-", color=colour, label=name)
        axes.fill_between(details["deadlines"], low, high, color=colour, alpha=0.12, lw=0)
    axes.set(xscale="log", yscale="log", xlabel="wall time of a plan, s", ylabel="regret, %: median and quartiles")
    axes.set_xticks(details["deadlines"], [f"{d:g}" for d in details["deadlines"]])
    axes.legend(frameon=False, fontsize="small")


def _costs(axes: Any, details: Mapping[str, Any]) -> None:
    others = iter(_OTHERS)
    for k, (name, found) in enumerate(details.items()):
        mean, (low, high) = found["mean"], found["interval"]
        axes.bar(k, mean, 0.6, yerr=[[max(mean - low, 0.0)], [max(high - mean, 0.0)]], capsize=4,
                 color=COLOURS.get(name) or next(others))  # fmt: skip
        axes.annotate(f"{100 * found['success']:.0f} %", (k, 0.0), xytext=(0, 4), textcoords="offset points",
                      ha="center", fontsize="small", color="white")  # fmt: skip
    axes.set_xticks(range(len(details)), [f["pilot"].replace(" on ", "\non ").replace(", ", "\n")
                                          for f in details.values()], fontsize="x-small")  # fmt: skip
    axes.set_ylabel("mean cost, 95 % interval; inside: goals held")
