"""What every controller has in common, so that one of your own is its law and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from control_stack.errors import IncompatibleLevels
from control_stack.protocols import ControllerSpec, ControlResult
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import CommandLevel

if TYPE_CHECKING:
    from control_stack.foundation.weights import PolicyWeights
    from control_stack.learning.lipschitz.dynamics import LipschitzDynamics


class BaseController:
    """Derive, set ``levels`` (best first), write ``__call__``. Without a ``name`` the class name is used.

    Attributes:
        parameters: Of the vehicle to be flown.
        level: The command level to emit: one of ``levels`` that the vehicle accepts.
        rate_hz: Rate at which it is called.
        last_result: How the last call went; replace it where there is something to say.
    """

    name: ClassVar[str] = ""
    levels: ClassVar[tuple[CommandLevel, ...]] = ()
    level_note: ClassVar[str] = ""  # what to do where a vehicle accepts none of the levels
    needs: ClassVar[tuple[str, ...]] = ()
    warm_up: ClassVar[int] = 10

    def __init__(self, parameters: QuadrotorParameters, level: CommandLevel, rate_hz: float = 100.0):
        self.parameters, self.level, self.rate_hz = parameters, level, rate_hz
        self.last_result = ControlResult()
        if level not in self.levels:
            raise IncompatibleLevels(
                self.spec.name,
                [offered.value for offered in self.levels],
                parameters.name,
                [level.value],
                self.level_note,
            )

    @property
    def spec(self) -> ControllerSpec:
        """What it offers, from the class attributes."""
        name = self.name or type(self).__name__
        return ControllerSpec(name, self.levels, self.rate_hz, self.needs, self.warm_up)

    @property
    def verifiable(self) -> PolicyWeights | LipschitzDynamics | None:
        """What can be proved of it before it flies (``control_stack.verification``): weights or a model."""
        return None

    def reset(self) -> None:
        """Forget the past. Nothing to forget unless the law keeps something."""
