"""The side that owns the vehicle: one control period is ``observe`` then ``act``, under the supervisor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from control_stack.boundary import Rejections, check_command, check_level
from control_stack.errors import InputRejected
from control_stack.protocols import TellsBattery, Vehicle, choose_level
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.events import Event, Phase
from control_stack.safety.supervisor import SafetyConfig, Supervisor
from control_stack.types import Command, QuadrotorState


class VehicleSide:
    """A vehicle under its supervisor.

    Attributes:
        state: The state of the latest ``observe``.
        sent: What the vehicle actually did of the latest command, None while the motors are off.
        rejections: Counts of dropped inputs.
    """

    def __init__(self, vehicle: Vehicle, parameters: QuadrotorParameters, safety: SafetyConfig):
        """Raises IncompatibleLevels for a vehicle that cannot take the supervisor's own commands."""
        for level in Supervisor.LEVELS:
            choose_level("supervisor", [level], vehicle.spec.name, vehicle.spec.levels)
        self.vehicle = vehicle
        self._battery = vehicle if isinstance(vehicle, TellsBattery) else None
        self.supervisor = Supervisor(parameters, safety)
        self.rejections = Rejections()
        self.state: QuadrotorState = vehicle.state()
        self.sent: Command | None = None
        self.on_event: Callable[[Event], None] = lambda event: None
        self._armed = False

    @property
    def phase(self) -> Phase:
        """Where the flight is."""
        return self.supervisor.phase

    def observe(self) -> QuadrotorState:
        """Takes the vehicle's newest state; it counts until the next call."""
        self.state = self.vehicle.state()
        return self.state

    def receive(self, t: float, command: Command) -> None:
        """Takes a controller's command; raises InputRejected (counted) if the vehicle cannot take it."""
        try:
            check_command(command)
            check_level(command, self.vehicle.spec.levels, self.vehicle.spec.name)
        except InputRejected as error:
            self.rejections.add("command", error)
            raise
        self.supervisor.command(t, replace(command, stamp=t))

    def act(self, t: float) -> Command | None:
        """Lets the supervisor decide and sends its decision. Call once per control period."""
        voltage = math.nan if self._battery is None else self._battery.battery().voltage
        decision = self.supervisor.update(t, self.state, voltage)
        if decision is None or not self._armed:
            self._set_armed(self.phase not in (Phase.DISARMED, Phase.EMERGENCY))
        if decision is None:
            self.sent = None
        else:
            try:
                self.sent = self.vehicle.send(decision)
            except InputRejected as error:
                # It passed check_command, so the vehicle breaks its contract and still flies an old command.
                self.rejections.add("command", error)
                self.supervisor.refused(t)
        for event in self.supervisor.drain_events():
            self.on_event(event)
        return self.sent

    def release(self, t: float, reason: str) -> None:
        """Somebody else has the vehicle, or nobody: nothing more is sent to it, not even a disarm."""
        self._armed, self.sent = False, None
        self.supervisor.release(t, reason)

    def _set_armed(self, armed: bool) -> None:
        if armed != self._armed:
            (self.vehicle.arm if armed else self.vehicle.disarm)()
            self._armed = armed
