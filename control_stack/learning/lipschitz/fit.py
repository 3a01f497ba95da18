"""A fit of Lipschitz dynamics in a folder that it can go on in after a stop.

fit.json                              what is fitted; a folder never mixes two
progress.safetensors                  a training under way; gone once it is over
model.safetensors, model.json         ``LipschitzDynamics``
summary.json, slopes.png              figures, and the slopes found in the data under the certificate
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.claim import ClaimedFolder
from control_stack.artefacts.runs import plain, provenance, write_json
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, digest
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.fitting import Course, Recipe, Samples
from control_stack.learning.lipschitz.picture import slopes_picture
from control_stack.learning.lipschitz.slope import steepest
from control_stack.protocols import DynamicsSpec
from control_stack.types import Array

MODEL, _PROGRESS = "model.safetensors", "progress.safetensors"
_SHARES = (0.8, 0.1, 0.1)
# Of the standard deviation of a channel's rate: less is left to g than is worth a scale of its own.
_LEAST = 0.01
_SAVE_EVERY = 500  # updates

Nominal = Literal["identity", "linear"]


@dataclass(frozen=True)
class Problem:
    """What is left to the network of a data set.

    Attributes:
        spec: Of the model. matrix, constant: Its affine step.
        samples: Of the training episodes.
        train, validation, test: Episodes: to learn from, to choose a net by, and to say how good it is.
        lower, upper: (n,) range of [x, u, p] in all the data.
    """

    spec: DynamicsSpec
    matrix: Array
    constant: Array
    samples: Samples
    train: Dataset
    validation: Dataset
    test: Dataset
    lower: Array
    upper: Array

    def course(self, recipe: Recipe) -> Course:
        """A training on the training episodes that chooses its net by the validation episodes."""
        a, _, after = self._transitions(self.validation)
        return Course(self.samples, recipe, (a, (after - a @ self.matrix.T - self.constant) / self.spec.dt))

    def model(self, course: Course) -> LipschitzDynamics:
        """The dynamics with the network of a training."""
        return LipschitzDynamics(self.spec, self.matrix, self.constant, course.network())

    def scaled_error(self, model: LipschitzDynamics, data: Dataset) -> float:
        """RMSE of g over its scale; what the loss is the square of."""
        a, x, after = self._transitions(data)
        target = (after - a @ self.matrix.T - self.constant) / self.spec.dt
        return float(np.sqrt(np.mean(((model.network(a) - target) / self.samples.output_scale) ** 2)))

    def one_step(self, model: LipschitzDynamics, data: Dataset) -> Array:
        """(nx,) RMSE of one step, in the states' units."""
        a, _, after = self._transitions(data)
        predicted = a @ model.matrix.T + model.constant + self.spec.dt * model.network(a)
        return np.sqrt(np.mean((predicted - after) ** 2, axis=0))

    def _transitions(self, data: Dataset) -> tuple[Array, Array, Array]:
        return transitions(data, self.spec)


def transitions(data: Dataset, spec: DynamicsSpec) -> tuple[Array, Array, Array]:
    """[x, u, p] (N, n), x and x+ (N, nx) of every step; p are the inputs that the spec calls parameters."""
    x, u = data.windows(1)
    order = [data.spec.inputs.index(name) for name in (*spec.inputs, *spec.parameters)]
    return np.concatenate([x[:, 0], u[:, 0][:, order]], -1), x[:, 0], x[:, 1]


def problem(data: Dataset, nominal: Nominal, parameters: Sequence[str], seed: int) -> Problem:
    """Splits the data, fits the affine step, and scales what is left.

    Args:
        data: Episodes.
        nominal: identity, x+ = x + dt g, or linear: an affine step by least squares, and g on top.
        parameters: Inputs of the data that are not commands (wind, load): they become p.
        seed: Of the split.

    Raises:
        InvalidInput: A parameter that is no input of the data, or no input would be left.
    """
    for name in parameters:
        if name not in data.spec.inputs:
            raise InvalidInput(f"no input '{name}' to be a parameter, there are {', '.join(data.spec.inputs)}")
    inputs = tuple(name for name in data.spec.inputs if name not in parameters)
    if not inputs:
        raise InvalidInput("all inputs of the data would be parameters: nothing is left to command")
    train, validation, test = data.split(_SHARES, seed)
    found = tuple(dict.fromkeys(parameters))
    spec = DynamicsSpec(data.spec.state, inputs, found, np.zeros(len(found)), data.spec.dt)
    a, x, after = transitions(train, spec)
    spec = replace(spec, defaults=a[:, len(spec.state) + len(inputs) :].mean(0))
    nx, n = x.shape[1], a.shape[1]
    matrix, constant = np.eye(nx, n), np.zeros(nx)
    if nominal == "linear":
        # around the mean, so that channels far from 0 do not spoil the conditioning
        rows = np.linalg.lstsq(a - a.mean(0), after - after.mean(0), rcond=None)[0].T
        matrix, constant = rows, after.mean(0) - rows @ a.mean(0)
    left = (after - a @ matrix.T - constant) / spec.dt
    rate = ((after - x) / spec.dt).std(0)
    samples = Samples(a, left, a.std(0), np.maximum(left.std(0), _LEAST * rate))
    everything = transitions(data, spec)[0]
    return Problem(spec, matrix, constant, samples, train, validation, test, everything.min(0), everything.max(0))


class Fit(ClaimedFolder):
    """A fit in a folder, which it keeps to itself until the end of the context.

    Args:
        folder: New, empty, or of an earlier run of the same fit.
        recipe: Settings. data: To fit. nominal, parameters: As for ``problem``.
        report: Told of every update with the loss. command: That does the same again.

    Raises:
        InvalidInput: The folder holds another fit or something else, or another fit runs in it.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, data: Dataset, nominal: Nominal, parameters: Sequence[str],
        report: Callable[[int, float], None] | None = None, command: str = "",
    ):  # fmt: skip
        self.recipe, self.command, self._report = recipe, command, report
        self.problem = problem(data, nominal, parameters, recipe.seed)
        self.course = self.problem.course(recipe)
        self._told = {"kind": "lipschitz", **plain(recipe), "nominal": nominal, "parameters": list(parameters)}
        self._told["data_sha256"] = digest(data)
        self._name = str(data.card.get("task", "data"))
        super().__init__(folder, self._told)

    def run(self) -> dict[str, Any]:
        """Trains on; writes model, summary and picture, and returns the summary."""
        progress, summary = self.folder / _PROGRESS, self.folder / "summary.json"
        if summary.is_file() and (self.folder / MODEL).is_file():
            return json.loads(summary.read_text(encoding="utf-8"))
        seconds = self._resume(progress)
        while self.course.done < self.recipe.updates:
            began = time.monotonic()
            self.course.advance(_SAVE_EVERY, self._report)
            seconds += time.monotonic() - began
            partial = progress.with_name(f".{progress.name}.partial")
            partial.write_bytes(to_bytes({**self.course.state(), "seconds": np.array([seconds])}))
            partial.replace(progress)
        return self._finish(seconds)

    def _resume(self, progress: Path) -> float:
        if not progress.is_file():
            return 0.0
        try:
            state = from_bytes(progress.read_bytes())
            self.course.restore(state)
        except (SafetensorError, KeyError, ValueError, RuntimeError):
            raise InvalidInput(f"{progress} is damaged: remove it to begin again") from None
        return float(state["seconds"][0])

    def _finish(self, seconds: float) -> dict[str, Any]:
        p = self.problem
        model = p.model(self.course)
        slope, pairs = steepest(model.network, p.lower, p.upper, seed=self.recipe.seed)
        c = model.certificate
        figures = {
            "gamma": c.gamma,
            "largest_slope_found": slope,
            "largest_slope_of_pairs": pairs,
            "range_lower": p.lower,
            "range_upper": p.upper,
            "scaled_error": {name: p.scaled_error(model, getattr(p, name)) for name in ("train", "validation", "test")},
            "chosen_after": self.course.best_at,
            "test_rmse_1_step": p.one_step(model, p.test),
            "trained_numbers": self.course.form.count,
        }
        training = {**artefact.training_of(self.command, self.recipe.seed, seconds), **self._told}
        model = model.save(self.folder / MODEL, training=training, figures=figures)
        summary = {**provenance(), "command": self.command, "recipe": plain(self.recipe), **plain(figures)}
        subtitle = f"{self._name}, {self.recipe.method}, seed {self.recipe.seed}"
        slopes_picture(model, p.samples.arguments, slope, self.folder / "slopes.png", subtitle)
        write_json(self.folder / "summary.json", summary)
        (self.folder / _PROGRESS).unlink(missing_ok=True)
        return summary
