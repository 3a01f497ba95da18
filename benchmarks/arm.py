"""An arm under changing loads: control-stack bench arm [--models PATH ...] [--quick] [--json FILE].

NMPC of the Panda with a learned Lagrangian model and its context, beside rivals with nominal models and estimators,
on loads and references that neither training nor tuning has seen. Every command acts a period (20 ms) after its state.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arm_models import (
    LEARNED,
    chosen,
    contenders,
    fit_rows,
    friction_title,
    identity,
    is_ablation,
    parity_rows,
    presence,
)
from benchmarks.arm_runs import DROP, DURATION, FRICTIONS, SWAP, Contender, Run, Runs
from benchmarks.arm_statistics import recovery, scores
from benchmarks.paired import estimate
from control_stack.artefacts.tables import BenchRow
from control_stack.types import Array

__all__ = ["finish", "groups", "identity"]  # what the command calls
LOADS, QUICK_LOADS, QUICK_DURATION = 30, 2, 4.0
FEWER = {"strong friction": 10}  # loads of what is for information
PERIOD_MS, CALL_MS = 20.0, "<= 12"
_PAYLOAD = "payload EKF"
Table = dict[str, Array]


class Results:
    """Runs of one bench, carried out when they are asked for."""

    def __init__(self, models: Sequence[str], seed: int, quick: bool, runs: Runs):
        self._contenders, self._seed, self._runs = contenders(models), seed, runs
        self._loads, self.duration = (QUICK_LOADS, QUICK_DURATION) if quick else (LOADS, DURATION)

    def among(self, kind: str) -> list[Contender]:
        """Who is in a kind of runs: all, but ablations where friction is scaled, and few where a phase is followed."""
        if kind in ("second", "empty"):
            return [c for c in self._contenders if c.label in (LEARNED, _PAYLOAD)]
        return [c for c in self._contenders if kind not in FRICTIONS or not is_ablation(c.label)]

    def of(self, kind: str) -> dict[str, list[list[dict[str, Any]]]]:
        """label -> results by model and load."""
        flown, loads = self.among(kind), range(min(self._loads, FEWER.get(kind, LOADS)))
        found = iter(self._runs([Run(c, kind, k, self._seed, self.duration) for c in flown for k in loads]))
        by_label: dict[str, list[list[dict[str, Any]]]] = {}
        for c in flown:
            by_label.setdefault(c.label, []).append([next(found) for _ in loads])
        return by_label

    def errors(self, kind: str) -> Table:
        """label -> (models, loads, T) flange errors, m."""
        return {
            label: np.array([[run["error"] for run in runs] for runs in models])
            for label, models in self.of(kind).items()
        }


def rows_of(test: str, found: Mapping[str, Array], steady: bool = False) -> list[BenchRow]:
    """A row for every controller, and what the learned model is held to.

    Args:
        found: label -> (models, loads) mm.
    """
    rows = []
    for label, values in found.items():
        value, around = estimate(lambda mean, label=label: mean[label], {label: values})  # type: ignore[misc]
        rows.append(BenchRow(f"{test}, {label}", "flange RMS error, mean", value, "mm", interval=around))
    if LEARNED not in found:
        return rows
    rivals = [label for label in found if label not in (LEARNED, "oracle") and not is_ablation(label)]
    held: list[tuple[str, str, str, Callable[[Mapping[str, Any]], Any]]] = [
        ("error over the best rival's", "1", "< 1", lambda m: m[LEARNED] / np.minimum.reduce([m[r] for r in rivals]))
    ]
    if steady:
        held = [
            ("below nominal", "%", ">= 45", lambda m: 100.0 * (1.0 - m[LEARNED] / m["nominal"])),
            ("gap to oracle closed", "%", ">= 80",
             lambda m: 100.0 * (m["nominal"] - m[LEARNED]) / (m["nominal"] - m["oracle"])),
            ("error over payload EKF's", "1", "<= 1.05", lambda m: m[LEARNED] / m[_PAYLOAD]),
        ]  # fmt: skip
    for metric, unit, target, figure in held:
        value, around = estimate(figure, found)
        rows.append(BenchRow(f"{test}, {LEARNED}", metric, value, unit, target, interval=around))
    return rows


def health_rows(test: str, found: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> list[BenchRow]:
    """Of every controller: how often torques were at their limits, and how often there was no answer of its own."""
    rows = []
    for label, models in found.items():
        runs = [run for own in models for run in own]
        at_limit = np.mean([run["saturation"] for run in runs], axis=0).max()
        calls = sum(run["calls"] for run in runs)
        fallen = sum(run["counts"].get("shifted", 0) + run["counts"].get("safe", 0) + run["refused"] for run in runs)
        for metric, value in (
            ("commands at a torque limit, worst joint", at_limit),
            ("fallbacks: plan before, safe torques, brakes", fallen / calls),
        ):
            rows.append(BenchRow(f"{test}, {label}", metric, 100.0 * float(value), "% of calls"))
    return rows


def groups(models: Sequence[str] | None, parts: Path | None = None, key: Mapping[str, Any] | None = None) -> dict:
    """Groups of rows. models: learned models, one for each seed of training, and black boxes; None: those that ship."""
    given = chosen(models)
    # Runs of other weights, settings, revision, seed or mode are not these.
    name = hashlib.sha256(json.dumps(dict(key or {}), sort_keys=True, default=str).encode()).hexdigest()[:16]
    runs = Runs(None if parts is None else parts.with_name(f"{parts.name}-{name}"))

    def of(rows: Callable[[Results], list[BenchRow]]) -> Callable[[int, bool], list[BenchRow]]:
        return lambda seed, quick: rows(Results(given, seed, quick, runs))

    titles = {kind: friction_title(given, factor) for kind, factor in FRICTIONS.items()}
    return {
        "models": lambda seed, quick: presence(given) + fit_rows(given) + parity_rows(given, seed),
        "call times": lambda seed, quick: _call_times(given, seed, quick),
        "steady": of(_steady),
        "changes": of(_changes),
        **{kind: of(partial(_friction, kind=kind, title=title)) for kind, title in titles.items()},
        "recovery": of(_recovery),
        "all calls": of(_all_calls),
    }


def finish(report: Mapping[str, Any], target: Path | None) -> None:
    """The report is written: its runs are of no more use."""
    if target is not None:
        for folder in target.parent.glob(f"{target.name}.parts-*"):
            shutil.rmtree(folder)


def _steady(results: Results) -> list[BenchRow]:
    rows = rows_of("steady", scores(results.errors("steady")), steady=True)
    return rows + health_rows("steady", results.of("steady"))


def _changes(results: Results) -> list[BenchRow]:
    errors, swap, drop = results.errors("changes"), SWAP / DURATION, DROP / DURATION
    rows = rows_of("after a swap", scores(errors, swap, drop)) + rows_of("after a drop", scores(errors, drop, 1.0))
    return rows + health_rows("changes", results.of("changes"))


def _friction(results: Results, kind: str, title: str) -> list[BenchRow]:
    return rows_of(title, scores(results.errors(kind))) + health_rows(title, results.of(kind))


def _recovery(results: Results) -> list[BenchRow]:
    """Of the learned model and the payload EKF."""
    errors = {kind: results.errors(kind) for kind in ("changes", "second", "empty")}
    rows: list[BenchRow] = []
    n = round(results.duration * 50.0)
    spans = {
        "swap": ("second", round(SWAP / DURATION * n), round(DROP / DURATION * n)),
        "drop": ("empty", round(DROP / DURATION * n), n),
    }
    for what, (kind, begin, end) in spans.items():
        settled = errors[kind]
        times = {label: recovery(errors["changes"][label], settled[label], begin, end) for label in settled}
        for label, table in times.items():
            median, around = estimate(lambda m, label=label: m[label], {label: table}, np.median)  # type: ignore[misc]
            target = "<= 1.0" if label == LEARNED else None
            rows.append(BenchRow(f"recovery from a {what}, {label}", "median", median, "s", target, interval=around))
        if LEARNED in times:
            ratio, around = estimate(lambda m: m[LEARNED] / m[_PAYLOAD], times, np.median)
            test = f"recovery from a {what}, {LEARNED}"
            rows.append(BenchRow(test, "time over payload EKF's", ratio, "1", "<= 1", interval=around))
    return rows


def _call_times(models: Sequence[str], seed: int, quick: bool) -> list[BenchRow]:
    """One process on one core, nothing beside it, every kind of runs; plans that begin count like the rest."""
    first = {c.label: c for c in reversed(contenders(models))}  # models that differ in their seed alone take as long
    alone, rows = Runs(workers=1), []
    for label, c in reversed(first.items()):
        duration = QUICK_DURATION if quick else DURATION
        flown = alone([Run(c, kind, 0, seed, duration) for kind in ("steady", "changes", *FRICTIONS)])
        rows += _time_rows(f"call at 50 Hz, N = 12, {label}", flown, CALL_MS if label == LEARNED else None)
    return rows


def _all_calls(results: Results) -> list[BenchRow]:
    """Of all runs of the bench, two of which were carried out at a time."""
    rows = []
    for label in results.of("steady"):
        flown = [
            run for kind in ("steady", "changes", *FRICTIONS) for own in results.of(kind).get(label, ()) for run in own
        ]
        rows += _time_rows(f"calls of all runs, two at a time, {label}", flown)
    return rows


def _time_rows(test: str, flown: Sequence[Mapping[str, Any]], target: str | None = None) -> list[BenchRow]:
    times = 1e3 * np.concatenate([run["times"] for run in flown])
    return [
        BenchRow(test, "p50", float(np.percentile(times, 50)), "ms"),
        BenchRow(test, "p99", float(np.percentile(times, 99)), "ms", target),
        BenchRow(test, "longer than a period", 100.0 * float(np.mean(times > PERIOD_MS)), "%"),
    ]
