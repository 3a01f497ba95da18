"""The supervisor: decides, every control period, what the vehicle is really told.

It stands between any controller and any vehicle, in the vehicle's process, and outlives the controller. It
arms, takes off, lands and cuts on request; while flying it passes the controller's commands on, and when they
stop it holds position and then lands by itself. Pure logic: time, state and commands come in, a command goes
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from control_stack.algebra import body_axes, yaw_of
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.safety.events import AIRBORNE, Event, Phase, Reply, Severity
from control_stack.types import AttitudeThrustCommand, Command, CommandLevel, PositionCommand, QuadrotorState

_SETTLING = 3.0  # s after the climb to come to rest at its end
_SMOOTHING = 0.15  # s: touchdown is judged by a velocity that single noisy measurements do not hide
_BLIND_SINK = 0.07  # of gravity: how fast a blind descent accelerates until drag balances it


@dataclass(frozen=True)
class SafetyConfig:
    """Time-outs and speeds of the supervisor.

    Attributes:
        command_timeout: s without a valid command in flight until the supervisor holds.
        hold_time: s of holding, still without a command, until it lands.
        state_timeout: age of the newest valid state in flight, s, from which it descends blind.
        blind_descent_time: s of blind descent until the motors stop, at least; longer from further up.
        takeoff_height: m above the take-off point.
        climb_speed, land_speed: m/s.
        touchdown_time: s at rest near the ground until it disarms.
    """

    command_timeout: float = 0.05
    hold_time: float = 1.0
    state_timeout: float = 0.3
    blind_descent_time: float = 4.0
    takeoff_height: float = 1.0
    climb_speed: float = 0.7
    land_speed: float = 0.4
    touchdown_time: float = 0.3


class Supervisor:
    """One flight's state machine: ``update`` once per control period, requests and commands in between."""

    LEVELS: ClassVar[tuple[CommandLevel, ...]] = (CommandLevel.POSITION, CommandLevel.ATTITUDE)

    def __init__(self, parameters: QuadrotorParameters, config: SafetyConfig):
        self._parameters, self.config = parameters, config
        self.phase = Phase.DISARMED
        self._events: list[Event] = []
        self._since = 0.0
        self._command: Command | None = None
        self._command_time = -np.inf
        nothing = np.zeros(3)
        # The newest state that could be trusted: until there is one, one too old to be.
        self._known = QuadrotorState(nothing, nothing, np.array([0.0, 0.0, 0.0, 1.0]), nothing, stamp=-np.inf)
        self._drift = np.zeros(3)  # its velocity, smoothed
        self._anchor = np.zeros(3)
        self._yaw = 0.0
        self._ground = 0.0
        self._rest_since: float | None = None
        self._blind_since: float | None = None

    # Requests: answered at once; what follows is told by the phase and by events.

    def arm(self, t: float, state: QuadrotorState) -> Reply:
        """Lets a take-off follow; the motors stay off. Needs a valid state and an upright vehicle."""
        if self.phase is Phase.EMERGENCY:
            return Reply(False, "emergency is latched: disarm first")
        if self.phase is not Phase.DISARMED:
            return Reply(True, "already armed")
        if not self._learn(t, state):
            return Reply(False, "state estimate is not valid")
        if not _upright(state):
            return Reply(False, "vehicle is tilted more than 25 degrees")
        self._ground = float(state.position_w[2])
        self._blind_since = None
        self._enter(t, Phase.ARMED, Severity.OK, "armed")
        return Reply(True, "armed")

    def disarm(self, t: float) -> Reply:
        """Ends arming or an emergency; refused in the air."""
        if self.phase in AIRBORNE:
            return Reply(False, f"refused in phase {self.phase.value}: land, or call emergency")
        self._enter(t, Phase.DISARMED, Severity.OK, "disarmed")
        return Reply(True, "disarmed")

    def takeoff(self, t: float, state: QuadrotorState) -> Reply:
        """Climbs from where it stands, once armed, and hands over to the controller."""
        if self.phase is not Phase.ARMED:
            return Reply(False, f"refused in phase {self.phase.value}: arm first")
        if not self._learn(t, state):
            return Reply(False, "state estimate is not valid")
        self._anchor_here()
        self._enter(t, Phase.TAKEOFF, Severity.OK, f"take-off to {self.config.takeoff_height:g} m")
        return Reply(True, f"taking off to {self.config.takeoff_height:g} m")

    def land(self, t: float, state: QuadrotorState) -> Reply:
        """Comes down where it is and disarms, from any phase in the air."""
        if self.phase is Phase.LANDING:
            return Reply(True, "already landing")
        if self.phase not in AIRBORNE:
            return Reply(False, f"refused in phase {self.phase.value}: not flying")
        self._learn(t, state)
        self._start_landing(t, Severity.OK, "landing on request")
        return Reply(True, "landing")

    def emergency(self, t: float) -> Reply:
        """Motors off from the next decision on, in any phase, until disarmed."""
        if self.phase is not Phase.EMERGENCY:
            self._enter(t, Phase.EMERGENCY, Severity.ERROR, "emergency: motors off until disarmed")
        return Reply(True, "motors off; disarm to reset")

    def command(self, t: float, command: Command) -> None:
        """Takes a controller's command, already checked at the boundary, as the newest."""
        self._command, self._command_time = command, t

    def refused(self, t: float) -> None:
        """Tells that the vehicle did not take a controller's command that ``update`` gave for it."""
        if self.phase is Phase.FLYING:
            self._start_landing(t, Severity.ERROR, "the vehicle refuses the controller's command: landing")

    def drain_events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    # The decision.

    def update(self, t: float, state: QuadrotorState) -> Command | None:
        """What to send now; None means motors off. ``state`` is the newest the vehicle has, however old."""
        trusted = self._learn(t, state)
        if self.phase not in AIRBORNE:
            return None
        if not trusted and t - self._known.stamp > self.config.state_timeout:
            return self._blind(t)
        if self._blind_since is not None and trusted:
            self._blind_since = None
            self._start_landing(t, Severity.WARN, "state is back: landing")
        if self.phase is Phase.TAKEOFF:
            return self._takeoff_command(t)
        if self.phase is Phase.FLYING and t - self._command_time > self.config.command_timeout:
            self._anchor_here()
            self._enter(t, Phase.HOLD, Severity.WARN, "command_timeout: holding position", name="command_timeout")
        if self.phase is Phase.HOLD:
            if t - self._command_time <= self.config.command_timeout:
                self._enter(t, Phase.FLYING, Severity.OK, "commands are back", name="command_recovered")
            elif t - self._since > self.config.hold_time:
                self._start_landing(t, Severity.ERROR, "no controller: landing")
        if self.phase is Phase.LANDING:
            return self._landing_command(t)
        if self.phase is Phase.FLYING:
            return self._command
        return PositionCommand(self._anchor, yaw=self._yaw, stamp=t)

    def _learn(self, t: float, state: QuadrotorState) -> bool:
        """Whether the state can be trusted now. The newest that could is kept for what must go on without
        one."""
        if not (state.valid and state.is_finite() and t - state.stamp <= self.config.state_timeout):
            return False
        step = max(state.stamp - self._known.stamp, 0.0)
        self._drift = self._drift + (1.0 - np.exp(-step / _SMOOTHING)) * (state.velocity_w - self._drift)
        self._known = state
        return True

    def takeoff_duration(self) -> float:
        """Of the climb, s: 1.875 is the ratio of peak to mean speed of a quintic from rest to rest."""
        return max(1.875 * self.config.takeoff_height / self.config.climb_speed, 1.0)

    def _takeoff_command(self, t: float) -> Command:
        height, state, duration = self.config.takeoff_height, self._known, self.takeoff_duration()
        s = min((t - self._since) / duration, 1.0)
        climb = s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
        rate = 30.0 * s**2 * (1.0 - s) ** 2 / duration
        acceleration = 60.0 * s * (1.0 - s) * (1.0 - 2.0 * s) / duration**2
        # The command has no place for acceleration; the velocity loop makes it of a / k_v.
        rate += acceleration / float(self._parameters.gains.velocity[2])
        up = np.array([0.0, 0.0, height])
        target = self._anchor + climb * up
        settled = np.linalg.norm(target - state.position_w) < 0.15 and np.linalg.norm(self._drift) < 0.3
        late = t - self._since > duration + _SETTLING
        if late and state.position_w[2] < self._anchor[2] + 0.5 * height:
            self._start_landing(t, Severity.ERROR, "take-off does not get up: landing")
            return PositionCommand(self._anchor, yaw=self._yaw, stamp=t)
        if s >= 1.0 and (settled or late):
            self._anchor = target
            self._command_time = max(self._command_time, t)  # the controller gets one time-out to start
            self._command = PositionCommand(target, yaw=self._yaw, stamp=t)
            self._enter(t, Phase.FLYING, Severity.OK, "take-off done: controller flies", name="takeoff_done")
        return PositionCommand(target, rate * up, yaw=self._yaw, stamp=t)

    def _start_landing(self, t: float, severity: Severity, message: str) -> None:
        if self.phase is not Phase.HOLD:  # from there it lands where it holds, not where braking has taken it
            self._anchor_here()
        self._rest_since = None
        self._enter(t, Phase.LANDING, severity, message)

    def _landing_command(self, t: float) -> Command | None:
        speed, state = self.config.land_speed, self._known
        # First stop and hold for half a second, then a ramp that ends below the ground so that contact is
        # sure.
        sink = max(t - self._since - 0.5, 0.0) * speed
        target = self._anchor - np.array([0.0, 0.0, sink])
        down = np.array([0.0, 0.0, -speed if sink > 0.0 else 0.0])
        resting = np.linalg.norm(self._drift) < 0.1 and state.position_w[2] - target[2] > 0.1
        # Counted on the state's own clock: an estimate that has frozen in the air is no touchdown.
        if not resting:
            self._rest_since = None
        elif self._rest_since is None:
            self._rest_since = state.stamp
        elif state.stamp - self._rest_since >= self.config.touchdown_time:
            if _upright(state):
                self._enter(t, Phase.DISARMED, Severity.OK, "landed and disarmed", name="landed")
            else:
                message = "down, but not upright: disarmed"
                self._enter(t, Phase.DISARMED, Severity.ERROR, message, name="tipped_over")
            return None
        return PositionCommand(target, down, yaw=self._yaw, stamp=t)

    def _blind(self, t: float) -> Command | None:
        """Without a position the attitude loop, which the vehicle closes itself, is all that is left."""
        if self._blind_since is None:
            self._blind_since = t
            self._anchor_here()
            self._enter(t, Phase.LANDING, Severity.ERROR, "state is lost: descending blind", name="state_timeout")
        height = max(float(self._known.position_w[2]) - self._ground, 0.0)
        # Half as long again as the way down takes without drag: motors cut in the air would be a crash for
        # sure.
        enough = 1.5 * np.sqrt(2.0 * height / (_BLIND_SINK * GRAVITY))
        if t - self._blind_since > max(self.config.blind_descent_time, enough):
            self._blind_since = None
            self._enter(t, Phase.EMERGENCY, Severity.ERROR, "blind descent is over: motors off", name="cut")
            return None
        half = 0.5 * self._yaw
        level = np.array([0.0, 0.0, np.sin(half), np.cos(half)])
        thrust = (1.0 - _BLIND_SINK) * float(self._parameters.mass) * GRAVITY
        return AttitudeThrustCommand(level, thrust, stamp=t)

    def _anchor_here(self) -> None:
        state = self._known
        self._anchor = np.array(state.position_w, dtype=float)
        self._yaw = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]

    def _enter(self, t: float, phase: Phase, severity: Severity, message: str, name: str | None = None) -> None:
        self.phase, self._since = phase, t
        self._events.append(Event(t, severity, name or phase.value, message, {"phase": phase.value}))


def _upright(state: QuadrotorState) -> bool:
    """Tilted less than 25 degrees."""
    return bool(body_axes(tuple(state.quat_xyzw.tolist()))[2][2] > 0.9)  # type: ignore[arg-type]
