"""Runs of the Panda with unseen loads, each stored as soon as it is done: what ``benchmarks/arm.py`` makes rows of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cores import one_core_each
from control_stack.arm.changes import LoadChange
from control_stack.arm.draws import draw_load, draw_reference
from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.library import load_arm
from control_stack.arm.load import NO_LOAD, Load
from control_stack.arm.sampled import SampledJoints
from control_stack.artefacts.runs import write_json
from control_stack.errors import InputRejected
from controllers.arm.base import ArmController, following
from controllers.arm.factory import RATE_HZ, assumed_delay, make_controller
from sim.arm.bullet import BulletArm
from sim.arm.closed_loop import ArmLoop, delay_of, simulation

ARM, DELAY = "panda", "fixed"
DURATION = 10.0  # s of a reference
SWAP, DROP = 3.4, 6.8  # s, in runs with changes
# Factors on the arm's friction, for all joints, that no controller but the oracle is told of. Learned models have
# seen 0.4 to 2.2 (``control-stack collect arm``): 1.5 is among these, 3 is not.
FRICTIONS = {"friction": 1.5, "strong friction": 3.0}
_LOST = 2.0  # m, error of an arm whose state is no number any more
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
    told: bool = False  # what happens in a run


RIVALS = (
    Contender("nominal"),
    Contender("oracle", model="oracle", told=True),
    Contender("payload EKF", estimator="payload"),
    Contender("force EKF, as in the paper", estimator="force-ekf"),
    Contender("force filter, from torques", estimator="force"),
    Contender("disturbance observer", estimator="disturbance"),
    Contender("computed torque + integral", controller="computed-torque"),
)


@dataclass(frozen=True)
class Run:
    """One run. kind: "steady", "changes", of ``FRICTIONS``, or "second" and "empty" for the phases after a change."""

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


def _made(contender: Contender, changes: Sequence[LoadChange] = (), friction: float = 1.0) -> ArmController:
    """Its controller; ``changes`` and ``friction`` are what an oracle is told."""
    c, arm = contender, load_arm(ARM).with_friction_scaled(friction)
    settings = json.loads(c.settings) if c.settings else None
    return make_controller(
        arm, c.controller, c.model, c.estimator, changes=changes, delay=assumed_delay(DELAY), settings=settings
    )


@lru_cache(maxsize=4)
def _kept(contender: Contender) -> ArmController:
    return _made(contender)


def carry_out(run: Run) -> dict[str, Any]:
    """Moves the arm; errors and failures are results like others.

    Returns:
        error: m, of the flange after each period. times: s, of each call that was answered. counts: Calls by status
        and fallbacks by reason. calls, refused: How many there were, and how many got no answer, so that the brakes
        held the arm for a period. saturation: (n,) share of commands at each joint's torque limit.
    """
    parameters = load_arm(ARM)
    reference, first, second = scene(run.number, run.seed, run.duration)
    changes, friction = changes_of_run(run, first, second), FRICTIONS.get(run.kind, 1.0)
    controller = _made(run.contender, changes, friction) if run.contender.told else _kept(run.contender)
    controller.reset()
    arm = BulletArm(parameters, simulation(run.seed + run.number, "typical", friction))
    arm.connect()
    times, places, wanted, efforts, refused = [], [], [], [], 0
    try:
        loop = ArmLoop(arm, reference, changes, delay_of(DELAY, 1.0 / RATE_HZ))
        while not loop.over:
            command = None
            try:
                command = controller(loop.t, arm.state(), following(reference, loop.t))
            except InputRejected:
                refused += 1
            else:
                times.append(controller.last_duration)
                efforts.append(command.effort)
            loop.answer(command)
            places.append(arm.true_state().position)
            wanted.append(reference(loop.t).position)
    finally:
        arm.close()
    model, limit = ArmDynamics(parameters, 1.0 / RATE_HZ), parameters.torque_limit * (1.0 - 1e-9)
    error = np.linalg.norm(model.flange(np.array(places))[0] - model.flange(np.array(wanted))[0], axis=-1)
    at_limit = np.mean(np.abs(efforts) >= limit, axis=0) if efforts else np.zeros(parameters.joints)
    return {
        "error": np.where(np.isfinite(error), error, _LOST).tolist(), "times": times, "saturation": at_limit.tolist(),
        "counts": dict(getattr(controller, "counts", {})), "calls": len(places), "refused": refused,
    }  # fmt: skip


class Runs:
    """Results of runs, carried out when they are asked for, each once.

    Args:
        parts: Folder in which each is stored as soon as it is done, and looked for; None: they are kept here only.
        workers: Processes, each on one core; 0: this process.
    """

    def __init__(self, parts: Path | None = None, workers: int = WORKERS):
        self._parts, self._workers, self._known = parts, workers, dict[Run, dict[str, Any]]()

    def __call__(self, runs: Sequence[Run]) -> list[dict[str, Any]]:
        """Of all these, in order."""
        if self._parts is not None:
            self._parts.mkdir(parents=True, exist_ok=True)
        for run in runs:
            file = self._file(run)
            if run not in self._known and file is not None and file.is_file():
                self._known[run] = json.loads(file.read_text(encoding="utf-8"))
        missing = sorted((r for r in dict.fromkeys(runs) if r not in self._known), key=lambda r: repr(r.contender))
        if self._workers and missing:
            with one_core_each(self._workers) as pool:
                for run, result in zip(missing, pool.map(carry_out, missing, chunksize=2), strict=True):
                    self._store(run, result)
        else:
            for run in missing:
                self._store(run, carry_out(run))
        return [self._known[run] for run in runs]

    def _file(self, run: Run) -> Path | None:
        return None if self._parts is None else self._parts / f"{run.key}.json"

    def _store(self, run: Run, result: dict[str, Any]) -> None:
        self._known[run] = result
        if (file := self._file(run)) is not None:
            write_json(file, result)
