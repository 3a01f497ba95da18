"""Arming, modes and failsafes of the emulated autopilot. No bytes here: setpoints come as the core's commands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from control_stack.algebra import body_axes, yaw_of
from control_stack.px4 import modes
from control_stack.px4.modes import Mode
from control_stack.quadrotor.parameters import GRAVITY
from control_stack.types import AttitudeThrustCommand, Command, PositionCommand, RotorCommand, VelocityCommand
from sim.emulators.px4.guidance import Guidance
from sim.emulators.px4.table import ParameterTable
from sim.quadrotor import SimulatedQuadrotor

# COM_OBL_RC_ACT (PX4 parameter reference). Position, altitude and manual (0-2) need a pilot's sticks; without one PX4
# goes on to its action for lost manual control, return.
LOSS_ACTIONS: dict[int, Mode | None] = {
    **dict.fromkeys((0, 1, 2, 3), modes.RTL),
    4: modes.LAND,
    5: modes.LOITER,
    6: None,  # terminate
    7: None,  # disarm
}
_SINK = 0.07  # of gravity: descent without a position
_BLIND = (PositionCommand, VelocityCommand)  # commands that need a position


class Autopilot:
    """One emulated vehicle's decisions, advanced by ``step``.

    Attributes:
        armed, mode: As the heartbeat tells them.
        landed: On the ground and at rest.
        parameters: The parameter table.
        battery: Share left; tests let it sag.
        failures: Pre-flight failures in words, on top of those that are found; tests add to it.
        on_text: Told (severity, text) of what PX4 would say as STATUSTEXT.
        events: (time, name) of what happened: armed, disarmed, mode changes, offboard_loss. Time in s.
    """

    def __init__(self, quad: SimulatedQuadrotor, parameters: ParameterTable):
        self.quad, self.parameters = quad, parameters
        self.armed, self.mode = False, modes.LOITER
        self.landed = True
        self.battery = 1.0
        self.failures: list[str] = []
        self.on_text: Callable[[int, str], None] = lambda severity, text: None
        self.events: list[tuple[float, str]] = []
        self.guidance = Guidance(quad, parameters)
        self._setpoint: Command | None = None
        self._setpoint_at = -np.inf
        self._rest_since: float | None = None
        self._armed_at = 0.0
        self._flown = False
        self._quiet = False

    # Requests: each answers whether it is accepted.

    def arm(self) -> bool:
        """Arms if the checks pass; says why where they do not."""
        if self.armed:
            return True
        failures = self.check()
        if failures:
            for failure in failures:
                self.on_text(4, f"Preflight Fail: {failure}")
            self.on_text(2, "Arming denied: Resolve system health failures first")
            return False
        self.armed, self._armed_at, self._flown = True, self.quad.time, False
        self.quad.arm()
        self.guidance.enter(self.mode)
        self._happened("armed")
        self.on_text(6, "Armed by external command")
        return True

    def disarm(self, force: bool = False, why: str = "Disarmed by external command") -> bool:
        """Motors off; in the air only if forced."""
        if self.armed and not self.landed and not force:
            self.on_text(2, "Disarming denied: not landed")
            return False
        if self.armed:
            self.armed = False
            self.quad.disarm()
            self._happened("disarmed")
            self.on_text(6, why)
        return True

    def set_mode(self, mode: Mode) -> bool:
        """Changes the mode where it can run."""
        if mode == modes.OFFBOARD and not self._offboard_ready():
            self.on_text(2, "Switching to mode 'Offboard' is currently not possible: no offboard signal")
            return False
        if mode not in (modes.OFFBOARD, modes.TAKEOFF, modes.LOITER, modes.LAND, modes.RTL):
            self.on_text(2, f"Switching to mode '{mode.name}' is currently not possible: no manual control")
            return False
        self._enter(mode)
        return True

    def setpoint(self, command: Command) -> None:
        """An offboard setpoint, already checked. It is remembered in every mode, and flown in offboard."""
        self._setpoint, self._setpoint_at = command, self.quad.time

    def check(self) -> list[str]:
        """Why it would not arm now, in words; empty if it would."""
        state = self.quad.state()
        out = list(self.failures)
        if not state.valid:
            out.append("No valid local position estimate")
        if body_axes(tuple(state.quat_xyzw.tolist()))[2][2] < 0.5:  # type: ignore[arg-type]
            out.append("Attitude failure detected")
        if self.battery < self.parameters["BAT_CRIT_THR"]:
            out.append("Low battery")
        if self.mode == modes.OFFBOARD and not self._offboard_ready():
            out.append("No offboard signal")
        if self.mode in (modes.LAND, modes.RTL):
            out.append(f"Mode {self.mode.name} not suitable for takeoff")
        return out

    # Time.

    def step(self, dt: float) -> None:
        """Decides once and advances the physics by dt, s."""
        self._detect_landing()
        if self.armed:
            self._failsafes()
        if self.armed:
            self._fly(dt)
        self.quad.step(dt)

    def _fly(self, dt: float) -> None:
        located = self.quad.state().valid
        command = self._setpoint if self.mode == modes.OFFBOARD else self.guidance.command(dt)
        if command is None or (self.landed and self._wants_rest(command)):
            command = RotorCommand(np.asarray(self.quad.parameters.rotor_speed_min, dtype=float))  # idle
        elif not located and isinstance(command, _BLIND):
            if not self._quiet:
                self.on_text(2, "Failsafe: no position, descending")
                self._quiet = True
            command = self._descend()
        self.quad.send(command)
        if self.mode == modes.TAKEOFF and self.guidance.arrived:
            self._enter(modes.LOITER)
        elif self.mode == modes.RTL and self.guidance.arrived:
            self._enter(modes.LAND)

    def _wants_rest(self, command: Command) -> bool:
        """A setpoint that does not lift: the land detector then leaves the motors idle."""
        if isinstance(command, PositionCommand):
            return float(command.position_w[2]) < float(self.quad.true_state().position_w[2]) + 0.02
        return float(getattr(command, "thrust", 1.0)) <= 0.0

    def _descend(self) -> Command:
        half = 0.5 * float(yaw_of(tuple(self.quad.true_state().quat_xyzw.tolist())))  # type: ignore[arg-type]
        thrust = (1.0 - _SINK) * float(self.quad.parameters.mass) * GRAVITY
        return AttitudeThrustCommand(np.array([0.0, 0.0, np.sin(half), np.cos(half)]), thrust)

    def _failsafes(self) -> None:
        now, p = self.quad.time, self.parameters
        if self.mode == modes.OFFBOARD and now - self._setpoint_at > p["COM_OF_LOSS_T"]:
            self._happened("offboard_loss")
            action = LOSS_ACTIONS[int(p["COM_OBL_RC_ACT"])]
            self.on_text(2, f"Failsafe activated: offboard signal lost, {action.name if action else 'motors off'}")
            if action is None:
                self.disarm(force=True, why="Disarmed by failsafe")
                return
            self._enter(action)
        rested = now - self._rest_since if self._rest_since is not None else 0.0
        if self._flown and rested > p["COM_DISARM_LAND"] > 0.0:
            self.disarm(why="Disarmed by landing")
        elif not self._flown and now - self._armed_at > p["COM_DISARM_PRFLT"] > 0.0:
            self.disarm(why="Disarmed by auto preflight disarming")

    def _detect_landing(self) -> None:
        truth, now = self.quad.true_state(), self.quad.time
        low = truth.position_w[2] < self.quad.leg_height + 0.03
        if self.landed:
            self.landed = bool(truth.position_w[2] < self.quad.leg_height + 0.06)
            if not self.landed:
                self._flown, self._rest_since = True, None
        elif low and float(np.linalg.norm(truth.velocity_w)) < 0.2:
            self._rest_since = now if self._rest_since is None else self._rest_since
            self.landed = now - self._rest_since > 0.3
        else:
            self._rest_since = None

    def _offboard_ready(self) -> bool:
        """As PX4's offboard check: the newest setpoint is recent. That clients stream for a second before is what
        its documentation asks of them, not what it checks."""
        return self.quad.time - self._setpoint_at <= self.parameters["COM_OF_LOSS_T"]

    def _enter(self, mode: Mode) -> None:
        if mode != self.mode:
            self._happened(mode.name)
        self.mode, self._quiet = mode, False
        self.guidance.enter(mode)

    def _happened(self, name: str) -> None:
        self.events.append((self.quad.time, name))
