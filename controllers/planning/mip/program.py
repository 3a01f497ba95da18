"""A mixed-integer linear program as flat arrays: what encodings write, solvers read and processes exchange."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from control_stack.types import Array

Index = NDArray[np.int32]


@dataclass(frozen=True)
class Milp:
    """min cost . v  with  column_lower <= v <= column_upper,  row_lower <= A v <= row_upper,  some v integer.

    Attributes:
        starts, columns, values: A by rows (CSR). integer: (n,) 1 where v is integer.
        inputs: Columns of the inputs, (T nu,) step by step: what a plan is read from.
        active, outputs, kinks: Of each ReLU the column of its binary, that of its output h, and the row h >= z.
    """

    cost: Array
    column_lower: Array
    column_upper: Array
    row_lower: Array
    row_upper: Array
    starts: Index
    columns: Index
    values: Array
    integer: Index
    inputs: Index
    active: Index
    outputs: Index
    kinks: Index
