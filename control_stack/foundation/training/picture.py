"""The picture of a training: cost and score of each stage by updates, and what the teachers gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe, Ito 2008: told apart with every common kind of colour blindness.
_COST, _SCORE, _GAIN, _LOSS = "#0072B2", "#D55E00", "#009E73", "#D55E00"
_INK, _FAINT, _GRID = "#22272E", "#6B7480", "#DDE1E6"
_TITLES = {
    "shared": "shared start",
    "teachers": "teachers",
    "distil": "distillation",
    "tune": "fine-tuning",
    "direct": "direct, without teachers",
}


def training_picture(
    courses: Mapping[str, Sequence[Mapping[str, Any]]], teachers: Mapping[str, Any], path: Path, subtitle: str
) -> Path:
    """Draws the stages that were run.

    Args:
        courses: Records (``history.read``) by stage, and of "retrained", where teachers were.
        teachers: As in teachers.json; empty for none.
        path: The PNG to write.
        subtitle: Second line.
    """
    run = [stage for stage in _TITLES if courses.get(stage)]
    rivals = "direct" in run and "distil" in run
    panels = max(len(run) + bool(teachers) + rivals, 1)
    columns = min(panels, 3 if panels <= 6 else 4)
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.8 * columns, 1.0 + 3.6 * rows), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"Training of the foundation policy\n{subtitle}", fontsize=13, color=_INK)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for stage, ax in zip(run, axes, strict=False):
        _draw_course(ax, _TITLES[stage], courses[stage])
    if teachers:
        _draw_gains(axes[len(run)], teachers)
    if rivals:
        _draw_rivals(axes[panels - 1], courses)
    for ax in axes[panels:]:
        ax.set_axis_off()
    figure.savefig(path)
    return path


def _style(axes: Any, title: str) -> None:
    axes.set_title(title, fontsize=11, color=_INK, loc="left")
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, labelsize=9)


def _draw_course(axes: Any, title: str, records: Sequence[Mapping[str, Any]]) -> None:
    costs = [(record["updates"], record["cost"]) for record in records if "cost" in record]
    scores = [(record["updates"], record["score"]) for record in records if "score" in record]
    minutes = max(record["seconds"] for record in records) / 60.0
    _style(axes, f"{title}, {minutes:.1f} min")
    axes.set_xlabel("updates", fontsize=9, color=_INK)
    axes.set_ylabel("loss" if title == _TITLES["distil"] else "cost per step", fontsize=9, color=_COST)
    if costs:
        axes.semilogy(*zip(*costs, strict=True), color=_COST, linewidth=1.2)
    if scores:
        right = axes.twinx()
        right.semilogy(*zip(*scores, strict=True), color=_SCORE, marker=".", linewidth=1.2)
        right.set_ylabel("validation score (1.1: all figures just met)", fontsize=9, color=_SCORE)
        right.tick_params(colors=_FAINT, labelsize=9)


def _draw_rivals(axes: Any, courses: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Best score so far over all computing that a student took, its teachers' included."""

    def last(stage: str, key: str) -> float:
        return max((record[key] for record in courses.get(stage, ())), default=0.0)

    taught = sum(last(stage, "seconds") for stage in ("shared", "teachers", "retrained"))
    # Updates of both are the same program: at one pace, whatever else the machine did meanwhile.
    pace = 1.0
    if last("tune", "updates") and last("direct", "seconds"):
        per_update = {stage: last(stage, "seconds") / last(stage, "updates") for stage in ("tune", "direct")}
        pace = per_update["tune"] / per_update["direct"]
    for label, color, stages in (
        ("with teachers", _GAIN, (("distil", taught, 1.0), ("tune", taught + last("distil", "seconds"), 1.0))),
        ("without", _LOSS, (("direct", 0.0, pace),)),
    ):
        scores = [
            ((begin + factor * record["seconds"]) / 60.0, record["score"])
            for stage, begin, factor in stages
            for record in courses.get(stage, ())
            if "score" in record
        ]
        if scores:
            when, score = zip(*scores, strict=True)
            axes.step(when, np.minimum.accumulate(score), where="post", color=color, linewidth=1.6, label=label)
    _style(axes, "both ways, at equal computing")
    axes.set_yscale("log")
    axes.set_xlabel("minutes, teachers included, both at one pace", fontsize=9, color=_INK)
    axes.set_ylabel("best validation score so far", fontsize=9, color=_INK)
    axes.legend(fontsize=9, frameon=False)


def _draw_gains(axes: Any, teachers: Mapping[str, Any]) -> None:
    """Histogram of shared net's RMSE / teacher's RMSE on the teacher's own airframe."""
    ratio = np.asarray(teachers["shared_rmse_m"]) / np.maximum(teachers["teacher_rmse_m"], 1e-6)
    bins = np.geomspace(min(ratio.min(), 0.5), max(ratio.max(), 2.0) * 1.001, 41)
    summary = teachers["summary"]
    _style(axes, f"{summary['teachers']} teachers, {summary['retrained']} retrained, {summary['dropped']} dropped")
    axes.hist(ratio[ratio >= 1.0], bins, color=_GAIN, label="teacher no worse")
    axes.hist(ratio[ratio < 1.0], bins, color=_LOSS, label="shared net better")
    axes.set_xscale("log")
    axes.set_xlabel("RMSE of the shared net / RMSE of the teacher", fontsize=9, color=_INK)
    axes.set_ylabel("airframes", fontsize=9, color=_INK)
    axes.legend(fontsize=9, frameon=False)
