"""A fit from data to a model: rungs of methods in a folder, each trained or, once it was, read.

fit.json                              what is fitted; a folder never mixes two
first/<budget>.safetensors, .json     dense nets after their first updates; methods begin with the widest
<method>/<budget>.safetensors, .json  the net of a rung as it was trained, with its figures
model.safetensors, model.json         ``SparseReLUDynamics``: the first method's net with the recipe's ReLUs
summary.json, ladder.png

A rung's random numbers depend on seed, method and budget alone, so that a fit that was killed goes on to the same nets.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.claim import ClaimedFolder
from control_stack.artefacts.runs import plain, provenance, write_json
from control_stack.errors import InvalidInput, UnknownName
from control_stack.learning.data import Dataset, digest
from control_stack.learning.gated_chain import GatedChain, scaling_of
from control_stack.learning.prediction import prediction_errors
from control_stack.learning.sparse_relu import SparseReLUDynamics
from control_stack.learning.sparsify.methods import METHODS
from control_stack.learning.sparsify.net import IDENTITY, RELU, Net, fresh, from_chain
from control_stack.learning.sparsify.picture import ladders_picture
from control_stack.learning.sparsify.recipe import Recipe, Report, Trainer, generator
from control_stack.learning.sparsify.windows import Windows, closeness
from control_stack.learning.spec import TaskSpec
from control_stack.learning.wiring import graph_net, plain_net

RIVALS = ("dense", "scratch")
MODEL = "model.safetensors"
_FIRST = "first"
_EARLY = 0.05  # of the dense net's updates, after which a lottery ticket's weights are taken
_WIDE = 64  # ReLUs from which on a dense net is a rival, where the ladder has such
_TIMED = 50  # updates that tell how long one takes


class Fit(ClaimedFolder):
    """A fit in a folder, which it keeps to itself until the end of the context.

    Args:
        folder: New, empty, or of an earlier run of the same fit.
        recipe: Settings.
        data: To fit.
        report: Told of every update.
        command: That does the same again, for the cards.
        near: Trajectories that count most (``windows.closeness``); None to count all data alike.
        bounds: On its ReLUs, kept with the model: "lp" or "mip" (``SparseReLUDynamics.bounded``); empty for none.

    Raises:
        InvalidInput: The folder holds another fit, or something else, or another fit runs in it; the data does not
            suit the recipe. UnknownName: No such method.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        data: Dataset,
        report: Report,
        command: str = "",
        near: Dataset | None = None,
        bounds: str = "",
    ):
        for method in recipe.methods:
            if method not in (*METHODS, *RIVALS):
                raise UnknownName("method", method, (*METHODS, *RIVALS))
        if not recipe.methods or ("scratch" in recipe.methods and recipe.methods[0] not in METHODS):
            raise InvalidInput("the first method is one that thins a net: 'scratch' copies the size of what it finds")
        if bounds and not isinstance(data.spec, TaskSpec):
            raise InvalidInput("bounds hold within limits of states and inputs, which only the data of a task has")
        self.recipe, self.command, self._report, self._bounds = recipe, command, report, bounds
        depth = recipe.hidden_layers
        if recipe.objects:
            self.wiring = graph_net(data.spec, recipe.objects, depth, depth)
        else:
            self.wiring = plain_net(len(data.spec.state), len(data.spec.inputs), depth)
        self.spec, self._digest = data.spec, digest(data) + ("" if near is None else digest(near))
        self._train, self._validation, self._test = data.split(recipe.shares, recipe.seed)
        self.scaling = scaling_of(self._train, self.wiring)
        weights = None if near is None else closeness(self._train, near, self.scaling)
        self._windows = Windows(self._train, self.scaling, weights)
        super().__init__(folder, {**plain(recipe), "data_sha256": self._digest})

    def run(self) -> dict[str, Any]:
        """Trains what is missing; writes model, summary and picture, and returns the summary."""
        r = self.recipe
        for method in dict.fromkeys((_FIRST, *r.methods, "dense")):
            every = method in METHODS or (method != "scratch" and "dense" in r.methods)
            for budget in r.ladder if every else (r.relus if method == "scratch" else r.ladder[0],):
                self._rung(method, budget)
        return self._finish()

    def _rung(self, method: str, budget: int) -> GatedChain:
        """The net of a rung, from disk or trained."""
        if method in METHODS and budget == self.recipe.ladder[0]:
            method = _FIRST  # where all of them begin
        path = self.folder / method / f"{budget}.safetensors"
        if path.is_file():
            return GatedChain.load(path)
        path.parent.mkdir(exist_ok=True)
        wall, cpu = time.monotonic(), time.process_time()
        about: dict[str, Any] = {}
        if method == _FIRST:
            net, about = self._first(budget, path), {"updates": self.recipe.first_updates}
        elif method == "dense":
            net, about = self._dense(budget)
        elif method == "scratch":
            net, about = self._scratch(budget)
        else:
            net, about = self._thinned(method, budget, path), {"updates": self.recipe.until(budget)}
        seconds = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu}
        chain = net.chain()
        about |= {"relus": chain.count("relu"), "linear_units": net.count(IDENTITY), **seconds, **self._figures(chain)}
        chain.save(path, {"rung": about})
        return GatedChain.load(path)

    def _trainer(self, method: str, budget: int, total: int) -> Trainer:
        label = f"{method} {budget}"
        return Trainer(self.recipe, self._windows, generator(self.recipe.seed, label), label, total, self._report)

    def _first(self, budget: int, path: Path) -> Net:
        r = self.recipe
        trainer = self._trainer(_FIRST, budget, r.first_updates)
        net = fresh(self.spec, self.wiring, self.scaling, self._even(budget), trainer.generator)

        def keep_early(update: int) -> None:
            if budget == r.ladder[0] and update == int(_EARLY * r.first_updates):
                net.chain().save(_early(path), {})

        trainer.descend(net, r.first_updates, r.horizon(budget), end=keep_early)
        return net

    def _dense(self, budget: int) -> tuple[Net, dict[str, Any]]:
        """The first net of this width; the best wide one on validation is trained as long as the ladder."""
        r = self.recipe
        net, updates = from_chain(self._rung(_FIRST, budget)), r.first_updates
        more = r.until(r.relus) - updates
        if "dense" in r.methods and more > 0:
            wide = [b for b in r.ladder if b >= _WIDE] or r.ladder
            firsts = {b: self._rung(_FIRST, b).card["rung"]["validation"]["rmse"][0] for b in wide}
            if budget == min(firsts, key=lambda b: firsts[b]):
                trainer = self._trainer("dense on", budget, more)
                trainer.descend(net, more, r.horizon(budget))
                updates += more
        return net, {"updates": updates}

    def _thinned(self, method: str, budget: int, path: Path) -> Net:
        r = self.recipe
        above = r.ladder[r.ladder.index(budget) - 1]
        before = from_chain(self._rung(method, above))
        source = _FIRST if method != "lottery" or above == r.ladder[0] else method
        which = above if method == "lottery" else r.ladder[0]
        early = from_chain(GatedChain.load(_early(self.folder / source / f"{which}.safetensors")))
        thin, tune = r.updates(budget)
        trainer = self._trainer(method, budget, thin + tune)
        net, early = METHODS[method].thin(before, early, budget, thin, trainer)
        trainer.descend(net, tune, r.horizon(budget))
        if method == "lottery":
            early.chain().save(_early(path), {})
        return net

    def _scratch(self, budget: int) -> tuple[Net, dict[str, Any]]:
        """Random starts of the size that the first method found, each as long as that took; the best on validation."""
        r = self.recipe
        found = self._rung(r.methods[0], budget)
        seconds = sum(self._rung(r.methods[0], b).card["rung"]["cpu_s"] for b in r.ladder if b >= budget)
        relus = [int((gates == RELU).sum()) for gates in found.gates]

        def start(stack: int, label: str, total: int) -> tuple[Net, Trainer]:
            trainer = self._trainer(label, budget, total)
            return fresh(self.spec, self.wiring, self.scaling, relus, trainer.generator, stack), trainer

        net, trainer = start(1, "scratch timed", _TIMED)
        began = time.process_time()
        trainer.descend(net, _TIMED, r.horizon(budget))
        updates = max(1, round(seconds * _TIMED / (time.process_time() - began)))
        net, trainer = start(r.starts, "scratch", updates)
        trainer.descend(net, updates, r.horizon(budget))
        errors = [prediction_errors(net.chain(s).unrolled(), self._validation, 1).rmse[0] for s in range(r.starts)]
        return net.member(int(np.argmin(errors))), {"updates": updates, "validation_1_step_of_starts": errors}

    def _even(self, budget: int) -> list[int]:
        """ReLUs of each hidden layer of a dense net: as many in all copies of one layer as in those of another."""
        copies = [layer.copies for layer in self.wiring.layers[:-1]]
        relus = [budget // (len(copies) * c) for c in copies]
        for k, c in reversed(list(enumerate(copies))):
            relus[k] += (budget - sum(n * m for n, m in zip(relus, copies, strict=True))) // c
        return relus

    def _figures(self, chain: GatedChain) -> dict[str, Any]:
        model = chain.unrolled().collapsed()
        out = {}
        for name, part in (("validation", self._validation), ("test", self._test)):
            errors = prediction_errors(model, part)
            out[name] = {"rmse": errors.rmse, "rmse_1_step_by_state": errors.by_state[0]}
        return out

    def _finish(self) -> dict[str, Any]:
        r = self.recipe
        rungs = {
            method: {b: card for b in sorted(r.ladder, reverse=True) if (card := self._card(method, b))}
            for method in dict.fromkeys(("dense", *r.methods))
        }
        chosen = self._rung(r.methods[0], r.relus)
        way = [b for b in r.ladder if b >= r.relus] if r.methods[0] in METHODS else [r.relus]
        seconds = sum(self._rung(r.methods[0], b).card["rung"]["wall_s"] for b in way)
        training = {
            **artefact.training_of(self.command, r.seed, seconds),
            "recipe": plain(r),
            "data_sha256": self._digest,
            "linear_units": chosen.card["rung"]["linear_units"],
        }
        figures = {"test": chosen.card["rung"]["test"], "validation": chosen.card["rung"]["validation"]}
        model = chosen.unrolled().collapsed()
        if self._bounds:
            model = model.bounded(self._bounds)  # type: ignore[arg-type]
        model = model.save(self.folder / MODEL, training=training, figures=figures)
        summary = {
            **provenance(),
            "command": self.command,
            "recipe": plain(r),
            "rungs": rungs,
            "model_relus": model.relus,
        }
        write_json(self.folder / "summary.json", summary)
        title = f"{self._train.card.get('task', 'data')}, seed {r.seed}"
        ladders_picture({title: rungs}, self.folder / "ladder.png")
        return summary

    def _card(self, method: str, budget: int) -> dict[str, Any] | None:
        first = budget == self.recipe.ladder[0] and method in METHODS
        path = self.folder / (_FIRST if first else method) / f"{budget}.safetensors"
        return GatedChain.load(path).card["rung"] if path.is_file() else None


def load(path: str | Path) -> SparseReLUDynamics:
    """The model of a fit: its folder, or a .safetensors file."""
    path = Path(path)
    return SparseReLUDynamics.load(path / MODEL if path.is_dir() else path)


def _early(path: Path) -> Path:
    return path.with_name(f"{path.stem}.early.safetensors")
