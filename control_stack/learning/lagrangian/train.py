"""Training in torch: the model's weights and its encoder's together, through time.

The loss of a context z_t is the error of the torques that it explains in the periods to come,

    sum_o sum_j rho(e_j / s_j),   e = r_t+o - tau_z(q, q', q'')_t+o,   rho(x) = sqrt(x^2 + d^2) - d

with s the standard deviation of r. rho lets neither the moments after a change nor heavy loads outweigh the rest.
Periods after a change are no part of what a context before it has to explain, where the data tells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from control_stack.artefacts import tensors as artefact
from control_stack.learning.lagrangian import cells, flange
from control_stack.learning.lagrangian.dictionary import load_dictionary
from control_stack.learning.lagrangian.labels import oracle_contexts
from control_stack.learning.lagrangian.matrices import ArrayMatrices
from control_stack.learning.lagrangian.recipe import Recipe
from control_stack.learning.lagrangian.samples import Samples, View
from control_stack.learning.lagrangian.structures import BLACK_BOXES, Structure, initial_weights
from control_stack.types import Array

_SOFT = 0.02  # d
_MOST_NORM = 1.0  # of a gradient
_FIXED = ("encoder.speed", "encoder.scale", "scale.qd", "scale.qdd", "scale.torque")
_BETAS = (0.9, 0.99)
_EVERY = 5  # rounds between what a kill may cost


class Training:
    """Weights on their way, and Adam's memory of them.

    Args:
        recipe: Settings. samples: Of the training part.

    Attributes:
        weights: By name, as the model takes them; of rows of very different sizes each is trained in its own.
        round: How many rounds are done.
        spent: Wall and CPU seconds of the rounds that are done, those before a stop included.
    """

    def __init__(self, recipe: Recipe, samples: Samples):
        self.recipe, self.samples, self.round = recipe, samples, 0
        self.spent = np.zeros(2)
        n = samples.arm.joints
        used = samples.truth.torque[samples.valid].astype(float)
        self.deviation = np.maximum(used.std(axis=0), 1e-2)
        self.contexts = self._count(n)
        start = self._start(n)
        flat = {k: np.sqrt(np.square(v).mean(1, keepdims=True)) + 1e-6 for k, v in start.items() if _by_row(k)}
        self._sizes = {k: torch.from_numpy(v) for k, v in flat.items()}
        self._values = {k: torch.from_numpy(v / flat[k] if k in flat else v).clone() for k, v in start.items()}
        self._trained = [k for k in self._values if k not in _FIXED and not self._idle(k)]
        for k in self._trained:
            self._values[k].requires_grad_(True)
        self._adam = torch.optim.Adam([self._values[k] for k in self._trained], lr=recipe.rate, betas=_BETAS)
        self._oracle = None if samples.labels is None else oracle_contexts(samples.labels)

    def run(self, checkpoint: Path, report: Callable[[int, float], None]) -> None:
        """Trains the rounds that are missing; ``checkpoint`` (.safetensors) is read, and written on the way."""
        if checkpoint.is_file():
            self._restore(checkpoint)
        report(self.round, math.nan)
        while self.round < self.recipe.rounds:
            began = _clocks()
            loss = self._one_round()
            self.round, self.spent = self.round + 1, self.spent + _clocks() - began
            report(self.round, loss)
            if self.round % _EVERY == 0 or self.round == self.recipe.rounds:
                self._store(checkpoint)

    def take_weights(self, weights: Mapping[str, Array]) -> None:
        """Goes on from a model's weights. Raises KeyError or RuntimeError for those of another structure."""
        with torch.no_grad():
            for name, value in self._values.items():
                given = torch.from_numpy(np.asarray(weights[name]))
                value.copy_(given / self._sizes[name] if name in self._sizes else given)

    def arrays(self) -> dict[str, Array]:
        """The model's weights."""
        return {k: v.detach().numpy().copy() for k, v in self._weights().items()}

    def contexts_of(self, samples: Samples) -> tuple[Array, Array]:
        """(E, T, nz) contexts after every period of a sample's first view, and variances: what an estimator says."""
        episodes, steps = samples.valid.shape
        if self.recipe.context in ("none", "oracle"):
            known = np.zeros((episodes, steps, self.contexts))
            if self.recipe.context == "oracle" and samples.labels is not None:
                known = oracle_contexts(samples.labels)
            return known, np.zeros_like(known)
        with torch.no_grad():
            weights, m = self._weights(), _matrices()
            states = []
            state = cells.initial_state(m, _encoder(weights), self.contexts)
            picked = np.arange(episodes)
            for t in range(steps):
                seen = self._seen(m, weights, samples.seen[0], picked, slice(t, t + 1))[0]
                state = cells.step(m, _encoder(weights), state, seen)
                states.append((state.z[..., 0], state.covariance.diagonal(dim1=-2, dim2=-1)))
        z, variance = (torch.stack([s[k] for s in states], dim=1).numpy() for k in range(2))
        return z, variance

    def _count(self, n: int) -> int:
        if self.recipe.context == "none":
            return 1
        return flange_labels(n) if self.recipe.context == "oracle" else self.recipe.contexts

    def _start(self, n: int) -> dict[str, Array]:
        r, arm = self.recipe, self.samples.arm
        if r.structure == "flange" and r.context in ("filter", "gru"):
            weights = load_dictionary(self.samples, self.contexts)
        else:
            weights = initial_weights(r.structure, n, self.contexts, r.seed, r.hidden)
        if r.structure in BLACK_BOXES:
            truth, keep = self.samples.truth, self.samples.valid
            sizes = {name: getattr(truth, name)[keep].astype(float).std(axis=0) for name in ("qd", "qdd")}
            weights |= {f"scale.{k}": np.maximum(v, 1e-2)[:, None] for k, v in sizes.items()}
            weights |= {"scale.torque": self.deviation[:, None].copy()}
        if r.context in cells.KINDS:
            speed = np.where(np.isfinite(arm.velocity_limit), arm.velocity_limit, 2.0)
            cell = cells.initial_cell(r.context, n, self.contexts, r.seed, speed, self.deviation)
            weights |= {f"encoder.{name}": value for name, value in cell.items()}
        return weights

    def _idle(self, name: str) -> bool:
        """Weights that a structure keeps at zero: only ``full`` has friction without a context."""
        return name == "friction.bias" and self.recipe.structure != "full"

    def _weights(self) -> dict[str, Tensor]:
        return {k: v * self._sizes[k] if k in self._sizes else v for k, v in self._values.items()}

    def _one_round(self) -> float:
        r, total, count = self.recipe, 0.0, 0
        rng = np.random.default_rng((r.seed, 2, self.round))
        episodes, steps = self.samples.valid.shape
        picked = np.sort(rng.choice(episodes, min(r.batch, episodes), replace=False))
        view = self.samples.seen[int(rng.integers(len(self.samples.seen)))]
        m = _matrices()
        state = cells.initial_state(m, _encoder(self._weights()), self.contexts) if r.context in cells.KINDS else None
        start = int(rng.integers(0, r.chunk))
        while start < steps - 1:
            span = slice(start, min(start + r.chunk, steps))
            for group in self._adam.param_groups:
                group["lr"] = 0.5 * r.rate * (1.0 + math.cos(math.pi * self.round / r.rounds))
            weights = self._weights()
            contexts = []
            if state is None:
                z = self._known(picked, span)
            else:
                for seen in self._seen(m, weights, view, picked, span):
                    state = cells.step(m, _encoder(weights), state, seen)
                    contexts.append(state.z[..., 0])
                z = torch.stack(contexts, dim=1)
                state = cells.CellState(*(part.detach() for part in state))
            loss = self._loss(m, weights, picked, span, z)
            self._adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([self._values[k] for k in self._trained], _MOST_NORM)
            self._adam.step()
            total, count, start = total + float(loss.detach()), count + 1, span.stop
        return total / max(count, 1)

    def _known(self, picked: NDArray[np.int64], span: slice) -> Tensor:
        length = span.stop - span.start
        if self.recipe.context == "none" or self._oracle is None:
            return torch.zeros(len(picked), length, self.contexts, dtype=torch.float64)
        return torch.from_numpy(self._oracle[picked, span])

    def _seen(
        self, m: ArrayMatrices, weights: dict[str, Tensor], view: View, picked: NDArray[np.int64], span: slice
    ) -> list[cells.Seen]:
        q, qd, torque = (_tensor(getattr(view, name)[picked, span])[..., None] for name in ("q", "qd", "torque"))
        matrix = None
        if self.recipe.context == "filter":
            matrix = _context_matrix(_tensor(view.regressor[picked, span]), weights)
        return [
            cells.Seen(q[:, k], qd[:, k], torque[:, k], None if matrix is None else matrix[:, k])
            for k in range(q.shape[1])
        ]

    def _loss(
        self, m: ArrayMatrices, weights: dict[str, Tensor], picked: NDArray[np.int64], span: slice, z: Tensor
    ) -> Tensor:
        s, steps = self.samples, self.samples.valid.shape[1]
        total, count = torch.zeros((), dtype=torch.float64), 0.0
        known = self.recipe.context in ("oracle", "none")
        for ahead in (0,) if known else self.recipe.ahead:
            last = min(span.stop + ahead, steps)
            at = slice(span.start + ahead, last)
            if at.start >= last:
                continue
            z_now = z[:, : last - at.start]
            now = slice(span.start, span.start + z_now.shape[1])
            mask = s.valid[picked, at] & (s.stretch[picked, at] == s.stretch[picked, now])
            error = (
                _tensor(s.truth.torque[picked, at]) - self._explained(m, weights, picked, at, z_now)
            ) / torch.from_numpy(self.deviation)
            soft = torch.sqrt(error**2 + _SOFT**2) - _SOFT
            total = total + (soft.mean(-1) * torch.from_numpy(mask)).sum()
            count += float(mask.sum())
        return total / max(count, 1.0)

    def _explained(
        self, m: ArrayMatrices, weights: dict[str, Tensor], picked: NDArray[np.int64], at: slice, z: Tensor
    ) -> Tensor:
        """Torques of the model minus those of the nominal arm."""
        view = self.samples.truth
        if self.recipe.structure == "flange":
            return (_context_matrix(_tensor(view.regressor[picked, at]), weights) @ z[..., None])[..., 0]
        q, qd, qdd = (_tensor(getattr(view, name)[picked, at]).reshape(-1, view.q.shape[-1], 1)
                      for name in ("q", "qd", "qdd"))  # fmt: skip
        structure = Structure(self.recipe.structure, self.samples.arm, weights)
        context = z.reshape(-1, z.shape[-1], 1)
        if self.recipe.structure in BLACK_BOXES:
            return structure.residual(m, q, qd, qdd, context)[..., 0].reshape(*z.shape[:-1], -1)
        tau = structure.inverse(m, q, qd, qdd, context) - structure.nominal.inverse(m, q, qd, qdd)
        return tau[..., 0].reshape(*z.shape[:-1], -1)

    def _store(self, path: Path) -> None:
        stored = {f"value.{k}": v.detach().numpy() for k, v in self._values.items()}
        steps = 0.0
        for k in self._trained:
            memory = self._adam.state[self._values[k]]
            if memory:  # there is none of what no torque depends on: the constant of a potential
                stored |= {f"mean.{k}": memory["exp_avg"].numpy(), f"square.{k}": memory["exp_avg_sq"].numpy()}
                steps = float(memory["step"])
        artefact.write(
            path,
            {**stored, "steps": np.array([steps]), "round": np.array([self.round]), "spent": self.spent},
            {},
            "checkpoints",
        )

    def _restore(self, path: Path) -> None:
        stored, _ = artefact.read_tensors(path, "checkpoints")
        self.round, self.spent = int(stored["round"][0]), stored["spent"].copy()
        with torch.no_grad():
            for k, value in self._values.items():
                value.copy_(torch.from_numpy(stored[f"value.{k}"]))
        for k in (k for k in self._trained if f"mean.{k}" in stored):
            self._adam.state[self._values[k]] = {
                "step": torch.tensor(float(stored["steps"][0])),
                "exp_avg": torch.from_numpy(stored[f"mean.{k}"].copy()),
                "exp_avg_sq": torch.from_numpy(stored[f"square.{k}"].copy()),
            }


def _clocks() -> Array:
    """Wall and CPU time, s."""
    return np.array([time.monotonic(), time.process_time()])


def flange_labels(n: int) -> int:
    """Contexts of an oracle: a load's ten numbers and the friction of every joint."""
    return 10 + n


def _context_matrix(regressor: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """A = dtau/dz of the structure ``flange``: ``features.context_matrix`` in torch."""
    n, friction = regressor.shape[-2], weights["friction.weight"]
    rigid = regressor[..., : flange.CODE_SIZE] @ weights["flange.weight"]
    return rigid + regressor[..., -2, None] * friction[:n] + regressor[..., -1, None] * friction[n:]


def _matrices() -> ArrayMatrices:
    return ArrayMatrices(torch, torch.zeros(1, dtype=torch.float64))


def _encoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}


def _by_row(name: str) -> bool:
    return name in ("flange.weight", "friction.weight")


def _tensor(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).double()
