"""A Crazyflie over cflib, as a Vehicle."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.boundary import check_command, check_level, finite, unit_quaternion
from control_stack.crazyflie.wire import MOTORS_OFF_AFTER, Info, Port
from control_stack.errors import InputRejected, InvalidInput, LinkError, NotConnected, VehicleRefused
from control_stack.flight.hardware import Check
from control_stack.laws.limits import limit_command
from control_stack.protocols import Battery, VehicleSpec
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.types import (
    Array,
    AttitudeThrustCommand,
    Command,
    CommandLevel,
    QuadrotorState,
    RatesThrustCommand,
    RotorCommand,
)
from hardware.crazyflie.link import Link
from hardware.crazyflie.preflight import Health, checks, in_other_hands, refusals, unheard
from hardware.crazyflie.setpoints import FLIGHT_MODES, Setpoints
from hardware.crazyflie.telemetry import Telemetry, needed

LEVELS = (CommandLevel.CTBR, CommandLevel.ATTITUDE, CommandLevel.VELOCITY, CommandLevel.POSITION)
_ARM_PATIENCE = 1.0  # s for the answer to an arming request
_HEALTH_PATIENCE = 2.0  # s for battery and supervisor, which come more slowly; without them it will not be armed
_REPEATS = 3  # of messages that must arrive and are not answered


@dataclass(frozen=True)
class CrazyflieConfig:
    """How the link is used.

    Attributes:
        rate_hz: Of states, and of the commands that are expected; 100 at most, a whole number of 10 ms.
        compressed: One block of integers instead of two of floats (see ``telemetry``).
        cache: Folder for the tables; None takes the user's cache folder.
        patience, silence: See ``Link.open``, s.
    """

    rate_hz: float = 100.0
    compressed: bool = False
    cache: Path | None = None
    patience: float = 20.0
    silence: float = 2.0

    def __post_init__(self) -> None:
        tens = 100.0 / self.rate_hz if self.rate_hz > 0.0 else 0.0
        if not 1.0 <= tens <= 254.0 or abs(tens - round(tens)) > 1e-9:
            raise InvalidInput(f"a Crazyflie logs every 10 ms or a multiple of it, not at {self.rate_hz:g} Hz")


class CrazyflieVehicle:
    """Flies a Crazyflie. Implements ``control_stack.flight.hardware.HardwareVehicle``.

    Connecting arms nothing and sends no setpoint; only ``arm`` asks for the motors. When commands stop, for whatever
    reason, the firmware levels the vehicle after 0.5 s and stops the motors after 2 s.
    """

    def __init__(self, parameters: QuadrotorParameters, uri: str, config: CrazyflieConfig | None = None):
        """Raises InvalidInput for a URI of no link, or a vehicle file without a ``crazyflie:`` block."""
        if parameters.crazyflie is None:
            raise InvalidInput(
                f"vehicle '{parameters.name}' has no crazyflie: block (full_scale, linear, quadratic, compensated) "
                "in its file"
            )
        self.parameters, self.config = parameters, config or CrazyflieConfig()
        self._spec = VehicleSpec(parameters.name, LEVELS, self.config.rate_hz)
        self._link = Link(uri, self.config.cache)
        self._setpoints = Setpoints(self._link, parameters.crazyflie, parameters.gains.attitude)
        self.telemetry = self._new_telemetry()
        self._connected = self._armed = False
        self._last: Command | None = None
        self._answer: tuple[bool, bool] | None = None
        self._infos_before = 0
        self._infos_ours = -1  # how often the bits had been told when we last disarmed
        self._read = -math.inf  # stamp of the last state given out, s

    @property
    def spec(self) -> VehicleSpec:
        """Name, levels and rate; known while disconnected."""
        return self._spec

    @property
    def cf(self) -> Any:
        """cflib's Crazyflie, for what this driver has no word for."""
        self._require()
        return self._link.cf

    def connect(self) -> None:
        """Opens the link, loads the tables, asks for states. Arms nothing.

        Raises:
            MissingDependency: cflib is not installed.
            LinkError: Nothing answers, or a vehicle that lacks what is needed.
        """
        if self._connected:
            return
        link = self._link
        self.telemetry = self._new_telemetry()
        link.open(self.config.patience, self.config.silence)
        try:
            link.require(needed(self.config.compressed), FLIGHT_MODES)
            link.cf.add_port_callback(Port.SUPERVISOR, self._on_supervisor)
            self._setpoints.learn()
            self.telemetry.subscribe(link.cf, link.has_log)
            if not self.telemetry.wait(-math.inf, self.config.silence):
                raise LinkError(f"the vehicle at {link.uri} sends no states: its log blocks do not start")
            self.telemetry.wait_for_health(_HEALTH_PATIENCE)
        except BaseException:
            link.close()
            raise
        self._connected, self._armed, self._last, self._read = True, False, None, -math.inf
        self._infos_ours = -1

    def close(self) -> None:
        """Motors off, flight modes as they were, link released. May be called twice."""
        if not self._connected:
            return
        try:
            if self._armed:
                self.disarm()
        finally:
            self._connected = False
            self._link.close()

    def now(self) -> float:
        """Time on the clock of the states' stamps, s: the vehicle's, by the fastest packets heard."""
        self._require()
        return time.monotonic() - self.telemetry.clock.offset

    def state(self) -> QuadrotorState:
        """The newest estimate; not valid once the link is lost."""
        self._require()
        state = self.telemetry.state
        if state is None:  # connect() does not end without one
            raise NotConnected(f"{self._link.uri} has sent no state")
        self._read = state.stamp
        return replace(state, valid=False) if self._link.lost else state

    def wait_for_state(self, patience: float) -> bool:
        """Waits for a state newer than the last one read; whether one came within ``patience`` s."""
        self._require()
        return self.telemetry.wait(self._read, patience)

    def battery(self) -> Battery:
        """Voltage, where the firmware tells it; the share is not told."""
        self._require()
        return Battery() if self.telemetry.voltage is None else Battery(self.telemetry.voltage)

    def link_status(self) -> dict[str, float]:
        """Packets with states since ``connect``, by what became of them."""
        self._require()
        return {f"states_{key}": count for key, count in self.telemetry.blocks["motion"].counts.items()}

    def preflight(self) -> list[Check]:
        """Link, estimate, attitude, battery, supervisor."""
        state = self.state()
        return checks(self._link.uri, self._link.protocol, state, self.now() - state.stamp, self._health())

    def arm(self) -> None:
        """Asks the vehicle to arm. Raises VehicleRefused when it does not, or when somebody else has it."""
        self._require()
        if self._armed and self.lost_control() is None:
            return
        self._refuse_other_hands()
        self._request_arming()
        self._setpoints.begin()
        self._armed, self._last, self._infos_before = True, None, self.telemetry.infos

    def disarm(self) -> None:
        """Motors off at once, in the air as well; flight modes as they were."""
        self._require()
        was, self._armed, self._last = self._armed, False, None
        self._infos_ours = self.telemetry.infos if was else self._infos_ours
        for _ in range(_REPEATS):
            self.cf.commander.send_stop_setpoint()
            self.cf.supervisor.send_arming_request(False)
        if was and self._link.lost is None:
            self._setpoints.restore()

    def send(self, command: Command) -> Command:
        """Sends a setpoint; see ``Vehicle.send``. Zeros come back while disarmed."""
        self._require()
        check_level(command, LEVELS, f"{self._spec.name} on Crazyflie firmware")
        check_command(command)
        if not self._armed:
            return RotorCommand(np.zeros(4), stamp=command.stamp)
        sent = limit_command(command, self.parameters)
        voltage = self.telemetry.voltage
        if isinstance(sent, RatesThrustCommand | AttitudeThrustCommand):
            sent = replace(sent, thrust=min(float(sent.thrust), self._setpoints.max_thrust(voltage)))
        state = self.telemetry.state
        yaw = float(yaw_of(tuple(state.quat_xyzw.tolist()))) if state is not None else 0.0  # type: ignore[arg-type]
        if not self._setpoints.send(sent, yaw, voltage):
            # The change of mode is not confirmed yet: what was sent before is still flown.
            return self._last or RotorCommand(np.zeros(4), stamp=command.stamp)
        self._last = sent
        return sent

    def external_pose(self, position_w: Array, quat_xyzw: Array, stamp: float) -> None:
        """A measured pose for the vehicle's estimator, as extpose; it has no place for the stamp."""
        self._require()
        position = finite(position_w, "position_w")
        finite(stamp, "stamp")
        if position.shape != (3,):
            raise InputRejected("shape", f"position_w has shape {position.shape}, expected (3,)")
        self.cf.loc.send_extpose(position.tolist(), unit_quaternion(quat_xyzw).tolist())

    def external_position(self, position_w: Array) -> None:
        """A measured position without attitude, as extpos."""
        self._require()
        position = finite(position_w, "position_w")
        if position.shape != (3,):
            raise InputRejected("shape", f"position_w has shape {position.shape}, expected (3,)")
        self.cf.loc.send_extpos(position.tolist())

    def lost_control(self) -> str | None:
        """Why our commands are not flown any more, None while they are or before we armed."""
        self._require()
        if not self._armed:
            return None
        if self._link.lost:
            return f"the link is lost ({self._link.lost})"
        silent = self.now() - self.state().stamp
        if silent > MOTORS_OFF_AFTER:
            return f"nothing was heard of the vehicle for {silent:.1f} s"
        info = self.telemetry.info
        why = refusals(info) if info is not None else []
        if why:
            return f"the vehicle says: {'; '.join(why)}"
        # The bits come ten times a second: the first after arming may have been sent before.
        if info is not None and not info & Info.ARMED and self.telemetry.infos > self._infos_before + 1:
            return "the vehicle has disarmed"
        return None

    def takeoff(self, height: float, duration: float) -> None:
        """The firmware's own take-off to a height (m, world) within a duration (s). Raises VehicleRefused."""
        self._own(height, duration)
        self.cf.high_level_commander.takeoff(height, duration, yaw=None)

    def land(self, height: float, duration: float) -> None:
        """The firmware's own landing to a height (m, world) within a duration (s). Raises VehicleRefused."""
        self._own(height, duration)
        self.cf.high_level_commander.land(height, duration, yaw=None)

    def go_to(self, position_w: Array, yaw: float, duration: float) -> None:
        """The firmware's own way to a position (m) and heading (rad) within a duration (s). Raises VehicleRefused."""
        self._own(*np.asarray(position_w, dtype=float).tolist(), yaw, duration)
        x, y, z = np.asarray(position_w, dtype=float).tolist()
        self.cf.high_level_commander.go_to(x, y, z, yaw, duration)

    def emergency_stop(self) -> None:
        """Motors off, and locked until the vehicle is switched off and on. Sent more than once: it is not answered."""
        self._require()
        self._last = None
        for _ in range(_REPEATS):
            self.cf.supervisor.send_emergency_stop()

    def _new_telemetry(self) -> Telemetry:
        return Telemetry(1.0 / self.config.rate_hz, self.config.compressed)

    def _health(self) -> Health:
        t = self.telemetry
        return Health(t.voltage, t.info, t.told, t.health_age())

    def _refuse_other_hands(self) -> None:
        silent = unheard("supervisor", self._health())
        if silent:
            raise VehicleRefused(f"arming: not asked for: supervisor: {silent}")
        info = self.telemetry.info
        # The bits come ten times a second: the first after our own disarming may have been sent before.
        whose = in_other_hands(info) if info is not None and self.telemetry.infos > self._infos_ours + 1 else None
        if whose:
            raise VehicleRefused(f"arming: not asked for: {whose}")

    def _require(self) -> None:
        if not self._connected:
            raise NotConnected(f"{self._spec.name} at {self._link.uri} is not connected: call connect() first")

    def _own(self, *values: float) -> None:
        """Hands over to the on-board planner, which streamed setpoints would keep out."""
        if not all(math.isfinite(value) for value in values):
            raise InvalidInput(f"a high-level command needs finite values, got {values}")
        self._require()
        reason = self.lost_control()
        if reason or not self._armed:
            raise VehicleRefused(reason or "the vehicle is not armed by us: arm() first")
        self.cf.commander.send_notify_setpoint_stop()
        self._last = None

    def _request_arming(self) -> None:
        info = self.telemetry.info
        self._answer = None
        deadline, asked = time.monotonic() + _ARM_PATIENCE, -math.inf
        while time.monotonic() < deadline:
            if time.monotonic() - asked > 0.2 * _ARM_PATIENCE:
                self.cf.supervisor.send_arming_request(True)
                asked = time.monotonic()
            if self._answer is not None and self._answer[1]:
                return
            if self._answer is not None and not self._answer[0]:
                break
            info = self.telemetry.info
            # Where it is told, it has been heard: see _refuse_other_hands.
            if self._link.protocol < 12 and (info is None or info & Info.ARMED):
                return  # this firmware does not answer; where it tells its bits, they say so
            time.sleep(0.005)
        self.cf.supervisor.send_arming_request(False)
        why = refusals(info) if info is not None else []
        answered = "refused" if self._answer is not None else "not answered"
        raise VehicleRefused(f"arming: {answered}" + (f": {'; '.join(why)}" if why else ""))

    def _on_supervisor(self, packet: Any) -> None:
        data = bytes(packet.data)
        if len(data) == 3 and data[0] == 0x81:  # answer to an arming request: done, armed
            self._answer = (bool(data[1]), bool(data[2]))
