"""Fits a certified network to arrays: Adam on the squared error, then the proof of what came out (torch)."""

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
from control_stack.types import Array


@dataclass(frozen=True)
class Recipe:
    """Settings of a fit.

    Attributes:
        method: sandwich, spectral, penalty or free.
        gamma: Of the scaled network; None: learned.
        widths: Of the hidden layers.
        activation: relu (exact ranges, mixed-integer plans) or tanh (smooth).
        updates: Steps of Adam. batch: Samples in each. rate: At first; it falls to 1 % as a cosine.
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
    """

    def __init__(self, samples: Samples, recipe: Recipe):
        self.samples, self.recipe, self.done = samples, recipe, 0
        self.generator = torch.Generator().manual_seed(recipe.seed)
        sizes = (samples.arguments.shape[1], *recipe.widths, samples.targets.shape[1])
        self.form = Form(recipe.method, sizes, recipe.gamma, self.generator)
        self.center, self.offset = samples.arguments.mean(0), samples.targets.mean(0)
        self._z = torch.as_tensor((samples.arguments - self.center) / samples.input_scale)
        self._y = torch.as_tensor((samples.targets - self.offset) / samples.output_scale)
        self._adam = torch.optim.Adam(self.form.parameters, lr=recipe.rate, foreach=True)

    def advance(self, updates: int, report: Callable[[int, float], None] | None = None) -> None:
        """Takes up to so many updates. Raises TrainingAborted where the loss is no longer a number."""
        r = self.recipe
        for _ in range(min(updates, r.updates - self.done)):
            pick = torch.randint(len(self._z), (r.batch,), generator=self.generator)
            z, layers = self._z[pick], self.form.layers()
            error = (forward(layers, z, r.activation) - self._y[pick]).square().mean()
            loss = error + self.form.price(z, layers, r.activation, self.generator)
            self._adam.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.form.parameters, 1.0)
            self._adam.param_groups[0]["lr"] = r.rate * (0.505 + 0.495 * math.cos(math.pi * self.done / r.updates))
            self._adam.step()
            self.done += 1
            value = float(error.detach())
            if not math.isfinite(value):
                raise TrainingAborted(f"the loss became {value} after {self.done} updates")
            if report is not None:
                report(self.done, value)

    def network(self) -> CertifiedNetwork:
        """The network as it is now, with the least gamma that can be proved for it."""
        with torch.no_grad():
            layers = [(w.numpy().copy(), b.numpy().copy()) for w, b in self.form.layers()]
        weights = [w for w, _ in layers]
        gamma, multipliers = tightened(weights, self.form.proof(weights))
        s = self.samples
        certificate = Certificate(gamma, s.input_scale, s.output_scale, multipliers)
        return CertifiedNetwork(
            tuple(weights), tuple(b for _, b in layers), self.recipe.activation, self.center, self.offset, certificate
        )

    def state(self) -> dict[str, Array]:
        """All that changes, by name."""
        out = {"done": np.array([self.done]), "generator": self.generator.get_state().numpy()}
        for k, tensor in enumerate(self.form.parameters):
            moments = self._adam.state.get(tensor, {})
            out[f"value.{k}"] = tensor.detach().numpy().copy()
            if moments:
                out[f"first.{k}"], out[f"second.{k}"] = (moments[m].numpy().copy() for m in ("exp_avg", "exp_avg_sq"))
        return out

    def restore(self, state: dict[str, Array]) -> None:
        """Goes back to a ``state`` of the same recipe and samples."""
        self.done = int(state["done"][0])
        self.generator.set_state(torch.from_numpy(state["generator"].copy()))
        for k, tensor in enumerate(self.form.parameters):
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(state[f"value.{k}"].copy()))
            if f"first.{k}" in state:
                self._adam.state[tensor] = {
                    "step": torch.tensor(float(self.done)),
                    "exp_avg": torch.from_numpy(state[f"first.{k}"].copy()),
                    "exp_avg_sq": torch.from_numpy(state[f"second.{k}"].copy()),
                }


def fit(samples: Samples, recipe: Recipe) -> CertifiedNetwork:
    """A network from arrays, in one go: what a residual on any other nominal model is fitted with."""
    course = Course(samples, recipe)
    course.advance(recipe.updates)
    return course.network()
