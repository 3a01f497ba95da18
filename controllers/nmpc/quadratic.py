"""The quadratic program of a condenser, solved in place by DAQP (Arnstrom, Bemporad, Axehill 2022, IEEE TAC).

DAQP comes with CasADi's wheel: a dense dual active-set method, the fastest of the wheel's solvers on programs of this
size that can also be told how many iterations it may take (docs/nmpc.md has the comparison).
"""

from __future__ import annotations

import numpy as np

from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array
from controllers.nmpc.condense import Condenser

_REASONS = {-1: "infeasible", -3: "unbounded", -4: "qp_iterations"}  # DAQP's exit flags


class QuadraticProgram:
    """min 1/2 v'Hv + g'v under the condenser's limits; at most ``iterations`` changes of the active set."""

    def __init__(self, condenser: Condenser, iterations: int):
        ca = import_casadi()
        v, m = len(condenser.g), condenser.rows
        dense = {"h": ca.Sparsity.dense(v, v), "a": ca.Sparsity.dense(m, v)}
        self._solver = ca.conic("qp", "daqp", dense, {"error_on_fail": False, "daqp": {"iter_limit": iterations}})
        self._buffer, self._trigger = self._solver.buffer()
        self._solution = np.zeros(v)
        c = condenser
        self._held = [c.h, c.g, c.a, c.lba, c.uba, c.lbx, c.ubx]  # the buffer points into them
        for i, array in enumerate(self._held):
            if array.size:
                self._buffer.set_arg(i, array.ravel("K").data)
        self._buffer.set_res(0, self._solution.data)

    def __call__(self) -> tuple[Array, str]:
        """(v, "ok"), or what went wrong instead of "ok"."""
        if not all(np.isfinite(array).all() for array in self._held[:3]):
            return self._solution, "not_finite"
        self._trigger()
        stats = self._buffer.stats()
        if stats["success"] and np.isfinite(self._solution).all():
            return self._solution, "ok"
        return self._solution, _REASONS.get(stats.get("return_status"), "qp_failed")
