"""What must be there before a PX4 vehicle is flown, and what a pilot should know."""

from __future__ import annotations

import math

from control_stack.errors import LinkError
from control_stack.flight.hardware import Check
from control_stack.px4.thrust import PX4Thrust
from control_stack.types import QuadrotorState
from hardware.px4.link import Link

# MAV_PROTOCOL_CAPABILITY bits (common.xml)
_NEEDED = {"SET_ATTITUDE_TARGET": 64, "SET_POSITION_TARGET_LOCAL_NED": 128, "MAVLINK2": 8192}
_PARAMETERS = ("MPC_THR_HOVER", "THR_MDL_FAC", "COM_OF_LOSS_T", "COM_OBL_RC_ACT", "MC_ROLL_P", "MC_PITCH_P")
_LOW_BATTERY = 0.25
_STALE = 0.3  # s
_SCALE = 1.5


def require_capabilities(link: Link) -> None:
    """Asks for version and parameters. Raises LinkError naming what the firmware lacks."""
    number = link.mavlink.MAVLINK_MSG_ID_AUTOPILOT_VERSION
    link.command(link.mavlink.MAV_CMD_REQUEST_MESSAGE, float(number))
    if not link.wait(lambda: link.telemetry.capabilities is not None, 2.0):
        raise LinkError(f"system {link.system} does not tell its AUTOPILOT_VERSION; needs PX4 v1.12 or later")
    found = link.telemetry.capabilities or 0
    missing = [name for name, bit in _NEEDED.items() if not found & bit]
    if missing:
        version = ".".join(map(str, link.telemetry.firmware or ()))
        raise LinkError(f"system {link.system} runs PX4 {version}, which lacks {', '.join(missing)}")
    lacking = [name for name in _PARAMETERS if link.parameter(name) is None]
    if lacking:
        raise LinkError(f"system {link.system} does not have the parameter {', '.join(lacking)}")


def checks(link: Link, thrust: PX4Thrust, state: QuadrotorState, now: float) -> list[Check]:
    """The pre-flight list of a connected vehicle."""
    t, p = link.telemetry, link.telemetry.parameters
    version = ".".join(map(str, t.firmware or ()))
    age = now - state.stamp
    mode = t.mode.name if t.mode else "unknown"
    known = math.isfinite(t.battery)
    return [
        Check("autopilot", True, f"PX4 {version}, system {link.system}, mode {mode}"),
        Check("disarmed", not t.armed, "armed by somebody else" if t.armed else "yes"),
        Check(
            "estimate",
            state.valid and age < _STALE,
            f"at {', '.join(f'{v:.2f}' for v in state.position_w)} m, {age * 1e3:.0f} ms old"
            if state.valid
            else "no local position yet",
        ),
        Check(
            "battery",
            not known or t.battery > _LOW_BATTERY,
            f"{t.battery:.0%}, {t.voltage:.1f} V" if known else "not reported",
        ),
        _same_scale(p["MPC_THR_HOVER"], thrust.hover_thrust),
        Check(
            "THR_MDL_FAC",
            abs(p["THR_MDL_FAC"] - thrust.model_factor) <= 0.01,
            f"{p['THR_MDL_FAC']:g} on the vehicle, {thrust.model_factor:g} in the vehicle file (model_factor)",
        ),
        Check(
            "offboard loss",
            True,
            f"COM_OBL_RC_ACT {p['COM_OBL_RC_ACT']:.0f} after COM_OF_LOSS_T {p['COM_OF_LOSS_T']:g} s",
        ),
        Check("clock", link.time.round_trip < 0.1, f"round trip {link.time.round_trip * 1e3:.1f} ms"),
    ]


def _same_scale(found: float, filed: float) -> Check:
    """MPC_THR_HOVER is where PX4's own estimate of the hover thrust starts from, so it need not be exact.

    Thrust is off by about the ratio of the two. A cascade without integral then flies too high by
    (1 - 1 / ratio) g / gain, at the limits 0.4 m and -0.6 m for a gain of 8 1/s^2.
    """
    detail = f"{found:g} on the vehicle, {filed:g} in the vehicle file (hover_thrust)"
    close = found > 0.0 and 1.0 / _SCALE <= filed / found <= _SCALE
    if not close:
        detail += ": another airframe? name its file by --vehicle"
    elif abs(found - filed) > 0.05:
        detail += ": they differ, expect an error in height until both are what it hovers at"
    return Check("MPC_THR_HOVER", close, detail)
