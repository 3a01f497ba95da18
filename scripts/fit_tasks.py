"""Collects data of every task and fits it with several seeds: what control-stack bench mip measures.

Run: python scripts/fit_tasks.py --out fits [--tasks NAME ...] [--seeds 0 1 2], in the clone with .venv activated.

DIR/data/TASK holds the data, DIR/TASK-SEED a fit: nets thinned by gates, dense nets and the rival from scratch, and
with the first seed all other methods too. DIR/TASK-near is one fit more, of the first of NEAR that is among the tasks:
its planner pushes from some starts (DIR/runs), and transitions close to what it did then count more. Two commands run
at a time, each on one core; DIR/logs has what they said, DIR/times.json how long each took, DIR/wall.json all of them,
DIR/ladders.png shows the errors of the first seed. Stopped or killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tqdm import tqdm  # noqa: E402

from control_stack.artefacts.runs import provenance, write_json  # noqa: E402
from control_stack.cli.collect import TASKS  # noqa: E402
from control_stack.errors import ControlStackError, InvalidInput  # noqa: E402
from control_stack.learning.sparsify.picture import ladders_picture  # noqa: E402

LADDER = (576, 256, 128, 64, 32, 24, 16, 8)
# A ReLU of a pair of objects counts 12 times: between 64 and 24 there are few of them left.
LADDER_OF_OBJECTS = (576, 256, 128, 64, 48, 24, 16, 8)
METHODS = ("gates", "dense", "scratch")
OTHERS = ("replace", "lasso", "granet", "lottery", "bilevel")
NEAR = ("pushing-box", "pushing-t", "pushing-disc")  # transitions near its planner's count more in one fit
FLIGHTS, STEPS = 12, 24  # of its planner
FIRST_START = 5_000_000  # of those: starts that nothing is measured on


@dataclass(frozen=True)
class Budget:
    """Of a task: chosen so that all tasks with three seeds take less than 75 minutes on two cores.

    Attributes:
        episodes: Collected. updates: As of ``control-stack fit sparse``. objects: Of a graph net. ladder: Of ReLUs.
    """

    episodes: int = 500
    updates: float = 0.45
    objects: str = ""
    ladder: Sequence[int] = LADDER


BUDGETS = {
    "pushing-disc": Budget(),
    "pushing-box": Budget(),
    "pushing-t": Budget(),
    "sorting": Budget(objects="disc", ladder=LADDER_OF_OBJECTS),
    "rope": Budget(),
    "piecewise": Budget(),
    "cartpole": Budget(),
}


class Failed(ControlStackError):
    """A command did not end well."""


def collection(out: Path, task: str, share: float) -> list[str]:
    """The command that collects a task's data."""
    episodes = max(10, round(share * BUDGETS[task].episodes))
    return ["collect", task, "--episodes", str(episodes), "--seed", "0", "--out", str(out / "data" / task)]


def fitting(out: Path, task: str, seed: int, first: bool, share: float) -> list[str]:
    """The command that fits a task; with the first seed by all methods."""
    return _fit(out, task, seed, f"{task}-{seed}", (*METHODS, *(OTHERS if first else ())), share)


def near_fitting(out: Path, task: str, seed: int, share: float) -> list[str]:
    """The command that fits a task with weights from what the planner of its fit with the same seed did."""
    return [*_fit(out, task, seed, f"{task}-near", METHODS[:1], share), "--near", str(out / "runs")]


def pushes(out: Path, task: str, seed: int) -> list[list[str]]:
    """The commands that let that planner push; each leaves its log in a folder below DIR/runs."""
    model = str(out / f"{task}-{seed}" / "model.safetensors")
    common = ["push", "--controller", "mip", "--no-ros", "--task", task, "--model", model, "--steps", str(STEPS)]
    starts = range(FIRST_START, FIRST_START + FLIGHTS)
    return [[*common, "--seed", str(start), "--out", str(out / "runs" / str(start))] for start in starts]


def _fit(out: Path, task: str, seed: int, name: str, methods: Sequence[str], share: float) -> list[str]:
    budget = BUDGETS[task]
    words = ["fit", "sparse", str(out / "data" / task), "--out", str(out / name), "--seed", str(seed)]
    words += ["--method", *methods, "--budget-ladder", *map(str, budget.ladder)]
    words += ["--objects", budget.objects] if budget.objects else []
    return [*words, "--updates", f"{share * budget.updates:g}"]


class Runner:
    """Commands, some at a time, with a progress bar and a record of their times.

    Args:
        out: Folder. bar: Moves on with each command.
    """

    def __init__(self, out: Path, bar: tqdm):
        self._out, self._bar, self._lock = out, bar, threading.Lock()
        self._file = out / "times.json"
        self._times = json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else {}
        (out / "logs").mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, words: Sequence[str], well: Collection[int] = (0,)) -> None:
        """Runs one, unless it is known to have ended well: with one of these codes. Else raises Failed."""
        if not self.done(name, words):
            log = self._out / "logs" / f"{name}.log"
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            began = time.monotonic()
            with log.open("a", encoding="utf-8") as told:
                command = [sys.executable, "-m", "control_stack.cli", *words]
                process = subprocess.Popen(command, stdout=told, stderr=told, env=environment)
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in well:
                last = (log.read_text(encoding="utf-8").split("\n") or [""])[-2:]
                raise Failed(f"{name} ended with {process.returncode}: {' '.join(last).strip()}; see {log}")
            with self._lock:
                spent = {"wall_s": time.monotonic() - began, "cpu_s": _cpu(used), "command": list(words)}
                self._times[name] = spent
                write_json(self._file, self._times)
        self._bar.update()

    def done(self, name: str, words: Sequence[str]) -> bool:
        """Whether this command is known to have ended well."""
        return self._times.get(name, {}).get("command") == list(words)

    def spent(self, what: str) -> float:
        """Sum of "wall_s" or "cpu_s" over all commands, those of earlier runs too."""
        return sum(float(spent[what]) for spent in self._times.values())


def _cpu(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def draw(out: Path, tasks: Sequence[str], seed: int) -> Path:
    """The ladders of some tasks' fits in one picture."""
    summaries = {task: json.loads((out / f"{task}-{seed}" / "summary.json").read_text("utf-8")) for task in tasks}
    return ladders_picture({f"{task}, seed {seed}": found["rungs"] for task, found in summaries.items()},
                           out / "ladders.png")  # fmt: skip


def run_all(run: Runner, pool: ThreadPoolExecutor, out: Path, options: argparse.Namespace) -> int:
    """All commands, as many at a time as the pool has threads; returns how many fits there are.

    What takes longest comes first, so that no core idles at the end: the first seed has the most methods.
    """
    first, share = options.seeds[0], options.share
    near = next((task for task in NEAR if task in options.tasks), None)
    data = {task: pool.submit(run, f"data-{task}", collection(out, task, share)) for task in options.tasks}

    def fit(task: str, seed: int) -> None:
        data[task].result()
        run(f"{task}-{seed}", fitting(out, task, seed, seed == first, share))

    order = sorted(options.tasks, key=lambda task: task != near)  # one more fit waits for that one
    fits = [pool.submit(fit, task, first) for task in order]

    def closer() -> None:
        fits[0].result()
        for number, words in enumerate(pushes(out, str(near), first)):
            if not run.done(f"run-{number}", words):
                shutil.rmtree(words[-1], ignore_errors=True)  # what a stopped one left
            # A push that does not hold its goal ends with 1, and has been flown as well.
            run(f"run-{number}", words, (0, 1))
        run(f"{near}-near", near_fitting(out, str(near), first, share))

    fits += [pool.submit(closer)] if near is not None else []
    fits += [pool.submit(fit, task, seed) for seed in options.seeds[1:] for task in order]
    try:
        for ended in fits:
            ended.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return len(fits)


def main() -> int:
    """Runs all and says what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(BUDGETS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default 0 1 2")
    parser.add_argument("--share", type=float, default=1.0, help="of episodes and updates, to try it (default 1)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="at a time (default 2)")
    options = parser.parse_args()
    if not 0.0 < options.share <= 1.0 or options.processes < 1 or min(options.seeds) < 0:
        raise InvalidInput("--share is above 0 and at most 1, --processes at least 1, --seeds at least 0")
    out = options.out.resolve()
    near = any(task in NEAR for task in options.tasks)
    total = len(options.tasks) * (1 + len(options.seeds)) + (FLIGHTS + 1) * near
    with (
        tqdm(total=total, unit="command", file=sys.stderr) as bar,
        ThreadPoolExecutor(options.processes) as pool,
    ):
        run = Runner(out, bar)
        wall, began = run.spent("wall_s"), time.monotonic()
        fits = run_all(run, pool, out, options)
        seconds = time.monotonic() - began
        # Of an earlier run that was stopped only commands are known; all processes were busy with them.
        seconds += wall / options.processes
    told = {"tasks": len(options.tasks), "fits": fits, "processes": options.processes, "wall_s": seconds,
            "cpu_s": run.spent("cpu_s"), "share": options.share}  # fmt: skip
    write_json(out / "wall.json", {**told, **provenance()})
    picture = draw(out, options.tasks, options.seeds[0])
    print(f"{picture}: the ladder of every task and method, seed {options.seeds[0]}")
    print(f"{out}: {fits} fits, {seconds / 60.0:.1f} min with {options.processes} at a time")
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except ControlStackError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on", file=sys.stderr)
        code = 130
    raise SystemExit(code)
