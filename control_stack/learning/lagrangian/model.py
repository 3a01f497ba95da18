"""A learned Lagrangian model of an arm whose parameters p are the context z: run in NumPy and CasADi, without torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.friction import Friction
from control_stack.arm.parameters import ArmParameters
from control_stack.artefacts import tensors as artefact
from control_stack.artefacts.runs import plain
from control_stack.errors import InvalidInput
from control_stack.learning.lagrangian.matrices import ArrayMatrices, CasadiMatrices
from control_stack.learning.lagrangian.structures import Structure
from control_stack.protocols import DynamicsSpec
from control_stack.rollout import rollout
from control_stack.types import Array

if TYPE_CHECKING:
    from control_stack.learning.lagrangian.context import ContextEstimator

FORMAT = "control-stack Lagrangian dynamics, 1"
_WHAT = "Lagrangian dynamics"
_ENCODER = "encoder."  # weights of the context's estimator


@dataclass(frozen=True, eq=False)
class LagrangianDynamics:
    """H(q, z) q'' + c(q, q', z) + g(q, z) + f(q', z) = tau        (``protocols.Dynamics``, x = (q, q'), u = tau, p = z)

    Attributes:
        arm: The nominal arm.
        kind: One of ``structures.STRUCTURES`` or ``BLACK_BOXES``: that has ``inverse`` only, the rest is refused.
        weights: By name, float64; those that begin with "encoder." are of the context's estimator, where there is one.
        contexts: nz.
        dt: Step, s, and time between updates of the estimator.
        card: What is known of its training; empty for one made by hand.
    """

    arm: ArmParameters
    kind: str
    weights: Mapping[str, Array]
    contexts: int
    dt: float
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.weights.items():
            if value.dtype != np.float64 or not np.isfinite(value).all():
                raise InvalidInput(f"weights '{name}' are not finite float64")
        n, m, shape = self.arm.joints, ArrayMatrices(), (self.arm.joints, 1)
        try:
            zero = np.zeros(shape)
            found = self.structure.inverse(m, zero, zero, zero, np.zeros((self.contexts, 1))).shape
        except (KeyError, ValueError) as error:
            raise InvalidInput(f"weights do not fit a structure '{self.kind}' of {n} joints: {error}") from None
        if found != shape:
            raise InvalidInput(f"weights do not fit a structure '{self.kind}' of {n} joints")

    @cached_property
    def structure(self) -> Structure:
        """The equations."""
        return Structure(self.kind, self.arm, self.weights)

    @cached_property
    def spec(self) -> DynamicsSpec:
        """x and u as in ``arm.dynamics``; p is the context, 0 by default."""
        own = ArmDynamics(self.arm, self.dt).spec
        return replace(
            own,
            parameters=tuple(f"context.{k} [1]" for k in range(self.contexts)),
            defaults=np.zeros(self.contexts),
        )

    def inverse(self, q: Any, qd: Any, qdd: Any, p: Any = None) -> Any:
        """tau (..., n), N m, friction included; q, qd, qdd (..., n), p (..., nz) or None for 0."""
        return self._call(self.structure.inverse, q, qd, qdd, p=p)[..., 0]

    def mass_matrix(self, q: Any, p: Any = None) -> Any:
        """H (..., n, n), kg m^2."""
        return self._call(self.structure.mass, q, p=p)

    def bias(self, q: Any, qd: Any, p: Any = None) -> Any:
        """c + g (..., n), N m, without friction."""
        return self.inverse(q, qd, 0.0 * qd, p) - self.friction(qd, p)

    def friction(self, qd: Any, p: Any = None) -> Any:
        """f (..., n), N m."""
        return self._call(self.structure.friction_torque, qd, p=p)[..., 0]

    def forward(self, q: Any, qd: Any, tau: Any, p: Any = None) -> Any:
        """q'' (..., n), rad/s^2, under torques tau."""
        net = tau - self.inverse(q, qd, 0.0 * qd, p)
        m, _ = _matrices(net)
        return m.xp.linalg.solve(self.mass_matrix(q, p), net[..., None])[..., 0]

    def energy(self, q: Any, qd: Any, p: Any = None) -> Any:
        """Kinetic and potential energy (...), J, the latter up to a constant."""
        kinetic, potential = self._call(self.structure.energy, q, qd, p=p)
        return (kinetic + potential)[..., 0, 0]

    def step(self, x: Any, u: Any, p: Any = None) -> Array:
        """(..., 2n), (..., n), (..., nz) or None for 0 -> (..., 2n) after dt seconds, in NumPy."""
        given = [np.asarray(a, dtype=float) for a in (x, u, np.zeros(self.contexts) if p is None else p)]
        for name, value, size in zip("xup", given, (2 * self.arm.joints, self.arm.joints, self.contexts), strict=True):
            if value.shape[-1:] != (size,):
                raise InvalidInput(f"{name} must have {size} components on its last axis, got shape {value.shape}")
        batch = np.broadcast_shapes(*(a.shape[:-1] for a in given))
        flat = [np.broadcast_to(a, (*batch, a.shape[-1])).reshape(-1, a.shape[-1]).T for a in given]
        return np.asarray(self._step(*flat)).T.reshape(*batch, 2 * self.arm.joints)

    def rollout(self, x0: Any, us: Any, p: Any = None) -> Array:
        """(..., 2n), (..., T, n), p constant -> (..., T + 1, 2n), x0 first."""
        return rollout(self.step, x0, us, p)

    def inverse_casadi(self) -> Any:
        """casadi.Function (q, qd, qdd, p) -> tau: SX for ``flange``, MX with products of matrices for networks."""
        m, (q, qd, qdd, p) = self._symbols("q", "qd", "qdd", "p")
        tau = m.ca.densify(self.structure.inverse(m, q, qd, qdd, p))
        return m.ca.Function("lagrangian_inverse", [q, qd, qdd, p], [tau], ["q", "qd", "qdd", "p"], ["tau"])

    def mass_casadi(self) -> Any:
        """casadi.Function (q, p) -> H."""
        m, (q, p) = self._symbols("q", "p")
        matrix = m.ca.densify(self.structure.mass(m, q, p))
        return m.ca.Function("lagrangian_mass", [q, p], [matrix], ["q", "p"], ["H"])

    def forward_casadi(self) -> Any:
        """casadi.Function (q, qd, tau, p) -> qdd."""
        m, (q, qd, tau, p) = self._symbols("q", "qd", "tau", "p")
        net = tau - self.structure.inverse(m, q, qd, qd.zeros(*qd.shape), p)
        solver = () if self.kind == "flange" else ("ldl",)
        qdd = m.ca.solve(self.structure.mass(m, q, p), net, *solver)
        return m.ca.Function("lagrangian_forward", [q, qd, tau, p], [qdd], ["q", "qd", "tau", "p"], ["qdd"])

    def to_casadi(self) -> Any:
        """casadi.Function f(x, u, p) -> x+ after dt seconds: RK4 in steps of at most 5 ms, as in ``arm.dynamics``."""
        from control_stack.quadrotor.symbolic import import_casadi

        ca, forward, n = import_casadi(), self.forward_casadi(), self.arm.joints
        x, u, p = ca.MX.sym("x", 2 * n), ca.MX.sym("u", n), ca.MX.sym("p", self.contexts)

        def acceleration(q: Any, qd: Any, tau: Any, z: Any) -> tuple[Any, ...]:
            return tuple(ca.vertsplit(forward(*(ca.vertcat(*part) for part in (q, qd, tau, z)))))

        state, torque = tuple(ca.vertsplit(x)), tuple(ca.vertsplit(u))
        after = ArmDynamics(self.arm, self.dt).step_columns(state, torque, (p,), acceleration)
        return ca.Function("lagrangian_step", [x, u, p], [ca.vertcat(*after)], ["x", "u", "p"], ["x_next"])

    def estimator(self) -> ContextEstimator:
        """What turns measurements into p. Raises InvalidInput where none was trained with the model."""
        from control_stack.learning.lagrangian.context import ContextEstimator

        return ContextEstimator(self)

    def encoder(self) -> dict[str, Array]:
        """Weights of the estimator, by name; empty where none was trained."""
        cut = len(_ENCODER)
        return {name[cut:]: value for name, value in self.weights.items() if name.startswith(_ENCODER)}

    def save(self, path: str | Path, *, training: Mapping[str, Any], figures: Mapping[str, Any]) -> LagrangianDynamics:
        """Writes ``path`` (.safetensors) and its card (``tensors.write_model``); the model with that card."""
        card = artefact.write_model(path, self.weights, self._contract(), training, figures, _WHAT)
        return replace(self, card=card)

    @classmethod
    def load(cls, path: str | Path) -> LagrangianDynamics:
        """Reads a model and its card. Raises InvalidInput: a file is missing, damaged or not what its card says."""
        weights, card = artefact.read(path, _WHAT, FORMAT)
        try:
            arm = arm_of_card(card["arm"])
            model = cls(arm, card["structure"], weights, int(card["contexts"]), float(card["spec"]["dt"]), card)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{Path(path).with_suffix('.json')}: {error}") from None
        artefact.check_contract(path, card, model._contract())
        return model

    def _contract(self) -> dict[str, Any]:
        shapes = {name: list(value.shape) for name, value in sorted(self.weights.items())}
        return {
            "format": FORMAT,
            "structure": self.kind,
            "contexts": self.contexts,
            "weights": shapes,
            "spec": plain(self.spec),
            "arm": plain(self.arm),
        }

    @cached_property
    def _step(self) -> Any:
        return self.to_casadi()

    def _symbols(self, *names: str) -> tuple[Any, tuple[Any, ...]]:
        m = CasadiMatrices()
        kind = m.ca.SX if self.kind == "flange" else m.ca.MX
        return m, tuple(kind.sym(name, self.contexts if name == "p" else self.arm.joints) for name in names)

    def _call(self, law: Callable[..., Any], *joints: Any, p: Any) -> Any:
        """A law of columns on arrays (..., n), or tensors if one of the joints is a tensor."""
        sizes = [self.arm.joints] * len(joints) + [self.contexts]
        m, like = _matrices(*joints, p)
        given = [m.constant(a) for a in (*joints, np.zeros(self.contexts) if p is None else p)]
        for value, size in zip(given, sizes, strict=True):
            if tuple(value.shape[-1:]) != (size,):
                raise InvalidInput(f"expected {size} components on the last axis, got shape {tuple(value.shape)}")
        batch = np.broadcast_shapes(*(tuple(value.shape[:-1]) for value in given))
        full = [m.expanded(value, (*batch, value.shape[-1]))[..., None] for value in given]
        return law(m, *full)


def _matrices(*values: Any) -> tuple[ArrayMatrices, Any]:
    torch = sys.modules.get("torch")
    like = next((v for v in values if torch is not None and isinstance(v, torch.Tensor)), None)
    return (ArrayMatrices(), None) if like is None else (ArrayMatrices(torch, like), like)


def arm_of_card(stored: Mapping[str, Any]) -> ArmParameters:
    """The arm in a card. Raises InvalidInput for one of other fields."""
    known = {f.name for f in fields(ArmParameters)}
    if set(stored) != known:
        raise InvalidInput(f"arm: fields {', '.join(sorted(set(stored) ^ known))} are missing or unknown")
    values: dict[str, Any] = {}
    for name, value in stored.items():
        values[name] = (
            value
            if name in ("name", "sources")
            else np.array(value, dtype=float)
            if name
            not in (
                "joint_names",
                "friction",
            )
            else tuple(value)
        )
    friction = stored["friction"]
    parts = [friction[k] for k in Friction._fields] if isinstance(friction, Mapping) else friction
    values["friction"] = Friction(*(tuple(map(float, part)) for part in parts))
    return ArmParameters(**values)
