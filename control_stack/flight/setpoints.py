"""What the controller is asked to do, from the inputs of the ROS surface: hold, go to, follow, or fly a velocity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from control_stack.algebra import yaw_of
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import FlightLimits
from control_stack.trajectories import Hover, with_approach
from control_stack.types import Array, QuadrotorState, Reference

_NEAR = 0.15  # m: a trajectory that starts this close to the reference is flown as it is


@dataclass(frozen=True)
class BodyVelocity:
    """A velocity in the heading frame (x forward, y left, z up), m/s, and a yaw rate, rad/s."""

    velocity: Array
    yaw_rate: float


class Setpoints:
    """The current reference. Until the vehicle flies it is the vehicle's own pose, so nothing jumps at hand-over.

    A trajectory given before flight waits, and starts when the controller takes over.
    """

    def __init__(self, limits: FlightLimits, velocity_timeout: float = 0.3):
        self._limits, self._velocity_timeout = limits, velocity_timeout
        self._trajectory: Trajectory | None = None
        self._start: float | None = None
        self._velocity: BodyVelocity | None = None
        self._velocity_time = -math.inf
        self._last: Reference | None = None
        self._last_time = 0.0

    def follow(self, trajectory: Trajectory, start: float | None = None) -> None:
        """Flies a trajectory from ``start`` (s, exactly as given); None starts it at the next call in flight, with
        a smooth way to its first point if that is far from the present reference."""
        self._trajectory, self._start, self._velocity = trajectory, start, None

    def go_to(self, position_w: Array, yaw: float) -> None:
        """Flies smoothly to a pose and stays, within the vehicle's speed and acceleration limits."""
        self.follow(Hover(position_w, yaw))

    def fly_velocity(self, t: float, command: BodyVelocity) -> None:
        """Flies a velocity until the time-out, then stops where the reference is."""
        self._trajectory = None
        self._velocity, self._velocity_time = command, t

    def reference(self, t: float, state: QuadrotorState, flying: bool) -> Reference:
        """The reference at time t. ``flying`` is True once the controller's commands are in force."""
        if not flying or self._last is None:
            yaw = float(yaw_of(tuple(state.quat_xyzw.tolist())))  # type: ignore[arg-type]
            self._last = Reference(state.position_w, yaw=yaw)
        if flying:
            self._last = self._advance(t, self._last)
        self._last_time = t
        return self._last

    def _advance(self, t: float, last: Reference) -> Reference:
        if self._trajectory is not None:
            if self._start is None:
                self._start = t
                gap = np.linalg.norm(self._trajectory(0.0).position_w - last.position_w)
                if gap > _NEAR or np.any(last.velocity_w):
                    limits = self._limits
                    self._trajectory = with_approach(self._trajectory, last, limits.speed, limits.acceleration)
            return self._trajectory(t - self._start)
        if self._velocity is None or t - self._velocity_time > self._velocity_timeout:
            return Reference(last.position_w, yaw=last.yaw)
        dt = t - self._last_time
        yaw = float(last.yaw) + self._velocity.yaw_rate * dt
        c, s = math.cos(yaw), math.sin(yaw)
        vx, vy, vz = self._velocity.velocity.tolist()
        velocity = np.array([c * vx - s * vy, s * vx + c * vy, vz])
        velocity *= min(1.0, self._limits.speed / max(float(np.linalg.norm(velocity)), 1e-9))
        return Reference(last.position_w + velocity * dt, velocity, yaw=yaw, yaw_rate=self._velocity.yaw_rate)
