"""Pilots at their best: net, horizon and settings of each sampler drawn equally often, and kept by cost in the loop.

Every sampler has six pilots: its settings as tuned in the open loop on each of three nets, the default ones, and two
draws. The nets are the thin one, the best of those thinned less, which cost a sampler no binaries, and the best dense
one. The solver has four pilots, of more ReLUs or steps ahead. All are flown from a few starts; the best of each planner
from some more, by which the sampler is taken that is flown for the figures. No start here is flown later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.mip_fits import Fit, Net
from benchmarks.mip_loop import SHARE, Pilot, fly_all
from benchmarks.mip_plans import LEAST_ROLLOUTS, PIECES, drawn_settings, rollouts_allowed
from benchmarks.mip_work import Part, Work
from control_stack.types import Array
from controllers.planning.factory import SAMPLERS, sampler

FIRST_START = 1_000_000  # starts from here on are for choosing
HORIZONS = (5, 8, 12)
SOLVER = "mip"  # flown in closed loop; our own branch and bound is beside it in the open one
FLOWN = (SOLVER, *SAMPLERS)
DRAWS = 6  # pilots of each sampler
STARTS, MORE = 3, 6  # of the first round, and of the second
# ReLUs and steps ahead that the solver may choose from. Where objects share weights a ReLU of a pair costs as many
# binaries as there are pairs (12 in sorting), so that 16 leave one of them.
THIN = ((16, 5), (16, 8), (24, 8), (32, 5))
THIN_OF_OBJECTS = ((24, 5), (48, 5), (48, 8), (64, 5))
_OBJECTS = ("sorting",)


def choose(
    fit: Fit, work: Work, seed: int, quick: bool, steps: tuple[int, int], tuned: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Pilot], dict[str, float]]:  # fmt: skip
    """By planner its best pilot, and the mean cost of each in the second round (empty where there was none).

    Args:
        steps: Of a start in the first and in the second round.
        tuned: By sampler what ``mip_plans.tuned`` found for the thin net and the shortest horizon.
    """
    thin = (fit.method, 16)
    if quick:  # no time to choose: a default of each
        return {name: Pilot(name, thin, HORIZONS[0]) for name in FLOWN}, {}
    pilots = solver_pilots(fit) + sampler_pilots(fit, work, seed, tuned)
    first = mean_costs(fit, work, pilots, 0, STARTS, steps[0], seed)
    best = {name: min((k for k, p in enumerate(pilots) if p.planner == name), key=lambda k: first[k]) for name in FLOWN}
    chosen = {name: pilots[k] for name, k in best.items()}
    second = mean_costs(fit, work, list(chosen.values()), STARTS, MORE, steps[1], seed)
    return chosen, dict(zip(chosen, second.tolist(), strict=True))


def mean_costs(
    fit: Fit, work: Work, pilots: Sequence[Pilot], first: int, count: int, steps: int, seed: int
) -> Array:  # fmt: skip
    """Of each pilot over starts for choosing, from number ``first`` of them on."""
    begin = FIRST_START + 1000 * seed + first
    flown = fly_all([(fit, pilot, range(begin, begin + count), steps, seed) for pilot in pilots], work)
    return np.array([np.mean([record["cost"] for record in records]) for records in flown])


def nets_of(fit: Fit) -> list[Net]:
    """That samplers may choose from: the thin one, the best of those thinned less, and the best dense one."""
    wider = fit.wider()
    return [(fit.method, 16), *([wider] if wider else []), fit.dense()]


def solver_pilots(fit: Fit) -> list[Pilot]:
    """What the solver may choose from, as far as there are such rungs."""
    pairs = THIN_OF_OBJECTS if fit.task in _OBJECTS else THIN
    found = [Pilot(SOLVER, (fit.method, relus), horizon) for relus, horizon in pairs if fit.has(relus)]
    return found or [Pilot(SOLVER, (fit.method, 16), horizon) for horizon in HORIZONS]


def sampler_pilots(fit: Fit, work: Work, seed: int, tuned: Mapping[str, Mapping[str, Any]]) -> list[Pilot]:
    """``DRAWS`` of each sampler: over them every net has two horizons, and over samplers all of them."""
    nets = nets_of(fit)
    rollouts = work([Part(rollouts_allowed, fit, (name, nets, HORIZONS, SHARE)) for name in SAMPLERS])
    pilots = []
    for s, name in enumerate(SAMPLERS):
        for k in range(DRAWS):
            n, h = k % len(nets), (k + k // len(HORIZONS) + s) % len(HORIZONS)
            most = rollouts[s][n * len(HORIZONS) + h]
            if k < DRAWS // 2:
                found = sampler(name)[1].read(tuned[name]["settings"])
                settings = found.within(max(most // tuned[name]["pieces"], LEAST_ROLLOUTS))
            else:
                settings = drawn_settings(name, k - DRAWS // 2, max(most // PIECES[k % 3], LEAST_ROLLOUTS), seed)
            pilots.append(Pilot(name, nets[n], HORIZONS[h], settings.values()))
    return pilots
