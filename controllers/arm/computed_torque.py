"""Computed torque with an integral: the classical law, on the model's inverse dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from control_stack.arm.parameters import ArmParameters
from control_stack.errors import InvalidInput
from control_stack.types import Array, JointReference
from controllers.arm.base import ArmController, ahead
from controllers.arm.estimate import ArmEstimator
from controllers.arm.step import InverseStep


@dataclass(frozen=True)
class Gains:
    """rate: 1/s, of a critically damped error. integral: share of rate^3 with which its integral acts, below 2."""

    rate: float = 8.0
    integral: float = 0.3

    def __post_init__(self) -> None:
        if not (0.0 < self.rate < 1e3 and 0.0 <= self.integral < 2.0):
            raise InvalidInput("computed torque needs a positive rate and an integral share from 0 to below 2")


class ComputedTorque(ArmController):
    """tau = ID(q, q', q''_ref + 2 w e' + w^2 e + k w^3 int e), w = rate, k = integral, clipped to the limits.

    The error obeys s^3 + 2 w s^2 + w^2 s + k w^3 with a right model: stable for k < 2 (Routh). While a joint's torque
    is at its limit its integral rests.
    """

    name: ClassVar[str] = "computed-torque"

    def __init__(
        self,
        arm: ArmParameters,
        model: InverseStep,
        rate_hz: float = 50.0,
        delay: float | None = 0.0,
        estimator: ArmEstimator | None = None,
        *,
        gains: Gains | None = None,
        **clock: Any,
    ):
        self.gains = gains or Gains()
        super().__init__(arm, model, rate_hz, delay, estimator, **clock)

    def reset(self) -> None:
        """Forgets the integral as well."""
        super().reset()
        self._integral = np.zeros(self.arm.joints)

    def _torque(self, t: float, x: Array, reference: JointReference, delay: float) -> Array:
        n, w = self.arm.joints, self.gains.rate
        wanted = ahead(reference, np.array([delay]))
        error = wanted.position[0] - x[:n]
        integral = self._integral + self._period * error
        push = 2.0 * w * (wanted.velocity[0] - x[n:]) + w**2 * error + self.gains.integral * w**3 * integral
        tau = self.inverse(x[None, :n], x[None, n:], wanted.acceleration + push)[0]
        sent = np.clip(tau, -self.arm.torque_limit, self.arm.torque_limit)
        self._integral = np.where(sent == tau, integral, self._integral)
        return sent
