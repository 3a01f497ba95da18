"""The nominal arm in columns of any kind, and Cholesky's factor of its mass matrix with the derivatives of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from control_stack.arm import rigid_body
from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.parameters import ArmParameters
from control_stack.learning.lagrangian.matrices import ArrayMatrices, Matrices
from control_stack.types import Array

_NO_STEP = 1.0  # s: nothing here is stepped


class Nominal:
    """An arm without a load. Columns in, columns out: see ``matrices``."""

    def __init__(self, arm: ArmParameters):
        self.arm, self._model = arm, ArmDynamics(arm, _NO_STEP)

    def inverse(self, m: Matrices, q: Any, qd: Any, qdd: Any) -> Any:
        """tau, friction included."""
        return _scalars(
            m, lambda k, *given: k.join(self._model.inverse_columns(*(k.split(a) for a in given))), q, qd, qdd
        )

    def mass(self, m: Matrices, q: Any) -> Any:
        """M (n, n)."""
        return _scalars(m, self._mass, q)

    def gravity(self, m: Matrices, q: Any) -> Any:
        """g."""
        still = (0.0,) * self.arm.joints
        chain = self.arm.chain
        return _scalars(m, lambda k, a: k.join(rigid_body.inverse_dynamics(chain, k.split(a), still, still)), q)

    def potential(self, m: Matrices, q: Any) -> Any:
        """V (1)."""
        chain = self.arm.chain
        return _scalars(m, lambda k, a: k.join([rigid_body.potential_energy(chain, k.split(a))]), q)

    def factor(self, m: Matrices, q: Any) -> tuple[Any, Any]:
        """L with M = L L^T, lower triangular, and dL/dq (n * n, n), L by rows.

        dL = L P(L^-1 dM L^-T), where P takes the lower triangle with half of the diagonal.
        """
        n = self.arm.joints
        half = np.tril(np.ones((n, n))) - 0.5 * np.eye(n)
        if not isinstance(m, ArrayMatrices):
            both = _scalars(m, lambda k, a: self._symbolic_factor(k, a, half), q)
            return both[:, :n], m.ca.reshape(both[:, n:], n * n, n)
        matrix, slopes = self._mass_slopes(m, q)
        factor = m.xp.linalg.cholesky(matrix)
        inverse = m.xp.linalg.inv(factor)
        moved = [m.flat(factor @ ((inverse @ d @ m.transposed(inverse)) * m.constant(half))) for d in slopes]
        return factor, np.concatenate(moved, axis=-1) if m.xp is np else m.xp.cat(moved, dim=-1)

    def _mass(self, m: Matrices, q: Any) -> Any:
        n, rows = self.arm.joints, rigid_body.mass_matrix(self.arm.chain, m.split(q))
        return m.matrix(m.join([entry for row in rows for entry in row]), n, n)

    def _symbolic_factor(self, m: Any, q: Any, half: Array) -> Any:
        """(n, n + n n): L, and beside it dL/dq in another shape."""
        n, ca = self.arm.joints, m.ca
        matrix = self._mass(m, q)
        factor = ca.chol(matrix).T
        inverse = ca.solve(factor, ca.SX.eye(n))
        slopes = ca.jacobian(matrix, q)  # symmetric: by rows is by columns
        by_joint = [factor @ ((inverse @ ca.reshape(slopes[:, i], n, n) @ inverse.T) * half) for i in range(n)]
        beside = ca.horzcat(*(m.flat(d) for d in by_joint))  # (n n, n)
        return ca.horzcat(factor, ca.reshape(beside, n, n * n))

    def _mass_slopes(self, m: ArrayMatrices, q: Any) -> tuple[Any, list[Any]]:
        """M and dM/dq_i of arrays: a complex step in NumPy, exact to rounding; forward mode in torch."""
        slopes: list[Any] = []
        if m.xp is np:
            for i in range(self.arm.joints):
                step = q.astype(complex)
                step[..., i, 0] += 1e-30j
                slopes.append(self._mass(m, step).imag / 1e-30)
            return self._mass(m, q), slopes
        matrix = None
        for i in range(self.arm.joints):
            along = m.xp.zeros_like(q)
            along[..., i, 0] = 1.0
            matrix, slope = m.xp.func.jvp(lambda a: self._mass(m, a), (q,), (along,))
            slopes.append(slope)
        return matrix, slopes


def _scalars(m: Matrices, law: Callable[..., Any], *columns: Any) -> Any:
    """A law written over scalars. Symbols see it as a function of SX: as MX it would be thousands of nodes."""
    if isinstance(m, ArrayMatrices):
        return law(m, *columns)
    symbols = [m.ca.SX.sym(f"a{k}", column.shape[0]) for k, column in enumerate(columns)]
    return m.ca.Function("nominal", symbols, [m.ca.densify(law(m, *symbols))])(*columns)
