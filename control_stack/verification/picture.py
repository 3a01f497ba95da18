"""The picture of a verification: proved ranges around what was seen, gains, and a set with where its points go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from control_stack.types import Array

_INK, _FAINT, _GRID, _BLUE, _RED, _GREEN = "#22272E", "#6B7480", "#DDE1E6", "#0072B2", "#D55E00", "#009E73"
_SHOWN = 3000  # points of a set


def verification_picture(report: Mapping[str, Any], path: Path, moved: tuple[Array, Array] | None = None) -> Path:
    """Draws a report.

    Args:
        report: Of ``verify_policy`` or ``verify_model``.
        path: The PNG to write.
        moved: For a set: points y (N, nx) of it and where they go, in the coordinates of the set.
    """
    parts = [draw for key, draw in (("outputs", _ranges), ("outputs", _gains)) if key in report]
    count = len(parts) + (moved is not None)
    figure = Figure(figsize=(5.4 * count + 0.4, 4.8), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"What is proved of the {report['kind']}\n{Path(report['file']).name}", fontsize=12, color=_INK)
    panels = np.atleast_1d(figure.subplots(1, count))
    for axes, draw in zip(panels, parts, strict=False):
        draw(axes, report)
    if moved is not None:
        _set(panels[-1], report["invariant"], *moved)
    for axes in panels:
        axes.tick_params(colors=_FAINT, labelsize=8)
    figure.savefig(path)
    return path


def _ranges(axes: Any, report: Mapping[str, Any]) -> None:
    outputs = report["outputs"]
    # each over the half-width that was seen, so that channels of different units share an axis
    for row, output in enumerate(outputs):
        middle = 0.5 * (output["seen_lower"] + output["seen_upper"])
        half = max(0.5 * (output["seen_upper"] - output["seen_lower"]), 1e-12)
        bars = (("interval", _GRID, 0.7), ("", _BLUE, 0.45), ("seen", _GREEN, 0.2))
        for prefix, colour, height in bars:
            names = [f"{prefix}_{side}" if prefix else side for side in ("lower", "upper")]
            low, high = ((output[name] - middle) / half for name in names)
            label = {"interval": "interval arithmetic", "": "proved, linear bounds", "seen": "seen in samples"}[prefix]
            axes.barh(row, high - low, left=low, height=height, color=colour, label=label if row == 0 else None)
        text = f"[{output['lower']:.4g}, {output['upper']:.4g}]"
        axes.text(0.0, row + 0.42, text, ha="center", va="bottom", fontsize=7, color=_INK)
    widest = max(2.0, *(abs(x) for x in axes.get_xlim()))
    axes.set_xlim(-min(widest, 6.0), min(widest, 6.0))
    axes.set_ylim(-0.6, len(outputs) - 0.1)
    axes.set_yticks(range(len(outputs)), [output["name"] for output in outputs], fontsize=8)
    axes.set_xlabel("output, its seen range as -1 .. 1", fontsize=9, color=_INK)
    axes.set_title("ranges", fontsize=11, color=_INK, loc="left")
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)


def _gains(axes: Any, report: Mapping[str, Any]) -> None:
    gain = np.array([output["gain"] for output in report["outputs"]])
    width = np.array([channel["upper"] - channel["lower"] for channel in report["channels"]])
    moved = gain * width
    image = axes.imshow(moved / np.maximum(moved.sum(1, keepdims=True), 1e-300), cmap="viridis", aspect="auto")
    axes.set_yticks(range(len(gain)), [output["name"] for output in report["outputs"]], fontsize=8)
    axes.set_xticks(
        range(len(width)), [channel["name"] for channel in report["channels"]], fontsize=6 if len(width) > 12 else 8,
        rotation=90,
    )  # fmt: skip
    axes.set_title("gain times width of the channel, share of the row", fontsize=11, color=_INK, loc="left")
    axes.figure.colorbar(image, ax=axes)


def _set(axes: Any, found: Mapping[str, Any], before: Array, after: Array) -> None:
    order = 2 if found["shape"] == "ellipsoid" else np.inf
    size, next_size = (np.linalg.norm(points, order, axis=1) for points in (before, after))
    axes.plot(size, next_size, ".", markersize=2, color=_BLUE, label="points, without disturbance")
    axes.plot([0.0, 1.0], [0.0, 1.0], color=_GRID, linewidth=1.2, label="no change")
    axes.axhline(1.0, color=_INK, linewidth=1.4, label="boundary of the set")
    colour = {"proved": _GREEN, "refuted": _RED}.get(found["status"], _FAINT)
    label = "proved for all, with disturbance"
    axes.axhline(found["reach"], color=colour, linewidth=1.4, linestyle="--", label=label)
    axes.set_xlim(0.0, 1.02)
    axes.set_ylim(0.0, 1.4 * max(1.0, found["reach"]))
    axes.set_xlabel("|y|, where in the set: 0 centre, 1 boundary", fontsize=9, color=_INK)
    axes.set_ylabel("|y| one step later", fontsize=9, color=_INK)
    axes.set_title(f"set: {found['status']}, reach {found['reach']:.4g}", fontsize=11, color=colour, loc="left")
    axes.legend(fontsize=7, frameon=False, loc="upper left", markerscale=3)


def shown_points(count: int, ellipsoid: bool, seed: int = 0) -> Array:
    """(N, n) points of the unit ball or cube, of evenly spread norms."""
    random = np.random.default_rng(seed)
    points = random.standard_normal((_SHOWN, count))
    order = 2 if ellipsoid else np.inf
    points /= np.linalg.norm(points, order, axis=1, keepdims=True)
    return points * random.random((_SHOWN, 1))
