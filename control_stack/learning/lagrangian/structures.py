"""Lagrangian networks with a context z, each as torques, mass matrix and energies of columns (see ``matrices``).

    full      H = L L^T, L(q, z) a network: nothing but the joints' number is known (DeLaN, Lutter et al. 2019)
    sum       H = H_nom + L L^T, diagonal of L at least 0.1 (Schulze, Peters, Arenz 2025)
    factor    H = (L_nom + dL)(L_nom + dL)^T, H_nom = L_nom L_nom^T, dL(q, z) a network that starts at 0
    flange    H = H_nom + J^T S(z) J, J of the flange's twist: energies of what rides on the flange (``flange``)

The first three add the gradient of a network V(q, z). All have friction that no context can make drive the motion:

    f_i = (A_i + a_i)+ s_i(q'_i) + (d_i + b_i)+ q'_i,   (a, b) = F z + F_0        A, d and the sigmoid s: the arm's file

H is positive definite for every z and q. In ``flange`` z = 0 is the nominal arm exactly, S(z) is linear in z as long as
what it takes away leaves half of each pivot of the last link's inertia, and bounded beyond (``flange.guarded``).

For comparison there are two that know no mechanics beyond the nominal arm's:

    mlp       tau = tau_nom(q, q', q'') + network(cos q, sin q, q', q'', z)
    mlp-rates tau = tau_nom(q, q', q'') + network(cos q, sin q, q', z): the nominal arm's mass matrix, whatever z is

They start at the nominal arm and have inverse dynamics only: no mass matrix, no energy, no friction by itself. What
``mlp`` makes of q'' need be no mass matrix at all, which shows as soon as a controller solves it for accelerations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from control_stack.algebra import maximum, tanh
from control_stack.arm import rigid_body
from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian import flange
from control_stack.learning.lagrangian.matrices import Matrices
from control_stack.learning.lagrangian.networks import kinetic_torque, network, perceptron, positive_factor, triangle
from control_stack.learning.lagrangian.nominal import Nominal
from control_stack.types import Array

STRUCTURES = ("flange", "factor", "sum", "full")
BLACK_BOXES = ("mlp", "mlp-rates")
FLOORS = {"sum": 0.1, "full": 0.01}  # on the diagonal of L, square roots of kg m^2
_STEEP = 20.0  # s/rad, of friction that the arm's file does not know of
_ONE = float(np.log(np.e - 1.0))  # softplus(_ONE) = 1


class Friction:
    """Of the arm's joints under a context. ``amplitude``, ``viscous``: what the structure starts from, (n,)."""

    def __init__(self, arm: ArmParameters, known: bool):
        own = arm.friction
        self.amplitude = np.array(own.amplitude) if known else np.zeros(arm.joints)
        self.viscous = np.array(own.viscous) if known else np.zeros(arm.joints)
        there = np.array(own.amplitude) > 0.0
        self.steepness = np.where(there, own.steepness, _STEEP)
        self.shift = np.where(there, own.shift, 0.0)

    def shapes(self, qd: tuple[Any, ...]) -> tuple[Any, ...]:
        """s_i: torque per amplitude."""
        return tuple(
            0.5 * (tanh(0.5 * k * (v + s)) - float(np.tanh(0.5 * k * s)))
            for v, k, s in zip(qd, self.steepness.tolist(), self.shift.tolist(), strict=True)
        )

    def own(self, qd: tuple[Any, ...]) -> tuple[Any, ...]:
        """Torques that it starts from."""
        known = zip(qd, self.shapes(qd), self.amplitude.tolist(), self.viscous.tolist(), strict=True)
        return tuple(big * shape + slow * v for v, shape, big, slow in known)

    def added(self, qd: tuple[Any, ...], code: tuple[Any, ...]) -> tuple[Any, ...]:
        """Torques beyond those that it starts from; code: a, then b."""
        n = len(qd)
        return tuple(
            maximum(a, -big + 0.0 * a) * shape + maximum(b, -slow + 0.0 * b) * v
            for v, shape, a, b, big, slow in zip(
                qd, self.shapes(qd), code[:n], code[n:], self.amplitude.tolist(), self.viscous.tolist(), strict=True
            )
        )


class Structure:
    """A model's equations with their weights. Columns in, columns out.

    Args:
        kind: One of ``STRUCTURES`` or ``BLACK_BOXES``. arm: Its nominal parameters.
        weights: By name; arrays, or tensors in training.
    """

    def __init__(self, kind: str, arm: ArmParameters, weights: Mapping[str, Any]):
        if kind not in (*STRUCTURES, *BLACK_BOXES):
            raise InvalidInput(f"a structure is one of {', '.join((*STRUCTURES, *BLACK_BOXES))}, got '{kind}'")
        self.kind, self.arm, self.weights = kind, arm, weights
        self.nominal, self.friction = Nominal(arm), Friction(arm, known=kind != "full")
        self._base = flange.last_link(arm.chain)
        if kind == "flange" and np.linalg.eigvalsh(self._base)[0] < 1e-9:
            raise InvalidInput(f"{arm.name}: the structure 'flange' needs a last link with an inertia of its own")

    def inverse(self, m: Matrices, q: Any, qd: Any, qdd: Any, z: Any) -> Any:
        """tau (n) of q, q', q'' and the context z (nz)."""
        if self.kind in BLACK_BOXES:
            return self.nominal.inverse(m, q, qd, qdd) + self.residual(m, q, qd, qdd, z)
        rates = m.split(qd)
        tau = m.join(self.friction.added(rates, m.split(self._friction_code(m, z))))
        if self.kind == "flange":
            angles = self._angles(m, q)
            added = flange.code_torques(self.arm.chain, angles, rates, m.split(qdd), self.code(m, z))
            return tau + self.nominal.inverse(m, q, qd, qdd) + m.join(added)
        tau = tau + m.transposed(perceptron(m, self.weights, "potential", q, z)[1])
        if self.kind == "sum":
            tau = tau + self.nominal.inverse(m, q, qd, qdd)
        elif self.kind == "factor":
            tau = tau + self.nominal.gravity(m, q) + m.join(self.friction.own(rates))
        return tau + kinetic_torque(m, *self.factor(m, q, z), qd, qdd)

    def mass(self, m: Matrices, q: Any, z: Any) -> Any:
        """H (n, n), kg m^2."""
        self._refuse_black_box("mass matrix")
        if self.kind == "flange":
            code, n = self.code(m, z), self.arm.joints
            rows = [self._twist(m, q, unit) for unit in np.eye(n).tolist()]  # J^T
            jacobian = m.join([entry for row in rows for entry in row])
            turned = m.matrix(jacobian, n, flange.TWIST)
            s = [code[flange.at(i, k)] for i in range(flange.TWIST) for k in range(flange.TWIST)]
            return self.nominal.mass(m, q) + turned @ m.matrix(m.join(s), flange.TWIST, flange.TWIST) @ m.transposed(
                turned
            )
        factor = self.factor(m, q, z)[0]
        product = factor @ m.transposed(factor)
        return product + self.nominal.mass(m, q) if self.kind == "sum" else product

    def energy(self, m: Matrices, q: Any, qd: Any, z: Any) -> tuple[Any, Any]:
        """Kinetic and potential energy, J, (1, 1); the latter up to a constant."""
        self._refuse_black_box("energy")
        kinetic = 0.5 * (m.transposed(qd) @ self.mass(m, q, z) @ qd)
        if self.kind == "flange":
            motion = flange.flange_motion(self.arm.chain, self._angles(m, q), m.split(0.0 * qd), m.split(0.0 * qd))
            height = rigid_body.joint_poses(self.arm.chain, m.split(q))[-1][0][2]
            added = m.join([flange.code_energy(motion, height, self.code(m, z))[1]])
        else:
            added = perceptron(m, self.weights, "potential", q, z)[0]
        return kinetic, added if self.kind == "full" else added + self.nominal.potential(m, q)

    def friction_torque(self, m: Matrices, qd: Any, z: Any) -> Any:
        """f (n), N m."""
        self._refuse_black_box("friction by itself")
        rates = m.split(qd)
        added = self.friction.added(rates, m.split(self._friction_code(m, z)))
        return m.join([a + b for a, b in zip(added, self.friction.own(rates), strict=True)])

    def code(self, m: Matrices, z: Any) -> tuple[Any, ...]:
        """What rides on the flange under a context, as ``flange`` takes it."""
        return flange.guarded(m.split(m.constant(self.weights["flange.weight"]) @ z), self._base)

    def factor(self, m: Matrices, q: Any, z: Any) -> tuple[Any, Any]:
        """L and dL/dq of the networks' part of H: all of it but for ``sum``."""
        n = self.arm.joints
        y, slope = perceptron(m, self.weights, "inertia", q, z)
        if self.kind != "factor":
            return positive_factor(m, y, slope, n, FLOORS[self.kind])
        own, own_slope = self.nominal.factor(m, q)
        diagonal, count = m.part(y, 0, n) + _ONE, m.length(y)
        gain, gain_rate = m.apply("softplus", diagonal), m.apply("sigmoid", diagonal)
        place, pick = triangle(n), triangle(n).T[:n]
        # Diagonal: L_ii = own_ii softplus(y_i + 1'), below it: L_ik = own_ik + y_ik.
        at = m.constant(pick) @ m.flat(own)
        top = m.rows(at * gain_rate, m.part(slope, 0, n)) + m.rows(gain - 1.0, m.constant(pick) @ own_slope)
        entries = m.stacked([at * (gain - 1.0), m.part(y, n, count)])
        slopes = m.stacked([top, m.part(slope, n, count)])
        return own + m.matrix(m.constant(place) @ entries, n, n), own_slope + m.constant(place) @ slopes

    def residual(self, m: Matrices, q: Any, qd: Any, qdd: Any, z: Any) -> Any:
        """Of ``BLACK_BOXES``: (n) N m of the network, its inputs and outputs in sizes that the data has."""
        speed, push, size = (m.constant(self.weights[f"scale.{name}"]) for name in ("qd", "qdd", "torque"))
        moving = [qd / speed, qdd / push] if self.kind == "mlp" else [qd / speed]
        x = m.stacked([m.apply("cos", q), m.apply("sin", q), *moving, z])
        return size * network(m, self.weights, "torque", x)

    def _refuse_black_box(self, what: str) -> None:
        if self.kind in BLACK_BOXES:
            raise InvalidInput(f"a model of structure '{self.kind}' has inverse dynamics only, no {what}")

    def _friction_code(self, m: Matrices, z: Any) -> Any:
        return m.constant(self.weights["friction.weight"]) @ z + m.constant(self.weights["friction.bias"])

    def _angles(self, m: Matrices, q: Any) -> tuple[tuple[Any, Any], ...]:
        cosine, sine = m.split(m.apply("cos", q)), m.split(m.apply("sin", q))
        return tuple(zip(cosine, sine, strict=True))

    def _twist(self, m: Matrices, q: Any, unit: list[float]) -> tuple[Any, ...]:
        """Of the flange when one joint turns with 1 rad/s."""
        still = (0.0,) * len(unit)
        motion = flange.flange_motion(self.arm.chain, self._angles(m, q), tuple(unit), still)
        return (*motion.velocity, *motion.omega)


def initial_weights(kind: str, n: int, contexts: int, seed: int, hidden: tuple[int, ...]) -> dict[str, Array]:
    """Random weights to train from; the residual ones begin at the nominal arm, ``sum`` as near as it can."""
    rng = np.random.default_rng(seed)
    if kind in BLACK_BOXES:
        scales = {f"scale.{name}": np.ones((n, 1)) for name in ("qd", "qdd", "torque")}
        return scales | _layers(rng, "torque", ((4 if kind == "mlp" else 3) * n + contexts, *hidden, n), last=0.0)
    weights = {"friction.weight": 0.1 * rng.standard_normal((2 * n, contexts)), "friction.bias": np.zeros((2 * n, 1))}
    if kind == "flange":
        weights["flange.weight"] = 0.1 * rng.standard_normal((flange.CODE_SIZE, contexts))
        return weights
    for name, outputs in (("inertia", n * (n + 1) // 2), ("potential", 1)):
        weights |= _layers(rng, name, (2 * n + contexts, *hidden, outputs), last=0.0 if kind == "factor" else 1.0)
    if kind == "sum":
        weights[f"inertia.{len(hidden)}.bias"][:n] = -4.0
    return weights


def _layers(rng: np.random.Generator, name: str, sizes: tuple[int, ...], last: float) -> dict[str, Array]:
    """Of a network with ``sizes`` units from input to output; the last layer's weights are times ``last``."""
    weights = {}
    for k, (rows, columns) in enumerate(zip(sizes[1:], sizes[:-1], strict=True)):
        scale = (last if k + 2 == len(sizes) else 1.0) / np.sqrt(columns)
        weights[f"{name}.{k}.weight"] = scale * rng.standard_normal((rows, columns))
        weights[f"{name}.{k}.bias"] = np.zeros((rows, 1))
    return weights
