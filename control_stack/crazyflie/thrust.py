"""Collective thrust in N <-> the Crazyflie's 16-bit thrust command, with what the battery makes of it.

The firmware reads the command as thrust on a linear scale and finds the duty cycle for it from the motors' voltage
curve and the battery voltage, V = a T + b T^2 (Bitcraze, motors.c). A build without that compensation takes the
command as the duty cycle itself: there the same curve is inverted on the host.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from control_stack.errors import InvalidInput

COMMAND_SPAN = 65536  # of the 16-bit command
NOMINAL_SUPPLY = 3.7  # V, one LiPo cell: assumed until the vehicle has told its own
_LOWEST_SUPPLY = 2.0  # V: below it the firmware takes the reading for broken and does not compensate


@dataclass(frozen=True)
class CrazyflieThrust:
    """The conversion of one vehicle.

    Attributes:
        full_scale: Thrust at the full command, N.
        linear, quadratic: Of the motors' voltage curve, V/N and V/N^2.
        compensated: Whether the firmware compensates the battery voltage (1 or 0, as in the vehicle file).
    """

    full_scale: float
    linear: float
    quadratic: float
    compensated: float

    def __post_init__(self) -> None:
        if not (self.full_scale > 0.0 and self.linear > 0.0):
            raise InvalidInput("crazyflie: full_scale and linear must be positive")
        if self.linear + 2.0 * self.quadratic * self.full_scale <= 0.0:
            raise InvalidInput("crazyflie: the voltage of the motors must rise up to full_scale")

    def command(self, thrust: float, supply: float = NOMINAL_SUPPLY) -> int:
        """The command (0..65535) for a thrust, N, at a battery voltage, V; the nearest there is."""
        if self._linear(supply):
            share = thrust / self.full_scale
        else:
            wanted = min(max(thrust, 0.0), self._peak())
            share = (self.linear * wanted + self.quadratic * wanted * wanted) / max(supply, 1e-3)
        return min(max(round(share * COMMAND_SPAN), 0), COMMAND_SPAN - 1)

    def thrust(self, command: int, supply: float = NOMINAL_SUPPLY) -> float:
        """The thrust, N, that a command gives at a battery voltage, V."""
        share = min(max(command, 0), COMMAND_SPAN - 1) / COMMAND_SPAN
        if self._linear(supply):
            return min(share * self.full_scale, self._at_voltage(supply))
        return self._at_voltage(share * supply)

    def _linear(self, supply: float) -> bool:
        return bool(self.compensated) and supply >= _LOWEST_SUPPLY

    def _peak(self) -> float:
        """Thrust beyond which the voltage curve does not rise, N; infinite for one that always does."""
        return -0.5 * self.linear / self.quadratic if self.quadratic < 0.0 else math.inf

    def _at_voltage(self, volts: float) -> float:
        """The rising solution of a T + b T^2 = volts, N; the peak of the curve above it."""
        if self.quadratic == 0.0:
            return volts / self.linear
        square = self.linear * self.linear + 4.0 * self.quadratic * volts
        return self._peak() if square <= 0.0 else (math.sqrt(square) - self.linear) / (2.0 * self.quadratic)
