"""Shipped Lipschitz models: the certificate beside the steepest slope, and other ways to the same constant.

The data is made again from its seed; rivals are trained in the run, each with as many numbers as the shipped model's
training had (+-10 %), as many updates and the same choice by validation episodes; the median of their seeds is taken.
Errors are of g on the test episodes, channels over their scales.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import lipschitz_data
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, digest
from control_stack.learning.lipschitz.certificate import by_norms
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.shipped import lipschitz_model_of

TASKS = ("piecewise", "cartpole", "planar-quadrotor")
EPISODES = {"piecewise": 300, "cartpole": 300}
RATIO, GAMMA, ERROR, BETTER = "<= 2.5", "<= 1.1", "<= 1.2", "< 1"
_SEEDS = 3


def shipped(task: str) -> LipschitzDynamics:
    """The model that comes with the package."""
    return LipschitzDynamics.load(lipschitz_model_of(task))


def data_of(task: str) -> Dataset:
    """The data that the shipped model was fitted to, made again.

    Raises:
        InvalidInput: It came out otherwise: test errors would then not be of episodes unseen in training.
    """
    if task == "planar-quadrotor":
        data = lipschitz_data.flights(0)
    else:
        from sim.tasks.collect import DEFAULT_STEPS, STEPS, Order, collect

        with tempfile.TemporaryDirectory() as folder:
            order = Order(task, EPISODES[task], 0, STEPS.get(task, DEFAULT_STEPS))
            data = collect(order, Path(folder) / "data", 1, "benchmark", lambda done: None).data
    if digest(data) != shipped(task).card["training"]["data_sha256"]:
        raise InvalidInput(f"the data of {task} came out other than that of the shipped model")
    return data


def models(seed: int, quick: bool) -> Findings:
    """Rows of all shipped models."""
    import torch

    torch.set_num_threads(1)
    rows: list[BenchRow] = []
    details: dict[str, Any] = {}
    for task in TASKS:
        model = shipped(task)
        found = _certificate_rows(task, model, seed, quick)
        rows += found
        rivals = _rivals(task, model, seed, 1 if quick else _SEEDS)  # trained as long: else they would be no rivals
        details[task] = rivals
        rows += _rival_rows(task, model, rivals)
    return Findings(rows, details)


def _certificate_rows(task: str, model: LipschitzDynamics, seed: int, quick: bool) -> list[BenchRow]:
    from control_stack.learning.lipschitz.slope import steepest

    figures, gamma = model.card["figures"], model.certificate.gamma
    slope, pairs = steepest(
        model.network, np.array(figures["range_lower"]), np.array(figures["range_upper"]),
        starts=1000 if quick else 10_000, pairs=100_000 if quick else 1_000_000, seed=seed,
    )  # fmt: skip
    test = f"{task}, shipped model"
    product = by_norms(model.network.weights)[0]
    return [
        BenchRow(test, "steepest slope found over certificate", max(slope, pairs) / gamma, "1", "<= 1"),
        BenchRow(
            test, "certificate over steepest slope, peer: product of norms", gamma / slope, "1", RATIO, product / slope
        ),
        BenchRow(test, "gamma, scaled channels", gamma, "1"),
    ]


def _rivals(task: str, model: LipschitzDynamics, seed: int, seeds: int) -> dict[str, dict[str, float]]:
    """Medians over seeds, by method: error, gamma, steepest slope, numbers, seconds of the semidefinite program."""
    from control_stack.learning.lipschitz.fit import problem
    from control_stack.learning.lipschitz.fitting import Course, Recipe
    from control_stack.learning.lipschitz.sdp import tightened
    from control_stack.learning.lipschitz.slope import steepest

    told = model.card["training"]
    task_problem = problem(data_of(task), told["nominal"], told["parameters"], told["seed"])
    ours = Recipe(
        told["method"], told["gamma"], tuple(told["widths"]), told["activation"], told["updates"], told["batch"],
        told["rate"], told["seed"],
    )  # fmt: skip
    samples, gamma = task_problem.samples, model.certificate.gamma
    out = {
        "sandwich": {
            "error": task_problem.scaled_error(model, task_problem.test),
            "gamma": gamma,
            "count": float(Course(samples, ours).form.count),
        }
    }
    for method in ("free", "spectral", "penalty"):
        rival = replace(ours, method=method, gamma=None if method == "free" else gamma)
        rival = replace(rival, widths=_equal_widths(samples, rival, out["sandwich"]["count"]))
        runs = []
        for k in range(seeds):
            course = task_problem.course(replace(rival, seed=seed + k))
            course.advance(rival.updates)
            network = course.network()
            began = time.perf_counter()
            tightened(network.weights)
            seconds = time.perf_counter() - began
            slope, _ = steepest(network, task_problem.lower, task_problem.upper, pairs=10_000, seed=seed)
            whole = replace(model, network=network)
            error = task_problem.scaled_error(whole, task_problem.test)
            runs.append(
                (error, network.certificate.gamma, slope, course.form.count, by_norms(network.weights)[0], seconds)
            )
        names = ("error", "gamma", "slope", "count", "norms", "sdp_s")
        out[method] = {name: float(v) for name, v in zip(names, np.median(runs, axis=0), strict=True)}
    return out


def _equal_widths(samples: Any, recipe: Any, count: float) -> tuple[int, ...]:
    """Equal hidden layers with the number of trained numbers closest to ``count``."""
    n, m, layers = samples.arguments.shape[1], samples.targets.shape[1], len(recipe.widths)

    def numbers(q: int) -> int:
        return (n + 1) * q + (layers - 1) * (q + 1) * q + (q + 1) * m

    q = min(range(2, 257), key=lambda q: abs(numbers(q) - count))
    return (q,) * layers


def _rival_rows(task: str, model: LipschitzDynamics, found: Mapping[str, Mapping[str, float]]) -> list[BenchRow]:
    own, free, spectral, penalty = (found[name] for name in ("sandwich", "free", "spectral", "penalty"))
    test = f"{task}, beside an unconstrained net"
    rows = [
        BenchRow(test, "trained numbers, peer: its", own["count"], "1", None, free["count"]),
        BenchRow(test, "our certificate over its steepest slope", own["gamma"] / free["slope"], "1", GAMMA),
        BenchRow(test, "error over its error", own["error"] / free["error"], "1", ERROR),
        BenchRow(test, "error, peer: its", own["error"], "1", None, free["error"]),
        BenchRow(
            test, "its own proof over its slope, peer: product of norms", free["gamma"] / free["slope"], "1", None,
            free["norms"] / free["slope"],
        ),
        BenchRow(test, "time of its proof (LipSDP, diagonal)", free["sdp_s"], "s"),
    ]  # fmt: skip
    test = f"{task}, at the same gamma"
    rows.append(BenchRow(test, "error over that of spectral norm", own["error"] / spectral["error"], "1", BETTER))
    rows.append(BenchRow(test, "error, peer: spectral norm", own["error"], "1", None, spectral["error"]))
    rows.append(BenchRow(test, "error, peer: gradient penalty", own["error"], "1", None, penalty["error"]))
    rows.append(
        BenchRow(test, "gamma, peer: what is proved of gradient penalty", own["gamma"], "1", None, penalty["gamma"])
    )
    return rows
