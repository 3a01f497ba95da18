"""Rivals at their best: settings, net and horizon of each sampler, drawn equally often and kept by cost.

In the open loop settings are tuned to each deadline on instances of their own. For the closed loop every sampler has as
many draws of settings, net and horizon together; those of least mean cost over a few starts fly more, and the best of
these is kept. The solver chooses its ReLUs and horizon in the same way, from no more. No start here is flown later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.mip_fits import Fit, Net
from benchmarks.mip_loop import Pilot, deadline_of, jobs_of, records_of
from benchmarks.mip_statistics import Store
from control_stack.learning.spec import Goal
from control_stack.types import Array
from controllers.planning.factory import SAMPLERS, sampler
from controllers.planning.problem import Problem
from controllers.planning.sampling import Settings
from controllers.planning.tuning import Tuning

FIRST_START = 1_000_000  # starts from here on are for choosing
HORIZONS = (5, 8, 12)
THIN = (8, 16, 24)  # ReLUs that the solver may choose from
SOLVER = "mip"  # flown in closed loop; our own branch and bound is beside it in the open one
FLOWN = (SOLVER, *SAMPLERS)
_CALIBRATIONS = 3


class Instance(NamedTuple):
    """What is planned, in the order of ``plan``'s arguments."""

    x0: Array
    goal: Goal
    start: Array | None = None
    before: Array | None = None


def draws(problem: Problem, deadline: float, trials: int, seed: int, of: Instance) -> dict[str, list[Settings]]:
    """By sampler ``trials`` settings: searches as long as the deadline, half and a quarter of it, in turn.

    Args:
        of: To see how many rollouts a deadline allows.
    """
    found: dict[str, list[Settings]] = {}
    for name in SAMPLERS:
        rollouts = allowed(name, problem, deadline, of)
        found[name] = []
        for k in range(trials):
            budget = max(rollouts >> (k % 3), 64)
            found[name].append(Tuning((name,), trials, budget, seed, {}).draw(name, k))
    return found


def allowed(name: str, problem: Problem, deadline: float, of: Instance) -> int:
    """Rollouts that a sampler's default settings come to within a deadline."""
    kind, settings = sampler(name)
    planner = kind(problem, settings())
    counts = []
    for _ in range(_CALIBRATIONS):
        planner.reset()
        planner.plan(*of, deadline)
        counts.append(planner.rollouts)
    return int(np.median(counts))


def tuned(problem: Problem, instances: Sequence[Instance], deadline: float, trials: int, seed: int) -> dict[str, Any]:
    """By sampler the settings of least mean cost over the instances, each planned within the deadline."""
    best: dict[str, Any] = {}
    for name, drawn in draws(problem, deadline, trials, seed, instances[0]).items():
        costs = []
        for settings in drawn:
            planner = sampler(name)[0](problem, settings)
            costs.append(float(np.mean([planner.plan(*of, deadline).cost for of in instances])))
        best[name] = {"settings": drawn[int(np.argmin(costs))].values(), "cost": min(costs)}
    return best


def nets_of(fit: Fit) -> list[Net]:
    """That samplers may choose from: the thin one, and the best dense one."""
    return [(fit.method, 16), fit.dense()]


def choose(
    fit: Fit, store: Store, seed: int, quick: bool, steps: int, tuned_ones: Mapping[str, Any]
) -> dict[str, Pilot]:  # fmt: skip
    """By planner its best pilot.

    Args:
        tuned_ones: By sampler what ``tuned`` found for the thin net and the shorter horizon: tried as well.
    """
    if quick:  # no time to choose: a default of each
        thin = (fit.method, 16)
        return {name: Pilot(name, thin, HORIZONS[0]) for name in FLOWN}
    trials, starts, finalists, more = 12, 5, 2, 10
    pilots = [Pilot(SOLVER, (fit.method, n), horizon) for n in THIN if fit.has(n) for horizon in HORIZONS]
    pilots += [Pilot(name, (fit.method, 16), HORIZONS[0], found["settings"]) for name, found in tuned_ones.items()]
    pilots += _drawn(fit, store, trials, seed)

    def mean_costs(pilots: Sequence[Pilot], first: int, count: int) -> Array:
        numbers = range(FIRST_START + 1000 * seed + first, FIRST_START + 1000 * seed + first + count)
        flown = records_of([jobs_of(fit.folder, pilot, numbers, steps, seed) for pilot in pilots], store)
        return np.array([np.mean([record["cost"] for record in records]) for records in flown])

    first, chosen = mean_costs(pilots, 0, starts), {}
    final = []
    for name in FLOWN:
        order = [k for k in np.argsort(first) if pilots[k].planner == name]
        final += [pilots[k] for k in order[:finalists]]
    second = mean_costs(final, starts, more)
    for name in FLOWN:
        mine = [k for k in range(len(final)) if final[k].planner == name]
        chosen[name] = final[min(mine, key=lambda k: second[k])]
    return chosen


def _drawn(fit: Fit, store: Store, trials: int, seed: int) -> list[Pilot]:
    """Trials of each sampler, evenly over nets and horizons. What a deadline allows is measured once, and kept."""
    variants = [(net, horizon) for net in nets_of(fit) for horizon in HORIZONS]

    def measured() -> Mapping[str, Any]:
        found: dict[str, list[Any]] = {name: [] for name in SAMPLERS}
        for v, (net, horizon) in enumerate(variants):
            problem = fit.problem(net, horizon)
            of = middle(problem)
            drawn = draws(problem, deadline_of(problem), -(-trials // len(variants)), seed + 100 * v, of)
            for name, settings in drawn.items():
                found[name] += [(v, one.values()) for one in settings]
        return found

    kept = store.get(f"{fit.task} drawn {seed}", measured)
    return [Pilot(name, variants[v][0], variants[v][1], values) for name in SAMPLERS for v, values in kept[name]]


def middle(problem: Problem) -> Instance:
    """An instance to take times with: the middle of all states, and the middle of all goals."""
    spec = problem.spec
    low, high = spec.output_range()
    goal = Goal(0.5 * (low + high), np.full(len(low), np.inf), np.zeros(len(low)))
    return Instance(0.5 * (spec.state_lower + spec.state_upper), goal)
