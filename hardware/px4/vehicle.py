"""A PX4 vehicle over MAVLink, as a Vehicle."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from control_stack.boundary import check_command, check_level, finite, unit_quaternion
from control_stack.errors import InputRejected, InvalidInput, LinkError, NotConnected, VehicleRefused
from control_stack.flight.hardware import Check
from control_stack.laws.limits import limit_command
from control_stack.protocols import Battery, VehicleSpec
from control_stack.px4 import modes
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.types import Array, AttitudeThrustCommand, Command, CommandLevel, QuadrotorState, RotorCommand
from hardware.px4.clock import Clock, SteadyClock
from hardware.px4.config import PX4Config
from hardware.px4.link import Link
from hardware.px4.pose import pose_message
from hardware.px4.preflight import checks, require_capabilities
from hardware.px4.setpoints import SetpointEncoder
from hardware.px4.streamer import Streamer

LEVELS = (CommandLevel.CTBR, CommandLevel.ATTITUDE, CommandLevel.VELOCITY, CommandLevel.POSITION)
_STREAMS = {"LOCAL_POSITION_NED": 1.0, "ATTITUDE_QUATERNION": 1.0, "ODOMETRY": 1.0, "EXTENDED_SYS_STATE": 0.05}
_FUTURE = 0.5  # s
_CUSTOM_MODE = 1.0  # MAV_MODE_FLAG_CUSTOM_MODE_ENABLED


class PX4Vehicle:
    """Flies PX4 in offboard mode. Implements ``control_stack.flight.hardware.HardwareVehicle``.

    Connecting arms nothing and sends no setpoint. ``arm`` streams a setpoint of no thrust, switches to offboard and
    arms; the motors idle until the first ``send``. The last command is repeated for ``PX4Config.repeat_for`` s. When
    PX4 leaves offboard (a pilot, a failsafe), nothing is sent any more and it is not asked back: see
    ``lost_control``. ``close`` in the air hands over to PX4's own landing; on the ground it disarms.
    """

    def __init__(
        self, parameters: QuadrotorParameters, uri: str, config: PX4Config | None = None, clock: Clock | None = None
    ):
        """Raises InvalidInput for a vehicle file without a ``px4:`` block."""
        if parameters.px4 is None:
            raise InvalidInput(
                f"vehicle '{parameters.name}' has no px4: block (hover_thrust, model_factor, motor_factor) in its file"
            )
        self.parameters, self.config = parameters, config or PX4Config()
        self._thrust = parameters.px4
        self._uri, self._clock = uri, clock or SteadyClock()
        self._spec = VehicleSpec(parameters.name, LEVELS, self.config.rate_hz)
        self._link: Link | None = None
        self._expected: set[modes.Mode] = set()  # modes we asked for; empty while we have not armed

    @property
    def spec(self) -> VehicleSpec:
        """Name, levels and rate; known while disconnected."""
        return self._spec

    @property
    def link(self) -> Link:
        """The conversation, for diagnostics: counts of drops, texts, parameters."""
        return self._require()

    def connect(self) -> None:
        """Finds the autopilot, asks for its streams and parameters. Arms nothing.

        Raises:
            InvalidInput: Not an address.
            LinkError: No such port, nobody there, no PX4, or one that lacks what is needed.
        """
        if self._link is not None:
            return
        link = Link(self._uri, self.config, self._clock)
        try:
            link.discover()
            encoder = SetpointEncoder(
                link.mavlink,
                self._thrust,
                float(self.parameters.mass) * GRAVITY,
                link.system or 0,
                link.component,
            )
            self._streamer = Streamer(link, encoder, self.config, self._clock)
            self._streamer.start()
            require_capabilities(link)
            gains = link.telemetry.parameters
            encoder.tilt_gain = (max(gains["MC_ROLL_P"], 1.0), max(gains["MC_PITCH_P"], 1.0))
            self._request_streams(link)
            self._epoch = self._clock.monotonic()
            self._restarts = link.time.restarts
        except BaseException:
            if hasattr(self, "_streamer"):
                self._streamer.stop()
            link.close()
            raise
        self._link, self._expected = link, set()

    def close(self) -> None:
        """Lands (in the air, under our control) or disarms (on the ground), and releases the link."""
        link = self._link
        if link is None:
            return
        try:
            if self._expected and link.telemetry.armed and self.lost_control() is None:
                if link.telemetry.landed:
                    self._command_arming(0.0, modes.FORCE)
                else:
                    self._set_mode(modes.LAND)
        finally:
            self._streamer.stop()
            link.close()
            self._link, self._expected = None, set()

    def now(self) -> float:
        """Time on the clock of the states' stamps: the host's steady one since ``connect``, s."""
        self._require()
        return self._clock.monotonic() - self._epoch

    def state(self) -> QuadrotorState:
        """Newest estimate of the autopilot, stamped on ``now``'s clock; not valid while there is none."""
        link = self._require()
        self._streamer.pump()
        state = link.telemetry.state()
        if state is None:
            zero = np.zeros(3)
            return QuadrotorState(zero, zero, np.array([0.0, 0.0, 0.0, 1.0]), zero, valid=False)
        stamp = link.time.host(state.stamp) - self._epoch
        # One from the future is of a clock that is not understood.
        return replace(state, stamp=stamp, valid=state.valid and stamp < self.now() + _FUTURE)

    def wait_for_state(self, timeout: float) -> bool:
        """Waits for the next estimate, at most timeout s; whether it came. A loop so paced acts on fresh states."""
        link = self._require()
        seen = link.telemetry.state()
        before = seen.stamp if seen else -math.inf

        def newer() -> bool:
            state = link.telemetry.state()
            return state is not None and state.stamp > before

        return link.wait(newer, timeout, 0.0005)

    def battery(self) -> Battery:
        """Voltage and share, as SYS_STATUS tells them."""
        telemetry = self._require().telemetry
        return Battery(telemetry.voltage, telemetry.battery)

    def link_status(self) -> dict[str, float]:
        """Time since anything was heard and round trip, s; bytes and messages dropped, messages of others."""
        link = self._require()
        return {
            "heard_age_s": self._clock.monotonic() - link.heard_at,
            "round_trip_s": link.time.round_trip,
            "dropped": link.codec.decoder.drops.total(),
            "foreign": link.foreign.total(),
        }

    def preflight(self) -> list[Check]:
        """Firmware, estimate, battery, parameters against the vehicle file, link quality."""
        return checks(self._require(), self._thrust, self.state(), self.now())

    def arm(self) -> None:
        """Enters offboard mode with no thrust and arms. Raises VehicleRefused with the autopilot's own words."""
        link = self._require()
        self._streamer.pump()
        if self._expected and link.telemetry.armed and self.lost_control() is None:
            return
        if link.telemetry.armed:
            mode = link.telemetry.mode.name if link.telemetry.mode else "unknown"
            raise VehicleRefused(f"the vehicle is already armed, in mode {mode}: somebody else flies it")
        self._expected, self._restarts = set(), link.time.restarts
        attitude = self.state()
        neutral = AttitudeThrustCommand(attitude.quat_xyzw, 0.0)
        try:
            self._enter_offboard(neutral, "arming")
            self._refuse_unless(self._command_arming(1.0), "arming")
            if not link.wait(lambda: link.telemetry.armed is True, 2.5):
                raise VehicleRefused("arming was accepted, but the vehicle does not report to be armed")
        except VehicleRefused:
            self._streamer.clear()
            raise
        self._expected = {modes.OFFBOARD}

    def disarm(self) -> None:
        """Motors off at once, in the air as well, where we have control; else only a disarm that PX4 may refuse.

        Raises VehicleRefused when it is refused or not answered.
        """
        link = self._require()
        ours = bool(self._expected) and self.lost_control() is None
        self._expected = set()
        try:
            answer = self._command_arming(0.0, modes.FORCE if ours else 0.0)
        finally:
            self._streamer.clear()
        if link.telemetry.armed:
            self._refuse_unless(answer, "disarming")
            if not link.wait(lambda: link.telemetry.armed is False, 2.5):
                raise VehicleRefused("disarming was accepted, but the vehicle still reports to be armed")

    def send(self, command: Command) -> Command:
        """Sends a setpoint; see ``Vehicle.send``. Zeros come back while disarmed and once control is lost."""
        self._require()
        check_level(command, LEVELS, f"{self._spec.name} on PX4 over MAVLink")
        check_command(command)
        self._streamer.pump()
        if modes.OFFBOARD not in self._expected or self.lost_control() is not None:
            return RotorCommand(np.zeros(4), stamp=command.stamp)
        sent = limit_command(command, self.parameters)
        self._streamer.send(sent)
        return sent

    def external_pose(self, position_w: Array, quat_xyzw: Array, stamp: float) -> None:
        """A measured pose for the autopilot's estimator (EKF2_EV_CTRL), as ODOMETRY; stamp on ``now``'s clock."""
        link = self._require()
        position, when = finite(position_w, "position_w"), float(finite(stamp, "stamp"))
        if position.shape != (3,):
            raise InputRejected("shape", f"position_w has shape {position.shape}, expected (3,)")
        quat = unit_quaternion(quat_xyzw)
        # On the host's clock, which PX4's time synchronisation maps back to its own.
        host = self._clock.monotonic() - (self.now() - when)
        link.send(pose_message(link.mavlink, position, quat, max(host, 0.0)))

    def lost_control(self) -> str | None:
        """Why our commands are not flown any more, None while they are or before we armed."""
        link = self._require()
        if not self._expected:
            return None
        age = self._clock.monotonic() - link.heard_at
        if age > self.config.silence_timeout:
            return f"nothing was heard of the autopilot for {age:.1f} s"
        if link.time.restarts > self._restarts:
            return "the autopilot has restarted"
        if link.telemetry.armed is False:
            return "the autopilot has disarmed"
        if link.telemetry.mode is not None and link.telemetry.mode not in self._expected:
            return f"the autopilot has switched to mode {link.telemetry.mode.name}"
        return None

    def takeoff(self, height: float) -> None:
        """PX4's own take-off, once armed, to a height (m) above the ground. Raises VehicleRefused."""
        link = self._require()
        if not math.isfinite(height) or height <= 0.0:
            raise InvalidInput(f"a take-off height must be positive, got {height:g}")
        self._own(link)
        name, kind = b"MIS_TAKEOFF_ALT", link.mavlink.MAV_PARAM_TYPE_REAL32
        link.send(link.mavlink.MAVLink_param_set_message(link.system, link.component, name, height, kind))
        self._switch({modes.TAKEOFF, modes.LOITER}, modes.TAKEOFF, "take-off")

    def land(self) -> None:
        """PX4's own landing where it is; it disarms on the ground. Raises VehicleRefused."""
        self._own(self._require())
        self._switch({modes.LAND}, modes.LAND, "landing")

    def offboard(self, command: Command) -> None:
        """Back from take-off or loiter to our commands, beginning with this one. Raises VehicleRefused."""
        self._own(self._require())
        check_level(command, LEVELS, self._spec.name)
        check_command(command)
        before = self._expected
        self._expected = before | {modes.OFFBOARD}
        try:
            self._enter_offboard(limit_command(command, self.parameters), "offboard")
        except VehicleRefused:
            self._expected = before
            raise
        self._expected = {modes.OFFBOARD}

    def _require(self) -> Link:
        if self._link is None:
            raise NotConnected(f"{self._spec.name} on PX4 is not connected: call connect() first")
        return self._link

    def _own(self, link: Link) -> None:
        reason = self.lost_control()
        if reason or not self._expected or not link.telemetry.armed:
            raise VehicleRefused(reason or "the vehicle is not armed by us: arm() first")

    def _switch(self, expected: set[modes.Mode], mode: modes.Mode, what: str) -> None:
        before, self._expected = self._expected, self._expected | expected
        answer = self._set_mode(mode)
        if answer != "accepted":
            self._expected = before
        self._refuse_unless(answer, what)
        self._require().wait(lambda: self._require().telemetry.mode in expected, 2.5)
        self._streamer.clear()
        self._expected = expected

    def _enter_offboard(self, first: Command, what: str) -> None:
        link = self._require()
        self._streamer.send(first, forever=True)
        link.wait(lambda: False, self.config.stream_before)
        self._refuse_unless(self._set_mode(modes.OFFBOARD), f"{what}: offboard mode")
        if not link.wait(lambda: link.telemetry.mode == modes.OFFBOARD, 2.5):
            raise VehicleRefused(f"{what}: offboard mode was accepted, but the vehicle does not report it")

    def _set_mode(self, mode: modes.Mode) -> str:
        link = self._require()
        self._texts = link.telemetry.text_count
        number = link.mavlink.MAV_CMD_DO_SET_MODE
        return link.command(number, _CUSTOM_MODE, float(mode.main), float(mode.sub))

    def _command_arming(self, arm: float, force: float = 0.0) -> str:
        link = self._require()
        self._texts = link.telemetry.text_count
        return link.command(link.mavlink.MAV_CMD_COMPONENT_ARM_DISARM, arm, force)

    def _refuse_unless(self, answer: str, what: str) -> None:
        if answer == "accepted":
            return
        link = self._require()
        link.wait(lambda: False, 0.3)  # the reasons come as texts, after the answer
        words = "; ".join(link.telemetry.texts_since(self._texts))
        raise VehicleRefused(f"{what}: {answer}" + (f": {words}" if words else ""))

    def _request_streams(self, link: Link) -> None:
        for name, share in _STREAMS.items():
            number = getattr(link.mavlink, f"MAVLINK_MSG_ID_{name}")
            period = 1e6 / (self.config.rate_hz * share)
            answer = link.command(link.mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, float(number), period)
            if answer == "no answer":
                raise LinkError(f"{self._uri}: the vehicle does not answer commands (SET_MESSAGE_INTERVAL)")
        link.wait(lambda: link.telemetry.state() is not None and link.time.round_trip < math.inf, 2.0)
