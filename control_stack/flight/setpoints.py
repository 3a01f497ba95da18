"""What the controller is asked to do: hold, go to, follow, or fly a velocity."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import FlightLimits
from control_stack.trajectories import Hover, connect, with_approach
from control_stack.types import Array, QuadrotorState, Reference

_NEAR = 0.3  # m: a trajectory that starts this close starts at once; a further one is approached first
_LONGEST = 0.1  # s: over longer pauses a reference is not carried on
_NOWHERE = Reference(np.zeros(3))


@dataclass(frozen=True)
class BodyVelocity:
    """A velocity in the heading frame (x forward, y left, z up), m/s, and a yaw rate, rad/s."""

    velocity: Array
    yaw_rate: float


class Setpoints:
    """The current reference. Until the vehicle flies it is the vehicle's own motion, so nothing jumps at
    hand-over.

    In flight the reference never jumps either, whatever comes in: what lies between the present reference and
    a trajectory is flown as a smooth way of its own, added to the trajectory while that keeps its own time.
    It is at most as fast as the trajectory and the vehicle's limits of speed together.

    A trajectory given before flight waits, and starts when the controller takes over. When a flight goes on
    after an interruption, the trajectory is where its time says, and the reference goes there from where the
    vehicle is.
    """

    def __init__(self, limits: FlightLimits, velocity_timeout: float = 0.3):
        self._limits, self._velocity_timeout = limits, velocity_timeout
        self._trajectory: Trajectory | None = None
        self._start: float | None = None
        self._joined = self._begun = False
        self._gap: Trajectory | None = None  # the way that is added, from _gap_start on
        self._gap_start = 0.0
        self._velocity: BodyVelocity | None = None
        self._velocity_time = -math.inf
        self._flying = False
        self._last = _NOWHERE
        self._last_time = 0.0

    def follow(self, trajectory: Trajectory, start: float | None = None) -> None:
        """Flies a trajectory from ``start`` (s); None starts it at the next call in flight, after a smooth
        way to its first point if that is far from the present reference. One that ends in motion comes to a
        stop."""
        limits = self._limits
        self._trajectory = with_approach(trajectory, trajectory(0.0), limits.speed, limits.acceleration)
        self._start, self._velocity = start, None
        self._joined = self._begun = False

    def go_to(self, position_w: Array, yaw: float) -> None:
        """Flies smoothly to a pose and stays, within the vehicle's speed and acceleration limits."""
        self.follow(Hover(position_w, yaw))

    def fly_velocity(self, t: float, command: BodyVelocity) -> None:
        """Flies a velocity until the time-out, then stops; both within the vehicle's limits."""
        self._trajectory = None
        self._velocity, self._velocity_time = command, t

    def landed(self) -> None:
        """Forgets what was flown: the next flight does not go back there. What still waits is kept."""
        if self._begun:
            self._trajectory = None

    def reference(self, t: float, state: QuadrotorState, flying: bool) -> Reference:
        """The reference at time t. ``flying`` is True once the controller's commands are in force."""
        if not (flying and self._flying):
            yaw = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
            self._last, self._last_time = Reference(state.position_w, state.velocity_w, yaw=yaw), t
            self._joined = False
        if flying:
            dt = max(t - self._last_time, 0.0)
            on = self._trajectory
            self._last = self._drive(t, dt) if on is None else self._follow(t, dt, on)
        self._last_time, self._flying = t, flying
        return self._last

    def _follow(self, t: float, dt: float, trajectory: Trajectory) -> Reference:
        if not self._joined:
            now = _carried_on(self._last, min(dt, _LONGEST))
            trajectory = self._trajectory = self._join(t, now, trajectory)
        if self._gap is not None and t - self._gap_start >= self._gap.duration:
            self._gap = None
        return replace(self._at(t, trajectory), ahead=lambda offset: self._at(t + offset, trajectory))

    def _at(self, t: float, trajectory: Trajectory) -> Reference:
        """The trajectory with the way that is added to it."""
        wanted = trajectory(t - (self._start or 0.0))
        if self._gap is None or t - self._gap_start >= self._gap.duration:
            return wanted
        return _sum(wanted, self._gap(t - self._gap_start), 1.0)

    def _join(self, t: float, now: Reference, trajectory: Trajectory) -> Trajectory:
        """Finds the way from the present reference to the trajectory; returns what is to be followed."""
        speed, acceleration = self._limits.speed, self._limits.acceleration
        self._joined = self._begun = True
        if self._start is None:
            self._start = t
            if np.linalg.norm(trajectory(0.0).position_w - now.position_w) > _NEAR:
                self._gap = None
                return with_approach(trajectory, now, speed, acceleration)
        between = _sum(now, trajectory(t - self._start), -1.0)
        self._gap, self._gap_start = connect(between, _NOWHERE, speed, acceleration), t
        return trajectory

    def _drive(self, t: float, dt: float) -> Reference:
        """The velocity asked for, or standing still, reached within the limit of acceleration."""
        last = self._last
        velocity, yaw_rate = (0.0, 0.0, 0.0), 0.0
        if self._velocity is not None and t - self._velocity_time <= self._velocity_timeout:
            velocity, yaw_rate = tuple(self._velocity.velocity.tolist()), self._velocity.yaw_rate
        turn = float(self._limits.body_rate[2])
        yaw_rate = min(max(yaw_rate, -turn), turn)
        yaw = float(last.yaw) + yaw_rate * dt
        c, s = math.cos(yaw), math.sin(yaw)
        wanted = np.array([c * velocity[0] - s * velocity[1], s * velocity[0] + c * velocity[1], velocity[2]])
        wanted *= min(1.0, self._limits.speed / max(float(np.linalg.norm(wanted)), 1e-9))
        change = wanted - last.velocity_w
        change *= min(1.0, self._limits.acceleration * dt / max(float(np.linalg.norm(change)), 1e-9))
        reached = last.velocity_w + change
        position = last.position_w + 0.5 * dt * (last.velocity_w + reached)
        acceleration = change / dt if dt > 0.0 else np.zeros(3)
        return Reference(position, reached, acceleration, yaw=yaw, yaw_rate=yaw_rate)


def _carried_on(r: Reference, dt: float) -> Reference:
    """The reference dt seconds on, at constant velocity and yaw rate."""
    return replace(r, position_w=r.position_w + dt * r.velocity_w, yaw=float(r.yaw) + dt * float(r.yaw_rate))


def _sum(a: Reference, b: Reference, sign: float) -> Reference:
    """a + sign b, component by component."""
    return Reference(
        a.position_w + sign * b.position_w,
        a.velocity_w + sign * b.velocity_w,
        a.acceleration_w + sign * b.acceleration_w,
        a.jerk_w + sign * b.jerk_w,
        float(a.yaw) + sign * float(b.yaw),
        float(a.yaw_rate) + sign * float(b.yaw_rate),
    )
