"""The step of an arm from inverse dynamics alone, with the linearisation that they give at once.

    x = (q, v), u = tau, ID(q, v, a, p) = u              over h seconds:
    ID(q + h/2 v + h^2/8 a, v + h T a, a, p) = u,        v+ = v + h a,   q+ = q + h v + h^2/2 a

T = diag(t) is 1/2 (the implicit midpoint rule) for a joint whose speed decays slowly, and nears 1 (backward Euler)
where friction stops it within the step: t(z) = 1 / (1 - e^-z) - 1/z with z = h (dID/dv)_ii / M_ii, exact for a linear
decay. The friction of light joints settles within milliseconds: no explicit step of 20 ms would hold it. Two Newton
steps are taken, from a = 0 and from there. By the implicit function theorem, with
W = dID/da + h dID/dv T + h^2/8 dID/dq:

    da/dx = -W^-1 [dID/dq, h/2 dID/dq + dID/dv],   da/du = W^-1

Dry friction is steep where a joint turns round. Its tangent there, carried on to the next radian per second, would be
several times all the friction that there is, and a plan from it would push a light joint out of hand. ``linearise``
therefore takes friction's chord over +-``_CHORD`` instead: rigid bodies, quadratic in v, have one tangent and chord,
so that the difference of both, found with all speeds shifted at once, is that of friction, and diagonal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.protocols import DynamicsSpec
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.rollout import rollout
from control_stack.types import Array

_CHORD = 0.7  # rad/s, as far as corrections of a plan go


class InverseStep:
    """A Dynamics made of inverse dynamics, for any model of an arm that has them: nominal, loaded, learned.

    Args:
        inverse: casadi.Function (q, qd, qdd, p) -> tau, N m, friction included.
        spec: Its layout and the step, s: x holds positions (rad), then velocities (rad/s).
    """

    def __init__(self, inverse: Any, spec: DynamicsSpec):
        n, sizes = len(spec.inputs), [inverse.numel_in(i) for i in range(inverse.n_in())]
        if sizes != [n, n, n, len(spec.parameters)] or len(spec.state) != 2 * n:
            raise InvalidInput(f"inverse dynamics of {n} joints take (q, qd, qdd, p), these take {sizes} numbers")
        self.inverse, self.spec, self.joints = inverse, spec, n
        self._step: Any = None

    def step(self, x: Any, u: Any, p: Any = None) -> Array:
        """(..., 2n), (..., n), (..., np) -> (..., 2n)."""
        given = [np.asarray(a, dtype=float) for a in (x, u, self.spec.defaults if p is None else p)]
        batch = np.broadcast_shapes(*(a.shape[:-1] for a in given))
        flat = [np.broadcast_to(a, (*batch, a.shape[-1])).reshape(-1, a.shape[-1]).T for a in given]
        self._step = self._step or self.to_casadi()
        return np.asarray(self._step(*flat)).T.reshape(*batch, 2 * self.joints)

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Array:
        """(..., 2n), (..., T, n) -> (..., T + 1, 2n), x0 first."""
        return rollout(self.step, x0, us, p)

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+ after spec.dt."""
        ca, (x, u, p) = import_casadi(), self._symbols()
        names = ["x", "u", "p"]
        return ca.Function("arm_step", [x, u, p], [self._solve(x, u, p, self.spec.dt)[0]], names, ["x_next"])

    def linearise(self, chord: float = _CHORD) -> Any:
        """casadi.Function (x, u, p) -> (x+, df/dx, df/du), for steps of a size: see the module about friction.

        Args:
            chord: rad/s; 0: the tangent.
        """
        ca, (x, u, p) = import_casadi(), self._symbols()
        found = self._solve(x, u, p, self.spec.dt, derivatives=True, chord=chord)
        names = ["x", "u", "p"], ["x_next", "a", "b"]
        return ca.Function("arm_linearised", [x, u, p], list(found), *names)

    def flow(self) -> Any:
        """casadi.Function (x, u, p, h) -> x+ after h seconds: what a controller looks ahead by."""
        ca, (x, u, p) = import_casadi(), self._symbols()
        h = type(x).sym("h")
        return ca.Function("arm_flow", [x, u, p, h], [self._solve(x, u, p, h)[0]], ["x", "u", "p", "h"], ["x_next"])

    def _symbols(self) -> tuple[Any, Any, Any]:
        ca = import_casadi()
        kind = ca.SX if self.inverse.is_a("SXFunction") else ca.MX
        sizes = (2 * self.joints, self.joints, len(self.spec.parameters))
        x, u, p = (kind.sym(name, size) for name, size in zip("xup", sizes, strict=True))
        return x, u, p

    def slopes(self, wanted: str) -> Any:
        """casadi.Function (q, v, a, p) -> tau and its derivatives by the arguments named, letters of "qvap"."""
        ca = import_casadi()
        kind = ca.SX if self.inverse.is_a("SXFunction") else ca.MX
        symbols = {name: kind.sym(name, self.inverse.numel_in(i)) for i, name in enumerate("qvap")}
        tau = self.inverse(*symbols.values())
        slopes = [ca.densify(ca.jacobian(tau, symbols[name])) for name in wanted]
        return ca.Function(f"slopes_{wanted}", list(symbols.values()), [tau, *slopes])

    def _solve(self, x: Any, u: Any, p: Any, h: Any, derivatives: bool = False, chord: float = 0.0) -> Any:
        """x+, and with derivatives those by x and u (else None). chord: rad/s, 0 for the tangent."""
        ca, n = import_casadi(), self.joints
        q, v = x[:n], x[n:]
        still = type(x).zeros(n)
        ahead = q + 0.5 * h * v
        tau, by_v, by_a = self.slopes("va")(ahead, v, still, p)
        z = h * ca.fmax(ca.diag(by_v) / ca.diag(by_a), 0.0) + 1e-3
        t = 1.0 / (1.0 - ca.exp(-z)) - 1.0 / z
        spread = ca.repmat(t.T, n, 1)
        a = ca.solve(by_a + h * by_v * spread, u - tau)
        middle = (ahead + 0.125 * h * h * a, v + h * t * a)
        tau, by_q, by_v, by_a = self.slopes("qva")(*middle, a, p)
        w = by_a + h * by_v * spread + 0.125 * h * h * by_q
        if not derivatives:
            a = a + ca.solve(w, u - tau)
            return ca.vertcat(q + h * v + 0.5 * h * h * a, v + h * a), None, None
        a = a + ca.solve(w, u - tau)
        if chord:
            wide = [self.inverse(middle[0], middle[1] + side, a, p) for side in (chord, -chord)]
            by_v = by_v + ca.diag((wide[0] - wide[1]) / (2.0 * chord) - ca.sum2(by_v))
            w = by_a + h * by_v * spread + 0.125 * h * h * by_q
        right = [-by_q, -(0.5 * h * by_q + by_v), type(x).eye(n)]
        solved = ca.horzsplit(ca.solve(w, ca.horzcat(*right)), [0, *np.cumsum([r.shape[1] for r in right]).tolist()])
        a_q, a_v, a_u = solved
        one, none = type(x).eye(n), type(x).zeros(n, n)
        by_x = ca.vertcat(ca.horzcat(one, h * one), ca.horzcat(none, one))
        acts = ca.vertcat(0.5 * h * h * type(x).eye(n), h * type(x).eye(n))
        after = ca.vertcat(q + h * v + 0.5 * h * h * a, v + h * a)
        by_x = by_x + ca.mtimes(acts, ca.horzcat(a_q, a_v))
        return after, ca.densify(by_x), ca.densify(ca.mtimes(acts, a_u))
