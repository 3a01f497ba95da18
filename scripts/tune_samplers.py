"""Tunes the samplers for a task and a model: equally many settings of each, tried on the same starts.

Run: python scripts/tune_samplers.py MODEL --out DIR [--trials 40] [--starts 12], in the clone with .venv activated.

DIR gets settings.json, for control-stack push --settings. Starts are drawn from --seed, far from the small seeds that
push and the benchmarks take. Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from control_stack.artefacts.tables import table  # noqa: E402
from control_stack.errors import ControlStackError, InvalidInput  # noqa: E402
from control_stack.learning.sparse_relu import SparseReLUDynamics  # noqa: E402
from control_stack.learning.spec import TaskSpec  # noqa: E402
from controllers.planning.factory import SAMPLERS, sampler  # noqa: E402
from controllers.planning.problem import Problem  # noqa: E402
from controllers.planning.receding import RecedingHorizon  # noqa: E402
from controllers.planning.sampling import Settings  # noqa: E402
from controllers.planning.tuning import FILE, Tuning, tune  # noqa: E402
from sim.tasks.closed_loop import ClosedLoop, StepDelay  # noqa: E402
from sim.tasks.factory import make_task  # noqa: E402
from sim.tasks.task import Task  # noqa: E402

FIRST_START = 1_000_000  # seeds from here on are starts for tuning


def closed_loop_cost(controller: RecedingHorizon, task: Task, starts: range, steps: int, delay: StepDelay) -> float:
    """Mean cost of the true states over steps and starts."""
    costs = []
    for start in starts:
        controller.reset()
        task.reset(start)
        loop = ClosedLoop(task, task.goal(start), steps, delay)
        while not loop.over:
            loop.answer(controller(task.state, loop.goal).inputs[0])
            costs.append(float(task.spec.cost(task.state, loop.goal)))
    return float(np.mean(costs))


def main() -> int:
    """Tunes and prints the settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a model.safetensors of control-stack fit sparse")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS), metavar="NAME")
    parser.add_argument("--trials", type=int, default=40, help="settings of each sampler (default 40)")
    parser.add_argument("--starts", type=int, default=12, help="that each is tried on (default 12)")
    parser.add_argument("--steps", type=int, default=40, help="of each start (default 40)")
    parser.add_argument("--horizon", type=int, default=8, help="default 8")
    parser.add_argument("--rollouts", type=int, default=512, help="budget of each plan (default 512)")
    parser.add_argument("--deadline", type=float, help="wall time of each plan, s, instead of counting rollouts")
    parser.add_argument("--delayed", action="store_true", help="commands act a step later")
    parser.add_argument("--seed", type=int, default=0, help="of draws and starts (default 0)")
    options = parser.parse_args()
    try:
        return run(options)
    except ControlStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """With parsed options."""
    model = SparseReLUDynamics.load(options.model)
    if not isinstance(model.spec, TaskSpec):
        raise InvalidInput(f"{options.model}: its card names no task")
    for name in ("trials", "starts", "steps", "horizon"):
        if getattr(options, name) < 1:
            raise InvalidInput(f"--{name} must be at least 1, got {getattr(options, name)}")
    problem, task = Problem(model, options.horizon), make_task(model.spec.task)
    starts = range(FIRST_START + 1000 * options.seed, FIRST_START + 1000 * options.seed + options.starts)
    names = ("starts", "steps", "horizon", "deadline", "delayed")
    about = {name: getattr(options, name) for name in names}
    about |= {"task": model.spec.task, "model": hashlib.sha256(options.model.read_bytes()).hexdigest()}
    tuning = Tuning(tuple(dict.fromkeys(options.samplers)), options.trials, options.rollouts, options.seed, about)
    delay = StepDelay("fixed" if options.delayed else "none")

    def judge(name: str, settings: Settings) -> float:
        planner = sampler(name)[0](problem, settings, seed=options.seed)
        controller = RecedingHorizon(planner, options.deadline, options.delayed)
        return closed_loop_cost(controller, task, starts, options.steps, delay)

    with tqdm(unit="trial", file=sys.stderr, dynamic_ncols=True) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        try:
            best = tune(tuning, options.out, judge, report)
        finally:
            task.close()
    print(table([(name, key, value) for name, found in best.items() for key, value in found.items()],
                ("sampler", "setting", "value")))  # fmt: skip
    print(options.out / FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
