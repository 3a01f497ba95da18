"""The supervisor: decides, every control period, what the vehicle is really told.

It stands between any controller and any vehicle, in the vehicle's process, and outlives the controller. It
arms, takes off, lands and cuts on request; while flying it passes the controller's commands on, and when they
stop it holds position and then lands by itself. It keeps the vehicle inside a fence, takes it off a controller that
lets it tumble, and lands it before the battery is empty. Pure logic: time, state, voltage and commands come in, a
command goes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.quadrotor.parameters import GRAVITY, QuadrotorParameters
from control_stack.safety.events import AIRBORNE, Event, Phase, Reply, Severity, position_values
from control_stack.safety.fence import MARGIN, REACTION, Fence, stopping_point
from control_stack.safety.watches import UPRIGHT_COS, AgeWatch, AttitudeWatch, BatteryWatch, cos_tilt, untrusted
from control_stack.types import Array, AttitudeThrustCommand, Command, CommandLevel, PositionCommand, QuadrotorState

_SETTLING = 3.0  # s after the climb to come to rest at its end
_SMOOTHING = 0.15  # s: touchdown is judged by a velocity that single noisy measurements do not hide
_BLIND_SINK = 0.07  # of gravity: how fast a blind descent accelerates until drag balances it
_NEAR_GROUND = 0.15  # m: who lies on the side this low has tipped over, there is no room to come upright
_MOVING = 0.05  # m/s or rad/s: a state that claims this cannot stay the same
_WEAK = 0.2  # of the weight: thrust of a vehicle that comes upright from its back
_FROM_STATE = (CommandLevel.ROTORS, CommandLevel.CTBR, CommandLevel.ATTITUDE)  # levels whose loop runs over the link


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
        fence: Where it may be; None for anywhere.
        tilt_limit: rad; twice the vehicle's ``max_body_rate`` is the limit of rates.
        tilt_time: s beyond either limit until the controller loses the vehicle.
        recovery_time: s to come upright after that, until the motors are cut.
        battery_time: s of a voltage below a threshold of the vehicle file until it counts.
        max_state_age: s, smoothed over 20 periods, from which commands below velocity level are not flown.
    """

    command_timeout: float = 0.05
    hold_time: float = 1.0
    state_timeout: float = 0.3
    blind_descent_time: float = 4.0
    takeoff_height: float = 1.0
    climb_speed: float = 0.7
    land_speed: float = 0.4
    touchdown_time: float = 0.3
    fence: Fence | None = None
    tilt_limit: float = 1.31
    tilt_time: float = 0.15
    recovery_time: float = 1.0
    battery_time: float = 1.0
    max_state_age: float = 0.045


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
        self._recovering_since: float | None = None
        self._fenced = self._told_low = False
        self._voltage = np.nan
        self._attitude = AttitudeWatch(parameters.limits, config.tilt_limit, config.tilt_time)
        self._battery = BatteryWatch(parameters.battery, config.battery_time)
        self._age = AgeWatch()

    # Requests: answered at once; what follows is told by the phase and by events.

    def arm(self, t: float, state: QuadrotorState) -> Reply:
        """Lets a take-off follow; the motors stay off. Needs a valid state and an upright vehicle."""
        if self.phase is Phase.EMERGENCY:
            return Reply(False, "emergency is latched: disarm first")
        if self.phase is not Phase.DISARMED:
            return Reply(True, "already armed")
        if not self._learn(t, state):
            return Reply(False, untrusted(t, state, self.config.state_timeout) or "")
        if cos_tilt(state) < UPRIGHT_COS:
            return Reply(False, "vehicle is tilted more than 25 degrees")
        low = self._battery.too_low_to_arm(self._voltage)
        if low is not None:
            return Reply(False, low)
        self._ground = float(state.position_w[2])
        if not self._inside(state.position_w):
            return Reply(False, "vehicle is outside the fence")
        self._blind_since = self._recovering_since = None
        self._fenced = self._told_low = False
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
            return Reply(False, untrusted(t, state, self.config.state_timeout) or "")
        if not self._inside(state.position_w + np.array([0.0, 0.0, self.config.takeoff_height]), MARGIN):
            return Reply(False, f"a take-off to {self.config.takeoff_height:g} m goes out of the fence")
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

    def release(self, t: float, reason: str) -> None:
        """The vehicle does not fly our commands any more: it is left alone until disarmed."""
        self._enter(t, Phase.EMERGENCY, Severity.ERROR, f"{reason}: control is left to it", name="control_lost")

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

    def update(self, t: float, state: QuadrotorState, voltage: float = np.nan) -> Command | None:
        """What to send now; None means motors off.

        Args:
            t: s, the vehicle's clock.
            state: The newest the vehicle has, however old.
            voltage: Of its battery, V; NaN where it is not known.
        """
        trusted, self._voltage = self._learn(t, state), voltage
        if self.phase not in AIRBORNE:
            return None
        if not trusted and t - self._known.stamp > self.config.state_timeout:
            return self._blind(t)
        if self._blind_since is not None and trusted:
            self._blind_since = None
            self._start_landing(t, Severity.WARN, "state is back: landing")
        if trusted and self._lost_attitude(t):
            return self._recovery_command(t)
        self._watch_battery(t, voltage)
        self._watch_fence(t)
        if self.phase is Phase.TAKEOFF:
            return self._takeoff_command(t)
        self._watch_commands(t)
        if self.phase is Phase.LANDING:
            return self._landing_command(t)
        if self.phase is Phase.FLYING:
            return self._command
        return PositionCommand(self._anchor, yaw=self._yaw, stamp=t)

    def _watch_commands(self, t: float) -> None:
        """Hold while no good command comes, landing when that lasts. A loop over a link that has become slow swings up:
        its commands are no good either, while the vehicle's own position loop does not mind."""
        late = self._age.update(t - self._known.stamp) > self.config.max_state_age
        late = late and self._command is not None and self._command.level in _FROM_STATE
        silent = t - self._command_time > self.config.command_timeout
        if self.phase is Phase.FLYING and (silent or late):
            self._anchor_here()
            name = "command_timeout" if silent else "state_late"
            age = "" if silent else f" (the state is {1e3 * self._age.age:.0f} ms old)"
            self._enter(t, Phase.HOLD, Severity.WARN, f"{name}: holding position{age}", name=name)
        if self.phase is Phase.HOLD and not self._fenced and not (silent or late):
            self._enter(t, Phase.FLYING, Severity.OK, "commands are back", name="command_recovered")
        elif self.phase is Phase.HOLD and (silent or late) and t - self._since > self.config.hold_time:
            self._start_landing(t, Severity.ERROR, "no controller: landing" if silent else "link too slow: landing")

    def _watch_battery(self, t: float, voltage: float) -> None:
        level = self._battery.update(t, voltage)
        if level is not None and not self._told_low:
            self._told_low = True
            message = f"battery is low: {self._battery.cell(voltage):.2f} V a cell"
            self._tell(t, Severity.WARN, "battery_low", message)
        if level == "critical" and self.phase is not Phase.LANDING:
            message = f"battery is critical: {self._battery.cell(voltage):.2f} V a cell: landing"
            self._start_landing(t, Severity.ERROR, message, name="battery_critical")

    def _watch_fence(self, t: float) -> None:
        """Brakes what could not stop inside any more, and holds it there; lands what is outside."""
        fence, state = self.config.fence, self._known
        if fence is None or self.phase is Phase.LANDING:
            return
        if not self._inside(state.position_w):
            self._start_landing(t, Severity.ERROR, "outside the fence: landing", name="fence_left")
        elif self.phase is Phase.FLYING:
            slow = REACTION + max(t - state.stamp, 0.0)
            stop = stopping_point(state.position_w, state.velocity_w, self._parameters.limits.acceleration, slow)
            if not self._inside(stop, MARGIN):
                self._anchor_here()
                self._anchor, self._fenced = fence.nearest(stop, self._ground), True
                self._enter(t, Phase.HOLD, Severity.WARN, "fence: braking, held inside until it lands", name="fence")

    def _inside(self, position_w: Array, margin: float = 0.0) -> bool:
        return self.config.fence is None or self.config.fence.contains(position_w, self._ground, margin)

    def _lost_attitude(self, t: float) -> bool:
        """Whether the vehicle has to come upright before anything else."""
        state, what = self._known, self._attitude.update(self._known)
        if self._recovering_since is None:
            if what is None:
                return False
            if state.position_w[2] - self._ground < _NEAR_GROUND and cos_tilt(state) < UPRIGHT_COS:
                self._enter(t, Phase.DISARMED, Severity.ERROR, f"{what} on the ground: disarmed", name="tipped_over")
                return True
            self._recovering_since = t
            self._start_landing(t, Severity.ERROR, f"{what}: levelling, then landing", name="attitude_lost")
        elif self._attitude.calm(state):
            self._recovering_since = None
            self._start_landing(t, Severity.WARN, "upright again: landing", name="attitude_recovered")
            return False
        elif t - self._recovering_since > self.config.recovery_time:
            self._enter(t, Phase.EMERGENCY, Severity.ERROR, "does not come upright: motors off", name="cut")
        return True

    def _recovery_command(self, t: float) -> Command | None:
        if self.phase is not Phase.LANDING:
            return None
        up, state = cos_tilt(self._known), self._known
        if up < 0.5:  # thrust would not lift it, or drive it down: only as much as turning takes
            return self._level(t, max(up, _WEAK))
        # What it has fallen meanwhile is braked before there is a position to hold.
        brake = -float(self._parameters.gains.velocity[2]) * float(state.velocity_w[2]) / GRAVITY
        return self._level(t, 1.0 + min(max(brake, 0.0), 1.0))

    def _learn(self, t: float, state: QuadrotorState) -> bool:
        """Whether the state can be trusted now. The newest that could is kept for what must go on without
        one."""
        if untrusted(t, state, self.config.state_timeout):
            return False
        if self.phase in AIRBORNE and _frozen(self._known, state):
            return t - self._known.stamp <= self.config.state_timeout
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

    def _start_landing(self, t: float, severity: Severity, message: str, name: str | None = None) -> None:
        if self.phase is not Phase.HOLD:  # from there it lands where it holds, not where braking has taken it
            self._anchor_here()
        self._rest_since = None
        self._enter(t, Phase.LANDING, severity, message, name)

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
            if cos_tilt(state) > UPRIGHT_COS:
                self._enter(t, Phase.DISARMED, Severity.OK, "landed and disarmed", name="landed")
            else:
                message = "down, but not upright: disarmed"
                self._enter(t, Phase.DISARMED, Severity.ERROR, message, name="tipped_over")
            return None
        return PositionCommand(target, down, yaw=self._yaw, stamp=t)

    def _blind(self, t: float) -> Command | None:
        """Without a position the attitude loop, which the vehicle closes itself, is all that is left."""
        if self._blind_since is None:
            self._blind_since, self._recovering_since = t, None
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
        return self._level(t, 1.0 - _BLIND_SINK)

    def _level(self, t: float, share: float) -> Command:
        """Level at the heading of the anchor, with a share of the weight as thrust."""
        half = 0.5 * self._yaw
        level = np.array([0.0, 0.0, np.sin(half), np.cos(half)])
        return AttitudeThrustCommand(level, share * float(self._parameters.mass) * GRAVITY, stamp=t)

    def _anchor_here(self) -> None:
        state = self._known
        self._anchor = np.array(state.position_w, dtype=float)
        self._yaw = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]

    def _enter(self, t: float, phase: Phase, severity: Severity, message: str, name: str | None = None) -> None:
        self.phase, self._since = phase, t
        self._tell(t, severity, name or phase.value, message)

    def _tell(self, t: float, severity: Severity, name: str, message: str) -> None:
        where = position_values(self._known) if severity is Severity.ERROR else {}
        self._events.append(Event(t, severity, name, message, {"phase": self.phase.value, **where}))


def _frozen(before: QuadrotorState, now: QuadrotorState) -> bool:
    """A state that claims to move and yet is the one before, under a new stamp."""
    keys = ("position_w", "velocity_w", "quat_xyzw", "omega_b")
    if not all(np.array_equal(getattr(before, key), getattr(now, key)) for key in keys):
        return False
    return bool(max(np.linalg.norm(now.velocity_w), np.linalg.norm(now.omega_b)) > _MOVING)
