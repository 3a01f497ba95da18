"""An arm under changing loads: control-stack bench arm [--models FILE ...] [--quick] [--json FILE].

NMPC of the Panda with a learned Lagrangian model and its context, beside rivals with nominal models and estimators,
on loads and references that neither training nor tuning has seen. Every command acts a period (20 ms) after its state.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arm_runs import DROP, DURATION, RIVALS, SWAP, Contender, Run, carried_out, carry_out
from control_stack.artefacts.tables import BenchRow
from control_stack.errors import InvalidInput
from control_stack.learning.shipped import black_box_models, lagrangian_models
from control_stack.types import Array
from controllers.arm.factory import sort_of

LOADS, QUICK_LOADS, QUICK_DURATION = 30, 2, 4.0
WINDOW, NEAR = 25, 1.2  # steps of an RMS after a change, and how near it is to that of a run with the new load
_RESAMPLES = 10_000
LEARNED, BLACK_BOX = "learned", "black-box MLP"


def contenders(models: Sequence[str]) -> list[Contender]:
    """The rivals, with the black boxes among the models, and one for every Lagrangian model."""
    found: dict[str, list[Contender]] = {BLACK_BOX: [], LEARNED: []}
    for path in models:
        own = found[BLACK_BOX if sort_of(path) == "black-box" else LEARNED]
        label = BLACK_BOX if own is found[BLACK_BOX] else LEARNED
        own.append(Contender(f"{label} {len(own) + 1}", model=path))
    return [*RIVALS, *found[BLACK_BOX], *found[LEARNED]]


def shipped() -> list[str]:
    """Models that come with the package: Lagrangian ones, one for each seed of training, and a black box."""
    return [str(path) for path in (*lagrangian_models(), *black_box_models())]


class Results:
    """Runs of one bench, carried out when they are asked for."""

    def __init__(self, models: Sequence[str], seed: int, quick: bool, parts: Path | None):
        self.contenders = contenders(models)
        self._seed, self._parts = seed, parts
        self.loads = QUICK_LOADS if quick else LOADS
        self.duration = QUICK_DURATION if quick else DURATION

    def errors(self, kind: str, among: Sequence[Contender] | None = None) -> dict[str, Array]:
        """label -> (loads, T) flange errors, m; all learned models under one label, (models, loads, T)."""
        chosen = self.contenders if among is None else among
        runs = [Run(c, kind, k, self._seed, self.duration) for c in chosen for k in range(self.loads)]
        found = iter(carried_out(runs, self._parts))
        each = {c.label: np.array([next(found)["error"] for _ in range(self.loads)]) for c in chosen}
        own = [error for label, error in each.items() if label.startswith(LEARNED)]
        rest = {label: error for label, error in each.items() if not label.startswith(LEARNED)}
        return {**rest, **({LEARNED: np.stack(own)} if own else {})}


def interval(values: Array, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over the last axis' loads; learned models are drawn anew as well."""
    rng = np.random.default_rng(seed)
    table = np.atleast_2d(values)
    models, loads = table.shape
    rows = rng.integers(models, size=(_RESAMPLES, models, 1))
    columns = rng.integers(loads, size=(_RESAMPLES, 1, loads))
    low, high = np.percentile(table[rows, columns].mean(axis=(1, 2)), [2.5, 97.5]).tolist()
    return low, high


def scores(errors: Mapping[str, Array], begin: float = 0.0, end: float = 1.0) -> dict[str, Array]:
    """label -> RMS error of each run, mm, from one share of its time to another."""
    found = {}
    for label, error in errors.items():
        n = error.shape[-1]
        part = error[..., round(begin * n) : round(end * n)]
        found[label] = 1e3 * np.sqrt(np.mean(part**2, axis=-1))
    return found


def rows_of(test: str, found: Mapping[str, Array], steady: bool = False) -> list[BenchRow]:
    """A row for every controller, and what the learned model is held to."""
    rows = [
        BenchRow(f"{test}, {label}", "flange RMS error, mean", float(value.mean()), "mm", interval=interval(value))
        for label, value in found.items()
    ]
    if LEARNED not in found:
        return rows
    mean = {label: float(value.mean()) for label, value in found.items()}
    own = mean[LEARNED]
    if steady:
        gap = (mean["nominal"] - own) / (mean["nominal"] - mean["oracle"])
        rows.append(BenchRow(f"{test}, learned", "below nominal", 100.0 * (1.0 - own / mean["nominal"]), "%", ">= 45"))
        rows.append(BenchRow(f"{test}, learned", "gap to oracle closed", 100.0 * gap, "%", ">= 80"))
        rows.append(BenchRow(f"{test}, learned", "error over payload EKF's", own / mean["payload EKF"], "1", "<= 1.05"))
    else:
        best = min(value for label, value in mean.items() if label not in (LEARNED, "oracle"))
        rows.append(BenchRow(f"{test}, learned", "error over the best rival's", own / best, "1", "< 1"))
    return rows


def recovery(changed: Array, settled: Array, begin: int, end: int, dt: float = 0.02) -> Array:
    """(...,) s from a change to the end of the first ``WINDOW`` steps whose RMS is near that of the settled run.

    Args:
        changed, settled: (..., T) flange errors of a run with the change, and of one with the new load throughout.
        begin, end: First step after the change, and the one after the last.
    """
    squares = [np.cumsum(np.square(e[..., begin:end]), axis=-1) for e in (changed, settled)]
    totals = [np.concatenate([np.zeros((*s.shape[:-1], 1)), s], axis=-1) for s in squares]
    windows = [np.sqrt((t[..., WINDOW:] - t[..., :-WINDOW]) / WINDOW) for t in totals]
    near = windows[0] <= NEAR * windows[1]
    first = np.where(near.any(axis=-1), near.argmax(axis=-1), near.shape[-1])
    return dt * (first + WINDOW)


def groups(models: Sequence[str] | None, parts: Path | None = None, key: Mapping[str, Any] | None = None) -> dict:
    """Groups of rows. models: learned models, one for each seed of training, and black boxes; None: those that ship."""
    chosen = shipped() if models is None else [str(path) for path in models]
    for path in chosen:
        if not Path(path).is_file():
            raise InvalidInput(f"--models {path}: no such file")

    # Runs of another revision, seed or mode are not these.
    name = hashlib.sha256(json.dumps(dict(key or {}), sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = _runs(parts, name) if parts is not None else None

    def results(seed: int, quick: bool) -> Results:
        return Results(chosen, seed, quick, folder)

    group: dict[str, Callable[[int, bool], list[BenchRow]]] = {
        "call times": lambda seed, quick: _call_times(chosen, seed, quick),
        "steady": lambda seed, quick: _steady(results(seed, quick)),
        "changes": lambda seed, quick: _changes(results(seed, quick)),
        "friction": lambda seed, quick: rows_of("friction x 1.5", scores(results(seed, quick).errors("friction"))),
        "recovery": lambda seed, quick: _recovery(results(seed, quick)),
    }
    return group


def _runs(parts: Path, name: str) -> Path:
    return parts.with_name(f"{parts.name}-{name}")


def finish(report: Mapping[str, Any], target: Path | None) -> None:
    """The report is written: its runs are of no more use."""
    if target is not None:
        for folder in target.parent.glob(f"{target.name}.parts-*"):
            shutil.rmtree(folder)


def _steady(results: Results) -> list[BenchRow]:
    return rows_of("steady", scores(results.errors("steady")), steady=True)


def _changes(results: Results) -> list[BenchRow]:
    errors = results.errors("changes")
    swap, drop = SWAP / DURATION, DROP / DURATION
    return rows_of("after a swap", scores(errors, swap, drop)) + rows_of("after a drop", scores(errors, drop, 1.0))


def _recovery(results: Results) -> list[BenchRow]:
    """Of the learned model and the payload EKF."""
    among = [c for c in results.contenders if c.label.startswith(LEARNED) or c.label == "payload EKF"]
    errors = {kind: results.errors(kind, among) for kind in ("changes", "second", "empty")}
    rows, times = [], {}
    n = round(results.duration * 50.0)
    spans = {
        "swap": ("second", round(SWAP / DURATION * n), round(DROP / DURATION * n)),
        "drop": ("empty", round(DROP / DURATION * n), n),
    }
    for what, (kind, begin, end) in spans.items():
        for label in errors["changes"]:
            times[label] = recovery(errors["changes"][label], errors[kind][label], begin, end)
            median = float(np.median(times[label]))
            target = "<= 1.0" if label == LEARNED else None
            rows.append(BenchRow(f"recovery from a {what}, {label}", "median", median, "s", target))
        if LEARNED in times:
            ratio = float(np.median(times[LEARNED]) / np.median(times["payload EKF"]))
            rows.append(BenchRow(f"recovery from a {what}, learned", "time over payload EKF's", ratio, "1", "<= 1"))
    return rows


def _call_times(models: Sequence[str], seed: int, quick: bool) -> list[BenchRow]:
    """One process on one core, nothing beside it; the first half second (plans that begin) counts like the rest."""
    rows = []
    for c in contenders(models):
        if c.label[-1].isdigit() and not c.label.endswith(" 1"):
            continue  # of models that differ in their seed alone the first will do
        runs = [Run(c, "steady", k, seed, QUICK_DURATION if quick else DURATION) for k in range(1 if quick else 2)]
        times = 1e3 * np.concatenate([carry_out(run)["times"] for run in runs])
        target = "<= 12" if c.label.startswith(LEARNED) else None
        rows.append(BenchRow(f"call at 50 Hz, N = 12, {c.label}", "p50", float(np.percentile(times, 50)), "ms"))
        rows.append(BenchRow(f"call at 50 Hz, N = 12, {c.label}", "p99", float(np.percentile(times, 99)), "ms", target))
    return rows
