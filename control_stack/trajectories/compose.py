"""Trajectories after one another, without jumps."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise

import numpy as np

from control_stack.errors import InvalidInput
from control_stack.frames import wrap_angle
from control_stack.protocols import Trajectory
from control_stack.trajectories.goto import connect
from control_stack.types import Reference

_POSITION_JUMP = 1e-3  # m
_VELOCITY_JUMP = 1e-2  # m/s
_YAW_JUMP = 1e-2  # rad


class Chain:
    """Trajectories flown one after the other; build it with ``chain``.

    Attributes:
        parts: The trajectories, in order.
        starts: When each begins, s.
        duration: Sum of the durations, s.
        steady_interval: That of the first part that has one, on this trajectory's time; else all of it.
    """

    def __init__(self, parts: tuple[Trajectory, ...]):
        self.parts = parts
        ends = np.cumsum([part.duration for part in parts])
        self.starts: list[float] = [0.0, *ends[:-1].tolist()]
        self.duration = float(ends[-1])
        self.steady_interval = (0.0, self.duration)
        for start, part in zip(self.starts, parts, strict=True):
            interval = getattr(part, "steady_interval", None)
            if interval is not None:
                self.steady_interval = (start + interval[0], start + interval[1])
                break

    def __call__(self, t: float) -> Reference:
        """Of the part in which t (s) lies, on that part's own time."""
        i = max(bisect_right(self.starts, t) - 1, 0)
        return self.parts[i](t - self.starts[i])


def chain(*trajectories: Trajectory) -> Trajectory:
    """The trajectories one after another.

    Raises:
        InvalidInput: None given, one but the last never ends, or a joint jumps by more than 1 mm, 1 cm/s or
            0.01 rad (``connect`` makes what joins two references).
    """
    if not trajectories:
        raise InvalidInput("nothing to chain")
    for number, (a, b) in enumerate(pairwise(trajectories), start=1):
        if not math.isfinite(a.duration):
            raise InvalidInput(f"trajectory {number} of the chain never ends")
        gap, kick, turn = _jump(a(a.duration), b(0.0))
        if gap > _POSITION_JUMP or kick > _VELOCITY_JUMP or turn > _YAW_JUMP:
            raise InvalidInput(
                f"trajectory {number + 1} of the chain starts {gap:.3g} m, {kick:.3g} m/s and {turn:.3g} rad "
                "away from the end of the one before"
            )
    return Chain(trajectories)


def _jump(a: Reference, b: Reference) -> tuple[float, float, float]:
    """Distance (m), speed (m/s) and angle (rad) between two references."""
    gap = float(np.linalg.norm(b.position_w - a.position_w))
    kick = float(np.linalg.norm(b.velocity_w - a.velocity_w))
    return gap, kick, abs(float(wrap_angle(float(b.yaw) - float(a.yaw))))


def with_approach(
    trajectory: Trajectory, start: Reference, speed: float = 1.0, acceleration: float = 2.0
) -> Trajectory:
    """``trajectory`` preceded by a smooth way from ``start`` to its first reference and, where it ends in
    motion, followed by a stop a braking distance behind its end. Unchanged where nothing is needed."""
    first = trajectory(0.0)
    parts: list[Trajectory] = [trajectory]
    gap, kick, turn = _jump(start, first)
    if gap > _POSITION_JUMP or kick > _VELOCITY_JUMP or turn > _YAW_JUMP:
        parts.insert(0, connect(start, first, speed, acceleration))
    if math.isfinite(trajectory.duration):
        last = trajectory(trajectory.duration)
        rate = float(np.linalg.norm(last.velocity_w))
        if rate > _VELOCITY_JUMP:
            stop = last.position_w + last.velocity_w * rate / acceleration
            parts.append(connect(last, Reference(stop, yaw=last.yaw), speed, acceleration))
    return chain(*parts) if len(parts) > 1 else trajectory


def steady_interval(trajectory: Trajectory) -> tuple[float, float]:
    """(t0, t1) s over which tracking errors are measured: the trajectory's own interval, or all of it."""
    return getattr(trajectory, "steady_interval", (0.0, trajectory.duration))
