"""How long a round of a sampler's rollouts takes in NumPy and in torch, in turns in the same run.

Run: python -m benchmarks.sampler_rollouts [--model FILE] [--device cpu] [--repeats 30]

The nets: a sparse model (the shipped one of pushing-disc) and dense ones of two layers with random weights. One thread
on the CPU, as a planner beside others has it; time of torch includes bringing inputs there and states back.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from control_stack.artefacts.tables import table
from control_stack.learning.shipped import model_of
from control_stack.learning.sparse_relu import GatedLayer, SparseReLUDynamics
from controllers.planning.problem import Problem
from controllers.planning.rollout import BatchedRollout

ROLLOUTS, STEPS, WIDTHS = (32, 128, 512, 2048), 8, (64, 288)


def dense(like: SparseReLUDynamics, width: int) -> SparseReLUDynamics:
    """Two layers of so many ReLUs, random, with the states and inputs of another model."""
    rng, before, layers = np.random.default_rng(width), like.nx + len(like.spec.inputs), []
    for k, n in enumerate((width, width, like.nx)):
        gates = ("relu" if k < 2 else "identity",) * n
        layers.append(GatedLayer({k: 0.1 * rng.standard_normal((n, before)) / before**0.5}, np.zeros(n), gates))
        before = n
    return SparseReLUDynamics(like.spec, tuple(layers))


def measure(
    model: SparseReLUDynamics, device: str, repeats: int
) -> list[tuple[int, float, float, float, float, float]]:
    """By number of rollouts: p50 and p99 of both, ms, and how many times longer torch took."""
    kinds = BatchedRollout(model), BatchedRollout(model, device)
    rng, rows = np.random.default_rng(0), []
    x0, (low, high) = np.zeros(model.nx), Problem(model, STEPS).limits
    for count in ROLLOUTS:
        inputs = low + (high - low) * rng.random((count, *low.shape))
        seconds = np.empty((repeats, 2))
        for row in (*seconds[:3], *seconds):  # the first ones warm up
            for k, rollout in enumerate(kinds):
                began = time.perf_counter()
                rollout(x0, inputs)
                row[k] = time.perf_counter() - began
        (a, b), (c, d) = 1e3 * np.percentile(seconds, [50, 99], axis=0)
        rows.append((count, a, c, b, d, b / a))
    return rows


def main() -> None:
    """Prints a table for each net."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--device", default="cpu", help="of torch (default cpu)")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sparse = SparseReLUDynamics.load(options.model or model_of("pushing-disc"))
    nets = {f"{sparse.relus} ReLUs, sparse": sparse, **{f"2 x {w} ReLUs, dense": dense(sparse, w) for w in WIDTHS}}
    headers = ("rollouts", "NumPy p50, ms", "p99", "torch p50, ms", "p99", "torch / NumPy")
    for name, model in nets.items():
        print(f"{name}, {STEPS} steps, torch on {options.device}")
        print(table(measure(model, options.device, options.repeats), headers), end="\n\n")


if __name__ == "__main__":
    main()
