"""Bounds of the shipped Lipschitz models on boxes of their data's range.

Bounded is the rate of change (x+ - x) / dt: unlike x+ it has no x in it that is known already. Truth is the exact range
by mixed-integer programming for up to three inputs. For more it is the widest that climbing from many samples found,
which lies inside the true one: ratios to it are if anything too large.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.bounds import climbed
from benchmarks.lipschitz_models import TASKS, shipped
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.bounds import Affine, Box, Input, Network, Sum, interval_bounds, mip_bounds, split_bounds
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics

PERCENT = (5, 20, 50)
FEW, MANY, SECONDS = "<= 1.05", "<= 1.3", "<= 1"
_BUDGET = {True: 2048, False: 512}  # parts, by whether there are five inputs or fewer


def rate_of_change(model: LipschitzDynamics) -> Network:
    """[x, u, p] -> (x+ - x) / dt."""
    x, n, dt = Input(model.matrix.shape[1]), model.matrix.shape[1], model.spec.dt
    affine = Affine(x, (model.matrix - np.eye(model.nx, n)) / dt, model.constant / dt)
    return Network(Sum(affine, model.network.node(x)))


def bounds(seed: int, quick: bool) -> Findings:
    """Widths over the truth, seconds, and samples outside, by model and size of box."""
    rows: list[BenchRow] = []
    details: dict[str, Any] = {}
    count, samples = (1, 10_000) if quick else (5, 1_000_000)
    for task in TASKS:
        model = shipped(task)
        network, figures = rate_of_change(model), model.card["figures"]
        low, high = np.array(figures["range_lower"]), np.array(figures["range_upper"])
        few = network.inputs <= 3
        for percent in PERCENT:
            random = np.random.default_rng([seed, percent])
            ratios, plain, seconds, outside = [], [], [], 0
            for _ in range(count):
                half = 0.005 * percent * (high - low)
                centre = random.uniform(low + half, high - half)
                box = Box(centre - half, centre + half)
                began = time.perf_counter()
                found = split_bounds(network, box, _BUDGET[network.inputs <= 5])
                seconds.append(time.perf_counter() - began)
                truth = mip_bounds(network, box).width if few else climbed(network, box, random)
                ratios.append(found.width / truth)
                plain.append(interval_bounds(network, box).width / found.width)
                outside += _outside(network, box, found.lower, found.upper, samples // count, random)
            test = f"{task}, {network.inputs} inputs, boxes of {percent} % of the data's range"
            rows += [
                BenchRow(test, "width over the truth, largest", float(np.max(ratios)), "1", FEW if few else MANY),
                BenchRow(test, "width over the truth, median", float(np.median(ratios)), "1"),
                BenchRow(test, "interval arithmetic over it, median", float(np.median(plain)), "x"),
                BenchRow(test, "longest time", max(seconds), "s", SECONDS),
                BenchRow(test, f"of {samples} samples outside", float(outside), "1", "== 0"),
            ]
            details[test] = {"ratios": ratios, "interval_over_split": plain, "seconds": seconds}
    return Findings(rows, details)


def _outside(network: Network, box: Box, lower: Any, upper: Any, count: int, random: np.random.Generator) -> int:
    """Samples beyond the bounds, half of them at corners."""
    found = 0
    for part in np.array_split(np.arange(count), max(1, count // 50_000)):
        share = random.random((len(part), box.size))
        share[::2] = np.round(share[::2])
        values = network(box.lower + share * (box.upper - box.lower))
        found += int(((values < lower) | (values > upper)).any(-1).sum())
    return found
