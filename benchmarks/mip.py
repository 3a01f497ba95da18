"""Planning through thin ReLU nets: control-stack bench mip --fits DIR [--tasks NAME ...] [--quick] [--json FILE].

DIR is what ``scripts/fit_tasks.py`` makes: fits by gates, dense and scratch at least, of each task one or more.
Everything after "prediction" is a matter of wall time: run it on a machine that does nothing else. Planners that are
compared have a core each, with all their processes; what measures latency runs alone.

What has been measured is kept in FILE.measured, by the fits and the source that it depends on: a run that was stopped
goes on, and a run over some tasks is part of a later one over all. Remove that file to measure anew. ``--quick`` takes
the tasks of ``QUICK`` if none are named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import mip_prediction
from benchmarks.mip_fits import Fit, read_fits
from benchmarks.mip_work import Work, library_digest, source_digest, workers
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput, MissingDependency

Group = Callable[[int, bool], "list[BenchRow] | Findings"]
DIRECT = 8  # ReLUs of the comparison with OMLT
QUICK = ("pushing-disc", "piecewise")
TIMES = "wall.json"  # of scripts/fit_tasks.py


def identity(fits: str | None, tasks: Sequence[str] | None) -> dict[str, Any]:
    """What tells runs on other fits, or by another source, apart."""
    told = {task: [fit.digest for fit in found] for task, found in chosen(fits, tasks).items()}
    bench = [source_digest(f"benchmarks.{file.stem}") for file in sorted(Path(__file__).parent.glob("mip*.py"))]
    digest = hashlib.sha256(json.dumps([told, bench, library_digest()]).encode()).hexdigest()
    return {"measured": digest[:16]}


def chosen(fits: str | None, tasks: Sequence[str] | None, quick: bool = False) -> dict[str, list[Fit]]:
    """By task the fits that are measured. Raises InvalidInput for a task that has none."""
    if fits is None:
        raise InvalidInput("bench mip needs --fits DIR: folders of control-stack fit sparse")
    found = read_fits(fits)
    for task in tasks or ():
        if task not in found:
            raise InvalidInput(f"--tasks {task}: {fits} has fits of {', '.join(found)} only")
    if not tasks and quick:
        tasks = [task for task in QUICK if task in found] or list(found)[: len(QUICK)]
    return {task: found[task] for task in found if not tasks or task in tasks}


def groups(
    fits: str | None, tasks: Sequence[str] | None, parts: Path | None, key: Mapping[str, Any]
) -> dict[str, Group]:  # fmt: skip
    """The groups of rows; those of a task are called "task: part".

    Args:
        parts: Beside which what has been measured is kept; None for nowhere. key: Of the run.
    """
    found = chosen(fits, tasks, bool(key.get("quick")))
    try:
        import highspy  # noqa: F401
    except ImportError:
        raise MissingDependency("highspy", "mip") from None
    from benchmarks import (
        mip_bounds,
        mip_branching,
        mip_closed_loop,
        mip_near,
        mip_omlt,
        mip_open_loop,
        mip_presolve,
        mip_ten_hertz,
    )

    work = Work(None if parts is None else parts.with_suffix(".measured"))
    made: dict[str, Group] = {}
    for task, of in found.items():
        made[f"{task}: prediction"] = partial(mip_prediction.measure, of)
        if not all(fit.has(mip_open_loop.RELUS) for fit in of):
            raise InvalidInput(f"{of[0].folder}: has no net of {mip_open_loop.RELUS} ReLUs by {of[0].method}")
        made[f"{task}: open loop"] = partial(mip_open_loop.measure, of[0], work)
        made[f"{task}: branch and bound"] = partial(mip_branching.measure, of[0], work)
        made[f"{task}: closed loop"] = partial(mip_closed_loop.measure, of, work)
    pushing = next((of[0] for task, of in found.items() if task.startswith("pushing")), None)
    if pushing is not None:
        made[f"{pushing.task}: 10 Hz"] = partial(mip_ten_hertz.measure, pushing, work)
    direct = pushing or next(iter(found.values()))[0]
    if direct.has(DIRECT):
        made["OMLT"] = partial(mip_omlt.measure, direct, work)
    made["presolve"] = partial(mip_presolve.measure, work)
    made["bounds"] = partial(mip_bounds.measure, work)
    for task, (near, *_) in read_fits(str(fits), near=True).items():
        alike = next((fit for fit in found.get(task, ()) if fit.seed == near.seed), None)
        if alike is not None:
            made[f"{task}: near"] = partial(mip_near.measure, alike, near, work)
    made["time"] = partial(_time, Path(str(fits)), work)
    return made


def _time(fits: Path, work: Work, seed: int, quick: bool) -> list[BenchRow]:
    """How long the fits took, and these measurements, as far as each was recorded. The last group: it ends the work."""
    work.close()
    rows = [BenchRow("bench mip", f"measuring, {workers()} at a time", work.seconds / workers() / 60.0, "min")]
    if (fits / TIMES).is_file():
        told = json.loads((fits / TIMES).read_text(encoding="utf-8"))
        test = f"scripts/fit_tasks.py, {told['tasks']} tasks, {told['fits']} fits, {told['processes']} at a time"
        rows.append(BenchRow(test, "collect + fit", told["wall_s"] / 60.0, "min", "<= 75"))
    return rows


def finish(report: dict[str, Any], target: Path | None) -> None:
    """Draws the picture beside the report."""
    from benchmarks.mip_picture import draw

    if target is not None and (picture := draw(report, target.with_suffix(".png"))) is not None:
        print(f"picture: {picture}")
