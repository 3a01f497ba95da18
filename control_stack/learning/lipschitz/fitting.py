"""Fits a certified network to arrays: SOAP on the squared error, then the proof of what came out (torch).

With data held out, what counts is the net of least error on it among those looked at on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from control_stack.errors import InvalidInput, TrainingAborted
from control_stack.learning.lipschitz.certificate import Certificate
from control_stack.learning.lipschitz.forms import Form, forward
from control_stack.learning.lipschitz.network import ACTIVATIONS, Activation, CertifiedNetwork
from control_stack.learning.lipschitz.sdp import tightened
from control_stack.learning.soap import Soap
from control_stack.types import Array

_LOOK = 250  # updates between two looks at the data held out


@dataclass(frozen=True)
class Recipe:
    """Settings of a fit.

    Attributes:
        method: sandwich, spectral, penalty or free.
        gamma: Of the scaled network; None: learned.
        widths: Of the hidden layers.
        activation: relu (exact ranges, mixed-integer plans) or tanh (smooth).
        updates: Steps of SOAP (``learning.soap``). batch: Samples in each. rate: At first; it falls to 1 % as a cosine.
        seed: Of the first weights, batches and the split of the data.
    """

    method: str = "sandwich"
    gamma: float | None = None
    widths: tuple[int, ...] = (32, 32)
    activation: Activation = "relu"
    updates: int = 6000
    batch: int = 256
    rate: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gamma is not None and not (math.isfinite(self.gamma) and self.gamma > 0.0):
            raise InvalidInput(f"gamma must be above 0, got {self.gamma}")
        if self.method == "penalty" and self.gamma is None:
            raise InvalidInput("a gradient penalty needs a gamma to hold slopes to")
        if self.method == "free" and self.gamma is not None:
            raise InvalidInput("the method free has no gamma to hold")
        if self.activation not in ACTIVATIONS:
            raise InvalidInput(f"activation '{self.activation}': expected one of {', '.join(ACTIVATIONS)}")
        if not self.widths or min(self.widths) < 1 or max(self.widths) > 512 or len(self.widths) > 8:
            raise InvalidInput(f"1 to 8 layers of 1 to 512 units, got {list(self.widths)}")
        if self.updates < 1 or self.batch < 4:
            raise InvalidInput("a fit needs at least 1 update and a batch of 4")


@dataclass(frozen=True)
class Samples:
    """Arguments (N, n) and targets (N, m) in physical units, with what scales them.

    Attributes:
        input_scale, output_scale: What counts as 1 in the certificate's norm.
    """

    arguments: Array
    targets: Array
    input_scale: Array
    output_scale: Array


class Course:
    """A training that can be stopped between updates and gone on with: ``state`` and ``restore`` are all it needs.

    Args:
        samples: To fit. recipe: Settings.
        held_out: Arguments (N, n) and targets (N, m) to choose by; None: the last net counts.
    """

    def __init__(self, samples: Samples, recipe: Recipe, held_out: tuple[Array, Array] | None = None):
        self.samples, self.recipe, self.done = samples, recipe, 0
        self.generator = torch.Generator().manual_seed(recipe.seed)
        sizes = (samples.arguments.shape[1], *recipe.widths, samples.targets.shape[1])
        self.form = Form(recipe.method, sizes, recipe.gamma, self.generator)
        self.center, self.offset = samples.arguments.mean(0), samples.targets.mean(0)
        self._z, self._y = self._scaled(samples.arguments, samples.targets)
        self._held_out = None if held_out is None else self._scaled(*held_out)
        self.best_error, self.best_at = math.inf, 0  # on what is held out, and after how many updates
        self._best = [tensor.detach().clone() for tensor in self.form.parameters]
        self._soap = Soap(self.form.parameters, recipe.rate)

    def _scaled(self, arguments: Array, targets: Array) -> tuple[torch.Tensor, torch.Tensor]:
        s = self.samples
        z, y = (arguments - self.center) / s.input_scale, (targets - self.offset) / s.output_scale
        return torch.as_tensor(z), torch.as_tensor(y)

    def advance(self, updates: int, report: Callable[[int, float], None] | None = None) -> None:
        """Takes up to so many updates. Raises TrainingAborted where the loss is no longer a number."""
        r = self.recipe
        for _ in range(min(updates, r.updates - self.done)):
            pick = torch.randint(len(self._z), (r.batch,), generator=self.generator)
            z, layers = self._z[pick], self.form.layers()
            error = (forward(layers, z, r.activation) - self._y[pick]).square().mean()
            loss = error + self.form.price(z, layers, r.activation, self.generator)
            self._soap.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.form.parameters, 1.0)
            self._soap.param_groups[0]["lr"] = r.rate * (0.505 + 0.495 * math.cos(math.pi * self.done / r.updates))
            self._soap.step()
            self.done += 1
            value = float(error.detach())
            if not math.isfinite(value):
                raise TrainingAborted(f"the loss became {value} after {self.done} updates")
            if self._held_out is not None and (self.done % _LOOK == 0 or self.done == r.updates):
                self._look(*self._held_out)
            if report is not None:
                report(self.done, value)

    @torch.no_grad()
    def _look(self, z: torch.Tensor, y: torch.Tensor) -> None:
        """Keeps the net as it is if none before was better on what is held out."""
        error = float((forward(self.form.layers(), z, self.recipe.activation) - y).square().mean().sqrt())
        if error < self.best_error:
            self.best_error, self.best_at = error, self.done
            for kept, tensor in zip(self._best, self.form.parameters, strict=True):
                kept.copy_(tensor)

    @torch.no_grad()
    def network(self) -> CertifiedNetwork:
        """The best network on what is held out, else the last, with the least gamma that can be proved for it."""
        now = [tensor.detach().clone() for tensor in self.form.parameters]
        if self.best_at:
            self._put(self._best)
        layers = [(w.numpy().copy(), b.numpy().copy()) for w, b in self.form.layers()]
        weights = [w for w, _ in layers]
        proof = self.form.proof(weights)
        self._put(now)
        gamma, multipliers = tightened(weights, proof)
        s = self.samples
        certificate = Certificate(gamma, s.input_scale, s.output_scale, multipliers)
        return CertifiedNetwork(
            tuple(weights), tuple(b for _, b in layers), self.recipe.activation, self.center, self.offset, certificate
        )

    def state(self) -> dict[str, Array]:
        """All that changes, by name."""
        out = {"done": np.array([self.done]), "generator": self.generator.get_state().numpy()}
        out["best"] = np.array([self.best_error, self.best_at])
        for k, (tensor, best) in enumerate(zip(self.form.parameters, self._best, strict=True)):
            out[f"value.{k}"], out[f"best.{k}"] = tensor.detach().numpy().copy(), best.numpy().copy()
            for name, part in self._soap.state.get(tensor, {}).items():
                out[f"soap.{k}.{name}"] = part.numpy().copy()
        return out

    def restore(self, state: dict[str, Array]) -> None:
        """Goes back to a ``state`` of the same recipe and samples."""
        self.done = int(state["done"][0])
        self.generator.set_state(torch.from_numpy(state["generator"].copy()))
        self.best_error, self.best_at = float(state["best"][0]), int(state["best"][1])
        self._put([torch.from_numpy(state[f"value.{k}"]) for k in range(len(self.form.parameters))])
        for k, tensor in enumerate(self.form.parameters):
            self._best[k].copy_(torch.from_numpy(state[f"best.{k}"]))
            start = f"soap.{k}."
            parts = {name[len(start) :]: part for name, part in state.items() if name.startswith(start)}
            self._soap.state[tensor] = {name: torch.from_numpy(part.copy()) for name, part in parts.items()}

    @torch.no_grad()
    def _put(self, values: list[torch.Tensor]) -> None:
        for tensor, value in zip(self.form.parameters, values, strict=True):
            tensor.copy_(value)


def fit(samples: Samples, recipe: Recipe) -> CertifiedNetwork:
    """A network from arrays, in one go: what a residual on any other nominal model is fitted with."""
    course = Course(samples, recipe)
    course.advance(recipe.updates)
    return course.network()
