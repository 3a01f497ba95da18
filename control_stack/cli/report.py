"""What a flight leaves behind: summary.json and the picture, both from the log alone, and a table."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import numpy as np

from control_stack.artefacts.metrics import (
    CONTACT_HEIGHT,
    LANDED_HEIGHT,
    interpolated_at,
    landing,
    tracking_metrics,
)
from control_stack.artefacts.plotting import flight_picture
from control_stack.artefacts.record import FlightRecord, read_flight
from control_stack.artefacts.runs import RunFolder, provenance
from control_stack.artefacts.tables import table
from control_stack.cli.flight import FlyConfig, Outcome
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.barrier.scene import load_scene
from control_stack.safety.events import AIRBORNE, Phase, Severity
from control_stack.trajectories import steady_interval
from control_stack.types import Array

EXIT_OK, EXIT_NOT_LANDED, EXIT_INTERRUPTED = 0, 1, 130
_NEAR = 0.3  # s between an interruption and the event that tells why


def report(
    folder: RunFolder,
    config: FlyConfig,
    parameters: QuadrotorParameters,
    trajectory: Trajectory | None,
    outcome: Outcome,
) -> int:
    """Writes and prints; returns the exit code: 0 only for a flight that landed upright as planned."""
    log = folder.file("flight.mcap")
    states = "odom" if config.uri is not None else "ground_truth"  # nobody knows the truth of a real vehicle
    # A flight that ended before it began may have left none.
    record = read_flight(log, states=states) if log.is_file() and log.stat().st_size else FlightRecord()
    summary = summarize(record, config, trajectory, outcome)
    folder.write_summary(summary)
    rmse, worst, part = summary["position_rmse_m"], summary["position_max_error_m"], summary["measured_part"]
    why_none = summary["no_rmse_because"]
    errors = f"no RMSE: {why_none}" if why_none else f"RMSE {1e3 * rmse:.1f} mm, max {1e3 * worst:.1f} mm over {part}"
    controller = _without_folders(config.controller)
    if len(record.t) > 1:
        flight_picture(
            record,
            folder.file("flight.png"),
            f"{parameters.name}: {_without_folders(config.trajectory)}",
            subtitle=f"{controller} ({summary['level']}) in {config.backend}, wind {config.wind}; {errors}",
            rotor_limits=(float(parameters.rotor_speed_min[0]), float(parameters.rotor_speed_max[0])),
            interval=tuple(summary["measured_interval_s"]),
            scene=None if config.filter is None else load_scene(config.filter),
        )
    rows = [
        (f"position RMSE, {part}", rmse, "m"),
        (f"max error, {part}", worst, "m"),
        ("landed upright", summary["landed_upright"] if summary["took_off"] else math.nan, ""),
        ("touchdown speed", summary["touchdown_speed_m_s"], "m/s"),
        ("loop period p50", summary["loop_period_p50_s"] * 1e3, "ms wall"),
        ("loop period p99", summary["loop_period_p99_s"] * 1e3, "ms wall"),
        ("real-time factor", summary["real_time_factor"], "x"),
        *_filter_rows(summary),
    ]
    known = [row for row in rows if math.isfinite(row[1])]
    print(table(known, (f"{parameters.name} / {controller}", "value", "unit")))
    if why_none:
        print(f"  {errors}")
    for event in record.events:
        if event.severity is not Severity.OK:
            print(f"  [{event.t:.2f} s] {event.severity.name.lower()}: {event.message}")
    for reason, count in outcome.rejections.items():
        print(f"  dropped: {reason}, {count} times")
    print(f"run folder: {folder.path}")
    code, why = _ending(summary, {event.name for event in record.events})
    if why:
        print(why, file=sys.stderr)
    return code


def _ending(summary: dict[str, Any], events: set[str]) -> tuple[int, str]:
    """Exit code, and in one line what went otherwise than planned."""
    if summary["interrupted"]:
        how = "the vehicle was brought down first" if "takeoff" in events else "before take-off"
        how = "the motors were cut" if "emergency" in events else how
        return EXIT_INTERRUPTED, f"interrupted: {summary['aborted'] or how}"
    if summary["aborted"]:
        return EXIT_NOT_LANDED, f"aborted: {summary['aborted']}"
    if summary["fell"]:
        return EXIT_NOT_LANDED, "failed: the vehicle fell to the ground in flight"
    if summary["motors_cut"]:
        return EXIT_NOT_LANDED, "failed: the motors were cut before it had landed"
    if not summary["completed"]:
        return EXIT_NOT_LANDED, "failed: the trajectory was not flown to its end"
    if not summary["landed_upright"]:
        return EXIT_NOT_LANDED, "failed: the vehicle did not land upright"
    return EXIT_OK, ""


def summarize(
    record: FlightRecord, config: FlyConfig, trajectory: Trajectory | None, outcome: Outcome
) -> dict[str, Any]:
    """Figures of a flight. Errors are measured against the reference that the controller had, over the
    trajectory's steady part (for the eight: its laps at full speed); the flight time runs from the beginning of the
    take-off until the motors stop, without the waits on the ground."""
    began = float(record.reference_t[0]) if len(record.reference_t) else np.nan
    interval, completed, part = (np.inf, np.inf), False, "the trajectory"
    if trajectory is not None and np.isfinite(began):
        first, last = steady_interval(trajectory)
        interval = (began + first, began + last)
        part = "the whole trajectory" if last - first == trajectory.duration else "the laps at full speed"
        completed = bool(record.reference_t[-1] >= interval[1])
    wanted = interpolated_at(record.t, record.reference_t, record.reference_position, max_gap=0.1)
    # Without all of that part flown there is no figure of it (see tracking_metrics).
    flown = record if completed else FlightRecord()
    tracking = tracking_metrics(flown.t, flown.position_w, wanted[: len(flown.t)], interval)
    because = None
    if not completed:
        because = f"{part} not flown to the end"
    elif not math.isfinite(tracking["position_rmse_m"]):
        because = f"{part} {_interruption(record, wanted, interval)}"
    took_off = any(phase in AIRBORNE for phase, _, _ in record.phases())
    fell, cut = _fell(record, wanted), _cut(record)
    upright, touchdown_speed = False, np.nan
    if len(record.t) and took_off:  # one that never flew stands upright, but has not landed
        end = landing(record.t, record.position_w, record.velocity_w, record.quat_xyzw)
        upright, touchdown_speed = end.upright and not fell and not cut, end.touchdown_speed
    return {
        **tracking,
        "no_rmse_because": because,
        "measured_part": part,
        "measured_interval_s": list(interval),
        "completed": completed and not fell,
        "took_off": took_off,
        "fell": fell,
        "motors_cut": cut,
        "landed_upright": upright,
        "touchdown_speed_m_s": touchdown_speed,
        "real_time_factor": outcome.real_time_factor,
        "loop_period_p50_s": outcome.loop_period_p50_s,
        "loop_period_p99_s": outcome.loop_period_p99_s,
        "loop_period_error_p50_s": outcome.loop_period_error_p50_s,
        "loop_period_error_p99_s": outcome.loop_period_error_p99_s,
        "flight_time_s": sum(stop - start for phase, start, stop in record.phases() if phase in AIRBORNE),
        "controller": config.controller,
        "level": _flown_level(record),
        "backend": config.backend,
        "vehicle": config.vehicle,
        "trajectory": config.trajectory,
        "wind": config.wind,
        "sensors": config.sensors,
        "air": config.air,
        "ros": config.ros,
        "lockstep": config.real_time_factor is None,
        "compute_delay": config.compute_delay,
        "seed": config.seed,
        "interrupted": outcome.interrupted,
        "aborted": outcome.aborted,
        "rejections": outcome.rejections,
        **_filtered(record, config, outcome),
        "events": [
            {"t": e.t, "severity": e.severity.name, "name": e.name, "message": e.message} for e in record.events
        ],
        **provenance(),
    }


def _filtered(record: FlightRecord, config: FlyConfig, outcome: Outcome) -> dict[str, Any]:
    """What the filter did, and the least distance to what it guards while it did so, m; nothing without a filter."""
    if config.filter is None:
        return {}
    flying = np.zeros(len(record.t), dtype=bool)
    for phase, start, stop in record.phases():
        flying |= (record.t > start) & (record.t <= stop) & (phase is Phase.FLYING)
    least = load_scene(config.filter).clearance(record.position_w[flying]).min() if flying.any() else math.nan
    told = {key: value if key.endswith("_s") else int(value) for key, value in outcome.filter.items()}
    return {"filter": config.filter, **told, "least_distance_m": float(least)}


def _filter_rows(summary: dict[str, Any]) -> list[tuple[str, float, str]]:
    """Its lines of the table."""
    if "filter" not in summary:
        return []
    calls = [summary.get(f"filter_{name}", math.nan) for name in ("unchanged", "changed", "fallback")]
    return [
        ("commands changed by the filter", 100.0 * calls[1] / max(sum(calls), 1.0), "%"),
        ("braked by the filter", 100.0 * calls[2] / max(sum(calls), 1.0), "%"),
        ("least distance of the centre", summary["least_distance_m"], "m"),
        ("filter p99", 1e3 * summary.get("filter_time_p99_s", math.nan), "ms wall"),
    ]


def _fell(record: FlightRecord, wanted: Array) -> bool:
    """Whether it met the ground while it was to be kept in the air: what follows is no landing.

    Where the reference itself is down there it was led to the ground.
    """
    if not len(record.t):
        return False
    rest = record.position_w[0, 2]
    aloft = np.zeros(len(record.t), dtype=bool)
    for phase, start, stop in record.phases():
        if phase in (Phase.FLYING, Phase.HOLD):
            aloft |= (record.t > start) & (record.t < stop)
    down = record.position_w[:, 2] - rest < CONTACT_HEIGHT
    led = wanted[:, 2] - rest < LANDED_HEIGHT  # not where there is no reference, NaN
    return bool((down & aloft & ~led).any())


def _cut(record: FlightRecord) -> bool:
    """Whether the motors were stopped while it was to be in the air: also where that ended well, it is no landing."""
    airborne = False
    for event in record.events:
        if airborne and event.name in ("cut", "emergency"):
            return True
        phase = event.values.get("phase")
        airborne = airborne if phase is None else phase in {p.value for p in AIRBORNE}
    return False


def _interruption(record: FlightRecord, wanted: Array, interval: tuple[float, float]) -> str:
    """How a part that was flown to its end was interrupted: for how long there was no reference, and what was told."""
    missing = np.isnan(wanted).any(axis=1) & (record.t >= interval[0]) & (record.t < interval[1])
    if not missing.any():
        return "left no states in the log"
    periods = np.diff(record.t, append=record.t[-1])
    first, last = record.t[missing][0], record.t[missing][-1]
    told = [e.message for e in record.events if e.severity is not Severity.OK and first - _NEAR <= e.t <= last + _NEAR]
    seconds = f"interrupted for {periods[missing].sum():.2f} s"
    return f"{seconds} ({'; '.join(dict.fromkeys(told))})" if told else f"{seconds}: the log has no reference there"


def _flown_level(record: FlightRecord) -> str | None:
    """The level of most commands while the controller flew."""
    spans = [(start, stop) for phase, start, stop in record.phases() if phase is Phase.FLYING]
    counts = {
        level.value: sum(int(((t > start) & (t <= stop)).sum()) for start, stop in spans)
        for level, (t, _) in record.commands.items()
    }
    return max(counts, key=lambda k: counts[k]) if any(counts.values()) else None


def _without_folders(name: str) -> str:
    """What a user calls a controller or trajectory, with files by their name alone."""
    return re.sub(r"[^:,]*/", "", name)
