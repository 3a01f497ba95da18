"""What must be so before a Crazyflie is flown, and what a pilot should know."""

from __future__ import annotations

from control_stack.algebra import body_axes
from control_stack.crazyflie.wire import NEWEST_PROTOCOL, Info
from control_stack.flight.hardware import Check
from control_stack.types import QuadrotorState

_LOW_BATTERY = 3.5  # V of one cell at rest: a flight from there ends within a minute or two
_STALE = 0.3  # s
_MIN_COS_TILT = 0.9  # 25 degrees, as the safety layer
REASONS = (
    (Info.LOCKED, "locked after an emergency stop: switch it off and on"),
    (Info.CRASHED, "crashed: it wants a recovery request, or to be switched off and on"),
    (Info.TUMBLED, "lying on its side or back"),
)


def refusals(info: Info) -> list[str]:
    """Why the on-board supervisor would not arm, in words."""
    return [text for bit, text in REASONS if info & bit]


def checks(
    uri: str, protocol: int, state: QuadrotorState | None, age: float, voltage: float | None, info: Info | None
) -> list[Check]:
    """The pre-flight list of a connected vehicle. ``age`` of the newest state, s."""
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
    if voltage is None:
        out.append(Check("battery", True, "not measured by this vehicle"))
    else:
        out.append(Check("battery", voltage >= _LOW_BATTERY, f"{voltage:.2f} V (at least {_LOW_BATTERY} V)"))
    if info is None:
        out.append(Check("supervisor", True, "not reported by this firmware"))
        return out
    why = refusals(info)
    ready = not why and bool(info & (Info.CAN_BE_ARMED | Info.AUTO_ARMED))
    out.append(
        Check("supervisor", ready, "; ".join(why) or ("ready to be armed" if ready else "will not be armed now"))
    )
    if info & Info.ARMED:
        by = "arms by itself" if info & Info.AUTO_ARMED else "armed by somebody else"
        out.append(Check("disarmed", bool(info & Info.AUTO_ARMED), by))
    return out
