"""A fit from data of an arm to a model with its context's estimator, in a folder that a killed fit goes on in.

fit.json                        what is fitted; a folder never mixes two
checkpoint.safetensors, .json   weights on their way, removed when all is done
model.safetensors, model.json   ``LagrangianDynamics`` with its card
summary.json, fit.png
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.arm.library import arm_names, load_arm
from control_stack.arm.parameters import ArmParameters
from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.claim import ClaimedFolder
from control_stack.artefacts.runs import plain, provenance, write_json
from control_stack.errors import InvalidInput
from control_stack.learning.data import Dataset, dataset, digest
from control_stack.learning.lagrangian import MODEL
from control_stack.learning.lagrangian.evaluate import calibration, errors_after_change, figures, rows_of
from control_stack.learning.lagrangian.labels import Labels, read_labels
from control_stack.learning.lagrangian.model import LagrangianDynamics, arm_of_card
from control_stack.learning.lagrangian.picture import fit_picture
from control_stack.learning.lagrangian.recipe import Recipe
from control_stack.learning.lagrangian.samples import Samples, arm_columns, make_samples
from control_stack.learning.lagrangian.train import Training

_CHECKPOINT = "checkpoint.safetensors"
_FEWEST = 3  # episodes: one for each part


def arm_of(data: Dataset, named: str | None) -> ArmParameters:
    """The nominal arm of data: as named, or as its card says, or the shipped one with the joints of the data.

    Raises:
        InvalidInput: It is not told, and no shipped arm has these joints.
    """
    if named is not None:
        return load_arm(named)
    if "arm_parameters" in data.card:
        return arm_of_card(data.card["arm_parameters"])
    text = " ".join(data.spec.inputs)
    fitting = [arm for arm in map(load_arm, arm_names()) if all(name in text for name in arm.joint_names)]
    if len(fitting) != 1:
        raise InvalidInput(
            f"no shipped arm has all its joints in the data (inputs {', '.join(data.spec.inputs)}): name it, --arm"
        )
    return fitting[0]


class Fit(ClaimedFolder):
    """A fit in a folder, which it keeps to itself until the end of the context.

    Args:
        folder: New, empty, or of an earlier run of the same fit.
        recipe: Settings.
        data: To fit; states and torques of an arm.
        arm: Its nominal parameters.
        source: Folder of the data, where its labels lie; None where there are none.
        report: Called with rounds done and the loss.
        command: That does the same again, for the card.

    Raises:
        InvalidInput: The folder holds another fit, or something else, or another fit runs in it; a joint is missing
            in the data, or it does not suit the recipe.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        data: Dataset,
        arm: ArmParameters,
        source: Path | None,
        report: Callable[[int, float], None],
        command: str = "",
    ):
        self.recipe, self.command, self._report = recipe, command, report
        self._data = arm_columns(data, arm)
        self._arm = arm
        labels = None if source is None else read_labels(source, data, arm.joints)
        if recipe.context == "oracle" and labels is None:
            raise InvalidInput("an oracle context needs the loads that control-stack collect arm stores with its data")
        if data.episodes < _FEWEST:
            self._data, labels = _cut(self._data, labels)
        self._labels = labels
        self._digest = digest(self._data)
        super().__init__(folder, {**plain(recipe), "arm": arm.name, "data_sha256": self._digest})

    def run(self) -> dict[str, Any]:
        """Trains what is missing; writes model, summary and picture, and returns the summary."""
        summary = self.folder / "summary.json"
        if summary.is_file() and (self.folder / MODEL).is_file():
            return json.loads(summary.read_text(encoding="utf-8"))
        began, r = np.array([time.monotonic(), time.process_time()]), self.recipe
        samples = make_samples(self._data, self._arm, self._labels, r.draws, r.seed)
        train, validation, test = _parts(samples, r)
        training = Training(r, train)
        losses: list[float] = []

        def report(done: int, loss: float) -> None:
            losses.append(loss)
            self._report(done, loss)

        prepared = np.array([time.monotonic(), time.process_time()]) - began
        training.run(self.folder / _CHECKPOINT, report)
        began = np.array([time.monotonic(), time.process_time()])
        weights = training.arrays()
        model = LagrangianDynamics(self._arm, r.structure, weights, training.contexts, samples.dt)
        contexts, variances = training.contexts_of(validation)
        if r.context == "filter":
            spread = np.array([calibration(model, validation, contexts, variances)])
            model = replace(model, weights={**weights, "encoder.spread": spread})
        found = {}
        for name, part, z in (
            ("validation", validation, contexts), ("test", test, training.contexts_of(test)[0]),
        ):  # fmt: skip
            found[name] = figures(model, rows_of(part, z))
            found[name]["after_change"] = errors_after_change(model, part, z)
        # Rounds that a stop has undone, and preparations before one, are in no figure: they made nothing of the model.
        wall, cpu = prepared + training.spent + [time.monotonic(), time.process_time()] - began
        card = {
            **artefact.training_of(self.command, r.seed, float(wall)),
            "cpu_time_s": float(cpu), "recipe": plain(r), "data": self._about(samples, train),
        }  # fmt: skip
        model.save(self.folder / MODEL, training=card, figures=found)
        fit_picture(found, losses, samples.dt, self.folder / "fit.png", f"{self._arm.name}, {r.structure}, {r.context}")
        done = {**provenance(), "training": card, "figures": found, "losses": losses}
        write_json(summary, done)
        for file in (self.folder / _CHECKPOINT, (self.folder / _CHECKPOINT).with_suffix(".json")):
            file.unlink(missing_ok=True)
        return json.loads(summary.read_text(encoding="utf-8"))

    def _about(self, samples: Samples, train: Samples) -> dict[str, Any]:
        """What the model saw, for its card."""
        card = self._data.card
        about: dict[str, Any] = {
            "sha256": self._digest,
            "episodes": len(samples.valid),
            "of_these_trained_on": len(train.valid),
            "command": card.get("command"),
            "sensors": card.get("sensors"),
            "friction_factors": card.get("friction_factors"),
        }
        if train.labels is not None:
            held = np.unique(train.labels.load.reshape(-1, train.labels.load.shape[-1]), axis=0)
            held = held[held[:, 0] > 0.0]
            about |= {"loads": len(held), "mass_kg": [held[:, 0].min(), held[:, 0].max()] if len(held) else None}
        return about


def _cut(data: Dataset, labels: Labels | None) -> tuple[Dataset, Labels | None]:
    """One or two long logs as several episodes, so that some can be held out. Raises InvalidInput if they are short."""
    steps = int(data.lengths.min()) // _FEWEST
    if steps < 100:
        raise InvalidInput(
            f"{data.episodes} log{'s' if data.episodes > 1 else ''} of at least {int(data.lengths.min())} samples: "
            "a fit needs three logs, or 300 samples in each"
        )
    pieces = [
        (data.states[e, k * steps : (k + 1) * steps + 1], data.inputs[e, k * steps : (k + 1) * steps])
        for e in range(data.episodes)
        for k in range(int(data.lengths[e]) // steps)
    ]
    whole = dataset(pieces, data.spec)
    return Dataset(whole.states, whole.inputs, data.spec, whole.lengths, data.card), None


def _parts(samples: Samples, recipe: Recipe) -> tuple[Samples, ...]:
    """Training, validation and test episodes, drawn at random; each has at least one."""
    count = len(samples.valid)
    order = np.random.default_rng((recipe.seed, 3)).permutation(count)
    held = [max(1, round(share * count)) for share in recipe.shares[1:]]
    edges = [count - sum(held), count - held[1]]
    return tuple(samples.take(np.sort(part)) for part in np.split(order, edges))
