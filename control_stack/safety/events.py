"""Typed events of the safety layer, published on diagnostics and written to the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum

from control_stack.types import QuadrotorState


class Severity(IntEnum):
    """Levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


class Phase(str, Enum):
    """Where a flight is. Only ``FLYING`` lets the controller's commands through."""

    DISARMED = "disarmed"
    ARMED = "armed"
    TAKEOFF = "takeoff"
    FLYING = "flying"
    HOLD = "hold"
    LANDING = "landing"
    EMERGENCY = "emergency"


AIRBORNE = (Phase.TAKEOFF, Phase.FLYING, Phase.HOLD, Phase.LANDING)


@dataclass(frozen=True)
class Event:
    """Something that happened at time t (s, vehicle clock).

    Attributes:
        name: Stable key, e.g. "command_timeout".
        message: One line for people.
        values: Numbers and names that belong to it.
    """

    t: float
    severity: Severity
    name: str
    message: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """Answer to a request: accepted means that it will be tried; progress is told by events and the phase."""

    accepted: bool
    message: str


def position_values(state: QuadrotorState) -> dict[str, str]:
    """Where a vehicle was last known to be, m, for an event: it is looked for there."""
    return {"position_w": ", ".join(f"{v:.2f}" for v in state.position_w.tolist())}
