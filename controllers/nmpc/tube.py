"""Robust NMPC: the constraints of a plan give way, step by step, by the radius of the tube around it.

    H z_k + margin_k <= h,   u_lower + margin_k <= v_k <= u_upper - margin_k,   u = v_k + K (x - z_k)

The margins are read from the last components of y_k, so that a tube that changes in flight rebuilds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.learning.lipschitz.dynamics import LipschitzDynamics
from control_stack.learning.lipschitz.tube import Tube
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array
from controllers.nmpc.problem import Constraint, Problem


@dataclass(frozen=True, eq=False)
class TubeProblem:
    """A problem whose plans leave room for a tube.

    Attributes:
        problem: To be solved, with ``reference(y)`` in place of y.
        tube: Radii and feedback. rows: (r, nx), H of the states' constraints, those of the tube's region included.
    """

    problem: Problem
    tube: Tube
    rows: Array

    def reference(self, y: Array, first: float = 0.0) -> Array:
        """(N + 1, ny) with the margins appended, for a start within ``first`` of the plan's, in the norm P."""
        radii = self.tube.radii(self.problem.horizon, first)
        limits = np.eye(self.problem.nu)
        margins = self.tube.state_margins(radii, self.rows), self.tube.input_margins(radii, limits)
        return np.concatenate([y, *margins], axis=1)

    def command(self, v: Array, z: Array, x: Array) -> Array:
        """u of the plan's v and z at the state x that was measured."""
        return v + self.tube.feedback @ (x - z)


def with_tube(problem: Problem, tube: Tube, rows: Array, upper: Array) -> TubeProblem:
    """Tightens H x <= h and the limits of the inputs; plans also keep to the region of the tube, if it has one.

    Constraints hold from the first step on: that the start itself is in the region ``Tube.check_region`` says.

    Args:
        problem: Its model must be the tube's; constraints of its own stay as they are.
        tube: Of that model.
        rows, upper: (r, nx) and (r,), H and h.

    Raises:
        InvalidInput: A model without certificate, a tube of another one, shapes that do not fit, or a tube so wide by
            the end of the horizon that nothing is left of an input's range, or of the region of its local gamma.
    """
    if not isinstance(problem.model, LipschitzDynamics):
        raise InvalidInput(f"a tube needs a model with a certificate, got {type(problem.model).__name__}")
    tube.check_model(problem.model)
    r, nu, at = len(rows), problem.nu, problem.reference_size
    if rows.shape != (r, problem.nx) or upper.shape != (r,):
        raise InvalidInput(f"tube: constraints {rows.shape} and {upper.shape} do not fit {problem.nx} states")
    margins = tube.input_margins(tube.radii(problem.horizon), np.eye(nu))[-1]
    low, high = np.asarray(problem.input_lower, dtype=float), np.asarray(problem.input_upper, dtype=float)
    if tube.region is not None:  # plan and tube stay where the residual's slope was taken
        nx, (least, greatest) = problem.nx, tube.region
        rows = np.vstack([rows, np.eye(nx), -np.eye(nx)])
        upper = np.concatenate([upper, greatest[:nx], -least[:nx]])
        low, high, r = np.maximum(low, least[nx:]), np.minimum(high, greatest[nx:]), len(rows)
    room = high - low - 2.0 * margins
    for k in np.flatnonzero(room <= 0.0)[:1]:
        raise InvalidInput(f"tube: {problem.spec.inputs[k]} would have to give way by {margins[k]:.4g} on both sides")
    ca = import_casadi()

    def states(x: Any, u: Any, p: Any, y: Any) -> Any:
        return ca.mtimes(ca.DM(rows), x) + y[at : at + r]

    def highest(x: Any, u: Any, p: Any, y: Any) -> Any:
        return u + y[at + r : at + r + nu]

    def lowest(x: Any, u: Any, p: Any, y: Any) -> Any:
        return u - y[at + r : at + r + nu]

    free = np.full(nu, np.inf)
    added = (
        Constraint("tube, states", states, np.full(r, -np.inf), np.asarray(upper, dtype=float)),
        Constraint("tube, inputs from above", highest, -free, high, inputs=True),
        Constraint("tube, inputs from below", lowest, low, free, inputs=True),
    )
    wider = replace(problem, reference_size=at + r + nu, constraints=(*problem.constraints, *added))
    return TubeProblem(wider, tube, rows)
