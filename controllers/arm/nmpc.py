"""NMPC of an arm under joint torques: one problem for any model that has inverse dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from control_stack.arm.dynamics import ArmDynamics
from control_stack.arm.load import Load
from control_stack.arm.parameters import ArmParameters
from control_stack.arm.symbolic import flange_function
from control_stack.errors import InvalidInput, UnknownName
from control_stack.protocols import ControlResult
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import Array, JointReference
from controllers.arm.base import ArmController, ahead
from controllers.arm.estimate import ArmEstimator
from controllers.arm.step import InverseStep
from controllers.nmpc.gauss_newton import Guess
from controllers.nmpc.problem import Constraint, Problem, state_limits
from controllers.nmpc.solver import Nmpc, Settings, Solution

INPUT_REFERENCES = ("inverse", "gravity", "zero")
# Cost of a radian, or a radian per second, beyond a limit: more than any error is worth, so that limits hold wherever
# torques can keep them. Every joint and side has a slack of its own, for angles and for speeds, which pays for the
# worst of the horizon: what a jolt has already done costs the same whatever is planned.
_SOFT = 3e4
_TYPICAL = Load.box(1.0, (0.1, 0.1, 0.1), (0.1, 0.0, 0.1))
_JUMP = 0.5  # rad/s beside the plan after one period: a load has come or gone, or the arm has hit something
_BRAKE = 0.1  # s within which the safe torques would take all speed but 1/e, and a way back all error


@dataclass(frozen=True)
class ArmWeights:
    """Errors that cost as much as each other; weights are their inverses.

    Attributes:
        position: rad. velocity: rad/s.
        acceleration: rad/s^2: what a deviation of a joint's torque from its reference would give the joint at home,
            alone and with a typical load. Light joints so get gains that fit them.
        flange: m, of the flange's place beside the joints' angles; inf leaves it out.
        terminal: Factor on the errors of the last state.
        input_reference: What torques are compared with: "inverse" dynamics along the reference, "gravity", "zero".
    """

    position: float = 0.02
    velocity: float = 0.5
    acceleration: float = 20.0
    flange: float = np.inf
    terminal: float = 2.0
    input_reference: str = "inverse"

    def __post_init__(self) -> None:
        if self.input_reference not in INPUT_REFERENCES:
            raise UnknownName("input reference", self.input_reference, INPUT_REFERENCES)
        if not min(self.position, self.velocity, self.acceleration, self.flange, self.terminal) > 0.0:
            raise InvalidInput("an arm's weights are positive")


def arm_problem(
    arm: ArmParameters,
    model: InverseStep,
    weights: ArmWeights,
    horizon: int,
    blocks: Sequence[int] | None,
    constraints: Sequence[Constraint] = (),
) -> Problem:
    """Tracks y = (q, q', tau, flange) within torque limits (hard) and those of angles and speeds (soft)."""
    ca, n, w = import_casadi(), arm.joints, weights
    place = flange_function(ArmDynamics(arm, model.spec.dt))
    inertia = np.diagonal(ArmDynamics(arm, model.spec.dt).mass_matrix(arm.home, _TYPICAL.parameters))
    scale = ca.DM(1.0 / (w.acceleration * inertia))

    def errors(x: Any, y: Any) -> Any:
        parts = [(x[:n] - y[:n]) / w.position, (x[n:] - y[n : 2 * n]) / w.velocity]
        if np.isfinite(w.flange):
            parts.append((place(x[:n])[0] - y[3 * n :]) / w.flange)
        return ca.vertcat(*parts)

    names = [name.partition(" ")[0] for name in model.spec.state]
    low = np.concatenate([arm.position_lower, -arm.velocity_limit])
    high = np.concatenate([arm.position_upper, arm.velocity_limit])
    bounded = {name: (a, b) for name, a, b in zip(names, low, high, strict=True) if np.isfinite([a, b]).any()}
    limits = [state_limits("joints", model.spec, bounded, soft=_SOFT, shared=True)] if bounded else []
    return Problem(
        model=model,
        horizon=horizon,
        residual=lambda x, u, p, y: ca.vertcat(errors(x, y), scale * (u - y[2 * n : 3 * n])),
        terminal=lambda x, p, y: w.terminal * errors(x, y),
        reference_size=3 * n + 3,
        input_lower=-arm.torque_limit,
        input_upper=arm.torque_limit,
        rest_input=_hold(arm, model),
        constraints=[*constraints, *limits],
        blocks=blocks,
    )


def _hold(arm: ArmParameters, model: InverseStep) -> Array:
    """(n,) torques that hold the arm at home, within the limits."""
    still = np.zeros(arm.joints)
    tau = np.asarray(model.inverse(arm.home, still, still, model.spec.defaults)).ravel()
    return np.clip(tau, -arm.torque_limit, arm.torque_limit)


class ArmNmpc(ArmController):
    """Nonlinear MPC of joint torques, by real-time iteration unless ``settings`` say otherwise.

    A call takes one step, whatever has happened: where speeds are not what the last plan foresaw (a load has come or
    gone), that step begins at a way back to the reference instead of the last plan.

    Without an answer of the solver the last plan is carried out for ``Settings.patience`` steps; then come the safe
    torques "brake": those that hold the arm against gravity and take its speed, by the model with the present p.

    Args:
        arm, model, rate_hz, delay, estimator, clock: As of every ``ArmController``; steps of the model are planned.
        settings: Method, iterations, patience; deadline of a whole call: estimator, state ahead, references, solver.
        weights: Of the errors.
        horizon, blocks: Steps, and over how many each input is held.
        constraints: Beyond the arm's own, e.g. ``keep_out``.

    Attributes:
        solution: Of the last call.
    """

    name: ClassVar[str] = "nmpc"

    def __init__(
        self,
        arm: ArmParameters,
        model: InverseStep,
        rate_hz: float = 50.0,
        delay: float | None = 0.0,
        estimator: ArmEstimator | None = None,
        *,
        settings: Settings | None = None,
        weights: ArmWeights | None = None,
        horizon: int = 12,
        blocks: Sequence[int] | None = None,
        constraints: Sequence[Constraint] = (),
        **clock: Any,
    ):
        self.weights = weights or ArmWeights()
        problem = arm_problem(arm, model, self.weights, horizon, blocks, constraints)
        # Without rollouts, which cost as much as another step: there is a way back for plans that are no good.
        self._nmpc = Nmpc(problem, self._brake, replace(settings or Settings(), torn=np.inf))
        self._steps = model.spec.dt * np.arange(horizon + 1)
        self._kinematics = ArmDynamics(arm, model.spec.dt)
        super().__init__(arm, model, rate_hz, delay, estimator, **clock)

    @property
    def counts(self) -> dict[str, int]:
        """Since the last reset: calls by status, fallbacks by reason, and those "late" by the time of all the call."""
        return dict(self._nmpc.counts)

    def reset(self) -> None:
        """Forgets plan, past and what was estimated."""
        super().reset()
        self._nmpc.reset()
        self._nmpc.counts.clear()
        self.solution: Solution | None = None

    def _torque(self, t: float, x: Array, reference: JointReference, delay: float) -> Array:
        y = self._references(reference, delay)
        elapsed = max(t - self._sent[-1][0], 0.0) if self._sent else self._period
        anew = partial(self._way_back, x, y) if self._jumped(x, elapsed) else None
        spent = self._clock() - self._began
        self.solution = s = self._nmpc.solve(x, y, self.p, elapsed, spent=spent, anew=anew)
        status = f"{s.status}: {s.reason}" if s.reason else s.status
        self.last_result = ControlResult(status, s.cost, s.solve_time, s.states, s.iterations)
        return s.inputs[0].copy()

    def _jumped(self, x: Array, elapsed: float) -> bool:
        """Whether speeds are not what the last plan had them be now: it is no place to linearise at, once."""
        if self.solution is None:
            return False
        k = min(round(elapsed / self.model.spec.dt), len(self.solution.states) - 1)
        n = self.arm.joints
        return float(np.abs(x[n:] - self.solution.states[k, n:]).max()) > _JUMP

    def _way_back(self, x: Array, y: Array) -> Guess:
        """A plan on which the errors of a state die out, critically damped, by the torques that the model says.

            e(t) = (e_0 + (e'_0 + w e_0) t) exp(-w t),   w = 1 / _BRAKE

        It is near what can be done from any state, so that one step from it will do where the last plan is no place
        to linearise at.
        """
        n, h, w, t = self.arm.joints, self.model.spec.dt, 1.0 / _BRAKE, self._steps[:, None]
        e, rate = x[:n] - y[0, :n], x[n:] - y[0, n : 2 * n]
        off, fade = e + (rate + w * e) * t, np.exp(-w * t)
        states = y[:, : 2 * n] + np.concatenate([fade * off, fade * (rate + w * e - w * off)], axis=1)
        q, v = states[:, :n], states[:, n:]
        tau = self.inverse(0.5 * (q[1:] + q[:-1]), np.diff(q, axis=0) / h, np.diff(v, axis=0) / h)
        return self._nmpc.guess(states, np.clip(tau, -self.arm.torque_limit, self.arm.torque_limit))

    def _references(self, reference: JointReference, delay: float) -> Array:
        """(N + 1, 3n + 3); the torque of a step is that of its middle, the flange's place 0 where it weighs nothing."""
        at = delay + self._steps
        wanted = ahead(reference, np.concatenate([at, at + 0.5 * self.model.spec.dt]))
        m, kind = len(at), self.weights.input_reference
        q, v, a = (part[m:] for part in (wanted.position, wanted.velocity, wanted.acceleration))
        if kind == "zero":
            tau = np.zeros_like(q)
        elif kind == "gravity":
            tau = self.inverse(q, np.zeros_like(q), np.zeros_like(q))
        else:
            tau = self.inverse(q, v, a)
        weighed = np.isfinite(self.weights.flange)
        place = self._kinematics.flange(wanted.position[:m])[0] if weighed else np.zeros((m, 3))
        return np.concatenate([wanted.position[:m], wanted.velocity[:m], tau, place], axis=1)

    def _brake(self, x: Array, p: Array) -> Array:
        """The safe torques "brake"."""
        n = self.arm.joints
        return np.asarray(self._inverse(x[:n], np.zeros(n), -x[n:] / _BRAKE, p)).ravel()
