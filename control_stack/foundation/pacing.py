"""The policy in flight: its memory moves on at 100 Hz whatever the rate of calls, and NaN is never flown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from control_stack.errors import InputRejected, InvalidInput
from control_stack.foundation.observation import ACTION_SIZE
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import RATE_HZ

_PERIOD = 1.0 / RATE_HZ
# The clock is a grid that follows the calls slowly: jitter neither skips its steps nor slows it down.
_PULL = 0.1


class PacedPolicy:
    """One vehicle's policy with hidden state, previous action and the clock that moves them.

    Between two steps of the 100 Hz clock actions are computed from the newest observation and the hidden
    state of the last step, which stays; the previous action is then the mean of what was sent since that
    step, as in PX4's mc_raptor. Time that goes back starts the memory afresh.
    """

    def __init__(self, policy: GRUPolicy, rate_hz: float = RATE_HZ):
        """Raises InvalidInput for a rate of calls that is no multiple of 100 Hz."""
        calls = rate_hz / RATE_HZ
        if not (math.isfinite(calls) and calls >= 0.999 and abs(calls - round(calls)) < 1e-3):
            raise InvalidInput(f"the policy runs at multiples of {RATE_HZ:g} Hz, not at {rate_hz:g} Hz")
        self._net = policy.stepper()
        # Called at 100 Hz, every call is a step unless two come together.
        self._slack = _PERIOD * (0.75 if round(calls) == 1 else 0.5 / round(calls))
        self.reset()

    def reset(self) -> None:
        """Initial hidden state, no previous action, and the next call is a step of the clock."""
        self._net.reset()
        self._tick, self._time = -math.inf, -math.inf
        self._sum, self._count = (0.0,) * ACTION_SIZE, 1
        self._last: list[float] | None = None
        self._held = False

    def __call__(self, t: float, features: Sequence[float]) -> list[float]:
        """Raw action, 4 floats, for the 18 features (``observation.features``) at time t, s.

        Raises:
            InputRejected: "nan", when the features are not finite and there is no last action to hold.
        """
        if not math.isfinite(sum(features)):
            return self.hold()
        if t < self._time:
            self.reset()
        self._time = t
        a, b, c, d = self._sum
        n = self._count
        seen = (*features, a / n, b / n, c / n, d / n)
        behind = t - self._tick
        if behind >= _PERIOD - self._slack:
            self._tick = t if behind > 2.0 * _PERIOD else self._tick + _PERIOD + _PULL * (behind - _PERIOD)
            action = self._net.step(seen).tolist()
            self._sum, self._count = tuple(action), 1
        else:
            action = self._net.peek(seen).tolist()
            self._sum = (a + action[0], b + action[1], c + action[2], d + action[3])
            self._count = n + 1
        self._last, self._held = action, False
        return action

    def flown_by_others(self, action: Sequence[float]) -> None:
        """Not what was answered is in force but this: 4 floats, the previous action of the next step."""
        self._sum, self._count = tuple(action), 1

    def hold(self) -> list[float]:
        """The last valid action, once; asked again without a valid observation in between it raises "nan"."""
        if self._last is None or self._held:
            raise InputRejected("nan", "the policy's observation is not finite")
        self._held = True
        return self._last
