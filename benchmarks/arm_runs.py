"""Runs of the Panda with unseen loads, each stored as soon as it is done: what ``benchmarks/arm.py`` makes rows of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.arm.changes import LoadChange
from control_stack.arm.draws import draw_load, draw_reference
from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.sampled import SampledJoints
from control_stack.artefacts.runs import write_json
from controllers.arm.base import ArmController, following
from controllers.arm.factory import RATE_HZ, assumed_delay, make_controller
from sim.arm.bullet import BulletArm
from sim.arm.closed_loop import ArmLoop, delay_of, simulation

ARM, DELAY = "panda", "fixed"
DURATION = 10.0  # s of a reference
SWAP, DROP = 3.4, 6.8  # s, in runs with changes
FRICTION = 1.5  # factor in runs with friction that no model was told of
_UNSEEN = 700_000  # seeds of loads and references: far from those of training and tuning
WORKERS = 2


@dataclass(frozen=True)
class Contender:
    """A controller by its label; see ``controllers.arm.factory``."""

    label: str
    controller: str = "nmpc"
    model: str = "nominal"
    estimator: str = "own"
    settings: str = ""  # JSON; empty: as tuned


RIVALS = (
    Contender("nominal"),
    Contender("oracle", model="oracle"),
    Contender("payload EKF", estimator="payload"),
    Contender("force EKF", estimator="force"),
    Contender("disturbance observer", estimator="disturbance"),
    Contender("computed torque + integral", controller="computed-torque"),
)


@dataclass(frozen=True)
class Run:
    """One run. kind: "steady", "changes", "friction", or "second" and "empty" for the phases after a change."""

    contender: Contender
    kind: str
    number: int
    seed: int
    duration: float = DURATION

    @property
    def key(self) -> str:
        """Of the file that it is stored in."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.kind}-{self.number}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@lru_cache(maxsize=64)
def scene(number: int, seed: int, duration: float) -> tuple[SampledJoints, Load, Load]:
    """A reference with two loads that the arm can carry along it."""
    arm = load_arm(ARM)
    rng = np.random.default_rng((_UNSEEN, seed, number))
    reference = draw_reference(arm, int(rng.integers(2**31)), duration=duration)
    first, second = (draw_load(arm, [reference], rng) for _ in range(2))
    return SampledJoints.of(reference), first, second


def changes_of_run(run: Run, first: Load, second: Load) -> list[LoadChange]:
    """What the flange holds in a run, when."""
    if run.kind == "changes":
        share = run.duration / DURATION
        return [LoadChange(0.0, first), LoadChange(SWAP * share, second), LoadChange(DROP * share, NO_LOAD)]
    held = {"second": second, "empty": NO_LOAD}.get(run.kind, first)
    return [LoadChange(0.0, held)]


@lru_cache(maxsize=4)
def _controller(contender: Contender) -> ArmController:
    settings = json.loads(contender.settings) if contender.settings else None
    c = contender
    return make_controller(
        load_arm(ARM), c.controller, c.model, c.estimator, delay=assumed_delay(DELAY), settings=settings
    )


def carry_out(run: Run) -> dict[str, Any]:
    """Moves the arm; flange errors (m) after each period, call times (s), counts of the solver."""
    parameters = load_arm(ARM)
    reference, first, second = scene(run.number, run.seed, run.duration)
    changes = changes_of_run(run, first, second)
    if run.contender.model == "oracle":
        c = run.contender
        settings = json.loads(c.settings) if c.settings else None
        controller = make_controller(
            parameters, c.controller, c.model, c.estimator, changes=changes, delay=assumed_delay(DELAY),
            settings=settings,
        )  # fmt: skip
    else:
        controller = _controller(run.contender)
        controller.reset()
    friction = FRICTION if run.kind == "friction" else 1.0
    arm = BulletArm(parameters, simulation(run.seed + run.number, "typical", friction))
    arm.connect()
    times, places, wanted = [], [], []
    try:
        loop = ArmLoop(arm, reference, changes, delay_of(DELAY, 1.0 / RATE_HZ))
        while not loop.over:
            command = controller(loop.t, arm.state(), following(reference, loop.t))
            times.append(controller.last_duration)
            loop.answer(command)
            places.append(arm.true_state().position)
            wanted.append(reference(loop.t).position)
        saturation = arm.saturation.tolist()
    finally:
        arm.close()
    model = ArmDynamics(parameters, 1.0 / RATE_HZ)
    error = np.linalg.norm(model.flange(np.array(places))[0] - model.flange(np.array(wanted))[0], axis=-1)
    counts = dict(getattr(controller, "counts", {}))
    return {"error": error.tolist(), "times": times, "saturation": saturation, "counts": counts}


def carried_out(runs: Sequence[Run], parts: Path | None, workers: int = WORKERS) -> list[dict[str, Any]]:
    """Results of all runs, in order: those that are stored in ``parts`` are read, the others carried out and stored."""
    if parts is not None:
        parts.mkdir(parents=True, exist_ok=True)
    results: dict[Run, dict[str, Any]] = {}
    for run in runs:
        file = parts / f"{run.key}.json" if parts is not None else None
        if file is not None and file.is_file():
            results[run] = json.loads(file.read_text(encoding="utf-8"))
    missing = sorted((run for run in dict.fromkeys(runs) if run not in results), key=lambda r: repr(r.contender))

    def store(run: Run, result: dict[str, Any]) -> None:
        results[run] = result
        if parts is not None:
            write_json(parts / f"{run.key}.json", result)

    if workers > 1 and len(missing) > 1:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for run, result in zip(missing, pool.map(carry_out, missing, chunksize=2), strict=True):
                store(run, result)
    else:
        for run in missing:
            store(run, carry_out(run))
    return [results[run] for run in runs]
