"""The one loop that every method trains with: rollouts of a few steps, SOAP with a falling rate, input noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from control_stack.errors import TrainingAborted
from control_stack.learning.soap import Soap
from control_stack.learning.sparsify.net import Gating, Net
from control_stack.learning.sparsify.windows import Windows

_CLIP = 1.0  # of the gradient's norm, for each of the S nets


@dataclass(frozen=True)
class Course:
    """Of one training.

    Attributes:
        updates: Steps of SOAP (``learning.soap``).
        horizon: Steps of a rollout.
        batch: Rollouts in an update.
        rate: Of SOAP at first; it falls to 1 % as a cosine.
        noise: On the first state of a rollout, standard deviations of a change.
    """

    updates: int
    horizon: int
    batch: int = 256
    rate: float = 2e-3
    noise: float = 0.02


def rollout_loss(net: Net, gating: Gating, x: Tensor, u: Tensor, noise: Tensor | None = None) -> Tensor:
    """(S,) mean squared error of the rollouts from x[:, 0], in standard deviations of a change.

    Args:
        x: (B, H + 1, nx) scaled. u: (B, H, nu) scaled.
        noise: (S, B, nx) added to x[:, 0], standard deviations of a change.
    """
    stack, c = net.weights[0].shape[0], net.constants
    state = x[None, :, 0].expand(stack, -1, -1)
    if noise is not None:
        state = state + c.gain * noise
    total = torch.zeros(stack)
    for t in range(u.shape[1]):
        xi = torch.cat([state, u[None, :, t].expand(stack, -1, -1)], -1)
        state = state + c.drift + c.gain * net.change(gating, xi)
        total = total + ((state - x[None, :, t + 1]) / c.gain).square().mean((1, 2))
    return total / u.shape[1]


def descend(
    net: Net,
    windows: Windows,
    course: Course,
    generator: torch.Generator,
    *,
    gating: Gating | None = None,
    extra: Sequence[tuple[Tensor, float]] = (),
    penalty: Callable[[], Tensor] | None = None,
    begin: Callable[[int], None] | None = None,
    end: Callable[[int], None] | None = None,
    report: Callable[[float], None] | None = None,
) -> None:
    """Trains a net in place.

    Args:
        gating: What units do; the net's own gates by default.
        extra: More parameters, each with its rate of Adam.
        penalty: (S,) or () added to the loss.
        begin, end: Called with the number of the update before its loss and after its step.
        report: Called with the loss after each update.

    Raises:
        TrainingAborted: The loss is no longer a number.
    """
    gating = gating or net.fixed_gates()
    trained = [*net.parameters, *(tensor for tensor, _ in extra)]
    for tensor in trained:
        tensor.requires_grad_(True)
    optimizers: list[torch.optim.Optimizer] = [Soap(net.parameters, course.rate)]
    if extra:
        optimizers.append(torch.optim.Adam([{"params": [tensor], "lr": rate} for tensor, rate in extra], foreach=True))
    rates = [[float(group["lr"]) for group in optimizer.param_groups] for optimizer in optimizers]
    stack, nx = net.weights[0].shape[0], len(net.spec.state)
    horizon = min(course.horizon, windows.longest)
    for update in range(course.updates):
        if begin is not None:
            begin(update)
        x, u = windows.draw(course.batch, horizon, generator)
        noise = course.noise * torch.randn(stack, course.batch, nx, generator=generator)
        loss = rollout_loss(net, gating, x, u, noise)
        whole = loss.sum() if penalty is None else loss.sum() + penalty().sum()
        for tensor in trained:
            tensor.grad = None
        whole.backward()
        _clip(net.parameters)
        fall = 0.505 + 0.495 * math.cos(math.pi * update / course.updates)
        for optimizer, of in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, of, strict=True):
                group["lr"] = rate * fall
            optimizer.step()
        if end is not None:
            end(update)
        value = float(loss.detach().min())
        if not math.isfinite(value):
            raise TrainingAborted(f"the loss became {value} after {update + 1} updates")
        if report is not None:
            report(value)
    for tensor in trained:
        tensor.requires_grad_(False)


def _clip(parameters: Sequence[Tensor]) -> None:
    """Scales the gradient of each of the S nets to a norm of at most _CLIP."""
    given = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([g.square().sum((1, 2)) for g in given]).sum(0).sqrt()
    factor = (_CLIP / norm.clamp_min(1e-12)).clamp_max(1.0)[:, None, None]
    for g in given:
        g.mul_(factor)
