"""Folders of ``control-stack fit sparse``, by task: what ``bench mip`` takes its nets and errors from."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.gated_chain import GatedChain
from control_stack.learning.sparse_relu import SparseReLUDynamics
from controllers.planning.problem import Problem

DENSE_WIDTHS = range(64, 577)  # among which the dense rival's is chosen
WIDER = range(32, 577)  # thinned nets that samplers may take: what costs a solver binaries costs them little
EFFORT = 0.003  # of a unit of every input, as control-stack push has it; a plan that moves nothing is then preferred
Net = tuple[str, int]  # method and ReLUs


@dataclass(frozen=True)
class Fit:
    """One fit of one task.

    Attributes:
        folder: That holds it. task: Of its spec. seed: Of the fit.
        method: That thinned it, the first one's. rungs: summary.json's, by method and ReLUs.
        near: Whether some transitions counted more (``--near``).
    """

    folder: Path
    task: str
    seed: int
    method: str
    rungs: Mapping[str, Mapping[int, Mapping[str, Any]]]
    near: bool = False

    @property
    def digest(self) -> str:
        """Tells other fits apart: of all that the summary says, times of training included."""
        told = [self.task, self.seed, self.method, self.near, {m: dict(r) for m, r in self.rungs.items()}]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def error(self, net: Net, part: str = "test") -> np.ndarray:
        """(H,) of a rung, 1 .. H steps ahead; see ``control_stack.learning.prediction``."""
        method, relus = net
        return np.array(self.rungs[method][relus][part]["rmse"], dtype=float)

    def dense(self) -> Net:
        """The dense net of the width that predicts a step of the validation data best."""
        widths = [relus for relus in self.rungs["dense"] if relus in DENSE_WIDTHS]
        if not widths:
            raise InvalidInput(f"{self.folder} has no dense net of {DENSE_WIDTHS[0]} to {DENSE_WIDTHS[-1]} ReLUs")
        return "dense", min(widths, key=lambda relus: self.error(("dense", relus), "validation")[0])

    def wider(self) -> Net | None:
        """The net thinned to 32 ReLUs or more that predicts a step of the validation data best."""
        rungs = [relus for relus in self.rungs[self.method] if relus in WIDER and relus != max(self.rungs[self.method])]
        if not rungs:
            return None
        return self.method, min(rungs, key=lambda relus: self.error((self.method, relus), "validation")[0])

    def has(self, relus: int, method: str | None = None) -> bool:
        """Whether there is such a rung."""
        return relus in self.rungs.get(method or self.method, {})

    def chain(self, net: Net) -> GatedChain:
        """A rung's net as it was trained."""
        method, relus = net
        return GatedChain.load(self.folder / method / f"{relus}.safetensors")

    def problem(self, net: Net, horizon: int) -> Problem:
        """Of planning through a rung's net."""
        model = _model(self.folder, *net)
        return Problem(model, horizon, effort=np.full(len(model.spec.inputs), EFFORT))


@cache
def _model(folder: Path, method: str, relus: int) -> SparseReLUDynamics:
    return GatedChain.load(folder / method / f"{relus}.safetensors").unrolled().collapsed()


def read_fit(folder: Path) -> Fit:
    """Raises InvalidInput for a folder without a finished fit of a task."""
    try:
        stored = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        recipe = stored["recipe"]
        rungs = {method: {int(n): rung for n, rung in found.items()} for method, found in stored["rungs"].items()}
        near = "--near" in shlex.split(stored["command"])
        fit = Fit(folder, "", int(recipe["seed"]), recipe["methods"][0], rungs, near)
        spec = fit.chain((fit.method, int(recipe["relus"]))).spec
    except OSError as error:
        raise InvalidInput(f"{folder} holds no finished fit: {error.filename}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{folder}/summary.json: not of control-stack fit sparse: {error}") from None
    task = getattr(spec, "task", "")
    if not task:
        raise InvalidInput(f"{folder}: its model names no task")
    return replace(fit, task=task)


def read_fits(folder: str | Path, near: bool = False) -> dict[str, list[Fit]]:
    """All fits in a folder, or the one that it is itself, by task in order of their names, each task's by seed.

    Args:
        near: Those with weighted transitions, else those without.

    Raises:
        InvalidInput: There is none.
    """
    root = Path(folder).resolve()
    places = [root] if (root / "summary.json").is_file() else sorted(p.parent for p in root.glob("*/summary.json"))
    if not places:
        raise InvalidInput(f"--fits {folder}: no folders of control-stack fit sparse in it (none with a summary.json)")
    fits: dict[str, list[Fit]] = {}
    for fit in map(read_fit, places):
        if fit.near is near:
            fits.setdefault(fit.task, []).append(fit)
    return {task: sorted(fits[task], key=lambda fit: (fit.seed, fit.folder.name)) for task in sorted(fits)}
