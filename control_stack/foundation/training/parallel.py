"""Worker processes that descend together: shared gradients for one policy, shards for a stack of them.

Each worker is one process with one thread: small tensors gain nothing from more, and two processes use two cores
fully. Workers of one policy add up their gradients in shared memory and make the same update; shards of teachers
have nothing to say to each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.multiprocessing as multiprocessing
from safetensors.torch import load_file, save_file
from torch import Tensor

from control_stack.foundation.training.policy_gradient import Descent, Settings, Weights

CHECKPOINT_SECONDS = 60.0


class Source(Protocol):
    """Something that gives gradients: ``policy_gradient.Gradient`` or ``distillation.Imitation``."""

    weights: Weights

    def __call__(self) -> tuple[Tensor, list[Tensor]]:
        """(N,) cost of each vehicle, and the gradients."""


@dataclass(frozen=True)
class Plan:
    """What a stage is to do.

    Attributes:
        updates: Number of updates. workers: Processes.
        build: ``build(rank, weights) -> Source``, called in each worker; picklable. The weights are the initial ones,
            or those of the checkpoint.
        settings: Of the descent. policies: Stacked policies of one worker.
        together: Whether all workers train the same weights.
        judge: ``judge(weights) -> score``, lower is better, called by worker 0 every ``judge_every`` updates; the
            best weights are kept. None keeps the last.
    """

    updates: int
    workers: int
    build: Callable[[int, Weights], Source]
    settings: Settings
    policies: int = 1
    together: bool = True
    judge: Callable[[Weights], float] | None = None
    judge_every: int = 500


def checkpoint_path(folder: Path, rank: int) -> Path:
    """Where a worker keeps what it needs to resume."""
    return folder / f"worker_{rank}.safetensors"


def _work(rank: int, plan: Plan, weights: Weights, folder: Path, shared: Tensor, barrier: Any, reports: Any) -> None:
    torch.set_num_threads(1)
    state: dict[str, Tensor] = {}
    done, best = 0, float("inf")
    path = checkpoint_path(folder, rank if not plan.together else 0)
    if path.is_file():
        stored = load_file(path)
        weights = {name[2:]: value for name, value in stored.items() if name.startswith("w.")}
        state = {name[2:]: value for name, value in stored.items() if name.startswith("s.")}
        done, best = int(stored["done"]), float(stored["best"])
    source = plan.build(rank, weights)
    descent = Descent(source.weights, plan.policies, plan.settings)
    if state:
        descent.restore(state)
    saved = time.monotonic()
    while done < plan.updates:
        cost, gradients = source()
        if plan.together:
            shared[rank] = torch.cat([g.reshape(-1) for g in gradients])
            barrier.wait()
            mean = shared.mean(0)
            barrier.wait()
            pieces = mean.split([g.numel() for g in gradients])
            gradients = [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True)]
        descent(gradients, done / plan.updates)
        done += 1
        reports.put((rank, done, float(cost.clamp(max=1e3).mean())))
        last = done == plan.updates
        writes = rank == 0 or not plan.together
        if plan.judge is not None and rank == 0 and (last or done % plan.judge_every == 0):
            score = plan.judge({name: w.detach() for name, w in source.weights.items()})
            reports.put((rank, done, ("score", score)))
            if score < best:
                best = score
                _write({name: w.detach() for name, w in source.weights.items()}, folder / "best.safetensors")
        if writes and (last or time.monotonic() - saved > CHECKPOINT_SECONDS):
            tensors = {f"w.{name}": w.detach() for name, w in source.weights.items()}
            tensors |= {f"s.{name}": value for name, value in descent.state().items()}
            tensors |= {"done": torch.tensor(done), "best": torch.tensor(best)}
            _write(tensors, path)
            saved = time.monotonic()


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes in one piece: a killed run leaves the old file or the new one."""
    partial = path.with_suffix(".partial")
    save_file({name: value.contiguous() for name, value in tensors.items()}, partial)
    partial.replace(path)


def run(plan: Plan, weights: Weights, folder: Path, report: Callable[[int, int, Any], None]) -> list[Weights]:
    """Runs a stage, or the rest of it where the folder holds checkpoints.

    Args:
        weights: Initial ones of each worker.
        report: Called with (rank, updates done, mean cost or ("score", value)).

    Returns:
        The weights: one entry, the best where a judge chose, or one for each shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context: Any = multiprocessing.get_context("spawn")
    size = sum(w.numel() for w in weights.values()) if plan.together else 1
    shared = torch.zeros(plan.workers, size).share_memory_()
    barrier, reports = context.Barrier(plan.workers), context.Queue()
    processes = [
        context.Process(target=_work, args=(rank, plan, weights, folder, shared, barrier, reports), daemon=True)
        for rank in range(plan.workers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes) or not reports.empty():
            if any(process.exitcode not in (None, 0) for process in processes):
                raise RuntimeError("a training worker ended early; its message is above. Run again to resume.")
            try:
                report(*reports.get(timeout=0.5))
            except Exception as error:
                if type(error).__name__ != "Empty":
                    raise
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()
    if plan.together:
        chosen = folder / "best.safetensors"
        if plan.judge is not None and chosen.is_file():
            return [load_file(chosen)]
    ranks = [0] if plan.together else list(range(plan.workers))
    out = []
    for rank in ranks:
        stored = load_file(checkpoint_path(folder, rank))
        out.append({name[2:]: value for name, value in stored.items() if name.startswith("w.")})
    return out
