"""Figures of controllers that met the same things, with their intervals.

A table holds one number of each run, (models, units). Units are what runs are drawn from (loads, winds): the same for
all controllers, so that a bootstrap draws them for all alike. A learned controller has a model for every seed of
training, which the bootstrap draws for each controller by itself; all others have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from control_stack.types import Array

_RESAMPLES = 4000


def estimate(
    figure: Callable[[Mapping[str, Any]], Any], tables: Mapping[str, Array], statistic: Any = np.mean, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """A figure and its 95 % bootstrap interval.

    Args:
        figure: Of label -> statistic; works on arrays of them.
        tables: label -> (models, units), or (units,) of one model. statistic: ``np.mean`` or ``np.median``.
    """
    rng = np.random.default_rng(seed)
    given = {label: np.atleast_2d(table) for label, table in tables.items()}
    units = next(iter(given.values())).shape[1]
    columns = rng.integers(units, size=(_RESAMPLES, 1, units))
    drawn = {}
    for label, table in given.items():
        rows = rng.integers(len(table), size=(_RESAMPLES, len(table), 1))
        drawn[label] = statistic(table[rows, columns], axis=(1, 2))
    low, high = np.percentile(figure(drawn), [2.5, 97.5]).tolist()
    return float(figure({label: statistic(table) for label, table in given.items()})), (low, high)
