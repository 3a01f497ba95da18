"""A sparse matrix as it is written down: rows, entries, and where each entry ends up once it is compressed."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.types import Array
from controllers.planning.mip.program import Index


class Rows:
    """Rows and entries as they are added; compressed once."""

    def __init__(self) -> None:
        self._count, self._entries = 0, 0
        self._sides: list[tuple[Array, Array]] = []
        self._parts: list[tuple[Any, Any, Array]] = []

    def add(self, shape: tuple[int, ...], lower: Any, upper: Any) -> Any:
        """Rows with these sides; their numbers."""
        n = int(np.prod(shape))
        sides = [np.broadcast_to(np.asarray(side, float), shape).ravel() for side in (lower, upper)]
        self._sides.append((sides[0], sides[1]))
        self._count += n
        return np.arange(self._count - n, self._count).reshape(shape)

    def put(self, rows: Any, columns: Any, value: float) -> Any:
        """One entry for each pair; the places of the entries, in the shape of the rows."""
        n = rows.size
        self._parts.append((rows.ravel(), columns.ravel(), np.full(n, value)))
        self._entries += n
        return np.arange(self._entries - n, self._entries).reshape(rows.shape)

    def matrix(self, rows: Any, columns: Any, matrix: Array) -> None:
        """matrix (m, n) on rows (T, m) and columns (T, n), without its zeros."""
        i, j = np.nonzero(matrix)
        values = np.broadcast_to(matrix[i, j], (len(rows), len(i)))
        self._parts.append((rows[:, i].ravel(), columns[:, j].ravel(), values.ravel()))
        self._entries += values.size

    def sides(self) -> tuple[Array, Array]:
        """Lower and upper of all rows."""
        return np.concatenate([s[0] for s in self._sides]), np.concatenate([s[1] for s in self._sides])

    def compressed(self) -> tuple[Index, Index, Array, Index]:
        """CSR (starts, columns, values), and where each entry went."""
        rows, columns, values = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((columns, rows))
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order))
        starts = np.searchsorted(rows[order], np.arange(self._count + 1))
        return starts.astype(np.int32), columns[order].astype(np.int32), values[order], place
