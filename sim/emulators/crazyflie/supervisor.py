"""The on-board supervisor: who may turn the motors, and what becomes of setpoints that age (firmware, supervisor.c)."""

from __future__ import annotations

from dataclasses import dataclass

from control_stack.crazyflie.wire import LEVEL_OUT_AFTER, MOTORS_OFF_AFTER, Info

_TUMBLE_COS, _TUMBLE_TIME = 0.5, 1.0  # 60 degrees for a second
_UPSIDE_DOWN_COS, _UPSIDE_DOWN_TIME = -0.2, 0.1
_FLYING_HYSTERESIS = 2.0  # s without thrust until it counts as landed
_WATCHDOG = 1.0  # s between emergency-stop watchdog messages, once there was one


@dataclass
class Supervisor:
    """Arming and its end.

    Attributes:
        armed: By an arming message; ended by the same, or by anything that goes wrong.
        locked: After an emergency stop, until the power switch.
        crashed: Tumbled while flying; until the recovery message.
        preflight_timeout, landed_timeout: s armed on the ground until it disarms: before and after a flight.
    """

    armed: bool = False
    locked: bool = False
    crashed: bool = False
    tumbled: bool = False
    flying: bool = False
    preflight_timeout: float = 30.0
    landed_timeout: float = 3.0
    _ground_since: float = 0.0
    _flown: bool = False
    _last_thrust: float = -1e9
    _tilted_since: float | None = None
    _watchdog: float | None = None

    def can_be_armed(self) -> bool:
        """Whether an arming message would be taken now."""
        return not (self.armed or self.locked or self.crashed or self.tumbled)

    def arm(self, t: float, wanted: bool) -> bool:
        """Takes an arming message; returns whether the vehicle is as wanted."""
        if wanted and self.can_be_armed():
            self.armed, self._flown, self._ground_since = True, False, t
        elif not wanted:
            self.disarm()
        return self.armed == wanted

    def disarm(self) -> None:
        """Motors off until armed again."""
        self.armed = False

    def recover(self) -> bool:
        """Takes a crash recovery message; returns whether nothing is crashed any more."""
        if not self.tumbled:
            self.crashed = False
        return not self.crashed

    def emergency_stop(self) -> None:
        """Motors off for good."""
        self.locked = True
        self.disarm()

    def watchdog(self, t: float) -> None:
        """An emergency-stop watchdog message: from now on they must keep coming."""
        self._watchdog = t

    def update(self, t: float, cos_tilt: float, thrusting: bool, setpoint_age: float) -> str:
        """Once a tick; returns what to do with the setpoint: "fly", "level" or "off"."""
        if self._watchdog is not None and t - self._watchdog > _WATCHDOG:
            self.emergency_stop()
        if thrusting:
            self._last_thrust, self._flown = t, True
        was_flying, self.flying = self.flying, t - self._last_thrust < _FLYING_HYSTERESIS
        if self.flying or was_flying:
            self._ground_since = t
        self._update_tumbled(t, cos_tilt)
        if self.tumbled and self.armed:
            self.crashed = True
            self.disarm()
        limit = self.landed_timeout if self._flown else self.preflight_timeout
        if self.armed and not self.flying and t - self._ground_since > limit:
            self.disarm()
        if self.armed and self.flying and setpoint_age > MOTORS_OFF_AFTER:
            self.disarm()
        if not self.armed:
            return "off"
        return "level" if setpoint_age > LEVEL_OUT_AFTER else "fly"

    def info(self) -> Info:
        """The bits that this part of the firmware knows."""
        bits = Info(0)
        for bit, on in (
            (Info.CAN_BE_ARMED, self.can_be_armed()),
            (Info.ARMED, self.armed),
            (Info.CAN_FLY, self.armed and not self.locked),
            (Info.FLYING, self.flying and self.armed),
            (Info.TUMBLED, self.tumbled),
            (Info.LOCKED, self.locked),
            (Info.CRASHED, self.crashed),
        ):
            bits |= bit if on else Info(0)
        return bits

    def _update_tumbled(self, t: float, cos_tilt: float) -> None:
        if cos_tilt >= _TUMBLE_COS:
            self._tilted_since, self.tumbled = None, False
            return
        if self._tilted_since is None:
            self._tilted_since = t
        since = t - self._tilted_since
        self.tumbled = since > (_UPSIDE_DOWN_TIME if cos_tilt < _UPSIDE_DOWN_COS else _TUMBLE_TIME)
