"""Planning through thin ReLU nets: control-stack bench mip --fits DIR [--tasks NAME ...] [--quick] [--json FILE].

DIR is what ``scripts/fit_tasks.py`` makes: fits by gates, dense and scratch at least, of each task one or more.
Everything after "prediction" is a matter of wall time: run it on a machine that does nothing else. Budgets make 33
minutes of a task on two cores, and 6 of what comes once: of more than two tasks name some at a time. Tuned and flown
starts are kept in FILE.parts until the report is written, so that a run that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import mip_prediction
from benchmarks.mip_fits import Fit, digest, read_fits
from benchmarks.mip_statistics import Store
from control_stack.artefacts.tables import BenchRow, Findings
from control_stack.errors import InvalidInput, MissingDependency

Group = Callable[[int, bool], "list[BenchRow] | Findings"]
DIRECT = 8  # ReLUs of the comparison with OMLT


def identity(fits: str | None, tasks: Sequence[str] | None) -> dict[str, Any]:
    """What tells runs on other fits apart."""
    return {"fits_digest": digest(chosen(fits, tasks))}


def chosen(fits: str | None, tasks: Sequence[str] | None) -> dict[str, list[Fit]]:
    """By task the fits that are measured. Raises InvalidInput for a task that has none."""
    if fits is None:
        raise InvalidInput("bench mip needs --fits DIR: folders of control-stack fit sparse")
    found = read_fits(fits)
    for task in tasks or ():
        if task not in found:
            raise InvalidInput(f"--tasks {task}: {fits} has fits of {', '.join(found)} only")
    return {task: found[task] for task in found if not tasks or task in tasks}


def groups(
    fits: str | None, tasks: Sequence[str] | None, parts: Path | None, key: Mapping[str, Any]
) -> dict[str, Group]:  # fmt: skip
    """The groups of rows; those of a task are called "task: part".

    Args:
        parts: File that keeps what has been measured within groups; None for nowhere. key: Of the run.
    """
    found = chosen(fits, tasks)
    try:
        import highspy  # noqa: F401
    except ImportError:
        raise MissingDependency("highspy", "mip") from None
    from benchmarks import mip_branching, mip_closed_loop, mip_omlt, mip_open_loop, mip_presolve

    store = Store(parts, key)
    made: dict[str, Group] = {}
    for task, of in found.items():
        made[f"{task}: prediction"] = partial(mip_prediction.measure, of)
        if not all(fit.has(mip_open_loop.RELUS) for fit in of):
            raise InvalidInput(f"{of[0].folder}: has no net of {mip_open_loop.RELUS} ReLUs by {of[0].method}")
        made[f"{task}: open loop"] = partial(mip_open_loop.measure, of[0], store)
        made[f"{task}: branch and bound"] = partial(mip_branching.measure, of[0], store)
        made[f"{task}: closed loop"] = partial(mip_closed_loop.measure, of, store)
    pushing = next((of[0] for task, of in found.items() if task.startswith("pushing")), None)
    if pushing is not None:
        made[f"{pushing.task}: 10 Hz"] = partial(mip_closed_loop.ten_hertz, pushing, store)
    direct = pushing or next(iter(found.values()))[0]
    if direct.has(DIRECT):
        made["OMLT"] = partial(mip_omlt.measure, direct)
    made["presolve"] = mip_presolve.measure
    return made


def finish(report: dict[str, Any], target: Path | None) -> None:
    """Draws the picture beside the report."""
    from benchmarks.mip_picture import draw

    if target is not None and (picture := draw(report, target.with_suffix(".png"))) is not None:
        print(f"picture: {picture}")
