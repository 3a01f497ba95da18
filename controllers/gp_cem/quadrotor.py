"""The controller ``gp_cem``: plans thrust vectors by sampling, with what the flight has taught and the filter inside.

After Zheng et al., "Safe learning-based gradient-free model predictive control based on cross-entropy method" (2021).
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from control_stack.algebra import norm, quat_from_axes
from control_stack.errors import InputRejected, InvalidInput
from control_stack.laws.attitude import attitude_rates, desired_attitude, desired_rates
from control_stack.laws.cascade import InnerLoops
from control_stack.protocols import ControlResult
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.barrier.batch import BatchFilter
from control_stack.safety.barrier.filter import SafetyFilter
from control_stack.safety.barrier.projection import require_solver
from control_stack.safety.barrier.scene import Scene, load_scene
from control_stack.safety.barrier.thrust import Outlook, ThrustVector
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    QuadrotorState,
    RatesThrustCommand,
    Reference,
)
from controllers.base import BaseController
from controllers.gp_cem.residual import FlightResidual
from controllers.gp_cem.rollout import Ahead, Start, ThrustRollout, Weights
from controllers.gp_cem.search import Found, Search
from controllers.nmpc.flight_reference import ahead
from controllers.planning.sampling_cem import ICEMSettings

SETTINGS = ICEMSettings(rollouts=67, iterations=1, spread=0.4, beta=2.0, elites=0.12, inertia=0.1, kept=0.5)
_EVERY = 2  # calls to a plan
_HALF = np.array([4.0, 4.0, 3.0])  # m/s^2: largest offset from the tracking law


class GpCemController(BaseController):
    """Gradient-free MPC at CTBR or attitude level.

    A plan is a sequence of offsets from a tracking law's thrust vectors. Every other call tries some tens of plans, all
    at once, on the thrust-vector model with the mean of a Gaussian process that learns in this flight, each step
    through the filter of the scene (``ThrustRollout``). The first step of the best is flown, after the exact filter.
    The margin of both is widened to |mean| + beta sigma where that is more than the scene's.

    It plans at half the rate of its calls; between, the law and the last plan's offset meet the newest state.

    Budgets count rollouts, so that equal seeds fly equal flights; ``deadline`` cuts rounds short for those who fly by
    the clock. Where no plan has a finite cost, the tracking law is flown (status "fallback: not_finite").

    Args:
        parameters, level, rate_hz: As of every controller.
        scene: What the filter guards; None: no filter.
        learn: Whether there is a Gaussian process.
        within: Whether rollouts know the filter; False: it changes only what comes out, for comparison.
        settings: Budget of a call. steps, step: of the horizon, the latter in s. weights: of errors.
        seed: Of all draws. deadline: s of a call; None: only rollouts are counted.

    Attributes:
        residual: What it has learnt; None without. guard: The filter of its commands; None without a scene.
        found: The search of the last call.
    """

    name: ClassVar[str] = "gp_cem"
    levels: ClassVar[tuple[CommandLevel, ...]] = (CommandLevel.CTBR, CommandLevel.ATTITUDE)
    guarded: ClassVar[str | None] = None  # scene file, where no scene is given

    @classmethod
    def flying(cls, options: str) -> type[GpCemController]:
        """This controller in a scene, as ``gp_cem:filter=SCENE.yaml`` names it. Raises InvalidInput."""
        key, _, path = options.partition("=")
        if key != "filter" or not path:
            raise InvalidInput(f"gp_cem takes filter=SCENE.yaml, got '{options}'")
        load_scene(path)
        return type(cls.__name__, (cls,), {"guarded": str(Path(path))})

    def __init__(
        self,
        parameters: QuadrotorParameters,
        level: CommandLevel = CommandLevel.CTBR,
        rate_hz: float = 100.0,
        *,
        scene: Scene | None = None,
        learn: bool = True,
        within: bool = True,
        settings: ICEMSettings = SETTINGS,
        weights: Weights | None = None,
        steps: int = 12,
        step: float = 0.1,
        seed: int = 0,
        deadline: float | None = None,
    ):
        super().__init__(parameters, level, rate_hz)
        if steps < 1 or not (math.isfinite(step) and step > 0.0):
            raise InvalidInput(f"gp_cem: a horizon has steps of a positive time, got {steps} of {step} s")
        if deadline is not None and not deadline > 0.0:
            raise InvalidInput("gp_cem: a deadline is a positive number of seconds, or None")
        scene = load_scene(self.guarded) if scene is None and self.guarded is not None else scene
        self.guard: SafetyFilter | None = None
        if scene is not None:
            require_solver()
            self.guard = SafetyFilter(scene, parameters, rate_hz)
        self.residual = FlightResidual(parameters) if learn else None
        self._loops, self._deadline = InnerLoops.of(parameters), deadline
        self._thrust = ThrustVector(parameters, rate_hz)
        inside = BatchFilter(self.guard) if self.guard is not None and within else None
        self._rollout = ThrustRollout(
            parameters, self._thrust.lag_rate, self._loops.tan_max_tilt, self._loops.max_specific_thrust, steps, step,
            weights or Weights(), self.residual, inside,
        )  # fmt: skip
        self._search = Search(settings, steps, _HALF, seed)
        self.reset()

    def reset(self) -> None:
        """Forgets plan, filter and what was learnt."""
        self._thrust.reset()
        self._search.reset()
        if self.residual is not None:
            self.residual.reset()
        if self.guard is not None:
            self.guard.reset()
        self._planned, self._calls = -math.inf, 0
        self.found: Found | None = None

    def __call__(self, t: float, state: QuadrotorState, reference: Reference) -> Command:
        """The command. Raises InputRejected ("nan") for a state or reference that is not finite."""
        given = (reference.position_w, reference.velocity_w, reference.acceleration_w, reference.jerk_w)
        if not state.is_finite() or not all(np.isfinite(part).all() for part in given):
            raise InputRejected("nan", "gp_cem: state or reference")
        began = time.perf_counter()
        if reference.position_w is state.position_w:  # so it is while other commands than these are in force
            self.reset()
        elif self.residual is not None:
            self.residual.observe(t, state)
        outlook = self._thrust.look(state)
        force = outlook.acceleration - outlook.without_thrust
        velocity = outlook.velocity
        if self.residual is not None:  # the outlook knows the nominal model only
            size = np.array([np.linalg.norm(force)])
            velocity = velocity + self._thrust.lag * self.residual.mean(t, velocity[None], size)[0]
        start = Start(t + self._thrust.lag, outlook.position, velocity, force)
        references = self._rollout.references(reference, self._thrust.lag, start.position)
        if self._calls % _EVERY == 0:
            self._plan(t, start, references, began)
        self._calls += 1
        offset = self._search.ahead((t - self._planned) / self._rollout.dt)
        command = self._command(offset, start, references, reference, outlook, state)
        if self.guard is not None:
            if self.residual is not None:
                v, f = start.velocity[None], np.array([np.linalg.norm(force)])
                self.guard.widen(float(self.residual.bound(np.array([t]), v, f)[0]))
            command = self.guard(state, command)
        self._thrust.sent(command, outlook)
        if self.residual is not None:
            self.residual.sent(float(command.thrust) / float(self.parameters.mass))  # type: ignore[union-attr]
        self.last_result = replace(self.last_result, solve_time=time.perf_counter() - began)
        return command

    def _plan(self, t: float, start: Start, references: Ahead, began: float) -> None:
        """Searches offsets from this state on, and notes how that went."""
        rollout = self._rollout
        told = 0.0 if self.guard is None else self.guard.least_unknown
        margins = rollout.margins(start, references, told)
        best: tuple[float, Array | None] = (math.inf, None)

        def cost(plans: Array) -> Array:
            nonlocal best
            costs, paths = rollout(start, references, plans, margins)
            k = int(costs.argmin())
            if costs[k] < best[0]:
                best = (float(costs[k]), paths[k])
            return costs

        elapsed = 0.0 if self._planned == -math.inf else max(t - self._planned, 0.0)
        until = None if self._deadline is None else began + self._deadline
        self.found = found = self._search(cost, elapsed / rollout.dt, until)
        self._planned = t
        status = "ok" if math.isfinite(found.cost) else "fallback: not_finite"
        self.last_result = ControlResult(status, found.cost, plan=best[1], iterations=found.rounds)

    def _command(
        self, offset: Array, start: Start, references: Ahead, reference: Reference, outlook: Outlook,
        state: QuadrotorState,
    ) -> Command:  # fmt: skip
        """The command that turns the thrust vector to the tracking law's plus the offset."""
        rollout = self._rollout
        p, v, now = (part[None] for part in (start.position, start.velocity, start.force))
        law, _ = rollout.tracking(p, v, now, start.t, references, 0)
        force = rollout.limited(law[0] + offset)
        later = ahead(reference, self._thrust.lag)
        columns: Any = tuple(force.tolist())
        axes = desired_attitude(columns, float(later.yaw))
        thrust = float(self.parameters.mass) * float(np.clip(norm(columns), self._thrust.least, self._thrust.most))
        if self.level is CommandLevel.ATTITUDE:
            like: Command = AttitudeThrustCommand(np.array(quat_from_axes(*axes)), thrust, stamp=state.stamp)
        else:
            turning = desired_rates(axes, norm(columns), tuple(later.jerk_w.tolist()), float(later.yaw_rate))
            q: Any = tuple(state.quat_xyzw.tolist())
            rates = attitude_rates(q, axes, turning, self._loops.gains.attitude, self._loops.max_rate)  # type: ignore[arg-type]
            like = RatesThrustCommand(np.array([0.0, 0.0, float(rates[2])]), thrust, state.stamp)
        return self._thrust.write(force, like, outlook)
