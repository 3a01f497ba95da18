"""MAV_CMDs of the emulated autopilot, from COMMAND_LONG and COMMAND_INT: each answers with a MAV_RESULT."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from control_stack.frames import enu_yaw_from_ned_yaw
from control_stack.px4 import modes
from control_stack.px4.modes import Mode
from sim.emulators.px4.autopilot import Autopilot
from sim.emulators.px4.messages import HOME
from sim.emulators.px4.streams import Streams

ACCEPTED, REJECTED, DENIED, UNSUPPORTED = 0, 1, 2, 3  # MAV_RESULT
_CUSTOM_MODE = 1  # MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
_EARTH = 6371000.0  # m

Parameters = Sequence[float]


class Commands:
    """Commands of one autopilot; those about messages act on the streams of whoever asks."""

    def __init__(self, autopilot: Autopilot):
        self._autopilot = autopilot
        self._of: dict[int, Callable[[Parameters, Streams], int]] = {
            20: self._return,  # MAV_CMD_NAV_RETURN_TO_LAUNCH
            21: self._land,  # MAV_CMD_NAV_LAND
            22: self._takeoff,  # MAV_CMD_NAV_TAKEOFF
            176: self._set_mode,  # MAV_CMD_DO_SET_MODE
            185: self._terminate,  # MAV_CMD_DO_FLIGHTTERMINATION
            192: self._reposition,  # MAV_CMD_DO_REPOSITION
            400: self._arm,  # MAV_CMD_COMPONENT_ARM_DISARM
            511: self._set_interval,  # MAV_CMD_SET_MESSAGE_INTERVAL
            512: self._request,  # MAV_CMD_REQUEST_MESSAGE
            520: self._version,  # MAV_CMD_REQUEST_AUTOPILOT_CAPABILITIES
        }

    def run(self, number: int, p: Parameters, streams: Streams) -> int:
        """Carries out a command with its seven parameters, of which any may be NaN; returns MAV_RESULT."""
        handler = self._of.get(number)
        return UNSUPPORTED if handler is None else handler(p, streams)

    def _arm(self, p: Parameters, streams: Streams) -> int:
        if p[0] == 1.0:
            return ACCEPTED if self._autopilot.arm() else REJECTED
        if p[0] == 0.0:
            return ACCEPTED if self._autopilot.disarm(force=p[1] == modes.FORCE) else REJECTED
        return DENIED

    def _set_mode(self, p: Parameters, streams: Streams) -> int:
        if not all(math.isfinite(v) and 0.0 <= v < 256.0 for v in p[:2]) or not int(p[0]) & _CUSTOM_MODE:
            return DENIED
        sub = int(p[2]) if math.isfinite(p[2]) and 0.0 <= p[2] < 256.0 else 0
        return self._enter(Mode(int(p[1]), sub if int(p[1]) == modes.MAIN["AUTO"] else 0))

    def _enter(self, mode: Mode) -> int:
        return ACCEPTED if self._autopilot.set_mode(mode) else REJECTED

    def _takeoff(self, p: Parameters, streams: Streams) -> int:
        if math.isfinite(p[6]) and not self._autopilot.parameters.set("MIS_TAKEOFF_ALT", p[6] - HOME[2]):
            return DENIED
        return self._enter(modes.TAKEOFF)

    def _land(self, p: Parameters, streams: Streams) -> int:
        return self._enter(modes.LAND)

    def _return(self, p: Parameters, streams: Streams) -> int:
        return self._enter(modes.RTL)

    def _terminate(self, p: Parameters, streams: Streams) -> int:
        return ACCEPTED if p[0] == 1.0 and self._autopilot.disarm(force=True) else DENIED

    def _reposition(self, p: Parameters, streams: Streams) -> int:
        """Latitude, longitude (deg) and altitude (m) of the goal; NaN keeps what is."""
        if self._enter(modes.LOITER) != ACCEPTED:
            return REJECTED
        home = self._autopilot.guidance.home
        north = math.radians(p[4] - HOME[0]) * _EARTH
        east = math.radians(p[5] - HOME[1]) * _EARTH * math.cos(math.radians(HOME[0]))
        goal = home + np.array([east, north, p[6] - HOME[2]])
        known = np.isfinite(goal)
        if np.any(np.abs(goal[known]) > 1e4) or goal[2] < home[2]:
            return DENIED
        yaw = float(enu_yaw_from_ned_yaw(p[3])) if math.isfinite(p[3]) else None
        self._autopilot.guidance.go_to(goal, yaw)
        return ACCEPTED

    def _set_interval(self, p: Parameters, streams: Streams) -> int:
        return ACCEPTED if streams.set_interval(p[0], p[1]) else DENIED

    def _request(self, p: Parameters, streams: Streams) -> int:
        return ACCEPTED if streams.request(p[0]) else UNSUPPORTED

    def _version(self, p: Parameters, streams: Streams) -> int:
        return ACCEPTED if p[0] == 1.0 and streams.request(148.0) else DENIED  # AUTOPILOT_VERSION


def command_parameters(m: Any) -> tuple[float, ...]:
    """The seven parameters of COMMAND_LONG or COMMAND_INT, whose places are in 1e-7 deg."""
    if m.get_type() == "COMMAND_LONG":
        return (m.param1, m.param2, m.param3, m.param4, m.param5, m.param6, m.param7)
    unknown = 0x7FFFFFFF  # INT32_MAX: NaN of an integer place
    x, y = (math.nan if v == unknown else v * 1e-7 for v in (m.x, m.y))
    return (m.param1, m.param2, m.param3, m.param4, x, y, m.z)
