"""Draws a run of the mixed-integer planner for each task, docs/tasks/TASK-mip.png: python scripts/task_runs.py FITS

In the clone, with .venv activated; FITS is the folder of scripts/fit_tasks.py. The planner's net and horizon are those
that flew in benchmarks/results/mip.json, where that has the task, else 16 ReLUs and 5 steps. Start 0, whatever comes
of it; a command acts a step after its state, a plan has the part of the sample time that it has in the bench.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.mip_closed_loop import steps_of  # noqa: E402
from benchmarks.mip_fits import Fit, Net, read_fits  # noqa: E402
from benchmarks.mip_loop import SHARE  # noqa: E402
from controllers.planning.factory import make_planner  # noqa: E402
from controllers.planning.receding import RecedingHorizon  # noqa: E402
from sim.tasks.closed_loop import ClosedLoop, StepDelay  # noqa: E402
from sim.tasks.factory import make_task  # noqa: E402
from sim.tasks.picture import episode_picture  # noqa: E402

REPORT, FOLDER = ROOT / "benchmarks" / "results" / "mip.json", ROOT / "docs" / "tasks"
START = 0


def pilot_of(fit: Fit, report: Path = REPORT) -> tuple[Net, int]:
    """Net and horizon of the planner in the report, or the usual ones."""
    if report.is_file():
        found = json.loads(report.read_text(encoding="utf-8")).get("details", {}).get(f"{fit.task}: closed loop", {})
        if "mip" in found:
            method, relus = found["mip"]["net"]
            return (method, int(relus)), int(found["mip"]["horizon"])
    return (fit.method, 16), 5


def run(fit: Fit, net: Net, horizon: int, steps: int, folder: Path) -> Path:
    """Flies one start and draws it; what came of it stands in the title."""
    problem = fit.problem(net, horizon)
    planner, task = make_planner("mip", problem), make_task(fit.task)
    try:
        planner.warm()
        states, costs = [task.reset(START)], []
        loop = ClosedLoop(task, task.goal(START), steps, StepDelay("fixed"))
        controller = RecedingHorizon(planner, SHARE * task.spec.dt, delayed=True)
        while not loop.over:
            loop.answer(controller(task.state, loop.goal).inputs[0])
            states.append(task.state)
            costs.append(float(task.spec.cost(task.state, loop.goal)))
        held: Any = task.spec.success(task.state, loop.goal)
        title = f"{fit.task}, mip, {net[1]} ReLUs, {horizon} steps ahead\n{steps * task.spec.dt:.1f} s, mean cost "
        title += f"{np.mean(costs):.3g}, goal {'held' if held else 'not held'} at the end"
        return episode_picture(task, np.array(states), folder / f"{fit.task}-mip.png", title, loop.goal)
    finally:
        planner.close()
        task.close()


def main() -> int:
    """Draws all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fits", metavar="FITS")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="default docs/tasks")
    options = parser.parse_args()
    for task, (fit, *_) in read_fits(options.fits).items():
        net, horizon = pilot_of(fit)
        print(run(fit, net, horizon, steps_of(task, False)[1], options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
