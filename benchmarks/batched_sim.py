"""How many vehicle-steps per second the batched quadrotor model makes: NumPy, torch eager, torch compiled.

Run: python -m benchmarks.batched_sim [--seed N] [--quick] [--json FILE]

One vehicle-step is one RK4 step of 10 ms (four evaluations of the equations of motion) of one Crazyflie; the
cost does not depend on the length of the step. Batch 4096, one and two CPU threads, no gradients; states stay
where they are computed. On a machine with a GPU the same code runs there too, at batch 4096 and at a batch
that fills it. The peer is CasADi's virtual machine mapped over the same batch (float64, one thread), the
stack's other run-time form.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from control_stack.artefacts.tables import BenchRow, bench_report
from control_stack.errors import MissingDependency
from control_stack.quadrotor.model import QuadrotorDynamics
from control_stack.quadrotor.parameters import QuadrotorParameters, load_vehicle

BATCH, GPU_BATCH = 4096, 1 << 20
DT = 0.01  # s
THREADS = (1, 2)
# Million vehicle-steps/s at BATCH on two CPU threads.
TARGET = ">= 0.5"
UNIT = "million vehicle-steps/s"


def _states(vehicle: QuadrotorParameters, batch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vehicles near hover, with spread in attitude, rates and rotor speeds, and commands around hover."""
    random = np.random.default_rng(seed)
    hover = vehicle.hover_rotor_speed
    x = 0.1 * random.standard_normal((batch, 17))
    x[:, 9] += 1.0
    x[:, 6:10] /= np.linalg.norm(x[:, 6:10], axis=-1, keepdims=True)
    x[:, 13:] = hover * (1.0 + 0.05 * random.standard_normal((batch, 4)))
    return x, hover * (1.0 + 0.05 * random.standard_normal((batch, 4)))


def _time(step: Callable[[Any], Any], x: Any, repeats: int, finish: Callable[[], None] = lambda: None) -> np.ndarray:
    """Wall time of each of ``repeats`` steps, s, every step taken from the state that the last one gave."""
    for _ in range(3):
        step(x)
    finish()
    times = np.empty(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        x = step(x)
        finish()
        times[i] = time.perf_counter() - start
    return times


def _step(model: QuadrotorDynamics, u: Any, x: Any) -> Any:
    return model.step(x, u)


def _rows(test: str, batch: int, times: np.ndarray, target: str | None, peer: float | None) -> list[BenchRow]:
    """Throughput at the median step of the batch and at the 99th percentile, the slow end.

    The target is for the typical step; p99 on a shared machine measures the machine.
    """
    p50, p99 = (float(batch / np.percentile(times, q) / 1e6) for q in (50, 99))
    return [BenchRow(test, "p50", p50, UNIT, target, peer), BenchRow(test, "p99", p99, UNIT)]


def _peer(model: QuadrotorDynamics, x: np.ndarray, u: np.ndarray, repeats: int) -> float | None:
    """Throughput of the CasADi twin mapped over the batch; None where casadi is missing."""
    try:
        mapped = model.to_casadi().map(BATCH)
    except MissingDependency:
        return None
    disturbance = np.zeros((9, BATCH))
    times = _time(lambda s: mapped(s, u.T, disturbance), x.T, repeats)
    return float(BATCH / np.percentile(times, 50) / 1e6)


def _torch_rows(vehicle: QuadrotorParameters, seed: int, repeats: int, peer: float | None) -> list[BenchRow]:
    import torch

    rows: list[BenchRow] = []
    model = QuadrotorDynamics(vehicle, DT)
    places = [("cpu", BATCH, threads) for threads in THREADS]
    if torch.cuda.is_available():
        places += [("cuda", BATCH, 1), ("cuda", GPU_BATCH, 1)]
    for device, batch, threads in places:
        torch.set_num_threads(threads)
        x, u = (torch.tensor(a, dtype=torch.float32, device=device) for a in _states(vehicle, batch, seed))
        finish = torch.cuda.synchronize if device == "cuda" else (lambda: None)
        on_cpu = device == "cpu"
        name = f"torch float32 batch {batch}, {f'CPU threads {threads}' if on_cpu else device},"
        times = _time(partial(_step, model, u), x, repeats, finish)
        target = TARGET if on_cpu and threads == 2 else None
        rows += _rows(f"{name} eager", batch, times, target, peer if on_cpu else None)
        fast = model.compiled()
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            fast.step(x, u)
        finish()
        compiled = "compiled (failed: eager)" if caught else "compiled"
        rows.append(BenchRow(f"{name} {compiled}", "first_call", time.perf_counter() - start, "s"))
        times = _time(partial(_step, fast, u), x, repeats, finish)
        rows += _rows(f"{name} {compiled}", batch, times, target, peer if on_cpu else None)
    return rows


def measure(seed: int = 0, quick: bool = False) -> list[BenchRow]:
    """All rows of this benchmark; ``quick`` takes a tenth of the repeats.

    Raises:
        MissingDependency: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependency("torch", "learn") from None
    repeats = 50 if quick else 500
    vehicle = load_vehicle("crazyflie")
    x, u = _states(vehicle, BATCH, seed)
    model = QuadrotorDynamics(vehicle, DT)
    peer = _peer(model, x, u, repeats // 10)
    times = _time(partial(_step, model, u), x, repeats)
    rows = _rows(f"numpy float64 batch {BATCH}, 1 thread", BATCH, times, None, peer)
    threads = torch.get_num_threads()
    try:
        with torch.no_grad():
            rows += _torch_rows(vehicle, seed, repeats, peer)
    finally:
        torch.set_num_threads(threads)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    parser.add_argument("--json", metavar="FILE", help="also write the rows and where they were measured")
    arguments = parser.parse_args()
    bench_report(measure(arguments.seed, arguments.quick), arguments.json, arguments.seed)


if __name__ == "__main__":
    main()
