"""Bounds on the ReLUs' arguments of a shipped net over a horizon: how tight each kind is, and what it costs.

From one state with inputs anywhere within their limits, as a call of the planner has it. "exact" is the range that
mixed-integer programming finds for each ReLU (``bounds.mip_bounds``, stopped after ``_NODES`` nodes of a side); widths
are relative to it. A ReLU of one sign only needs no binary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.mip_work import Part, Work
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.bounds import Box, preactivation_bounds, reachable_boxes
from control_stack.bounds.network import Concat, Input, Network, Node, Slice
from control_stack.learning.shipped import model_of
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.types import Array
from controllers.planning.problem import Problem
from sim.tasks.factory import make_task

TASK, HORIZON = "pushing-disc", 3
EXACT = "exact, per neuron"
USED = "zonotope, as the planner uses"
_FIRST = 3_000_000  # starts
_NODES = 20_000  # of each side of each neuron
_REPEATS = 5  # of the fast ones, the median of which counts


def measure(work: Work, seed: int, quick: bool) -> Findings:
    """Of the shipped net of one task, over the states of a few starts."""
    count, horizon = (2, 2) if quick else (4, HORIZON)
    numbers = range(_FIRST + 1000 * seed, _FIRST + 1000 * seed + count)
    found = work([Part(of_start, None, (TASK, number, horizon)) for number in numbers])
    return summary(f"bounds, shipped net of {TASK}, {horizon} steps, {count} states", found)


def summary(test: str, found: Sequence[Mapping[str, Mapping[str, Any]]]) -> Findings:
    """Rows from ``of_start`` of each start."""
    rows, details = [], {}
    for method in found[0]:
        width, exact, seconds, mixed = (
            np.concatenate([np.ravel(start[name][key]) for start in found])
            for name, key in ((method, "width"), (EXACT, "width"), (method, "seconds"), (method, "mixed"))
        )
        ratio = width / np.maximum(exact, 1e-9)
        details[method] = {"ratio": float(np.median(ratio)), "seconds": float(np.median(seconds))}
        where = f"{test}, {method}"
        if method != EXACT:
            for figure, q in (("median", 0.5), ("90th percentile", 0.9)):
                rows.append(BenchRow(where, f"width over the exact one, {figure}", float(np.quantile(ratio, q)), "1"))
        rows.append(BenchRow(where, "ReLUs whose sign is open", 100 * float(mixed.mean()), "%"))
        rows.append(BenchRow(where, "time, median", 1e3 * float(np.median(seconds)), "ms"))
    return Findings(rows, details)


def of_start(task_name: str, number: int, horizon: int) -> dict[str, dict[str, Any]]:
    """By method: width of each ReLU's bounds, whether its sign is open, and seconds; of one start's state."""
    model = SparseReLUDynamics.load(model_of(task_name)).collapsed()
    problem, task = Problem(model, horizon), make_task(task_name)
    x0 = task.reset(number)
    task.close()
    step = model.to_network()
    whole = _unrolled(step, problem.nx, problem.nu, horizon)
    low, high = problem.limits
    box = Box(np.concatenate([x0, low.ravel()]), np.concatenate([x0, high.ravel()]))
    state, inputs = Box(x0, x0), Box(low, high)

    def reached(method: Any) -> tuple[Array, Array]:
        layers = reachable_boxes(step, state, inputs, method).arguments
        return np.concatenate([b.lower for b in layers], -1), np.concatenate([b.upper for b in layers], -1)

    def solved(method: Any) -> tuple[Array, Array]:
        layers = preactivation_bounds(whole, box, method, _NODES)  # of all steps, one after another
        sides = [np.concatenate([side(b) for b in layers]) for side in (lambda b: b.lower, lambda b: b.upper)]
        return sides[0].reshape(horizon, -1), sides[1].reshape(horizon, -1)

    methods: dict[str, tuple[Callable[[], tuple[Array, Array]], int]] = {
        "interval": (lambda: reached("interval"), _REPEATS),
        USED: (lambda: reached("zonotope"), _REPEATS),
        "linear, backward through all steps": (lambda: reached("linear"), _REPEATS),
        "LP, per neuron": (lambda: solved("lp"), 1),
        EXACT: (lambda: solved("mip"), 1),
    }
    return {name: _timed(method, times) for name, (method, times) in methods.items()}


def _unrolled(step: Network, nx: int, nu: int, horizon: int) -> Network:
    """All steps as one network of x0, u0, u1, ..."""
    whole = Input(nx + horizon * nu)
    x: Node = Slice(whole, 0, nx)
    for start in range(nx, whole.size, nu):
        x = step.on(Concat(x, Slice(whole, start, start + nu)))[-1]
    return Network(x)


def _timed(method: Callable[[], tuple[Array, Array]], times: int) -> dict[str, Any]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        lower, upper = method()
        seconds.append(time.perf_counter() - began)
    return {
        "width": (upper - lower).tolist(), "mixed": ((lower < 0.0) & (upper > 0.0)).tolist(),
        "seconds": float(np.median(seconds)),
    }  # fmt: skip
