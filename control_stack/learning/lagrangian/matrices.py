"""The few operations on column matrices in which NumPy, torch and CasADi differ; +, *, @ are common to all.

Columns are (..., n, 1), matrices (..., m, n); CasADi has no leading dimensions. Laws written with these run on all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class ArrayMatrices:
    """Of NumPy arrays, or torch tensors when ``namespace`` is torch; constants take the type of ``like``."""

    def __init__(self, namespace: Any = np, like: Any = None):
        self.xp, self._like = namespace, like

    def constant(self, value: Any) -> Any:
        """A matrix of numbers."""
        if self.xp is np:
            return np.asarray(value, dtype=float)
        if isinstance(value, self.xp.Tensor):
            return value
        return self.xp.as_tensor(value, dtype=self._like.dtype, device=self._like.device)

    def length(self, a: Any) -> int:
        """Rows."""
        return int(a.shape[-2])

    def part(self, a: Any, start: int, stop: int) -> Any:
        """Rows start to stop - 1."""
        return a[..., start:stop, :]

    def transposed(self, a: Any) -> Any:
        """A^T."""
        return np.swapaxes(a, -1, -2) if self.xp is np else a.mT

    def stacked(self, columns: Sequence[Any]) -> Any:
        """Columns one below the other."""
        batch = np.broadcast_shapes(*(tuple(c.shape[:-2]) for c in columns))
        full = [self.expanded(c, (*batch, *c.shape[-2:])) for c in columns]
        return np.concatenate(full, axis=-2) if self.xp is np else self.xp.cat(full, dim=-2)

    def rows(self, s: Any, a: Any) -> Any:
        """diag(s) A."""
        return s * a

    def columns(self, a: Any, s: Any) -> Any:
        """A diag(s)."""
        return a * self.transposed(s)

    def matrix(self, v: Any, rows: int, width: int) -> Any:
        """(rows * width, 1), by rows -> (rows, width)."""
        return v.reshape(*v.shape[:-2], rows, width)

    def flat(self, a: Any) -> Any:
        """A matrix as a column, by rows."""
        return a.reshape(*a.shape[:-2], -1, 1)

    def split(self, column: Any) -> tuple[Any, ...]:
        """Scalars (arrays of the leading dimensions) of a column."""
        return tuple(column[..., i, 0] for i in range(column.shape[-2]))

    def join(self, scalars: Sequence[Any]) -> Any:
        """The column of scalars."""
        if self.xp is np:
            return np.stack(np.broadcast_arrays(*scalars), axis=-1)[..., None]
        full = [self.constant(s) for s in scalars]
        return self.xp.stack(self.xp.broadcast_tensors(*full), dim=-1)[..., None]

    def apply(self, name: str, x: Any) -> Any:
        """sin, cos, tanh, softplus or sigmoid, entry by entry."""
        if name == "softplus":
            return np.logaddexp(0.0, x) if self.xp is np else self.xp.nn.functional.softplus(x)
        if name == "sigmoid":
            return 0.5 * (1.0 + self.xp.tanh(0.5 * x))
        return getattr(self.xp, name)(x)

    def expanded(self, a: Any, shape: tuple[int, ...]) -> Any:
        """Repeated to a shape."""
        return np.broadcast_to(a, shape) if self.xp is np else a.expand(shape)


class CasadiMatrices:
    """Of SX or MX."""

    def __init__(self) -> None:
        from control_stack.quadrotor.symbolic import import_casadi

        self.ca = import_casadi()

    def constant(self, value: Any) -> Any:
        """A matrix of numbers."""
        return self.ca.DM(value)

    def length(self, a: Any) -> int:
        """Rows."""
        return int(a.shape[0])

    def part(self, a: Any, start: int, stop: int) -> Any:
        """Rows start to stop - 1."""
        return a[start:stop, :]

    def transposed(self, a: Any) -> Any:
        """A^T."""
        return a.T

    def stacked(self, columns: Sequence[Any]) -> Any:
        """Columns one below the other."""
        return self.ca.vertcat(*columns)

    def rows(self, s: Any, a: Any) -> Any:
        """diag(s) A."""
        return self.ca.repmat(s, 1, a.shape[1]) * a

    def columns(self, a: Any, s: Any) -> Any:
        """A diag(s)."""
        return a * self.ca.repmat(s.T, a.shape[0], 1)

    def matrix(self, v: Any, rows: int, width: int) -> Any:
        """(rows * width, 1), by rows -> (rows, width)."""
        return self.ca.reshape(v, width, rows).T

    def flat(self, a: Any) -> Any:
        """A matrix as a column, by rows."""
        return self.ca.vec(a.T)

    def split(self, column: Any) -> tuple[Any, ...]:
        """Scalars of a column."""
        return tuple(column[i] for i in range(column.shape[0]))

    def join(self, scalars: Sequence[Any]) -> Any:
        """The column of scalars."""
        return self.ca.vertcat(*scalars)

    def apply(self, name: str, x: Any) -> Any:
        """sin, cos, tanh, softplus or sigmoid, entry by entry."""
        if name == "softplus":
            return self.ca.fmax(x, 0.0) + self.ca.log1p(self.ca.exp(-self.ca.fabs(x)))
        if name == "sigmoid":
            return 0.5 * (1.0 + self.ca.tanh(0.5 * x))
        return getattr(self.ca, name)(x)


Matrices = ArrayMatrices | CasadiMatrices
