"""What must be so before a Crazyflie is flown, and what a pilot should know."""

from __future__ import annotations

import math
from dataclasses import dataclass

from control_stack.algebra import body_axes
from control_stack.crazyflie.wire import NEWEST_PROTOCOL, Info
from control_stack.flight.hardware import Check
from control_stack.types import QuadrotorState

_LOW_BATTERY = 3.5  # V of one cell at rest: a flight from there ends within a minute or two
_STALE = 0.3  # s
_MIN_COS_TILT = 0.9  # 25 degrees, as the safety layer
_UNHEARD = 1.0  # s: battery and supervisor come ten times a second
REASONS = (
    (Info.LOCKED, "locked after an emergency stop: switch it off and on"),
    (Info.CRASHED, "crashed: it wants a recovery request, or to be switched off and on"),
    (Info.TUMBLED, "lying on its side or back"),
)


def refusals(info: Info) -> list[str]:
    """Why the on-board supervisor would not arm, in words."""
    return [text for bit, text in REASONS if info & bit]


@dataclass(frozen=True)
class Health:
    """What is known of battery and supervisor.

    Attributes:
        voltage: V; None where it is not measured or was not heard.
        info: Supervisor bits; None where they were not heard.
        told: Which of "battery" and "supervisor" the firmware has a variable for.
        age: Of what was heard, s; inf for nothing yet.
    """

    voltage: float | None = None
    info: Info | None = None
    told: frozenset[str] = frozenset()
    age: float = math.inf


def unheard(what: str, health: Health) -> str | None:
    """Why nothing is known of what the firmware has a variable for; None where it is known, or has none."""
    if what not in health.told or health.age <= _UNHEARD:
        return None
    since = "since it was connected" if math.isinf(health.age) else f"for {health.age:.1f} s"
    return f"reported by this firmware, but nothing was heard of it {since}: is the link too slow?"


def in_other_hands(info: Info) -> str | None:
    """Whose the vehicle is by its own word; None for nobody's."""
    if info & Info.FLYING and info & Info.ARMED:  # the firmware forgets it 2 s after the last thrust
        return "it flies, or did two seconds ago: somebody else has it"
    return "armed by somebody else" if info & Info.ARMED and not info & Info.AUTO_ARMED else None


def checks(uri: str, protocol: int, state: QuadrotorState | None, age: float, health: Health) -> list[Check]:
    """The pre-flight list of a connected vehicle. ``age`` of the newest state, s.

    What the firmware does not tell passes; what it tells and nobody heard fails: it may be armed, and fly.
    """
    told = f"{uri}, protocol version {protocol}"
    if protocol > NEWEST_PROTOCOL:
        told += f", newer than this driver's {NEWEST_PROTOCOL}"
    out = [Check("link", True, told)]
    fresh = state is not None and state.valid and age < _STALE
    where = "no state" if state is None else f"at {', '.join(f'{v:.2f}' for v in state.position_w)} m"
    out.append(Check("estimate", fresh, f"{where}, {1e3 * age:.0f} ms old" if state is not None else where))
    if state is not None:
        up = float(body_axes(tuple(state.quat_xyzw.tolist()))[2][2])  # type: ignore[arg-type]
        out.append(Check("upright", up > _MIN_COS_TILT, "yes" if up > _MIN_COS_TILT else "tilted more than 25 degrees"))
    voltage, info = health.voltage, health.info
    silent = unheard("battery", health)
    if silent:
        out.append(Check("battery", False, silent))
    elif voltage is None:
        out.append(Check("battery", True, "not measured by this vehicle"))
    else:
        out.append(Check("battery", voltage >= _LOW_BATTERY, f"{voltage:.2f} V (at least {_LOW_BATTERY} V)"))
    silent = unheard("supervisor", health)
    if silent or info is None:
        out.append(Check("supervisor", silent is None, silent or "not reported by this firmware"))
        return out
    why = refusals(info)
    ready = not why and bool(info & (Info.CAN_BE_ARMED | Info.AUTO_ARMED))
    out.append(
        Check("supervisor", ready, "; ".join(why) or ("ready to be armed" if ready else "will not be armed now"))
    )
    if info & Info.ARMED:
        whose = in_other_hands(info)
        out.append(Check("disarmed", whose is None, whose or "arms by itself"))
    return out
