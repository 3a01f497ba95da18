"""The same problem as one nonlinear program for ipopt, with exact second derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.quadrotor.symbolic import import_casadi
from controllers.nmpc.gauss_newton import Asked, Guess
from controllers.nmpc.stages import Stages


class InteriorPoint:
    """Multiple shooting with slacks as variables: w = (x_0 .. x_N, blocks, slacks)."""

    def __init__(self, stages: Stages, iterations: int, deadline: float | None, tolerance: float):
        ca, self._stages = import_casadi(), stages
        problem = self._problem = stages.problem
        n, nx, nu, blocks = problem.horizon, problem.nx, problem.nu, len(problem.block_lengths)
        x, v = ca.MX.sym("x", nx, n + 1), ca.MX.sym("u", nu, blocks)
        start, before = ca.MX.sym("start", nx), ca.MX.sym("before", nu)
        y, p = ca.MX.sym("y", problem.reference_size, n + 1), ca.MX.sym("p", len(problem.spec.parameters))
        first_room = ca.MX.sym("room", nu)
        u = v[:, np.repeat(np.arange(blocks), problem.block_lengths).tolist()]
        cost = 0.5 * ca.sumsqr(stages.residual.map("residual", "serial", n, [2], [])(x[:, :-1], u, p, y[:, :-1]))
        cost += 0.5 * ca.sumsqr(stages.last(x[:, -1], p, y[:, -1]))
        changes = v - ca.horzcat(before, v[:, :-1])
        if problem.input_change is not None:
            cost += 0.5 * ca.sumsqr(ca.DM(problem.input_change) * changes)
        rows = [x[:, 0] - start, ca.vec(stages.step.map("step", "serial", n, [2], [])(x[:, :-1], u, p) - x[:, 1:])]
        lower, upper = [np.zeros(nx * (n + 1))], [np.zeros(nx * (n + 1))]
        values = (
            stages.mixed_value.map("mixed_value", "serial", n, [2], [])(x[:, :-1], u, p, y[:, :-1]),
            stages.state_value.map("state_value", "serial", n, [1], [])(x[:, 1:], p, y[:, 1:]),
        )
        slacks: list[Any] = []
        for value, kind in zip(values, stages.kinds, strict=True):
            for i in range(len(kind.lower)):
                row, low, high = value[i, :].T, kind.lower[i], kind.upper[i]
                # A slack for each side, as in the quadratic program.
                for sign, limit in ((1.0, high), (-1.0, low)):
                    if not np.isfinite(limit):
                        continue
                    signed = sign * row
                    if kind.soft[i]:
                        s = ca.MX.sym(f"s{len(slacks)}", 1 if kind.shared[i] else n)
                        slacks.append(s)
                        cost += kind.soft[i] * ca.sum1(s + 0.5 * s**2)
                        signed = signed - s
                    rows.append(signed)
                    lower.append(np.full(n, -np.inf))
                    upper.append(np.full(n, sign * limit))
        if problem.input_rate is not None:
            room = ca.horzcat(first_room, ca.repmat(ca.DM(problem.input_rate * problem.spec.dt), 1, blocks - 1))
            for sign in (1.0, -1.0):
                rows.append(ca.vec(sign * changes - room))
                lower.append(np.full(nu * blocks, -np.inf))
                upper.append(np.zeros(nu * blocks))
        w = ca.vertcat(ca.vec(x), ca.vec(v), *slacks)
        self._nx, self._nu = nx * (n + 1), nu * blocks
        self._slacks = w.shape[0] - self._nx - self._nu
        inputs = np.tile(problem.input_lower, blocks), np.tile(problem.input_upper, blocks)
        free = np.full(self._nx, np.inf)
        self._bounds = {
            "lbx": np.concatenate([-free, inputs[0], np.zeros(self._slacks)]),
            "ubx": np.concatenate([free, inputs[1], np.full(self._slacks, np.inf)]),
            "lbg": np.concatenate(lower),
            "ubg": np.concatenate(upper),
        }
        limit = {} if deadline is None else {"max_wall_time": deadline}
        options = {
            "print_time": False,
            "error_on_fail": False,
            "ipopt": {"print_level": 0, "sb": "yes", "max_iter": iterations, "tol": tolerance, **limit},
        }
        symbols = ca.vertcat(start, ca.vec(y), p, before, first_room)
        nlp = {"x": w, "p": symbols, "f": cost, "g": ca.vertcat(*rows)}
        self._solver = ca.nlpsol("nmpc", "ipopt", nlp, options)

    def __call__(self, guess: Guess, asked: Asked) -> tuple[Guess, float, float, int, str]:
        """(plan, cost without slacks, largest slack, iterations, "ok", "limit" or what went wrong)."""
        problem = self._problem
        rate = np.zeros(problem.nu) if problem.input_rate is None else problem.input_rate
        p = np.concatenate([asked.x, asked.y.ravel(), asked.p, asked.before, rate * asked.elapsed])
        start = np.concatenate([guess.states.ravel(), guess.blocks.ravel(), np.zeros(self._slacks)])
        answer = self._solver(x0=start, p=p, **self._bounds)
        stats = self._solver.stats()
        w = np.asarray(answer["x"]).ravel()
        ends = (self._nx, self._nx + self._nu)
        states, blocks = w[: ends[0]].reshape(-1, problem.nx), w[ends[0] : ends[1]].reshape(-1, problem.nu)
        slack = w[ends[1] :]
        found = Guess(states, blocks)
        kind = stats["unified_return_status"]
        reason = "ok" if stats["success"] else "limit" if kind == "SOLVER_RET_LIMITED" else "ipopt_failed"
        if stats["return_status"] == "Infeasible_Problem_Detected":
            reason = "infeasible"
        cost = self._stages.cost_of(states, blocks, asked.y, asked.p, asked.before)
        return found, cost, float(slack.max(initial=0.0)), int(stats["iter_count"]), reason
