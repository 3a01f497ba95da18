"""Trains the gain network without gradients: random nets first, then the best and its neighbourhood, ever narrower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from control_stack.safety.crossing.gains import SIZE, gains_of
from control_stack.safety.crossing.setting import Crossing
from control_stack.safety.crossing.world import Outcome, fly
from control_stack.types import Array

_FIRST_SEED = 100_000  # of training: benchmarks count from 0


@dataclass(frozen=True)
class Recipe:
    """Of a training.

    Attributes:
        first: Random nets. worlds: Crossings that each of them flies.
        rounds: After that. children, later_worlds: Nets in each round, and crossings of each.
        parents: Best children that the next centre is the weighted mean of.
        spread: Standard deviation of the first nets' weights; narrower by ``narrowing`` from round to round.
        patience: s that a crossing lasts in training: less than is asked for, so that quick ones are better.
    """

    first: int = 48
    worlds: int = 4
    rounds: int = 5
    children: int = 16
    later_worlds: int = 10
    parents: int = 4
    spread: float = 1.5
    narrowing: float = 0.6
    patience: float = 7.0


def train(
    seed: int, recipe: Recipe = Recipe(), crossing: Crossing = Crossing(),  # noqa: B008
    told: Callable[[int, float], None] = lambda round_, score: None,
) -> Array:  # fmt: skip
    """(SIZE,) weights. The score is the mean distance that is left at the end, m, plus a tenth of the time of arrival.

    Args:
        told: Called after each round with its number and the best score.
    """
    rng = np.random.default_rng(seed)
    course = replace(crossing, patience=recipe.patience)
    nets = recipe.spread * rng.standard_normal((recipe.first, SIZE))
    scores = _scores(nets, recipe.worlds, 0, course)
    centre, spread = nets[scores.argmin()], recipe.spread
    told(0, float(scores.min()))
    share = np.log(recipe.parents + 0.5) - np.log(np.arange(1, recipe.parents + 1))
    for k in range(recipe.rounds):
        spread *= recipe.narrowing
        nets = centre + spread * rng.standard_normal((recipe.children, SIZE))
        nets[0] = centre
        scores = _scores(nets, recipe.later_worlds, k + 1, course)
        best = np.argsort(scores)[: recipe.parents]
        centre = (share[:, None] * nets[best]).sum(axis=0) / share.sum()
        told(k + 1, float(scores.min()))
    return centre


def _scores(nets: Array, worlds: int, round_: int, course: Crossing) -> Array:
    seeds = _FIRST_SEED + 1000 * round_ + np.arange(worlds)
    out = fly(np.tile(seeds, len(nets)), gains_of(np.repeat(nets, worlds, axis=0)), course)
    return np.asarray(_cost(out, course).reshape(len(nets), worlds).mean(axis=1))


def _cost(out: Outcome, course: Crossing) -> Array:
    return out.remaining + 0.1 * np.minimum(out.time, course.patience) + 5.0 * out.collided
