"""Meta-imitation: the student flies, each airframe's own teacher says what it would have done.

    loss = mean |student's raw action - teacher's raw action|^2 over the states that the student visits

Back-propagated through the GRU over whole windows, not through the flight (truncated BPTT). The first updates are
flown by the teachers, vehicle by vehicle less often, as in DAgger (Ross, Gordon, Bagnell 2011). Source of the idea:
Eschmann, Albani, Loianno 2025 (RAPTOR).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from control_stack.foundation.training import student
from control_stack.foundation.training.policy_gradient import Settings, Weights, privileged
from control_stack.foundation.training.rollout import Nursery
from control_stack.foundation.training.simulator import (
    DT,
    observe,
    remember,
    rotor_command,
    sensed,
    with_noise,
    world_step,
)
from control_stack.foundation.training.teachers import Teachers


def _make_step(teachers: Teachers) -> Any:
    def step(
        weights: Mapping[str, Tensor], taught: Mapping[str, Tensor], x: Tensor, hidden: Tensor, previous: Tensor,
        history: Tensor, columns: Tensor, disturbance: Tensor, velocity_lag: Tensor, attitude_lag: Tensor,
        noise: Tensor, thrust_left: Tensor, unit: Tensor, reference: Tensor, follows_teacher: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        history = remember(history, x)
        measured = with_noise(sensed(x, history, velocity_lag, attitude_lag), unit, noise)
        raw, hidden = student.act(weights, observe(measured, reference, previous), hidden)
        seen = observe(x[0:13], reference, previous)
        label, _ = teachers.act(taught, seen, privileged(x, columns, disturbance), hidden)
        flown = torch.where(follows_teacher, label, raw.detach())
        x = world_step(x, rotor_command(flown), columns, disturbance, thrust_left, "semi_implicit")
        return x, hidden, flown, history, (raw - label).square().mean(0)

    return step


class Imitation:
    """The gradient of the imitation loss over the crowd's next window; a drop-in for ``Gradient``.

    Attributes:
        weights: The student's.
    """

    policies = 1

    def __init__(self, weights: Weights, teachers: Teachers, taught: Weights, nursery: Nursery, settings: Settings,
                 teacher_driven: int, compiled: bool = True):  # fmt: skip
        self.weights = {name: w.to(nursery.device, copy=True).requires_grad_() for name, w in weights.items()}
        self._taught = {name: w.to(nursery.device) for name, w in taught.items()}
        self._nursery, self._settings = nursery, settings
        step = _make_step(teachers)
        self._step: Any = torch.compile(step, dynamic=False) if compiled else step
        self._teacher_driven, self._windows = teacher_driven, 0
        self._generator = torch.Generator(nursery.device).manual_seed(teacher_driven)
        self._crowd = nursery.fresh()
        self._crowd.hidden = self._initial_hidden().detach()

    def _initial_hidden(self) -> Tensor:
        return student.initial_hidden(self.weights, self._settings.vehicles)

    def __call__(self) -> tuple[Tensor, list[Tensor]]:
        """Flies one window: (N,) mean loss per step, and the gradient of their mean."""
        crowd = self._nursery.renew(self._crowd, self._initial_hidden())
        unit = self._nursery.noise(self._settings.window)
        share = max(0.0, 1.0 - self._windows / max(self._teacher_driven, 1))
        draw = torch.rand(self._settings.vehicles, generator=self._generator, device=self._nursery.device)
        follows = draw < share
        fleet, times = crowd.fleet, crowd.times()
        total = torch.zeros_like(times)
        for k in range(self._settings.window):
            crowd.x, crowd.hidden, crowd.previous, crowd.history, loss = self._step(
                self.weights, self._taught, crowd.x, crowd.hidden, crowd.previous, crowd.history, fleet.columns,
                fleet.disturbance, fleet.velocity_lag, fleet.attitude_lag, fleet.noise, 1.0 - fleet.sag * times,
                unit[k], crowd.reference.at(times), follows,
            )  # fmt: skip
            times = times + DT
            # A teacher's answer to a tumbling vehicle means little and would drown the rest.
            total = total + loss.clamp(max=4.0)
        crowd.clock = crowd.clock + self._settings.window
        self._windows += 1
        total = torch.where(torch.isfinite(total), total, torch.zeros_like(total)) / self._settings.window
        gradients = torch.autograd.grad(total.mean(), list(self.weights.values()))
        self._crowd = crowd
        return total.detach(), [torch.nan_to_num(g, 0.0, 0.0, 0.0) for g in gradients]

    def state(self) -> dict[str, Tensor]:
        """The vehicles in the air, the random generators, and how far the teachers have handed over."""
        return self._nursery.state(self._crowd) | {
            "follows": self._generator.get_state(),
            "windows": torch.tensor(self._windows),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on where ``state`` was taken."""
        self._crowd = self._nursery.restore(state)
        self._generator.set_state(state["follows"].cpu())
        self._windows = int(state["windows"])
