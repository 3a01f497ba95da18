"""What a flight leaves behind: summary.json and the picture, both from the log alone, and a table."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from control_stack.artefacts.metrics import interpolated_at, landing, tracking_metrics
from control_stack.artefacts.plotting import flight_picture
from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.artefacts.runs import RunFolder, provenance
from control_stack.artefacts.tables import table
from control_stack.cli.flight import FlyConfig, Outcome
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.events import Phase, Severity
from control_stack.trajectories import steady_interval

EXIT_OK, EXIT_NOT_LANDED, EXIT_INTERRUPTED = 0, 1, 130


def report(
    folder: RunFolder,
    config: FlyConfig,
    parameters: QuadrotorParameters,
    trajectory: Trajectory | None,
    outcome: Outcome,
) -> int:
    """Writes and prints; returns the exit code: 0 only for a flight that landed upright as planned."""
    record = read_flight(folder.file("flight.mcap"), states="ground_truth")
    summary = summarize(record, config, trajectory, outcome)
    folder.write_summary(summary)
    rmse, worst = summary["position_rmse_m"], summary["position_max_error_m"]
    flight_picture(
        record,
        folder.file("flight.png"),
        f"{parameters.name}: {config.trajectory}",
        subtitle=f"{config.controller} ({summary['level']}) in {config.backend}, wind {config.wind}; "
        f"RMSE {1e3 * rmse:.1f} mm, max {1e3 * worst:.1f} mm",
        rotor_limits=(float(parameters.rotor_speed_min[0]), float(parameters.rotor_speed_max[0])),
        interval=tuple(summary["measured_interval_s"]),
    )
    rows = [
        ("position RMSE", rmse, "m"),
        ("max error", worst, "m"),
        ("landed upright", summary["landed_upright"], ""),
        ("touchdown speed", summary["touchdown_speed_m_s"], "m/s"),
        ("loop period p50", summary["loop_period_p50_s"] * 1e3, "ms wall"),
        ("loop period p99", summary["loop_period_p99_s"] * 1e3, "ms wall"),
        ("real-time factor", summary["real_time_factor"], "x"),
    ]
    print(table(rows, (f"{config.vehicle} / {config.controller}", "value", "unit")))
    for event in record.events:
        if event.severity is not Severity.OK:
            print(f"  [{event.t:.2f} s] {event.severity.name.lower()}: {event.message}")
    print(f"run folder: {folder.path}")
    if outcome.interrupted:
        print("interrupted: the vehicle was brought down first", file=sys.stderr)
        return EXIT_INTERRUPTED
    if outcome.aborted:
        print(f"aborted: {outcome.aborted}", file=sys.stderr)
        return EXIT_NOT_LANDED
    return EXIT_OK if summary["landed_upright"] and summary["completed"] else EXIT_NOT_LANDED


def summarize(
    record: FlightRecord, config: FlyConfig, trajectory: Trajectory | None, outcome: Outcome
) -> dict[str, Any]:
    """Figures of a flight. Errors are measured against the reference that the controller had, over the
    trajectory's steady part (for the eight: its full-speed laps)."""
    began = float(record.reference_t[0]) if len(record.reference_t) else np.nan
    interval, completed = (np.inf, np.inf), False
    if trajectory is not None and np.isfinite(began):
        first, last = steady_interval(trajectory)
        interval = (began + first, began + last)
        completed = bool(record.reference_t[-1] >= interval[1])
    wanted = interpolated_at(record.t, record.reference_t, record.reference_position, max_gap=0.1)
    tracking = tracking_metrics(record.t, record.position_w, wanted, interval)
    end = landing(record.t, record.position_w, record.velocity_w, record.quat_xyzw)
    return {
        **tracking,
        "measured_interval_s": list(interval),
        "completed": completed,
        "landed_upright": end.upright,
        "touchdown_speed_m_s": end.touchdown_speed,
        "real_time_factor": outcome.real_time_factor,
        "loop_period_p50_s": outcome.loop_period_p50_s,
        "loop_period_p99_s": outcome.loop_period_p99_s,
        "loop_period_error_p50_s": outcome.loop_period_error_p50_s,
        "loop_period_error_p99_s": outcome.loop_period_error_p99_s,
        "flight_time_s": float(record.t[-1] - record.t[0]),
        "controller": config.controller,
        "level": _flown_level(record),
        "backend": config.backend,
        "vehicle": config.vehicle,
        "trajectory": config.trajectory,
        "wind": config.wind,
        "sensors": config.sensors,
        "ros": config.ros,
        "lockstep": config.real_time_factor is None,
        "compute_delay": config.compute_delay,
        "seed": config.seed,
        "interrupted": outcome.interrupted,
        "aborted": outcome.aborted,
        "rejections": outcome.rejections,
        "events": [
            {"t": e.t, "severity": e.severity.name, "name": e.name, "message": e.message} for e in record.events
        ],
        **provenance(),
    }


def _flown_level(record: FlightRecord) -> str | None:
    """The level of most commands while the controller flew."""
    spans = [(start, stop) for phase, start, stop in record.phases() if phase is Phase.FLYING]
    counts = {
        level.value: sum(int(((t > start) & (t <= stop)).sum()) for start, stop in spans)
        for level, (t, _) in record.commands.items()
    }
    return max(counts, key=lambda k: counts[k]) if any(counts.values()) else None
