"""Boxes that go in and bounds that come out, both batch-first: (..., n)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from control_stack.bounds.arrays import Tensor, is_torch, namespace, to_numpy
from control_stack.errors import InvalidInput

Method = Literal["interval", "zonotope", "linear", "linear+split", "lp", "mip", "sampled"]


@dataclass(frozen=True)
class Box:
    """All x with lower <= x <= upper, one box or a batch of them.

    Attributes:
        lower, upper: (..., n) float64, NumPy or torch (device kept); anything else is read as NumPy.

    Raises:
        InvalidInput: A side is NaN or infinite, shapes differ, or an interval is empty; the message names the input.
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        sides = {}
        for name in ("lower", "upper"):
            value = getattr(self, name)
            if is_torch(value):
                sides[name] = value.detach().to(namespace(value).float64)
            else:
                try:
                    sides[name] = np.array(value, dtype=float)
                except (TypeError, ValueError):
                    raise InvalidInput(f"box: {name} is not an array of numbers") from None
        if is_torch(self.lower) != is_torch(self.upper):
            raise InvalidInput("box: one side is a torch tensor and the other is not")
        low, high = sides["lower"], sides["upper"]
        if low.shape != high.shape or len(low.shape) == 0 or low.shape[-1] == 0:
            raise InvalidInput(f"box: lower has shape {tuple(low.shape)}, upper {tuple(high.shape)}; expected (..., n)")
        for name, value in sides.items():
            if not bool(namespace(value).isfinite(value).all()):
                bad = to_numpy(value).reshape(-1, value.shape[-1])
                row, column = np.argwhere(~np.isfinite(bad))[0]
                kind = "NaN" if np.isnan(bad[row, column]) else "unbounded"
                raise InvalidInput(f"box: {name} of input {column} is {kind}")
        if bool((low > high).any()):
            a, b = (to_numpy(side).reshape(-1, low.shape[-1]) for side in (low, high))
            row, column = np.argwhere(a > b)[0]
            raise InvalidInput(f"box: input {column} is empty: lower {a[row, column]:g} > upper {b[row, column]:g}")
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", high)

    @property
    def size(self) -> int:
        """Number of inputs."""
        return int(self.lower.shape[-1])

    @property
    def batch(self) -> tuple[int, ...]:
        """Leading dimensions."""
        return tuple(self.lower.shape[:-1])


@dataclass(frozen=True)
class Bounds:
    """lower <= f(x) <= upper for every x of a box.

    Attributes:
        lower, upper: (..., m), in the library and on the device of the box.
        method: How they were found.
        sound: True only where they are proven in exact arithmetic, rounding included. "sampled" is not sound: the
            true range is at least as wide. "mip" is not either: it is as right as the solver's search.
    """

    lower: Tensor
    upper: Tensor
    method: Method
    sound: bool

    @property
    def width(self) -> Tensor:
        """(..., m) upper - lower."""
        return self.upper - self.lower


def intersect(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The overlap of two enclosures of the same quantity."""
    xp = namespace(first[0])
    return xp.maximum(first[0], second[0]), xp.minimum(first[1], second[1])
