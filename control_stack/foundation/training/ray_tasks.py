"""Shards of teachers as Ray tasks, on as many machines as the Ray cluster has.

The tasks run ``parallel.work``, as local processes do. The folder must lie where all machines see it.
"""

from __future__ import annotations

import os
import queue
from contextlib import suppress
from pathlib import Path
from typing import Any

from control_stack.errors import ControlStackError, MissingDependency, TrainingAborted
from control_stack.foundation.training import parallel
from control_stack.foundation.training.policy_gradient import Weights


def _task(rank: int, plan: parallel.Plan, weights: Weights, folder: Path, reports: Any) -> None:
    parallel.work(rank, plan, weights, folder, parallel.Alone(), lambda *what: reports.put(what))


def require() -> Any:
    """The module, or MissingDependency."""
    try:
        import ray
        import ray.util.queue
    except ImportError:
        raise MissingDependency("ray", "ray", "without it, teachers train in processes of this machine") from None
    return ray


def run(plan: parallel.Plan, weights: Weights, folder: Path, report: parallel.Report) -> None:
    """Runs one task for each worker of a plan that trains each its own.

    Raises:
        TrainingAborted: A task failed, or Ray did not start.
    """
    ray = require()
    try:
        _join(ray)
    except Exception as error:
        raise TrainingAborted(f"Ray does not start: {_line(error)}") from error
    reports = ray.util.queue.Queue()

    def drain() -> None:
        with suppress(queue.Empty):
            while True:
                report(*reports.get(block=False))

    task = ray.remote(num_cpus=1)(_task)
    pending = [task.remote(rank, plan, weights, folder.resolve(), reports) for rank in range(plan.workers)]
    try:
        while pending:
            done, pending = ray.wait(pending, timeout=0.5)
            drain()
            ray.get(done)
    except (ControlStackError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise TrainingAborted(f"a Ray task ended early: {_line(error)}. Run again to resume.") from error
    finally:
        for left in pending:
            ray.cancel(left, force=True)
    drain()


def _join(ray: Any) -> None:
    """Connects to the Ray cluster that runs here or that RAY_ADDRESS names; else starts one of this machine alone."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use to its makers unless told not to
    try:
        ray.init("auto", log_to_driver=False)
    except ConnectionError:
        ray.init("local", log_to_driver=False, include_dashboard=False, _node_ip_address="127.0.0.1")


def _line(error: Exception) -> str:
    """The last line of what Ray says: the ones before are traces."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
