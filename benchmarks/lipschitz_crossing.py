"""Eight vehicles cross: gains adapted from what each sees against the best fixed one, in the same crossings.

Success: all eight are within 0.2 m of their goals at once before the patience is over, and nobody came too near. A
deadlock is none. The best fixed gain is chosen from ten on seeds of its own, under the same patience. The ten span all
that can be asked for. Two rows refuse a grid that is cut off: where an end of it succeeds more often than the best gain
inside, or a gain far beyond it more often than all of it, by more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks import lipschitz_vehicles
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST
from control_stack.safety.crossing.gains import gains_of, load
from control_stack.safety.crossing.seen import Policy
from control_stack.safety.crossing.setting import Crossing
from control_stack.safety.crossing.world import Outcome, constant, fly

GRID = np.geomspace(LOWEST, HIGHEST, 10)
_CHOOSING_SEED = 50_000
_BATCH = 100
_FOREIGN_SEED, _FOREIGN = 70_000, ((4, 1.6), (6, 1.6), (10, 2.0), (12, 2.4))  # vehicles, m of radius: not trained on
_BEYOND = 16.0 * HIGHEST  # 1/s


def flown(seeds: NDArray[np.int64], policy: Policy, crossing: Crossing, hardest: float = HIGHEST) -> Outcome:
    """All seeds, in batches."""
    parts: Sequence[Outcome] = [
        fly(seeds[k : k + _BATCH], policy, crossing, hardest) for k in range(0, len(seeds), _BATCH)
    ]  # fmt: skip
    axes = {field: int(field == "paths") for field in Outcome._fields}  # along which seeds lie
    return Outcome(**{f: np.concatenate([getattr(part, f) for part in parts], axis=k) for f, k in axes.items()})


def measure(seed: int, quick: bool) -> Findings:
    """Success, collisions and times of both, and the difference with its interval."""
    crossing = Crossing()
    chosen_on, tested_on = (8, 24) if quick else (200, 400)
    grid = GRID[::3] if quick else GRID
    choosing = seed + _CHOOSING_SEED + np.arange(chosen_on)
    tried = np.array([succeeded(flown(choosing, constant(g), crossing)) for g in grid])
    rates = tried.mean(axis=1)
    best, inside = int(rates.argmax()), 1 + int(rates[1:-1].argmax())
    end = 0 if rates[0] > rates[-1] else -1
    beyond = succeeded(flown(choosing, constant(_BEYOND), crossing, _BEYOND))
    later = succeeded(flown(choosing, constant(float(grid[best])), replace(crossing, patience=2.0 * crossing.patience)))
    seeds = seed + np.arange(tested_on)
    fixed, adapted = flown(seeds, constant(float(grid[best])), crossing), flown(seeds, gains_of(load()), crossing)
    name = f"8 crossing, {tested_on} paired seeds"
    where = f"its success on the {chosen_on} seeds it was chosen on"
    rows = [
        BenchRow(name, "best fixed gain", float(grid[best]), "1/s"),
        _over(name, "an end of its grid over the best inside", tried[end], tried[inside], "<= 0"),
        _over(name, f"{_BEYOND:g} 1/s, beyond the grid, over the best of it", beyond, tried[best], "<= 0"),
        BenchRow(name, where, 100.0 * float(rates[best]), "%", ">= 60"),
        BenchRow(name, f"{where}, at most", 100.0 * float(rates[best]), "%", "<= 90"),
        BenchRow(name, "the same with twice the patience", 100.0 * float(later.mean()), "%"),
        BenchRow(name, "success, best fixed gain", 100.0 * float(succeeded(fixed).mean()), "%"),
        BenchRow(name, "success, adapted gains", 100.0 * float(succeeded(adapted).mean()), "%"),
        _over(name, "adapted over best fixed", succeeded(adapted), succeeded(fixed), "> 0"),
        BenchRow(name, "collisions, adapted gains", float(adapted.collided.sum()), "", "== 0"),
        BenchRow(name, "collisions, best fixed gain", float(fixed.collided.sum()), "", "== 0"),
        BenchRow(name, "least distance, adapted gains", 1e3 * float(adapted.least.min()), "mm"),
        BenchRow(
            name, "time of arrival p50, adapted gains", _middle(adapted), "s", peer=_middle(fixed)
        ),
    ]  # fmt: skip
    rows += _foreign(seed + _FOREIGN_SEED + np.arange(4 if quick else 40), constant(float(grid[best])), crossing)
    product = lipschitz_vehicles.measure(seed, quick)
    details = {"grid": grid.tolist(), "success_of_grid": rates.tolist(), "adapted": succeeded(adapted).tolist(),
               "fixed": succeeded(fixed).tolist(), **product.details}  # fmt: skip
    return Findings([*rows, *product.rows], {"crossing": details})


def _foreign(seeds: NDArray[np.int64], fixed: Policy, crossing: Crossing) -> list[BenchRow]:
    """Other numbers of vehicles than the gains were trained and chosen for; the fixed gain is the peer."""
    rows = []
    for vehicles, radius in _FOREIGN:
        other = replace(crossing, vehicles=vehicles, radius=radius)
        one, peer = flown(seeds, gains_of(load()), other), flown(seeds, fixed, other)
        name = f"{vehicles} crossing, not trained on, {len(seeds)} paired seeds"
        success = [100.0 * float(succeeded(out).mean()) for out in (one, peer)]
        rows.append(BenchRow(name, "success, adapted gains", success[0], "%", peer=success[1]))
        collided = [float(out.collided.sum()) for out in (one, peer)]
        rows.append(BenchRow(name, "collisions, adapted gains", collided[0], "", peer=collided[1]))
    return rows


def _over(name: str, what: str, one: NDArray[np.bool_], other: NDArray[np.bool_], target: str) -> BenchRow:
    """How much more often one succeeds in the same crossings: the lower end of the 95 % interval, in points."""
    gain = 100.0 * (one.astype(float) - other)
    mean, half = float(gain.mean()), 1.96 * float(gain.std(ddof=1)) / float(np.sqrt(len(gain)))
    interval = (mean - half, mean + half)
    return BenchRow(name, f"{what}, lower end of 95 %", mean - half, "points", target, interval=interval)


def succeeded(out: Outcome) -> NDArray[np.bool_]:
    """(B,) all arrived and nobody came too near."""
    return np.asarray(out.arrived & ~out.collided)


def _middle(out: Outcome) -> float:
    there = out.time[np.isfinite(out.time)]
    return float(np.median(there)) if len(there) else float("nan")
