"""How well a model predicts: errors of open-loop rollouts over a horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from control_stack.learning.data import Dataset
from control_stack.protocols import Dynamics
from control_stack.types import Array

_ROWS = 20_000  # rollouts at a time


@dataclass(frozen=True)
class Errors:
    """Over all stretches of the data, for 1 .. H steps ahead.

    Attributes:
        rmse: (H,) root mean square over stretches and states, each state over the standard deviation of its change
            in one step; a model that predicts no change has about 1 after one step.
        by_state: (H, nx) in the states' units.
    """

    rmse: Array
    by_state: Array


def prediction_errors(model: Dynamics, data: Dataset, horizon: int = 10) -> Errors:
    """Errors of rollouts from every state of the data; a horizon longer than its episodes is cut to theirs."""
    horizon = min(horizon, int(data.lengths.max()))
    x, u = data.windows(horizon)
    change = np.std(np.diff(x[:, :2], axis=1)[:, 0], axis=0)
    total = np.zeros((horizon, x.shape[-1]))
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        total += np.square(model.rollout(x[part, 0], u[part])[:, 1:] - x[part, 1:]).sum(0)
    mean = total / len(x)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.sqrt((mean / np.where(change > 0.0, change, 1.0) ** 2).mean(-1))
    return Errors(scaled, np.sqrt(mean))
