"""Which setpoint is in force: streamed ones before those of the high-level planner (firmware, commander.c)."""

from __future__ import annotations

from enum import IntEnum

from control_stack.crazyflie.wire import MOTORS_OFF_AFTER, Packet, Port
from control_stack.types import Array
from sim.emulators.crazyflie import setpoints
from sim.emulators.crazyflie.parameters import Parameters
from sim.emulators.crazyflie.planner import Planner
from sim.emulators.crazyflie.setpoints import STOP, Setpoint

_SETPOINT, _META = 0, 1
_NOTIFY_STOP = 0


class Priority(IntEnum):
    """Of the setpoint in force."""

    NONE = 0
    PLANNER = 1
    STREAM = 2


class Commander:
    """Takes setpoints from the wire; ``current`` gives the one in force and its age."""

    def __init__(self, parameters: Parameters):
        self.planner = Planner()
        self._parameters = parameters
        self.reset()

    def reset(self) -> None:
        """As after power-up: nothing in force, legacy thrust locked."""
        self._setpoint, self._stamp, self.priority = STOP, -1e9, Priority.NONE
        self._locked = True
        self.planner.stop()

    def handle(self, packet: Packet, t: float, pose: Array) -> bool:
        """Takes a packet of a commander's port at a pose (x, y, z, yaw); False if it is no valid command."""
        if packet.port == Port.COMMANDER:
            return self._rpyt(packet, t)
        if packet.port == Port.HIGH_LEVEL:
            return packet.channel == 0 and self.planner.handle(packet.data, t, pose)
        if packet.channel == _META:
            if len(packet.data) != 5 or packet.data[0] != _NOTIFY_STOP:
                return False
            self.priority = Priority.PLANNER
            self.planner.tell(pose)
            return True
        found = setpoints.generic(packet.data) if packet.channel == _SETPOINT else None
        return found is not None and self._stream(found, t)

    def current(self, t: float) -> tuple[Setpoint, float]:
        """The setpoint in force at t and its age, s."""
        if self.priority is Priority.STREAM and t - self._stamp > MOTORS_OFF_AFTER:
            self._setpoint, self.priority = STOP, Priority.NONE
            self._locked = True
        if self.priority is not Priority.STREAM and self.planner.path is not None:
            # An idle planner commands nothing: what was streamed before the hand-over ages on.
            self._setpoint, self._stamp, self.priority = self.planner.setpoint(t), t, Priority.PLANNER
        return self._setpoint, t - self._stamp

    def _rpyt(self, packet: Packet, t: float) -> bool:
        found = setpoints.rpyt(packet.data, self._parameters) if packet.channel == 0 else None
        if found is None:
            return False
        setpoint, unlocks = found
        if self.priority is Priority.NONE:
            self._locked = True
        if unlocks:
            self._locked = False
        if self._locked:
            setpoint = setpoints.without_thrust(setpoint)
        return self._stream(setpoint, t)

    def _stream(self, setpoint: Setpoint, t: float) -> bool:
        self._setpoint, self._stamp, self.priority = setpoint, t, Priority.STREAM
        self.planner.stop()
        return True
