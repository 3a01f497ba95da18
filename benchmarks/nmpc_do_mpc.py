"""do-mpc (Fiedler et al. 2023, Control Engineering Practice 140) on a problem of ours: the peer, never the product."""

from __future__ import annotations

import contextlib
import io

import casadi as ca
import numpy as np

from benchmarks.nmpc_loop import STEP, Loop
from control_stack.errors import MissingDependency
from control_stack.types import Array

try:
    with contextlib.redirect_stderr(io.StringIO()):  # it warns of optional parts that are not asked for
        import do_mpc
except ImportError:
    raise MissingDependency("do_mpc", "dev") from None


class DoMpc:
    """The loop's problem as a do-mpc controller with its default solver, ipopt, warm started as it does by default."""

    def __init__(self, loop: Loop):
        problem, p = loop.problem, ca.DM(loop.p)
        model = do_mpc.model.Model("discrete", "MX")  # as for ours, networks stay products of matrices
        x = model.set_variable("_x", "x", (problem.nx, 1))
        u = model.set_variable("_u", "u", (problem.nu, 1))
        y = model.set_variable("_tvp", "y", (problem.reference_size, 1))
        model.set_rhs("x", problem.model.to_casadi()(x, u, p))
        model.setup()
        self._mpc = mpc = do_mpc.controller.MPC(model)
        mpc.settings.n_horizon, mpc.settings.t_step, mpc.settings.store_full_solution = problem.horizon, STEP, False
        mpc.settings.nlpsol_opts = {"ipopt.print_level": 0, "ipopt.sb": "yes", "print_time": False}
        sizes = (problem.nx, problem.nu, len(loop.p), problem.reference_size)
        symbols = [ca.SX.sym(n, k) for n, k in zip("xupy", sizes, strict=True)]
        sx, su, sp, sy = symbols
        stage = ca.Function("stage", symbols, [0.5 * ca.sumsqr(problem.residual(sx, su, sp, sy))])
        last = ca.Function("last", [sx, sp, sy], [0.5 * ca.sumsqr(problem.terminal(sx, sp, sy))])
        mpc.set_objective(mterm=last(model.x["x"], p, model.tvp["y"]), lterm=stage(x, u, p, y))
        mpc.set_rterm(u=0.0)
        mpc.bounds["lower", "_u", "u"] = problem.input_lower
        mpc.bounds["upper", "_u", "u"] = problem.input_upper
        self._references = mpc.get_tvp_template()
        mpc.set_tvp_fun(lambda t: self._references)
        mpc.setup()
        self._rest = np.asarray(problem.rest_input)
        self._fresh = True

    def __call__(self, x: Array, y: Array) -> Array:
        """The input for state x and references y_0 .. y_N."""
        for k, row in enumerate(y):
            self._references["_tvp", k, "y"] = row
        if self._fresh:
            self._mpc.x0, self._mpc.u0, self._fresh = x, self._rest, False
            self._mpc.set_initial_guess()
        return np.asarray(self._mpc.make_step(x[:, None])).ravel()
