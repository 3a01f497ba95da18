"""What a run of an arm leaves: summary.json and arm.png, both from the log alone, and a table on the terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.parameters import ArmParameters
from control_stack.artefacts.arm_picture import ArmRecord, arm_picture
from control_stack.artefacts.joints import read_joints, topic_in
from control_stack.artefacts.runs import RunFolder
from control_stack.cli.episode import EpisodeOutcome
from control_stack.cli.episode_report import circumstances, ending, report_nothing, show
from control_stack.errors import InvalidInput
from control_stack.ros_layout import COMMAND_TOPIC

if TYPE_CHECKING:
    from control_stack.cli.arm import ArmConfig


def read_arm(path: Path, arm: ArmParameters) -> ArmRecord:
    """Reads a log of ``sim.arm.closed_loop``. Raises InvalidInput if it holds no states of this arm."""
    log, names = read_joints(path), arm.joint_names
    truth, wanted = topic_in(log, "ground_truth", path), topic_in(log, "reference", path)
    position, reference = truth.columns("position", names), wanted.columns("position", names)
    if len(position) < 2 or len(position) != len(reference):
        raise InvalidInput(f"{path}: {len(position)} states and {len(reference)} references of the arm")
    commands = topic_in(log, COMMAND_TOPIC, path)
    loads = topic_in(log, "load", path)
    model = ArmDynamics(arm, 0.02)
    calls = [
        values for _, name, values in log.statuses if name.rpartition("/")[2] == "controller" and "call_s" in values
    ]
    return ArmRecord(
        t=truth.t,
        position=position,
        velocity=truth.columns("velocity", names),
        reference=reference,
        flange=model.flange(position)[0],
        flange_reference=model.flange(reference)[0],
        command_t=commands.t,
        effort=commands.columns("effort", names),
        load_t=loads.t,
        load_mass=loads.fields["position"]["load.mass [kg]"],
        calls=calls,
    )


def summarize(record: ArmRecord, arm: ArmParameters, config: ArmConfig, outcome: EpisodeOutcome) -> dict[str, Any]:
    """Figures of a run, of the true states."""
    error = record.error
    times = np.array([float(call["call_s"]) for call in record.calls])
    joint = np.abs(record.position - record.reference)
    periods = round(config.duration * 50.0)
    saturated = np.abs(record.effort) >= arm.torque_limit * (1.0 - 1e-9)
    return {
        "flange_rmse_m": float(np.sqrt(np.mean(error**2))),
        "flange_max_m": float(error.max()),
        "joint_rmse_rad": np.sqrt(np.mean(joint**2, axis=0)),
        "steps_taken": len(record.t) - 1,
        "completed": len(record.t) - 1 >= periods,
        "statuses": dict(Counter(call["status"] for call in record.calls)),
        "call_p50_s": float(np.percentile(times, 50)) if len(times) else np.nan,
        "call_p99_s": float(np.percentile(times, 99)) if len(times) else np.nan,
        "saturation": saturated.mean(axis=0) if len(saturated) else np.zeros(arm.joints),
        "within_tolerance": bool(np.sqrt(np.mean(error**2)) <= config.tolerance),
        "controller": config.controller,
        "model": config.model,
        "estimator": config.estimator,
        "arm": config.arm,
        "changes": config.changes,
        **circumstances(config, outcome),
    }


def report(folder: RunFolder, config: ArmConfig, outcome: EpisodeOutcome) -> int:
    """Writes and prints; returns the exit code: 0 only for a reference followed to its end within the tolerance."""
    arm = load_arm(config.arm)
    try:
        record = read_arm(folder.file("arm.mcap"), arm)
    except InvalidInput as error:  # it ended before anything was logged
        return report_nothing(folder, outcome, error)
    summary = summarize(record, arm, config, outcome)
    folder.write_summary(summary)
    model = Path(config.model).stem if Path(config.model).exists() else config.model
    title = f"{arm.name}, {config.controller}, {model} model" + (
        f", estimator {config.estimator}" if config.estimator not in ("own", "none") else ""
    )
    arm_picture(record, arm, folder.file("arm.png"), title)
    rows = [
        ("flange error, RMS", 1e3 * summary["flange_rmse_m"], "mm"),
        ("flange error, largest", 1e3 * summary["flange_max_m"], "mm"),
        ("commands at a torque limit", 100.0 * float(np.max(summary["saturation"])), "% of a joint's"),
        ("call p50", 1e3 * summary["call_p50_s"], "ms wall"),
        ("call p99", 1e3 * summary["call_p99_s"], "ms wall"),
    ]
    show(folder, outcome, f"{arm.name} / {config.controller}", rows, ("calls", summary["statuses"]))
    unfinished = None if summary["completed"] else "the reference was not followed to its end"
    failed = f"the flange's RMS error is above --tolerance {config.tolerance:g} m"
    return ending(outcome, unfinished, None if summary["within_tolerance"] else failed)
