"""What the groups of ``bench mip`` compute from costs: regrets, and intervals of paired ratios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.types import Array

_RESAMPLES = 2000
_LEAST_COST = 1e-3  # below it a regret is relative to this
_ROUNDING = 1e-9  # relative difference of costs that are the same
STRICTLY = 1e-6  # by which a cost must fall, relative to 1 + |cost|, to count as better


def regret(cost: Any, reference: Any) -> Array:
    """(cost - reference) / max(|reference|, 1e-3), elementwise; 0 where that is rounding."""
    reference = np.asarray(reference, dtype=float)
    found = (np.asarray(cost, float) - reference) / np.maximum(np.abs(reference), _LEAST_COST)
    return np.where(np.abs(found) < _ROUNDING, 0.0, found)


def over(own: float, peer: float) -> float:
    """own / peer; of two zeros 0, and inf where the peer alone is zero."""
    if peer > 0.0:
        return own / peer
    return 0.0 if own <= 0.0 else float("inf")


def strictly_less(cost: Any, start: Any) -> Array:
    """Whether a cost lies below a start's by more than rounding."""
    cost, start = np.asarray(cost, float), np.asarray(start, float)
    return np.asarray(cost < start - STRICTLY * (1.0 + np.abs(cost)))


def bootstrap(figure: Callable[..., float], *paired: Array) -> tuple[float, float]:
    """95 % interval of a figure of samples that belong together: all are resampled alike. Ends may be infinite."""
    rng, values = np.random.default_rng(0), [np.asarray(v, dtype=float) for v in paired]
    n = len(values[0])
    found = []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(0, n, n)
        found.append(figure(*(v[chosen] for v in values)))
    low, high = np.percentile(found, [2.5, 97.5], method="nearest").tolist()
    return low, high


def ratio_of_medians(own: Array, peer: Array) -> float:
    """median / median."""
    return over(float(np.median(own)), float(np.median(peer)))


def ratio_of_means(own: Array, peer: Array) -> float:
    """mean / mean."""
    return over(float(np.mean(own)), float(np.mean(peer)))
