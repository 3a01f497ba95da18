"""The quadrotor's NMPC: one problem at rotor or CTBR level, its references, and its commands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from control_stack.errors import InputRejected, InvalidInput
from control_stack.laws.attitude import attitude_rates, desired_attitude
from control_stack.laws.cascade import InnerLoops
from control_stack.laws.rotor_model import RotorModel
from control_stack.learning.residual_file import fitted_level, load_residual
from control_stack.protocols import ControlResult, Dynamics, Estimator
from control_stack.quadrotor.dynamics import DISTURBANCE_SIZE
from control_stack.quadrotor.long_step import PARAMETER_SIZE, LongStepQuadrotor, reachable_spin, rotor_limits
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters, airframe_from_columns
from control_stack.quadrotor.residual import ResidualQuadrotor
from control_stack.quadrotor.symbolic import import_casadi
from control_stack.types import (
    Array,
    Command,
    CommandLevel,
    QuadrotorState,
    RatesThrustCommand,
    Reference,
    RotorCommand,
)
from controllers.base import BaseController
from controllers.columns import array_of
from controllers.nmpc import flight_reference as layout
from controllers.nmpc.disturbance import DisturbanceFilter, estimator_noise
from controllers.nmpc.flight_reference import FlightReference
from controllers.nmpc.problem import Constraint, Problem
from controllers.nmpc.solver import Nmpc, Settings, Solution

_TILT = 100.0  # cost of a thrust axis that is one unit of cosine beyond the largest tilt
_LEVEL_AXES = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Weights:
    """Errors that cost as much as each other (Bryson's rule): the weights are their inverses.

    Attributes:
        position: m. velocity: m/s. tilt, yaw: rad. tilt_rate, yaw_rate: rad/s.
        thrust: share of the weight. rotor: share of the hover speed.
        rate_change, thrust_change: of commands from step to step, rad/s and share of the weight: the model takes
            thrust to be immediate, which small motors are not.
        terminal: factor on the errors of the last state.
    """

    position: float = 0.05
    velocity: float = 0.4
    tilt: float = 0.6
    yaw: float = 0.4
    tilt_rate: float = 4.0
    yaw_rate: float = 2.0
    thrust: float = 0.5
    rotor: float = 0.3
    rate_change: float = 6.0
    thrust_change: float = 0.3
    terminal: float = 2.0


def attitude_error(q: Any, wanted: Any) -> Any:
    """2 vec(wanted^* q): the rotation vector between them for small turns, rad, in the wanted body frame."""
    ca = import_casadi()
    v, w = -wanted[0:3], wanted[3]
    return 2.0 * (w * q[0:3] + q[3] * v + ca.cross(v, q[0:3]))


def quadrotor_problem(
    model: Dynamics,
    parameters: QuadrotorParameters,
    level: CommandLevel,
    weights: Weights,
    horizon: int,
    blocks: Sequence[int] | None,
    constraints: Sequence[Constraint] = (),
) -> Problem:
    """Tracks ``flight_reference`` with inputs and rotors within what the vehicle file allows.

    Args:
        model: ``LongStepQuadrotor`` of the level, or one with the same state, input and first 60 parameters.
    """
    ca = import_casadi()
    w, limits, hover = weights, parameters.limits, parameters.hover_rotor_speed
    weight = float(parameters.mass) * GRAVITY
    turn = np.array([1.0 / w.tilt_rate, 1.0 / w.tilt_rate, 1.0 / w.yaw_rate])

    def errors(x: Any, y: Any) -> Any:
        turned = attitude_error(x[6:10], y[layout.QUAT])
        return ca.vertcat(
            (x[0:3] - y[layout.POSITION]) / w.position,
            (x[3:6] - y[layout.VELOCITY]) / w.velocity,
            turned / ca.DM([w.tilt, w.tilt, w.yaw]),
            ca.DM(turn) * (x[10:13] - y[layout.OMEGA]),
        )

    def effort(u: Any, y: Any) -> Any:
        if level is CommandLevel.ROTORS:
            return (u - y[layout.ROTORS]) / (w.rotor * hover)
        return ca.vertcat(ca.DM(turn) * (u[0:3] - y[layout.OMEGA]), (u[3] - y[layout.THRUST]) / (w.thrust * weight))

    upright = np.array([math.cos(limits.tilt)])
    tilt = Constraint(
        "tilt", lambda x, u, p, y: 1.0 - 2.0 * (x[6] ** 2 + x[7] ** 2), upright, np.array([np.inf]), soft=_TILT
    )
    all_constraints = [*constraints, tilt]
    if level is CommandLevel.ROTORS:
        dt = model.spec.dt

        def reach(x: Any, u: Any, p: Any, y: Any) -> Any:
            airframe = airframe_from_columns(p[DISTURBANCE_SIZE:PARAMETER_SIZE])
            low, high = rotor_limits(tuple(x[13 + i] for i in range(4)), airframe, dt)
            return ca.vertcat(*(u[i] - low[i] for i in range(4)), *(high[i] - u[i] for i in range(4))) / hover

        all_constraints.append(Constraint("rotors", reach, np.zeros(8), np.full(8, np.inf), inputs=True))
        lower, upper = np.asarray(parameters.rotor_speed_min), np.asarray(parameters.rotor_speed_max)
        rest, change = np.full(4, hover), None
    else:
        # The rate loop asks for k (w_cmd - w), which motors that serve all axes at once must be able to follow.
        room = 0.7 * reachable_spin(parameters, model.spec.dt) / parameters.gains.rate
        all_constraints.append(Constraint("spin", lambda x, u, p, y: u[0:3] - x[10:13], -room, room, inputs=True))
        # A tenth of the thrust stays free for attitude, as in the inner loops.
        upper = np.append(limits.body_rate, 0.9 * parameters.max_thrust)
        lower, rest = np.append(-limits.body_rate, 0.0), np.array([0.0, 0.0, 0.0, weight])
        change = 1.0 / np.array([w.rate_change, w.rate_change, w.rate_change, w.thrust_change * weight])
    return Problem(
        model=model,
        horizon=horizon,
        residual=lambda x, u, p, y: ca.vertcat(errors(x, y), effort(u, y)),
        terminal=lambda x, p, y: w.terminal * errors(x, y),
        reference_size=layout.SIZE,
        input_lower=lower.astype(float),
        input_upper=upper.astype(float),
        rest_input=rest,
        input_change=change,
        constraints=all_constraints,
        blocks=blocks,
    )


class NmpcController(BaseController):
    """Nonlinear MPC at rotor or CTBR level, by real-time iteration unless ``settings`` say otherwise.

    The horizon is ``horizon`` steps of ``step`` seconds, longer than the control period; the plan is moved on by the
    time that has passed. Where the reference knows its future (``Reference.ahead``) that is what is tracked.

    Without an answer of the solver the last plan is flown on for 5 steps; then comes the safe command "level": body
    rates that bring the thrust axis upright, and the thrust that carries the weight.

    Args:
        parameters, level, rate_hz: As of every controller.
        settings: Method, iterations, deadline, patience.
        weights: Of the errors.
        model: Instead of the nominal one, e.g. with a learned residual; of the same level.
        horizon, step, blocks: Steps, s, and over how many steps each input is held.
        constraints: Beyond the vehicle's own, e.g. ``keep_out``.
        estimator: Gives p at each call; None: ``p`` is what was set.

    Attributes:
        p: Parameters of the model, to be changed at any time; nothing is rebuilt.
        solution: Of the last call. counts: Of fallbacks and their reasons since it was built.
    """

    name: ClassVar[str] = "nmpc"
    levels: ClassVar[tuple[CommandLevel, ...]] = (CommandLevel.ROTORS, CommandLevel.CTBR)
    learned: ClassVar[Path | None] = None  # file of ``control-stack fit residual``, where no model is given
    estimated: ClassVar[str] = "none"  # name of the estimator, where none is given

    @classmethod
    def flying(cls, options: str) -> type[NmpcController]:
        """This controller as ``nmpc:OPTIONS`` names it: [estimator=NAME][,][model=PATH], the path last.

        With a model it emits the level that the model was fitted at, and has a force observer unless told otherwise.

        Raises:
            InvalidInput: Another option, or a model without a card. UnknownName: no such estimator.
        """
        rest, _, path = options.partition("model=")
        rest = rest.rstrip(",")
        name = rest.removeprefix("estimator=") if rest else "force" if path else "none"
        if rest and not rest.startswith("estimator=") or not options:
            raise InvalidInput(f"nmpc takes estimator=NAME and, last, model=PATH, got '{options}'")
        if name != "none":
            estimator_noise(name)
        if not path:
            return type(cls.__name__, (cls,), {"estimated": name})
        level = fitted_level(path)
        note = f"the model {path} was fitted at level '{level.value}'"
        made = {"estimated": name, "learned": Path(path), "levels": (level,), "level_note": note}
        return type(cls.__name__, (cls,), made)

    def __init__(
        self,
        parameters: QuadrotorParameters,
        level: CommandLevel = CommandLevel.ROTORS,
        rate_hz: float = 100.0,
        *,
        settings: Settings | None = None,
        weights: Weights | None = None,
        model: Dynamics | None = None,
        horizon: int = 20,
        step: float = 0.04,
        blocks: Sequence[int] | None = (1, 1, 1, 1, 2, 2, 3, 4, 5),
        constraints: Sequence[Constraint] = (),
        estimator: Estimator | None = None,
    ):
        super().__init__(parameters, level, rate_hz)
        self._loops = InnerLoops.of(parameters)
        own = LongStepQuadrotor(parameters, level, step)
        if model is None:
            model = own if self.learned is None else load_residual(self.learned, parameters, level, step)
        spec = model.spec
        if (spec.state, spec.inputs, spec.parameters[:PARAMETER_SIZE]) != (
            own.spec.state, own.spec.inputs, own.spec.parameters
        ):  # fmt: skip
            raise InvalidInput(f"nmpc: the model is not one of a quadrotor at level '{level.value}'")
        problem = quadrotor_problem(model, parameters, level, weights or Weights(), horizon, blocks, constraints)
        self._nmpc = Nmpc(problem, self._safe, settings)
        learned = model if isinstance(model, ResidualQuadrotor) else None
        self._references = FlightReference(self._loops, horizon, spec.dt, learned)
        self._rotors = RotorModel(parameters, 1.0 / rate_hz)
        self._share = min(1.0 / (rate_hz * spec.dt), 1.0)  # of a step in a control period
        if estimator is None and self.estimated != "none":
            if not isinstance(model, LongStepQuadrotor | ResidualQuadrotor):
                raise InvalidInput("nmpc: to a model of your own belongs an estimator of your own")
            estimator = DisturbanceFilter(model, estimator_noise(self.estimated), 1.0 / rate_hz)
        self._estimator = estimator
        self._defaults = np.array(spec.defaults, dtype=float)
        self.p = self._defaults.copy()
        self.reset()

    @property
    def counts(self) -> dict[str, int]:
        """Calls by status, and fallbacks by reason."""
        return dict(self._nmpc.counts)

    def reset(self) -> None:
        """Forgets plan, rotor speeds and what was estimated."""
        self._nmpc.reset()
        self._rotors.reset()
        self._forget_estimate()
        self._last: tuple[float, Command] | None = None
        self._quat = np.array([0.0, 0.0, 0.0, 1.0])
        self.solution: Solution | None = None

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """The command of this controller's level. Raises InputRejected ("nan") for a state that is not finite."""
        if not state.is_finite():
            raise InputRejected("nan", "nmpc: state")
        if self._estimator is not None and self._last is not None:
            if reference.position_w is state.position_w:  # so it is while other commands than these are in force
                self._forget_estimate()
            else:
                self.p[:] = self._estimator.update(t, state, self._last[1])[0]
        x = self._state(state)
        y = self._references(reference, x, self.p)
        elapsed = 1.0 / self.rate_hz if self._last is None else t - self._last[0]
        self.solution = s = self._nmpc.solve(x, y, self.p, max(elapsed, 0.0))
        status = f"{s.status}: {s.reason}" if s.reason else s.status
        self.last_result = ControlResult(status, s.cost, s.solve_time, s.states, s.iterations)
        command = self._command(s.inputs[0], state.stamp)
        self._last = (t, command)
        return command

    def _forget_estimate(self) -> None:
        if self._estimator is not None:
            self._estimator.reset()
            self.p[:] = self._defaults

    def _state(self, state: QuadrotorState) -> Array:
        quat = state.quat_xyzw
        self._quat = quat if float(quat @ self._quat) >= 0.0 else -quat  # one attitude has two signs
        # Beyond the vehicle's largest rate no command within it keeps the constraints of a plan.
        omega = np.clip(state.omega_b, -self.parameters.limits.body_rate, self.parameters.limits.body_rate)
        parts = [state.position_w, state.velocity_w, self._quat, omega]
        if self.level is CommandLevel.ROTORS:
            airframe = self.parameters.airframe
            parts.append(
                np.clip(array_of(self._rotors.observe(state)), airframe.rotor_speed_min, airframe.rotor_speed_max)
            )
        return np.concatenate(parts)

    def _command(self, u: Array, stamp: float) -> Command:
        if self.level is CommandLevel.CTBR:
            return RatesThrustCommand(u[0:3].copy(), float(u[3]), stamp)
        # The plan reaches u in a straight line: this is how far after one control period.
        wanted = tuple(w + self._share * (v - w) for w, v in zip(self._rotors.speed, u.tolist(), strict=True))
        command = self._rotors.command_for(wanted, 1.0)
        self._rotors.advance(command)
        return RotorCommand(array_of(command), stamp)

    def _safe(self, x: Array, p: Array) -> Array:
        """The safe command "level"."""
        columns, loops = tuple(x.tolist()), self._loops
        q = columns[6:10]
        yaw = math.atan2(2.0 * (q[0] * q[1] + q[2] * q[3]), 1.0 - 2.0 * (q[1] ** 2 + q[2] ** 2))
        axes = desired_attitude(_LEVEL_AXES, yaw)
        rates = attitude_rates(q, axes, (0.0, 0.0, 0.0), loops.gains.attitude, loops.max_rate)  # type: ignore[arg-type]
        upright = 1.0 - 2.0 * (q[0] ** 2 + q[1] ** 2)
        thrust = float(p[DISTURBANCE_SIZE]) * GRAVITY / max(upright, 0.5) if upright > 0.0 else 0.0
        if self.level is CommandLevel.CTBR:
            return np.array([*rates, thrust])
        return array_of(loops.rate_command(columns, rates, thrust))
