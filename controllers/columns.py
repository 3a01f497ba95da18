"""States and references as components: floats for one vehicle (the fast path), arrays for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.types import Array, QuadrotorState

Columns = tuple[Any, ...]


def components(value: Any) -> Any:
    """The last axis taken apart: floats of a vector, arrays of the leading shape otherwise."""
    array = np.asarray(value, dtype=float)
    return array.tolist() if array.ndim == 1 else tuple(np.moveaxis(array, -1, 0))


def state_columns(state: QuadrotorState) -> Columns:
    """Pose and twist, 13 components, as the laws read them."""
    if state.position_w.ndim == 1:
        # Plain list concatenation: the cheapest way to 13 floats.
        return (
            *state.position_w.tolist(),
            *state.velocity_w.tolist(),
            *state.quat_xyzw.tolist(),
            *state.omega_b.tolist(),
        )
    parts = (state.position_w, state.velocity_w, state.quat_xyzw, state.omega_b)
    return tuple(column for part in parts for column in np.moveaxis(part, -1, 0))


def scalar(value: Any) -> Any:
    """A float, or the array of a batch."""
    return value if isinstance(value, np.ndarray) and value.ndim else float(value)


def array_of(columns: Columns) -> Array:
    """The inverse of ``components``; floats and arrays may be mixed in a batch."""
    if type(columns[0]) is float:
        return np.array(columns)
    return np.stack(np.broadcast_arrays(*columns), axis=-1)
