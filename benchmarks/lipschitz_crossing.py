"""Eight vehicles cross: gains adapted from what each sees against the best fixed one, in the same crossings.

Success: all eight are within 0.2 m of their goals at once before the patience is over, and nobody came too near. A
deadlock is none. The best fixed gain is chosen from ten on seeds of its own, under the same patience. The ten span all
that can be asked for; a best one at an end of them is refused by a row of its own, because the true one may lie beyond.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.safety.barrier.pairs import HIGHEST, LOWEST
from control_stack.safety.crossing.gains import gains_of, load
from control_stack.safety.crossing.seen import Policy
from control_stack.safety.crossing.setting import Crossing
from control_stack.safety.crossing.world import Outcome, constant, fly
from control_stack.types import Array

GRID = np.geomspace(LOWEST, HIGHEST, 10)
_CHOOSING_SEED = 50_000
_BATCH = 100


def flown(seeds: Array, policy: Policy, crossing: Crossing) -> Outcome:
    """All seeds, in batches."""
    parts: Sequence[Outcome] = [
        fly(seeds[k : k + _BATCH], policy, crossing) for k in range(0, len(seeds), _BATCH)
    ]  # fmt: skip
    joined = [np.concatenate([part[field] for part in parts]) for field in range(5)]
    return Outcome(*joined, np.concatenate([part.paths for part in parts], axis=1))


def measure(seed: int, quick: bool) -> Findings:
    """Success, collisions and times of both, and the difference with its interval."""
    crossing = Crossing()
    chosen_on, tested_on = (8, 24) if quick else (60, 400)
    grid = GRID[::3] if quick else GRID
    rates = [
        float(flown(seed + _CHOOSING_SEED + np.arange(chosen_on), constant(g), crossing).arrived.mean()) for g in grid
    ]
    best = float(grid[int(np.argmax(rates))])
    seeds = seed + np.arange(tested_on)
    fixed, adapted = flown(seeds, constant(best), crossing), flown(seeds, gains_of(load()), crossing)
    gain = adapted.arrived.astype(float) - fixed.arrived
    mean, half = float(gain.mean()), 1.96 * float(gain.std(ddof=1)) / float(np.sqrt(len(gain)))
    name = f"8 crossing, {tested_on} paired seeds"
    rows = [
        BenchRow(name, "best fixed gain", best, "1/s"),
        BenchRow(name, "its success on the seeds it was chosen on", 100.0 * max(rates), "%"),
        BenchRow(name, "success, best fixed gain", 100.0 * float(fixed.arrived.mean()), "%"),
        BenchRow(name, "success, adapted gains", 100.0 * float(adapted.arrived.mean()), "%"),
        BenchRow(
            name, "adapted over best fixed, lower end of 95 %", 100.0 * (mean - half), "points", "> 0",
            interval=(100.0 * (mean - half), 100.0 * (mean + half)),
        ),
        BenchRow(name, "collisions, adapted gains", float(adapted.collided.sum()), "", "== 0"),
        BenchRow(name, "collisions, best fixed gain", float(fixed.collided.sum()), "", "== 0"),
        BenchRow(name, "least distance, adapted gains", 1e3 * float(adapted.least.min()), "mm"),
        BenchRow(
            name, "time of arrival p50, adapted gains", _middle(adapted), "s", peer=_middle(fixed)
        ),
    ]  # fmt: skip
    details = {"grid": grid.tolist(), "success_of_grid": rates, "adapted": adapted.arrived.tolist(),
               "fixed": fixed.arrived.tolist()}  # fmt: skip
    return Findings(rows, {"crossing": details})


def _middle(out: Outcome) -> float:
    there = out.time[np.isfinite(out.time)]
    return float(np.median(there)) if len(there) else float("nan")
