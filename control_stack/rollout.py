"""What a step function does over a horizon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.types import Array


def rollout(step: Callable[..., Any], x0: Any, us: Any, p: Any = None) -> Array:
    """The states from x0 under a sequence of inputs, p held: x_{t+1} = step(x_t, u_t, p).

    Args:
        step: Of the model, in NumPy; leading dimensions broadcast.
        x0: (..., nx). us: (..., T, nu). p: (..., np) or None for the model's own.

    Returns:
        (..., T + 1, nx), x0 first.
    """
    us = np.asarray(us, dtype=float)
    states = [np.asarray(x0, dtype=float)]
    for t in range(us.shape[-2]):
        states.append(step(states[-1], us[..., t, :], p))
    shape = np.broadcast_shapes(states[-1].shape, (*us.shape[:-2], 1))
    return np.stack([np.broadcast_to(x, shape) for x in states], axis=-2)
