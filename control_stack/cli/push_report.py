"""What a push leaves: summary.json and push.png, both from the log alone, and a table on the terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from control_stack.artefacts.joints import read_joints, topic_in
from control_stack.artefacts.runs import RunFolder
from control_stack.cli.episode import EpisodeOutcome
from control_stack.cli.episode_report import circumstances, ending, report_nothing, show
from control_stack.errors import InvalidInput
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.learning.spec import Goal, TaskSpec
from control_stack.types import Array

if TYPE_CHECKING:
    from control_stack.cli.push import PushConfig


@dataclass(frozen=True)
class PushRecord:
    """What a log says.

    Attributes:
        states: (n + 1, nx). goal: The one that was last asked for. plans: Key values of each plan, in order.
    """

    states: Array
    goal: Goal
    plans: list[dict[str, str]]


def read_push(path: Path, spec: TaskSpec) -> PushRecord:
    """Reads a log of ``ClosedLoop``. Raises InvalidInput if it holds no states of this task."""
    log = read_joints(path)
    joints = topic_in(log, "joint_states", path)
    states = joints.columns("position", spec.state)
    asked, ny = topic_in(log, "goal", path), len(spec.output_names)
    names = [f"{name}{part}" for part in ("", ":half_width", ":free") for name in spec.output_names]
    values = asked.columns("position", names)[-1]
    last = joints.t[-1] - 1e-6  # over ROS the last state, which nothing follows, is planned from as well
    plans = [v for t, name, v in log.statuses if t < last and name.rpartition("/")[2] == "planner" and "cost" in v]
    return PushRecord(states, Goal(values[:ny], values[ny : 2 * ny], values[2 * ny :]), plans)


def summarize(
    record: PushRecord, config: PushConfig, model: SparseReLUDynamics, outcome: EpisodeOutcome
) -> dict[str, Any]:
    """Figures of a push. Costs are the task's, of the true states: the mean over steps is what controllers minimise."""
    spec: Any = model.spec
    costs, reached = spec.cost(record.states[1:], record.goal), spec.success(record.states, record.goal)
    plans = record.plans
    times = np.array([float(plan["solve_s"]) for plan in plans])
    better = [float(plan["cost"]) < float(plan["start_cost"]) for plan in plans if float(plan["start_cost"]) < np.inf]
    limit = config.deadline or spec.dt
    return {
        "mean_cost": float(costs.mean()) if len(costs) else np.nan,
        "final_cost": float(costs[-1]) if len(costs) else np.nan,
        "success": bool(reached[-1]),
        "first_reached_s": float(spec.dt * reached.argmax()) if reached.any() else np.nan,
        "steps_taken": len(record.states) - 1,
        "completed": len(record.states) - 1 == config.steps,
        "plans": dict(Counter(plan["status"] for plan in plans)),
        "better_than_start": float(np.mean(better)) if better else np.nan,
        "solve_p50_s": float(np.percentile(times, 50)) if len(times) else np.nan,
        "solve_p99_s": float(np.percentile(times, 99)) if len(times) else np.nan,
        "deadline_s": limit,
        "deadline_misses": int((times > limit).sum()),
        "relus": model.relus,
        "dt_s": spec.dt,
        "goal": record.goal,
        "controller": config.controller,
        "task": config.task,
        "horizon": config.horizon,
        **circumstances(config, outcome),
    }


def report(folder: RunFolder, config: PushConfig, model: SparseReLUDynamics, outcome: EpisodeOutcome) -> int:
    """Writes and prints; returns the exit code: 0 only for a push that holds the goal at its end."""
    from sim.tasks.factory import make_task
    from sim.tasks.picture import episode_picture

    spec: Any = model.spec
    try:
        record = read_push(folder.file("push.mcap"), spec)
    except InvalidInput as error:  # it ended before anything was logged
        return report_nothing(folder, outcome, error)
    summary = summarize(record, config, model, outcome)
    folder.write_summary(summary)
    task = make_task(config.task)
    try:
        title = f"{config.task}, {config.controller}, {model.relus} ReLUs, seed {config.seed}"
        episode_picture(task, record.states, folder.file("push.png"), title, record.goal)
    finally:
        task.close()
    rows = [
        ("mean cost", summary["mean_cost"], ""),
        ("final cost", summary["final_cost"], ""),
        ("goal held at the end", summary["success"], ""),
        ("first reached", summary["first_reached_s"], "s"),
        ("plans better than their start", 100.0 * summary["better_than_start"], "%"),
        ("solve time p50", 1e3 * summary["solve_p50_s"], "ms wall"),
        ("solve time p99", 1e3 * summary["solve_p99_s"], "ms wall"),
    ]
    show(folder, outcome, f"{config.task} / {config.controller}", rows, ("plans", summary["plans"]))
    unfinished = None if summary["completed"] else "not all steps were taken"
    failed = f"the goal is not held after {config.steps * spec.dt:g} s"
    return ending(outcome, unfinished, None if summary["success"] else failed)
