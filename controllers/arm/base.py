"""What the controllers of an arm share: what acts when, the state that a command will meet, and model parameters."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InputRejected, InvalidInput
from control_stack.protocols import ControllerSpec, ControlResult, JointTrajectory
from control_stack.types import ArmState, Array, CommandLevel, JointCommand, JointReference
from controllers.arm.estimate import ArmEstimator
from controllers.arm.step import InverseStep

_RECENT = 20  # calls whose median duration is taken as the next one's


def following(trajectory: JointTrajectory, t: float) -> JointReference:
    """The reference at t (s since the start) that knows its future."""
    now = trajectory(t)
    return JointReference(now.position, now.velocity, now.acceleration, lambda ahead: trajectory(t + ahead))


def ahead(reference: JointReference, offsets: Array) -> JointReference:
    """The reference ``offsets`` (m,) s later, fields (m, n): as it knows itself, otherwise at constant velocity."""
    if reference.ahead is not None:
        return reference.ahead(offsets)
    velocity = np.tile(reference.velocity, (len(offsets), 1))
    position = reference.position + offsets[:, None] * velocity
    return JointReference(position, velocity, np.zeros_like(velocity))


class ArmController:
    """Derive and write ``_torque``. A command that is computed from the state at t acts at t + delay.

    The state is carried on by the model to when the command will act; what acts until then is the command before.

    Args:
        arm: Its parameters.
        model: Carries the state on, and gives torques by inverse dynamics.
        rate_hz: Rate of calls.
        delay: s from state to action, at most a period; None: the median of what the last calls took.
        estimator: Gives p at every call; None: ``p`` is what was set.
        clock: s, steadily rising; tells how long a call takes.

    Attributes:
        p: Parameters of the model, to be changed at any time. uncertainty: Their standard deviations, as last told.
        last_result: Of the last call.
    """

    name: ClassVar[str] = ""

    def __init__(
        self,
        arm: ArmParameters,
        model: InverseStep,
        rate_hz: float = 50.0,
        delay: float | None = 0.0,
        estimator: ArmEstimator | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self._period = 1.0 / rate_hz
        if delay is not None and not 0.0 <= delay <= self._period + 1e-9:
            raise InvalidInput(f"an arm's compute delay is from 0 to a period of {self._period:g} s, got {delay:g}")
        self.arm, self.model, self.rate_hz, self._delay, self._clock = arm, model, rate_hz, delay, clock
        self._estimator = estimator
        self._flow = model.flow()
        self._inverse = model.inverse
        self.reset()

    @property
    def spec(self) -> ControllerSpec:
        """What it offers."""
        return ControllerSpec(self.name, (CommandLevel.JOINTS,), self.rate_hz)

    def reset(self) -> None:
        """Forgets the past and what was estimated."""
        self.p = np.array(self.model.spec.defaults, dtype=float)
        self.uncertainty = np.full(len(self.p), math.nan)
        self.last_result = ControlResult()
        self._sent: list[tuple[float, Array]] = []  # (stamp, torque) of the last two commands
        self._durations: deque[float] = deque(maxlen=_RECENT)
        self._began = 0.0
        if self._estimator is not None:
            self._estimator.reset()

    def __call__(self, t: float, state: ArmState, reference: JointReference) -> JointCommand:
        """The command for this state.

        Raises:
            InputRejected: "nan" or "shape": a state that is none of this arm's, or one that the model makes nothing of.
        """
        self._began = self._clock()
        t = round(t, 9)  # stamps are whole nanoseconds: the same time is the same number wherever it came from
        x = np.concatenate([state.position, state.velocity])
        if x.shape != (2 * self.arm.joints,):
            raise InputRejected("shape", f"{self.name}: an arm of {self.arm.joints} joints, got a state of {x.shape}")
        if not np.isfinite(x).all():
            raise InputRejected("nan", f"{self.name}: state")
        delay = self._expected_delay()
        if self._estimator is not None:
            acted = self._acted(delay)
            if acted is None:  # the brakes have held the arm: what moved it until now is not known
                self._estimator.reset()
                acted = np.zeros(self.arm.joints)
            p, self.uncertainty = self._estimator.update(t, state, JointCommand(acted, state.stamp))
            self.p = np.array(p, dtype=float)
        if delay > 0.0 and self._sent:
            x = np.asarray(self._flow(x, self._sent[-1][1], self.p, delay)).ravel()
        effort = self._torque(t, x, reference, delay)
        if not np.isfinite(effort).all():
            raise InputRejected("nan", f"{self.name}: torques of the model for this state")
        self._sent = [*self._sent[-1:], (t, effort)]
        self._durations.append(self._clock() - self._began)
        return JointCommand(effort, state.stamp)

    @property
    def last_duration(self) -> float:
        """s that the last call took, estimator and all; 0 before the first."""
        return self._durations[-1] if self._durations else 0.0

    def inverse(self, q: Array, v: Array, a: Array) -> Array:
        """tau (m, n) along samples (m, n) with the present p."""
        return np.asarray(self._inverse(q.T, v.T, a.T, self.p)).T

    def _torque(self, t: float, x: Array, reference: JointReference, delay: float) -> Array:
        """(n,) N m within the limits, for the state x (2n,) that the command will meet at t + delay."""
        raise NotImplementedError

    def _expected_delay(self) -> float:
        if self._delay is not None:
            return self._delay
        return min(float(np.median(self._durations)), self._period) if self._durations else 0.0

    def _acted(self, delay: float) -> Array | None:
        """(n,) mean torque of the last period: of the command before the last until the last one took over."""
        if len(self._sent) < (2 if delay > 0.0 else 1):
            return None
        share = delay / self._period
        return share * self._sent[0][1] + (1.0 - share) * self._sent[-1][1]
