"""What ``bench arm`` makes of flange errors: scores of runs, times of recovery."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from control_stack.types import Array

WINDOW, NEAR = 25, 1.2  # steps of an RMS after a change, and how near it is to that of a run with the new load


def scores(errors: Mapping[str, Array], begin: float = 0.0, end: float = 1.0) -> dict[str, Array]:
    """label -> RMS error of each run, mm, from one share of its time to another."""
    found = {}
    for label, error in errors.items():
        n = error.shape[-1]
        part = error[..., round(begin * n) : round(end * n)]
        found[label] = 1e3 * np.sqrt(np.mean(part**2, axis=-1))
    return found


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
