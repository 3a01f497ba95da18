"""The cross-entropy method from call to call: coloured draws, elites that are kept, the best plan ever seen.

As the planners' iCEM (Pinneri et al. 2020, ``planning/sampling_cem.py``), whose settings and noise it shares; that one
plans for a sparse net's task, this one for any costs of offsets, and it moves plans on by parts of a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from control_stack.types import Array
from controllers.planning.sampling_cem import ICEMSettings
from controllers.planning.sampling_noise import coloured

_LEAST_SPREAD = 1e-3
_NARROWER = 3.0  # logarithm of the ratio of the widest draws to the narrowest
_FEWEST = 2  # elites that a spread is taken from


class Found(NamedTuple):
    """offsets: (T, 3) the best. cost: of it. start_cost: of the plan to begin from. rounds: that were made."""

    offsets: Array
    cost: float
    start_cost: float
    rounds: int


class Search:
    """Searches offsets (T, n) within +-half. Equal seeds and calls give equal plans where there is no deadline."""

    def __init__(self, settings: ICEMSettings, steps: int, half: Array, seed: int):
        self.settings, self._half, self._seed = settings, half, seed
        self._shape = (steps, len(half))
        self.reset()

    def reset(self) -> None:
        """The next call is as the first."""
        self._calls = 0
        self._best, self._kept = np.zeros(self._shape), np.zeros((0, *self._shape))

    def __call__(self, cost: Callable[[Array], Array], moved: float, deadline: float | None = None) -> Found:
        """The best of all plans that were tried; among them are the last one, moved on, and no offsets at all.

        Args:
            cost: (S, T, n) -> (S,), infinite for what cannot be flown.
            moved: Steps since the last call, may be a part of one.
            deadline: ``time.perf_counter`` after which no round is begun but the first.
        """
        s, rng = self.settings, np.random.default_rng((self._seed, self._calls))
        self._calls += 1
        mean = self._on(self._best[None], moved)[0]
        spread = np.broadcast_to(s.spread * self._half, self._shape)
        extra = np.concatenate([mean[None], np.zeros((1, *self._shape)), self._on(self._kept, moved)])
        best, least, start_cost, rounds = mean, np.inf, np.inf, 0
        old, old_costs = extra[:0], np.zeros(0)
        for k, size in enumerate(s.sizes()):
            if k > 0 and deadline is not None and time.perf_counter() > deadline:
                break
            draws = coloured(rng, s.beta, max(size - len(extra), 1), *self._shape)
            # Wide ones find ways round obstacles, narrow ones refine: one round has to do both.
            draws *= np.exp(-_NARROWER * rng.random((len(draws), 1, 1)))
            draws = mean + spread * draws
            plans = np.concatenate([extra, np.clip(draws, -self._half, self._half)])
            costs = cost(plans)
            rounds += 1
            if k == 0:
                start_cost = float(costs[0])
            lowest = int(costs.argmin())
            if costs[lowest] < least:
                best, least = plans[lowest], float(costs[lowest])
            plans, costs = np.concatenate([plans, old]), np.concatenate([costs, old_costs])
            finite = np.flatnonzero(np.isfinite(costs))
            chosen = finite[np.argsort(costs[finite], kind="stable")[: max(s.elite_count(size), _FEWEST)]]
            if len(chosen) < _FEWEST:
                continue
            elites = plans[chosen]
            mean = s.inertia * mean + (1.0 - s.inertia) * elites.mean(axis=0)
            spread = np.maximum(s.inertia * spread + (1.0 - s.inertia) * elites.std(axis=0), _LEAST_SPREAD)
            keep = round(s.kept * len(chosen))
            old, old_costs, extra = elites[:keep], costs[chosen[:keep]], mean[None]
        self._best, self._kept = (best, old) if np.isfinite(least) else (np.zeros(self._shape), old[:0])
        return Found(self._best, least, start_cost, rounds)

    def ahead(self, moved: float) -> Array:
        """(n,) the offset of the last plan ``moved`` steps after it was made."""
        return np.asarray(self._on(self._best[None], moved)[0, 0])

    def _on(self, plans: Array, moved: float) -> Array:
        """(k, T, n) plans seen from ``moved`` steps later, along straight lines; the last offset is held."""
        steps = np.minimum(np.arange(self._shape[0]) + moved, self._shape[0] - 1)
        low = np.floor(steps).astype(int)
        high = np.minimum(low + 1, self._shape[0] - 1)
        share = (steps - low)[:, None]
        return np.asarray((1.0 - share) * plans[:, low] + share * plans[:, high])
