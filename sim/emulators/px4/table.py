"""Parameters of the emulated autopilot: the few of PX4's that its clients read, set or depend on."""

from __future__ import annotations

import math
import struct

from control_stack.px4.thrust import PX4Thrust

INT32, REAL32 = 6, 9  # MAV_PARAM_TYPE

# PX4 v1.18's defaults (parameter reference), but for those named below.
_FLOATS = {
    "COM_DISARM_LAND": 2.0,  # s on the ground after a flight until it disarms
    "COM_DISARM_PRFLT": 10.0,  # s armed without a take-off until it disarms
    "COM_OF_LOSS_T": 1.0,  # s without setpoints until the offboard-loss action
    "BAT_CRIT_THR": 0.07,
    "MIS_TAKEOFF_ALT": 2.5,  # m
    "MPC_LAND_SPEED": 0.7,  # m/s
    "MPC_TKO_SPEED": 1.5,  # m/s
    "MPC_XY_CRUISE": 5.0,  # m/s
}
_INTEGERS = {
    "COM_OBL_RC_ACT": 0,  # see autopilot.LOSS_ACTIONS
    "EKF2_EV_CTRL": 0,
    "MAV_SYS_ID": 1,
    "SYS_AUTOSTART": 4001,  # x500
    "SYS_HITL": 0,
}
_LIMITS = {"COM_OF_LOSS_T": (0.0, 60.0), "COM_OBL_RC_ACT": (0, 7), "MIS_TAKEOFF_ALT": (0.0, 80.0)}


class ParameterTable:
    """Values by name, in the order of their index on the wire."""

    def __init__(self, thrust: PX4Thrust, system: int, tilt_gain: tuple[float, float]):
        self._values: dict[str, float] = {
            **_FLOATS,
            **_INTEGERS,
            "MPC_THR_HOVER": thrust.hover_thrust,
            "THR_MDL_FAC": thrust.model_factor,
            "MC_ROLL_P": tilt_gain[0],
            "MC_PITCH_P": tilt_gain[1],
        }
        self._values["MAV_SYS_ID"] = system
        self._names = sorted(self._values)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __len__(self) -> int:
        return len(self._names)

    def find(self, name: str, index: int) -> str | None:
        """The name that a PARAM_REQUEST_READ asks for; None where there is none."""
        if index >= 0:
            return self._names[index] if index < len(self._names) else None
        return name if name in self._values else None

    def index(self, name: str) -> int:
        """Place on the wire."""
        return self._names.index(name)

    def kind(self, name: str) -> int:
        """MAV_PARAM_TYPE."""
        return INT32 if name in _INTEGERS else REAL32

    def wire(self, name: str) -> float:
        """The value as PARAM_VALUE carries it: integers bytewise in the float (PX4's encoding)."""
        value = self._values[name]
        return struct.unpack("<f", struct.pack("<i", int(value)))[0] if self.kind(name) == INT32 else value

    def set_from_wire(self, name: str, value: float, kind: int) -> bool:
        """Takes a PARAM_SET; False for another type, no number, or one outside the range."""
        if name not in self._values or kind != self.kind(name):
            return False
        if kind == INT32:
            value = struct.unpack("<i", struct.pack("<f", value))[0]
        return self.set(name, value)

    def set(self, name: str, value: float) -> bool:
        """Sets a value if it is finite and in range."""
        low, high = _LIMITS.get(name, (-math.inf, math.inf))
        if not math.isfinite(value) or not low <= value <= high:
            return False
        self._values[name] = value
        return True
