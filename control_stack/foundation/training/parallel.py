"""Workers that descend together: shared gradients for one policy, shards for a stack of them.

Each worker is one process with one thread: small tensors gain nothing from more, and two processes use two cores
fully. Workers of one policy average their gradients in shared memory and make the same update; shards of teachers
have nothing to say to each other, and may as well be Ray tasks (``ray_tasks``): the worker is the same function.
"""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import torch.multiprocessing as multiprocessing
from safetensors.torch import load_file
from torch import Tensor

from control_stack.errors import TrainingAborted
from control_stack.foundation.training import checkpoints
from control_stack.foundation.training.policy_gradient import Descent, Settings, Weights

CHECKPOINT_SECONDS = 60.0
_PATIENCE = 30.0  # s that workers have to save what they did when the run is interrupted
_GO_ON, _SAVE, _STOP, _BACK = 0, 1, 2, 3
_DIVERGED = 2.0  # times the best score: from there no training comes back by itself

# Called with (rank, updates done, mean cost) and, after a judgement, (rank, updates done, ("score", score, survived)).
Report = Callable[[int, int, Any], None]


class Judgement(NamedTuple):
    """Of a policy in closed loop: a score, lower is better, and the share of vehicles that survived."""

    score: float
    survived: float


class Source(Protocol):
    """Something that gives gradients: ``policy_gradient.Gradient`` or ``distillation.Imitation``."""

    weights: Weights
    policies: int

    def __call__(self) -> tuple[Tensor, list[Tensor]]:
        """(N,) cost of each vehicle, and the gradients."""

    def state(self) -> dict[str, Tensor]:
        """All but the weights that going on exactly needs: vehicles in the air and random generators."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on where ``state`` was taken."""


@dataclass(frozen=True)
class Plan:
    """What a stage is to do.

    Attributes:
        updates: Number of updates. workers: Processes.
        build: ``build(rank, weights) -> Source``, called in each worker; picklable. The weights are the initial ones,
            or those of the checkpoint.
        settings: Of the descent.
        together: Whether all workers train the same weights.
        judge: ``judge(weights)``, called by worker 0 every ``judge_every`` updates and after the last; the weights of
            the best score are kept, and gone back to when a training diverges. None keeps the last.
    """

    updates: int
    workers: int
    build: Callable[[int, Weights], Source]
    settings: Settings
    together: bool = True
    judge: Callable[[Weights], Judgement] | None = None
    judge_every: int = 500

    def groups(self) -> list[list[int]]:
        """Ranks that are always at the same update."""
        ranks = list(range(self.workers))
        return [ranks] if self.together else [[rank] for rank in ranks]


class Alone:
    """A worker with nobody to agree with."""

    def mean(self, gradients: list[Tensor]) -> list[Tensor]:
        """Its own."""
        return gradients

    def agreed(self, wish: int) -> int:
        """Its own."""
        return wish


class Member:
    """A worker of several that train the same weights.

    Args:
        sums: (workers, numbers in all gradients) shared memory. wish: (1,) shared memory.
    """

    def __init__(self, rank: int, sums: Tensor, wish: Tensor, barrier: Any):
        self._rank, self._sums, self._wish, self._barrier = rank, sums, wish, barrier

    def mean(self, gradients: list[Tensor]) -> list[Tensor]:
        """Of all workers, the same to the last bit for each."""
        self._sums[self._rank] = torch.cat([g.reshape(-1) for g in gradients])
        self._barrier.wait()
        mean = self._sums.mean(0).to(gradients[0].device)
        self._barrier.wait()
        pieces = mean.split([g.numel() for g in gradients])
        return [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True)]

    def agreed(self, wish: int) -> int:
        """What worker 0 wishes; all are done with what came before."""
        if self._rank == 0:
            self._wish[0] = wish
        self._barrier.wait()
        agreed = int(self._wish[0])
        self._barrier.wait()
        return agreed


def work(
    rank: int, plan: Plan, weights: Weights, folder: Path, team: Alone | Member, report: Report,
    stopping: Callable[[], bool] = lambda: False,
) -> None:  # fmt: skip
    """One worker's part of a stage, from its checkpoint if the folder has one.

    Args:
        weights: Initial ones.
        stopping: Asked after each update; true saves and ends early.
    """
    torch.set_num_threads(1)
    group = plan.groups()[0 if plan.together else rank]
    stored = checkpoints.read(folder, rank, group)
    if stored:  # in the order of the first run, which the moments of Adam are kept in
        weights = {name: stored.weights[name] for name in weights}
    source = plan.build(rank, weights)
    descent = Descent(source.weights, source.policies, plan.settings)
    done, best = 0, float("inf")
    if stored:
        done, best = stored.done, stored.best
        descent.restore(stored.descent)
        source.restore(stored.source)
    saved = time.monotonic()
    while done < plan.updates:
        cost, gradients = source()
        descent(team.mean(gradients), done / plan.updates)
        done += 1
        report(rank, done, float(cost.clamp(max=1e3).mean()))
        last, diverged = done == plan.updates, False
        if plan.judge is not None and rank == 0 and (last or done % plan.judge_every == 0):
            now = {name: w.detach() for name, w in source.weights.items()}
            judged = plan.judge(now)
            report(rank, done, ("score", *judged))
            if judged.score < best:
                best = judged.score
                checkpoints.write(now, folder / "best.safetensors")
            diverged = judged.score > _DIVERGED * best and not last
        due = last or time.monotonic() - saved > CHECKPOINT_SECONDS
        action = team.agreed(_STOP if stopping() else _BACK if diverged else _SAVE if due else _GO_ON)
        if action == _BACK:
            for name, w in load_file(folder / "best.safetensors").items():
                source.weights[name].data.copy_(w)
            descent = Descent(source.weights, source.policies, plan.settings)
        elif action != _GO_ON:
            checkpoints.save(folder, rank, source.weights, descent.state(), source.state(), done, best)
            team.agreed(action)  # all files of this update lie there before older ones go
            checkpoints.drop_older(folder, rank, done)
            saved = time.monotonic()
        if action == _STOP:
            return


def finished(plan: Plan, folder: Path) -> bool:
    """Whether all that a stage was to do is done."""
    return all(checkpoints.newest(folder, group) >= plan.updates for group in plan.groups())


def run(plan: Plan, weights: Weights, folder: Path, report: Report, engine: str = "local") -> list[Weights]:
    """Runs a stage, or the rest of it where the folder holds checkpoints; nothing if it is done.

    Args:
        weights: Initial ones of each worker.
        engine: "local" for processes here, "ray" to run workers that train each their own as Ray tasks.

    Returns:
        The weights: one entry, the best where a judge chose, or one for each shard.

    Raises:
        TrainingAborted: A worker ended early.
        MissingDependency: Ray is asked for and not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not finished(plan, folder):
        if engine == "ray" and not plan.together:
            from control_stack.foundation.training import ray_tasks

            ray_tasks.run(plan, weights, folder, report)
        else:
            _run_processes(plan, weights, folder, report)
    best = folder / "best.safetensors"
    if plan.together and plan.judge is not None and best.is_file():
        return [load_file(best)]
    out = []
    for group in plan.groups():
        stored = checkpoints.read(folder, group[0], group)
        if stored is None:
            raise TrainingAborted(f"{folder}: a worker left no checkpoint. Run again to resume.")
        out.append(stored.weights)
    return out


def _process(
    rank: int, plan: Plan, weights: Weights, folder: Path, sums: Tensor, wish: Tensor, barrier: Any, reports: Any,
    stop: Any,
) -> None:  # fmt: skip
    team = Member(rank, sums, wish, barrier) if plan.together else Alone()
    parent: Any = multiprocessing.parent_process()

    def stopping() -> bool:
        # Where the command itself was killed, its workers must not train on beside those of the next run.
        return stop.is_set() or not parent.is_alive()

    work(rank, plan, weights, folder, team, lambda *what: reports.put(what), stopping)


def _run_processes(plan: Plan, weights: Weights, folder: Path, report: Report) -> None:
    context: Any = multiprocessing.get_context("spawn")
    size = sum(w.numel() for w in weights.values()) if plan.together else 1
    sums, wish = torch.zeros(plan.workers, size).share_memory_(), torch.zeros(1).share_memory_()
    barrier, reports, stop = context.Barrier(plan.workers), context.Queue(), context.Event()
    shared = (sums, wish, barrier, reports, stop)
    processes = [
        context.Process(target=_process, args=(rank, plan, weights, folder, *shared), daemon=True)
        for rank in range(plan.workers)
    ]
    # Ctrl-C reaches the whole process group; workers inherit that it is blocked and hear of it by ``stop``.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    for process in processes:
        process.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        while any(process.is_alive() for process in processes):
            if any(process.exitcode not in (None, 0) for process in processes):
                raise TrainingAborted("a training worker ended early; its message is above. Run again to resume.")
            with suppress(queue.Empty):
                report(*reports.get(timeout=0.5))
        with suppress(queue.Empty):
            while True:
                report(*reports.get(timeout=0.1))
    except KeyboardInterrupt:
        stop.set()
        _wait(processes, reports, report)
        raise
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()
    if any(process.exitcode for process in processes):
        raise TrainingAborted("a training worker ended early; its message is above. Run again to resume.")


def _wait(processes: list[Any], reports: Any, report: Report) -> None:
    """Lets workers end by themselves. Their reports are read: who has unread ones in the pipe does not end."""
    until = time.monotonic() + _PATIENCE
    while any(process.is_alive() for process in processes) and time.monotonic() < until:
        with suppress(queue.Empty):
            report(*reports.get(timeout=0.2))
