"""The part of a report that control-stack push and arm share: circumstances, table, ending."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from control_stack.artefacts.runs import RunFolder, provenance
from control_stack.artefacts.tables import table
from control_stack.cli.episode import EpisodeOutcome

if TYPE_CHECKING:
    from control_stack.cli.arm import ArmConfig
    from control_stack.cli.push import PushConfig

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


def circumstances(config: ArmConfig | PushConfig, outcome: EpisodeOutcome) -> dict[str, Any]:
    """The end of every summary: how it ran, how it ended, and what it was made by."""
    return {
        "seed": config.seed,
        "ros": config.ros,
        "lockstep": config.real_time_factor is None,
        "compute_delay": config.compute_delay,
        "interrupted": outcome.interrupted,
        "aborted": outcome.aborted,
        "rejections": outcome.rejections,
        **provenance(),
    }


def report_nothing(folder: RunFolder, outcome: EpisodeOutcome, why: Exception) -> int:
    """Of a run that ended before anything was logged; returns the exit code."""
    folder.write_summary({"interrupted": outcome.interrupted, "aborted": outcome.aborted, **provenance()})
    print("interrupted" if outcome.interrupted else f"aborted: {outcome.aborted or why}", file=sys.stderr)
    return EXIT_INTERRUPTED if outcome.interrupted else EXIT_FAILED


def show(
    folder: RunFolder,
    outcome: EpisodeOutcome,
    title: str,
    rows: Sequence[tuple[str, Any, str]],
    calls: tuple[str, Mapping[str, int]],
) -> None:
    """Prints the figures that are known, the calls by status with what they are called, what was dropped, and where."""
    print(table([row for row in rows if np.isfinite(row[1])], (title, "value", "unit")))
    print(f"{calls[0]}: " + ", ".join(f"{count} {status}" for status, count in calls[1].items()))
    for reason, count in outcome.rejections.items():
        print(f"  dropped: {reason}, {count} times")
    print(f"run folder: {folder.path}")


def ending(outcome: EpisodeOutcome, unfinished: str | None, failed: str | None) -> int:
    """Prints in one line what went otherwise than planned; returns the exit code.

    Args:
        outcome: Of the run.
        unfinished: What was not done to its end, if so.
        failed: What was done, but not well enough, if so.
    """
    if outcome.interrupted:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    if outcome.aborted is not None or unfinished:
        print(f"aborted: {outcome.aborted or unfinished}", file=sys.stderr)
        return EXIT_FAILED
    if failed:
        print(f"failed: {failed}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK
