"""Nonlinear MPC of the quadrotor: control-stack bench nmpc [--quick] [--json FILE].

Solve times, errors on the eight beside the geometric controller's, and do-mpc on the same problem in the same run.
Times are of this machine and of one core: it should do nothing else.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nmpc_loop import LEVELS, Loop, controller_times, own_solver, program_times, residual_model
from benchmarks.nmpc_wind import errors
from benchmarks.paired import estimate
from benchmarks.sim import fly
from benchmarks.store import Store
from control_stack.artefacts.tables import BenchRow
from control_stack.errors import MissingDependency
from control_stack.types import CommandLevel
from controllers.nmpc.disturbance import estimators_file

Group = Callable[[int, bool], list[BenchRow]]
SOLVE_MS, FASTER, COSTLIER = "<= 6", ">= 5", "<= 1.02"
LEARNED, ALONE = "learned + force observer", "learned, no estimator"
# Below whom, %; of the residual alone for information: without an estimator it does not know of the wind.
WIND_TARGETS = ((LEARNED, "nominal", ">= 30"), (LEARNED, "nominal + force observer", ">= 10"), (ALONE, "nominal", None))


def solve_times(seed: int, quick: bool) -> list[BenchRow]:
    """One controller call (references, linearisation, program, command) at 100 Hz, N = 20, along the eight."""
    rows = []
    seconds = 2.0 if quick else 20.0
    for level in LEVELS:
        for name, residual in (("nominal", False), ("2x64 residual", True)):
            times, counts = controller_times(level, residual, seconds, seed)
            test = f"RTI at {level.value}, N = 20, {name}"
            target = SOLVE_MS if residual else None
            rows.append(BenchRow(test, "call p50", float(np.percentile(times, 50)), "ms"))
            rows.append(BenchRow(test, "call p99", float(np.percentile(times, 99)), "ms", target))
            rows.append(
                BenchRow(test, "fallbacks", float(counts.get("shifted", 0) + counts.get("safe", 0)), "1", "== 0")
            )
    return rows


def eight(seed: int, quick: bool) -> list[BenchRow]:
    """The figure-eight through the front door, beside the geometric controller at the same level."""
    rows = []
    trajectory = "eight:laps=1" if quick else "eight"
    plain: tuple[str, ...] = ()
    delayed = ("--compute-delay", "fixed")
    for backend in ("analytic",) if quick else ("analytic", "bullet"):
        for level in LEVELS:
            for extra in (plain,) if quick else (plain, delayed, ("--wind", "1,0,0")):
                flight = ("--no-ros", "--backend", backend, "--trajectory", trajectory, "--level", level.value, *extra)
                own, other = (
                    fly("--controller", name, "--seed", str(seed), *flight)["position_rmse_m"]
                    for name in ("nmpc", "geometric")
                )
                test = " ".join(("eight,", backend, "at", level.value, *extra))
                rows.append(BenchRow(test, "RMSE, peer: geometric", 1e3 * own, "mm", None, 1e3 * other))
    return rows


def rivals(seed: int, quick: bool) -> list[BenchRow]:
    """One problem (CTBR, 2x64 residual, N = 20, no move blocking) by our methods and by do-mpc, in closed loop."""
    loop = Loop(residual_model(CommandLevel.CTBR, 0.04, seed), steps=40 if quick else 400)
    found = {f"own {method}": loop.fly(own_solver(loop, method)) for method in ("rti", "sqp", "ipopt")}
    try:
        from benchmarks.nmpc_do_mpc import DoMpc

        found["do-mpc"] = loop.fly(DoMpc(loop))
    except MissingDependency as error:
        print(f"no rows of do-mpc: {error}", file=sys.stderr)
    rows = []
    for name, flown in found.items():
        test = f"{name}, one problem in closed loop"
        rows.append(BenchRow(test, "solve p50", float(np.percentile(flown.times, 50)), "ms"))
        rows.append(BenchRow(test, "solve p99", float(np.percentile(flown.times, 99)), "ms"))
        rows.append(BenchRow(test, "cost a step", flown.cost, "1"))
    if "do-mpc" in found:
        own, peer = found["own rti"], found["do-mpc"]
        test = "own rti beside do-mpc"
        faster = float(np.percentile(peer.times, 50) / np.percentile(own.times, 50))
        rows.append(BenchRow(test, "times faster a solve, p50", faster, "x", FASTER))
        rows.append(BenchRow(test, "closed-loop cost over do-mpc's", own.cost / peer.cost, "1", COSTLIER))
    return rows


def programs(seed: int, quick: bool) -> list[BenchRow]:
    """The dense programs of a flight to a far point by the solvers of CasADi's wheel, cold, at one tolerance each."""
    rows = []
    for solver, times, worst in program_times(10 if quick else 100):
        rows.append(
            BenchRow(f"{solver} on the rotor-level programs", "solve p50", float(np.percentile(times, 50)), "ms")
        )
        rows.append(BenchRow(f"{solver} on the rotor-level programs", "cost above DAQP's, largest share", worst, "1"))
    return rows


def wind(seed: int, quick: bool, store: Store, folder: Path | None) -> list[BenchRow]:
    """The eight in winds of speeds and directions that no log holds, with residuals that are fitted here.

    Args:
        store, folder: Keep what has been flown and fitted.
    """
    found = errors(quick, seed, store, folder)
    rows = []
    test = "x500, eight in winds and gusts: "
    for name, values in found.items():
        mean, around = estimate(lambda m, name=name: 1e3 * m[name], {name: values})  # type: ignore[misc]
        rows.append(BenchRow(test + name, "RMSE, mean", mean, "mm", interval=around))
    for own, rival, target in WIND_TARGETS:
        share, around = estimate(
            lambda m, own=own, rival=rival: 100.0 * (1.0 - m[own] / m[rival]),  # type: ignore[misc]
            found,
        )
        rows.append(BenchRow(test + own, f"below {rival}", share, "%", target, interval=around))
    return rows


def groups(parts: Path | None = None, key: Mapping[str, Any] | None = None) -> dict[str, Group]:
    """The groups of rows. parts: File that keeps what has been flown in winds, fits beside it. key: Of the run."""
    store = Store(parts, key or {})
    name = hashlib.sha256(json.dumps(dict(key or {}), sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = None if parts is None else parts.with_name(f"{parts.name}-{name}")
    return {
        "solve times": solve_times,
        "eight": eight,
        "rivals": rivals,
        "programs": programs,
        "wind": lambda seed, quick: wind(seed, quick, store, folder),
    }


def identity() -> dict[str, Any]:
    """What tells runs with other estimators apart."""
    return {"estimators": json.loads(estimators_file().read_text(encoding="utf-8"))}


def finish(report: Mapping[str, Any], target: Path | None) -> None:
    """The report is written: its fits are of no more use."""
    if target is not None:
        for folder in target.parent.glob(f"{target.name}.parts-*"):
            shutil.rmtree(folder)
