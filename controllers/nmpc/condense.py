"""From a linearised horizon to a dense quadratic program in the inputs alone.

    dx_{k+1} = A_k dx_k + B_k du_k + c_k     gives     dx_k = d_k + G_k z

with z the changes of the blocks' inputs, each in units of half its range, so that all entries are of order one. The
states are gone: of the 4 x 20 to 12 x 20 numbers of a horizon only those that can be chosen are left.
"""

from __future__ import annotations

import numpy as np

from control_stack.types import Array
from controllers.nmpc.problem import Problem
from controllers.nmpc.stages import Rows

_DAMPING = 1e-8  # on z, keeps the Hessian positive definite where the cost says nothing


class Condenser:
    """Fills the matrices of min 1/2 v'Hv + g'v, lba <= A v <= uba, lbx <= v <= ubx with v = (z, slacks).

    Attributes:
        nz, ns: Size of z and of the slacks. h, g, a, lba, uba, lbx, ubx: Written in place by ``__call__``.
    """

    def __init__(self, problem: Problem, kinds: tuple[Rows, Rows]):
        """``kinds``: limits of the constraints with inputs, and of those of states."""
        self.problem = problem
        n, nu, lengths = problem.horizon, problem.nu, problem.block_lengths
        self._block = np.repeat(np.arange(len(lengths)), lengths)  # of each step
        self.nz = len(lengths) * nu
        self.scale = 0.5 * (problem.input_upper - problem.input_lower)
        self._mixed, self._states = kinds
        # One row per side that has a limit; a soft one has a slack, of its own or of this row and side at all steps.
        self._sides = [(rows, side) for rows in (self._mixed, self._states) for side in ("lower", "upper")]
        self._picked = [np.flatnonzero(np.isfinite(getattr(rows, side))) for rows, side in self._sides]
        softness = [np.tile(rows.soft[pick], n) for (rows, _), pick in zip(self._sides, self._picked, strict=True)]
        soft = np.concatenate(softness)
        self._slack_rows = np.flatnonzero(soft)
        owners: list[tuple[int, int, int]] = []
        for number, ((rows, _), pick) in enumerate(zip(self._sides, self._picked, strict=True)):
            steps = range(n) if len(pick) else ()
            owners += [(number, i, 0 if rows.shared[i] else k) for k in steps for i in pick.tolist()]
        slack_of = {owner: k for k, owner in enumerate(dict.fromkeys(owners[row] for row in self._slack_rows))}
        columns = [slack_of[owners[row]] for row in self._slack_rows]
        self.ns = len(slack_of)
        self._rates = 0 if problem.input_rate is None else self.nz
        m, v = len(soft) + self._rates, self.nz + self.ns
        self.rows = m
        self.h, self.a = np.zeros((v, v)), np.zeros((m, v), order="F")  # CasADi stores columns
        self.g, self.lbx, self.ubx = np.zeros(v), np.zeros(v), np.full(v, np.inf)
        self.lba, self.uba = np.full(m, -np.inf), np.full(m, np.inf)
        weights = np.zeros(self.ns)
        weights[columns] = soft[self._slack_rows]
        self.h[range(self.nz, v), range(self.nz, v)] = weights
        self.g[self.nz :] = weights
        # Rows read  (signed) h + H z - s <= limit.
        self.a[self._slack_rows, self.nz + np.array(columns, dtype=int)] = -1.0
        self._difference = np.eye(self.nz) - np.eye(self.nz, k=-nu)  # of z, from block to block
        if self._rates:
            self.a[-self._rates :, : self.nz] = self._difference * np.tile(self.scale, len(lengths))[:, None]
        self._weights = np.tile(np.zeros(nu) if problem.input_change is None else problem.input_change, len(lengths))
        weighted = self._difference * (self._weights * np.tile(self.scale, len(lengths)))[:, None]
        self._change, self._change_gain = weighted.T @ weighted, weighted.T * self._weights
        self._constant = 0.0
        self._g = np.zeros((n + 1, problem.nx, self.nz))
        self._d = np.zeros((n + 1, problem.nx))

    def dynamics(self, a_t: Array, b_t: Array, gap: Array, dx0: Array) -> None:
        """Eliminates the states.

        Args:
            a_t, b_t: (N, nx, nx), (N, nu, nx) transposed A and B. gap: (N, nx) f(x_k, u_k) - x_{k+1}. dx0: (nx,).
        """
        nu, big, free = self.problem.nu, self._g, self._d
        free[0] = dx0
        b = (b_t * self.scale[:, None]).transpose(0, 2, 1)
        for k, block in enumerate(self._block.tolist()):
            end = (block + 1) * nu  # inputs so far; later ones do not act yet
            a = a_t[k].T
            np.matmul(a, big[k, :, :end], out=big[k + 1, :, :end])
            big[k + 1, :, end - nu : end] += b[k]
            np.dot(a, free[k], out=free[k + 1])
            free[k + 1] += gap[k]

    def cost(
        self, r: Array, rx_t: Array, ru_t: Array, last: Array, last_t: Array, inputs: Array, before: Array
    ) -> None:
        """Hessian and gradient of the least squares.

        Args:
            r: (N, nr). rx_t, ru_t: (N, nx, nr), (N, nu, nr). last: (nl,). last_t: (nx, nl). inputs: (blocks, nu).
            before: (nu,) the input in force.
        """
        nz, nr = self.nz, r.shape[1]
        m = np.empty((len(r) * nr + len(last), nz))
        body = m[: len(r) * nr].reshape(len(r), nr, nz)
        np.matmul(rx_t.transpose(0, 2, 1), self._g[:-1], out=body)
        self._add_inputs(body, ru_t)
        m[len(r) * nr :] = last_t.T @ self._g[-1]
        residual = np.concatenate(
            [(r + np.einsum("knr,kn->kr", rx_t, self._d[:-1])).ravel(), last + self._d[-1] @ last_t]
        )
        steps = self._steps(inputs, before)
        weighted = self._weights * steps
        self._constant = 0.5 * float(residual @ residual + weighted @ weighted)
        self.h[:nz, :nz] = m.T @ m + self._change
        self.h[range(nz), range(nz)] += _DAMPING
        self.g[:nz] = residual @ m + self._change_gain @ steps

    def constraints(self, mixed: list[Array] | None, states: list[Array] | None, inputs: Array, before: Array,
                    elapsed: float) -> None:  # fmt: skip
        """Bounds and rows.

        Args:
            mixed: h (N, 1, m), dh/dx (N, nx, m), dh/du (N, nu, m), transposed; None without. states: h and dh/dx.
            inputs, before: As ``cost``. elapsed: s since ``before`` was given.
        """
        problem, nz = self.problem, self.nz
        self.lbx[:nz] = ((problem.input_lower - inputs) / self.scale).ravel()
        self.ubx[:nz] = ((problem.input_upper - inputs) / self.scale).ravel()
        linear = {}
        if mixed is not None:
            (value,), hx, hu = mixed[0].transpose(1, 0, 2), *mixed[1:]
            rows = np.matmul(hx.transpose(0, 2, 1), self._g[:-1])
            self._add_inputs(rows, hu)
            linear[id(self._mixed)] = (value + np.einsum("knm,kn->km", hx, self._d[:-1]), rows)
        if states is not None:
            (value,), hx = states[0].transpose(1, 0, 2), states[1]
            rows = np.matmul(hx.transpose(0, 2, 1), self._g[1:])
            linear[id(self._states)] = (value + np.einsum("knm,kn->km", hx, self._d[1:]), rows)
        at = 0
        for (kind, side), pick in zip(self._sides, self._picked, strict=True):
            if not len(pick):
                continue
            value, rows = linear[id(kind)]
            sign, limit = (1.0, kind.upper) if side == "upper" else (-1.0, kind.lower)
            count = len(rows) * len(pick)
            self.a[at : at + count, :nz] = sign * rows[:, pick].reshape(count, nz)
            self.uba[at : at + count] = (sign * (limit[pick] - value[:, pick])).ravel()
            at += count
        if self._rates and problem.input_rate is not None:
            steps = self._steps(inputs, before)
            room = np.tile(problem.input_rate * problem.spec.dt, len(inputs))
            room[: problem.nu] = problem.input_rate * elapsed
            self.lba[at:], self.uba[at:] = -room - steps, room - steps

    def expand(self, z: Array) -> tuple[Array, Array]:
        """Changes of states (N + 1, nx) and of the blocks' inputs (blocks, nu)."""
        return self._d + self._g @ z, z.reshape(-1, self.problem.nu) * self.scale

    def cost_after(self, z: Array) -> float:
        """Cost of the plan after z, by the quadratic model, without slacks."""
        return self._constant + float((0.5 * self.h[: self.nz, : self.nz] @ z + self.g[: self.nz]) @ z)

    def _add_inputs(self, rows: Array, by_input_t: Array) -> None:
        nu = self.problem.nu
        direct = (by_input_t * self.scale[:, None]).transpose(0, 2, 1)
        for k, block in enumerate(self._block.tolist()):
            rows[k, :, block * nu : (block + 1) * nu] += direct[k]

    def _steps(self, inputs: Array, before: Array) -> Array:
        """(nz,) changes of the inputs from block to block, beginning with that from the input in force."""
        return np.diff(inputs, axis=0, prepend=before[None]).ravel()
