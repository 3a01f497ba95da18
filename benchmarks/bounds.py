"""Widths of bounds against the range that a network really has, and the time that they take.

Run: python -m benchmarks.bounds [--nets N] [--json FILE]

Networks have random weights of the usual scale. The range is the exact one (mixed-integer) for ReLU networks, and for
others the widest found by sampling and by climbing from the best samples, which lies inside the true one. A box of
p % has sides of p % of [-1, 1] around a random centre; the policy's hidden state is any in [-1, 1].
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.bounds import (
    Affine,
    Bounds,
    Box,
    Input,
    Network,
    Node,
    Relu,
    Tanh,
    gru_policy,
    interval_bounds,
    linear_bounds,
    lp_bounds,
    mip_bounds,
    sampled_bounds,
    split_bounds,
)
from control_stack.foundation.weights import shapes

BOXES = 512  # budget of splitting
PERCENT = (5, 20, 50)
METHODS: dict[str, Callable[[Network, Box], Bounds]] = {
    "interval": interval_bounds,
    "linear": linear_bounds,
    "linear + split": lambda network, box: split_bounds(network, box, BOXES),
    "lp": lp_bounds,
}


def layered(random: np.random.Generator, layer: Callable[[Node], Node], inputs: int, width: int) -> Network:
    """Two hidden layers, two outputs."""
    x: Node = Input(inputs)
    a = x
    for size in (width, width):
        a = layer(Affine(a, 1.4 * random.standard_normal((size, a.size)) / a.size**0.5, random.standard_normal(size)))
    return Network(Affine(a, random.standard_normal((2, width)) / width**0.5))


def policy(random: np.random.Generator) -> Network:
    """A policy of the shipped size with random weights."""
    return gru_policy({name: 0.25 * random.standard_normal(shape) for name, shape in shapes(16).items()})


CASES: dict[str, tuple[Callable[[np.random.Generator], Network], bool]] = {
    "ReLU 2 x 16, 3 inputs": (lambda random: layered(random, Relu, 3, 16), True),
    "ReLU 2 x 16, 6 inputs": (lambda random: layered(random, Relu, 6, 16), True),
    "tanh 2 x 64, 3 inputs": (lambda random: layered(random, Tanh, 3, 64), False),
    "tanh 2 x 64, 6 inputs": (lambda random: layered(random, Tanh, 6, 64), False),
    "GRU policy, 22 + 16 inputs": (policy, False),
}


def box_of(network: Network, percent: float, random: np.random.Generator) -> Box:
    """Around a random centre; hidden states of a policy are free."""
    radius = percent / 100.0
    centre = random.uniform(-1.0 + radius, 1.0 - radius, network.inputs)
    lower, upper = centre - radius, centre + radius
    if network.inputs == 38:
        lower[22:], upper[22:] = -1.0, 1.0
    return Box(lower, upper)


def climbed(network: Network, box: Box, random: np.random.Generator, steps: int = 300) -> np.ndarray:
    """(outputs,) widest range found: samples, then a random climb from the best 32 for each side of each output."""
    start = sampled_bounds(network, box, 20_000)
    points = box.lower + random.random((20_000, box.size)) * (box.upper - box.lower)
    values = network(points)
    best = [start.lower, start.upper]
    for i in range(network.outputs):
        for side, sign in enumerate((-1.0, 1.0)):
            x = points[np.argsort(-sign * values[:, i])[:32]]
            now = sign * network(x)[:, i]
            for step in range(steps):
                size = 0.5 * 0.98**step * (box.upper - box.lower)
                moved = np.where(random.random(x.shape) < 0.3, size * random.standard_normal(x.shape), 0.0)
                tried = np.clip(x + moved, box.lower, box.upper)
                value = sign * network(tried)[:, i]
                better = value > now
                x, now = np.where(better[:, None], tried, x), np.where(better, value, now)
            best[side][i] = sign * max(sign * best[side][i], now.max())
    return best[1] - best[0]


def measure(nets: int) -> list[dict[str, Any]]:
    """One row for each case and size of box: median and largest ratio of widths, and median seconds, by method."""
    rows = []
    for case, (make, exact) in CASES.items():
        for percent in PERCENT:
            ratios: dict[str, list[float]] = {}
            seconds: dict[str, list[float]] = {}
            for seed in range(nets):
                random = np.random.default_rng(seed)
                network = make(random)
                box = box_of(network, percent, random)
                reached = mip_bounds(network, box).width if exact else climbed(network, box, random)
                outputs = slice(0, 4 if network.inputs == 38 else None)
                for name, method in METHODS.items():
                    if name == "lp" and not exact:
                        continue
                    start = time.perf_counter()
                    width = method(network, box).width
                    seconds.setdefault(name, []).append(time.perf_counter() - start)
                    ratios.setdefault(name, []).extend((width / reached)[outputs])
            rows.append(
                {
                    "network": case,
                    "box_percent": percent,
                    "median_ratio": {name: float(np.median(r)) for name, r in ratios.items()},
                    "largest_ratio": {name: float(np.max(r)) for name, r in ratios.items()},
                    "median_s": {name: float(np.median(s)) for name, s in seconds.items()},
                }
            )
    return rows


def main() -> None:
    """Prints the table; ``--json`` keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=5, help="networks for each case")
    parser.add_argument("--json", type=Path, help="file to write")
    arguments = parser.parse_args()
    rows = measure(arguments.nets)
    print("| network | box | " + " | ".join(METHODS) + " |\n|---|---|" + "---|" * len(METHODS))
    for row in rows:
        cells = [
            f"{row['median_ratio'][name]:.2f} ({row['largest_ratio'][name]:.2f}), {row['median_s'][name]:.3f} s"
            if name in row["median_ratio"]
            else "-"
            for name in METHODS
        ]
        print(f"| {row['network']} | {row['box_percent']} % | " + " | ".join(cells) + " |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"boxes": BOXES, "nets": arguments.nets, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
