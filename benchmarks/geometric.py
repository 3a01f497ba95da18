"""Time of one geometric controller call: one vehicle on floats, and a batch on arrays.

Run: python -m benchmarks.geometric [--seed N]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from control_stack.artefacts.tables import BenchRow, bench_report
from control_stack.quadrotor.parameters import load_vehicle
from control_stack.trajectories import Lissajous
from control_stack.types import QuadrotorState, Reference
from controllers.geometric import GeometricController

TARGET = "<= 60"  # us
BATCH = 4096


def _states(seed: int, count: int) -> QuadrotorState:
    """States near flight: positions within 0.3 m, tilts within about 20 degrees."""
    random = np.random.default_rng(seed)
    quat = np.array([0.0, 0.0, 0.0, 1.0]) + 0.1 * random.standard_normal((count, 4))
    return QuadrotorState(
        0.1 * random.standard_normal((count, 3)),
        0.5 * random.standard_normal((count, 3)),
        quat / np.linalg.norm(quat, axis=-1, keepdims=True),
        0.5 * random.standard_normal((count, 3)),
    )


def _call_times(controller: GeometricController, states: list[QuadrotorState], reference: Reference) -> np.ndarray:
    """Seconds of each call, after a warm-up of a tenth of the calls."""
    times = []
    for state in states[: len(states) // 10] + states:
        started = time.perf_counter()
        controller(0.0, state, reference)
        times.append(time.perf_counter() - started)
    return np.array(times[len(states) // 10 :])


def measure(seed: int = 0, quick: bool = False) -> list[BenchRow]:
    """All rows of this benchmark. The target is for the typical call; p99 on a shared machine measures the machine."""
    parameters = load_vehicle("crazyflie")
    reference = Lissajous((0.0, 0.0, 0.0))(5.0)
    calls = 1000 if quick else 5000
    many = _states(seed, calls)
    fields = ("position_w", "velocity_w", "quat_xyzw", "omega_b")
    singles = [QuadrotorState(*(getattr(many, name)[i] for name in fields)) for i in range(calls)]
    batch = [_states(seed, BATCH)] * 50
    rows: list[BenchRow] = []
    for level in GeometricController.levels:
        controller = GeometricController(parameters, level)
        single = 1e6 * _call_times(controller, singles, reference)
        controller.reset()
        per_vehicle = 1e6 / BATCH * _call_times(controller, batch, reference)
        for label, times, target in (
            ("one vehicle", single, TARGET),
            (f"batch of {BATCH}, per vehicle", per_vehicle, None),
        ):
            test = f"geometric controller, {level.value}, {label}"
            rows.append(BenchRow(test, "p50", float(np.percentile(times, 50)), "us", target))
            rows.append(BenchRow(test, "p99", float(np.percentile(times, 99)), "us"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    bench_report(measure(seed), None, seed)


if __name__ == "__main__":
    main()
