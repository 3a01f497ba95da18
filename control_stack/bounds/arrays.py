"""What NumPy and torch share: bounds are computed in the library, and on the device, of the box they are given."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from control_stack.types import Array

Tensor = Any  # numpy.ndarray or torch.Tensor of float64


def namespace(x: Tensor) -> Any:
    """numpy or torch, whichever owns x (already imported, since x exists)."""
    return sys.modules[type(x).__module__.partition(".")[0]]


def is_torch(x: object) -> bool:
    """Whether x is a torch tensor; imports nothing."""
    return type(x).__module__.partition(".")[0] == "torch"


def like(value: Array, x: Tensor) -> Tensor:
    """The NumPy value in the library and on the device of x, as float64."""
    if is_torch(x):
        return namespace(x).as_tensor(np.array(value), dtype=x.dtype, device=x.device)
    return value


def to_numpy(x: Tensor) -> Array:
    """x as a NumPy array of float64."""
    return np.asarray(x.detach().cpu().numpy() if is_torch(x) else x, dtype=float)


def arange(n: int, x: Tensor) -> Tensor:
    """0, 1, ..., n - 1 as indices, in the library and on the device of x."""
    return namespace(x).arange(n, device=x.device) if is_torch(x) else np.arange(n)
