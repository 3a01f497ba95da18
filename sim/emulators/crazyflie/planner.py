"""The on-board high-level commander: take-off, landing and go-to along smooth paths (firmware, planner.c).

Between two states of rest or motion it flies the polynomial of 7th order whose jerk is zero at both ends.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import Enum

import numpy as np

from control_stack.types import Array
from sim.emulators.crazyflie.setpoints import STOP, Setpoint

_STOP, _GO_TO, _TAKEOFF, _LAND, _GO_TO_2 = 3, 4, 7, 8, 12
_FARTHEST, _LONGEST, _SHORTEST = 1e3, 1e4, 0.01  # m, s, s


class State(Enum):
    """What the planner is doing."""

    IDLE = "idle"
    FLYING = "flying"
    LANDING = "landing"


@dataclass(frozen=True)
class Path:
    """One piece: rows of x, y, z, yaw over the unit time s = t / duration, lowest power first.

    With no acceleration and no jerk at either end, what joins p0, v0 to p1 at rest is
    p = p0 + D (35 s^4 - 84 s^5 + 70 s^6 - 20 s^7) + v0 T (s - 20 s^4 + 45 s^5 - 36 s^6 + 10 s^7).
    """

    coefficients: Array
    start: float
    duration: float

    @classmethod
    def between(cls, start: float, duration: float, begin: Array, velocity: Array, end: Array) -> Path:
        """From (x, y, z, yaw) with a velocity to rest at another."""
        way = np.array([0, 0, 0, 0, 35.0, -84.0, 70.0, -20.0])
        slope = np.array([0, 1.0, 0, 0, -20.0, 45.0, -36.0, 10.0])
        rows = np.outer(end - begin, way) + np.outer(velocity * duration, slope)
        rows[:, 0] += begin
        return cls(rows, start, duration)

    def finished(self, t: float) -> bool:
        """Whether its time is over."""
        return t - self.start >= self.duration

    def at(self, t: float) -> tuple[Array, Array]:
        """(4,) values and (4,) velocities."""
        s = min(max((t - self.start) / self.duration, 0.0), 1.0)
        powers = s ** np.arange(8)
        slopes = np.arange(8) * np.concatenate([[0.0], powers[:-1]])
        return self.coefficients @ powers, self.coefficients @ slopes / self.duration


class Planner:
    """The state machine; ``handle`` takes commands, ``setpoint`` gives what follows from them."""

    def __init__(self) -> None:
        self.state = State.IDLE
        self._path: Path | None = None
        self._now, self._velocity = np.zeros(4), np.zeros(4)  # the last thing commanded

    @property
    def path(self) -> Path | None:
        """What is being flown."""
        return self._path

    def stop(self) -> None:
        """Forgets the path: motors off if nothing else commands."""
        self.state, self._path = State.IDLE, None

    def tell(self, pose: Array) -> None:
        """Where the vehicle is, (x, y, z, yaw): paths start there when streamed setpoints were flown last."""
        self._now, self._velocity = pose.copy(), np.zeros(4)

    def handle(self, data: bytes, t: float, pose: Array) -> bool:
        """Takes a command packet at a pose (x, y, z, yaw); False if it is malformed or cannot be flown now."""
        if len(data) < 2:
            return False
        command, rest = data[0], data[2:]
        if command == _STOP:
            self.stop()
            return True
        if self.state is State.IDLE:
            self.tell(pose)
        if command in (_TAKEOFF, _LAND) and len(rest) == 13:
            height, yaw, keep_yaw, duration = struct.unpack("<ff?f", rest)
            goal = np.array([*self._now[:2], height, self._now[3] if keep_yaw else yaw])
            if (self.state is not State.IDLE) if command == _TAKEOFF else (self.state is State.LANDING):
                return False
            return self._go(t, goal, duration, State.FLYING if command == _TAKEOFF else State.LANDING)
        if command == _GO_TO and len(rest) == 21:
            relative, *goal_list, duration = struct.unpack("<?fffff", rest)
        elif command == _GO_TO_2 and len(rest) == 22:
            relative, _, *goal_list, duration = struct.unpack("<??fffff", rest)
        else:
            return False
        return self._go(t, np.array(goal_list) + (self._now if relative else 0.0), duration, State.FLYING)

    def setpoint(self, t: float) -> Setpoint:
        """What to fly at time t, s; stops the motors where there is nothing."""
        if self._path is None:
            return STOP
        self._now, self._velocity = self._path.at(t)
        if self.state is State.LANDING and self._path.finished(t):
            self.stop()
            return STOP
        x, y, z, yaw = self._now.tolist()
        vx, vy, vz, _ = self._velocity.tolist()
        return Setpoint.tracking((x, y, z), (vx, vy, vz), yaw)

    def _go(self, t: float, goal: Array, duration: float, state: State) -> bool:
        if not (bool(np.all(np.abs(goal) <= _FARTHEST)) and 0.0 <= duration <= _LONGEST):
            return False
        begin, end = self._now.copy(), goal.astype(float)
        begin[3] = math.remainder(begin[3], 2.0 * math.pi)
        end[3] = begin[3] + math.remainder(end[3] - begin[3], 2.0 * math.pi)  # the shorter way round
        self._path = Path.between(t, max(duration, _SHORTEST), begin, self._velocity, end)
        self.state = state
        return True
