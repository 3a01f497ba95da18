"""Collects data of every task and fits it with several seeds: what control-stack bench mip measures.

Run: python scripts/fit_tasks.py --out fits [--tasks NAME ...] [--seeds 0 1 2], in the clone with .venv activated.

DIR/data/TASK holds the data, DIR/TASK-SEED a fit: nets thinned by gates, dense nets of every width and the rival from
scratch, and with the first seed all other methods too. Two commands run at a time, each on one core; DIR/logs has what
they said, DIR/times.json how long they took, DIR/ladders.png shows the errors of the first seed. Stopped or killed, the
same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tqdm import tqdm  # noqa: E402

from control_stack.artefacts.runs import write_json  # noqa: E402
from control_stack.cli.collect import TASKS  # noqa: E402
from control_stack.errors import ControlStackError, InvalidInput  # noqa: E402
from control_stack.learning.sparsify.picture import ladders_picture  # noqa: E402

LADDER = (576, 256, 128, 64, 32, 24, 16, 8)
METHODS = ("gates", "dense", "scratch")
OTHERS = ("replace", "lasso", "granet", "lottery", "bilevel")


@dataclass(frozen=True)
class Budget:
    """Of a task: chosen so that all tasks with three seeds take less than 75 minutes on two cores.

    Attributes:
        episodes: Collected. updates: As of ``control-stack fit sparse``. objects: Of a graph net.
    """

    episodes: int = 500
    updates: float = 0.5
    objects: str = ""


BUDGETS = {
    "pushing-disc": Budget(),
    "pushing-box": Budget(),
    "pushing-t": Budget(),
    "sorting": Budget(objects="disc"),
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
    budget = BUDGETS[task]
    words = ["fit", "sparse", str(out / "data" / task), "--out", str(out / f"{task}-{seed}"), "--seed", str(seed)]
    words += ["--method", *METHODS, *(OTHERS if first else ()), "--budget-ladder", *map(str, LADDER)]
    words += ["--objects", budget.objects] if budget.objects else []
    return [*words, "--updates", f"{share * budget.updates:g}"]


class Runner:
    """Commands, two at a time, with a progress bar and a record of their times.

    Args:
        out: Folder. bar: Moves on with each command.
    """

    def __init__(self, out: Path, bar: tqdm):
        self._out, self._bar, self._lock = out, bar, threading.Lock()
        self._file = out / "times.json"
        self._times = json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else {}
        (out / "logs").mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, words: Sequence[str]) -> None:
        """Runs one, unless it is known to have ended well. Raises Failed with its last line."""
        if self._times.get(name, {}).get("command") != list(words):
            log = self._out / "logs" / f"{name}.log"
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            began = time.monotonic()
            with log.open("a", encoding="utf-8") as told:
                command = [sys.executable, "-m", "control_stack.cli", *words]
                process = subprocess.Popen(command, stdout=told, stderr=told, env=environment)
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                last = (log.read_text(encoding="utf-8").split("\n") or [""])[-2:]
                raise Failed(f"{name} ended with {process.returncode}: {' '.join(last).strip()}; see {log}")
            with self._lock:
                spent = {"wall_s": time.monotonic() - began, "cpu_s": _cpu(used), "command": list(words)}
                self._times[name] = spent
                write_json(self._file, self._times)
        self._bar.update()


def _cpu(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def draw(out: Path, tasks: Sequence[str], seed: int) -> Path:
    """The ladders of some tasks' fits in one picture."""
    summaries = {task: json.loads((out / f"{task}-{seed}" / "summary.json").read_text("utf-8")) for task in tasks}
    return ladders_picture({f"{task}, seed {seed}": found["rungs"] for task, found in summaries.items()},
                           out / "ladders.png")  # fmt: skip


def main() -> int:
    """Runs all and says what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(BUDGETS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default 0 1 2")
    parser.add_argument("--share", type=float, default=1.0, help="of episodes and updates, to try it (default 1)")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="at a time (default 2)")
    options = parser.parse_args()
    if not 0.0 < options.share <= 1.0 or options.processes < 1:
        raise InvalidInput("--share is above 0 and at most 1, --processes at least 1")
    out, first = options.out.resolve(), options.seeds[0]
    # Those that take longest come first, so that no core idles at the end; the first seed has the most methods.
    fits = [(task, seed) for seed in options.seeds for task in options.tasks]
    began = time.monotonic()
    with (
        tqdm(total=len(options.tasks) + len(fits), unit="command", file=sys.stderr) as bar,
        ThreadPoolExecutor(options.processes) as pool,
    ):
        run = Runner(out, bar)
        data = {task: pool.submit(run, f"data-{task}", collection(out, task, options.share)) for task in options.tasks}

        def fit(task: str, seed: int) -> None:
            data[task].result()
            run(f"{task}-{seed}", fitting(out, task, seed, seed == first, options.share))

        try:
            for done in [pool.submit(fit, task, seed) for task, seed in fits]:
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    picture = draw(out, options.tasks, first)
    print(f"{picture}: the ladder of every task and method, seed {first}")
    print(f"{out}: {len(fits)} fits, {(time.monotonic() - began) / 60.0:.1f} min")
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
