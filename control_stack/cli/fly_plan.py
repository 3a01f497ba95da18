"""The trajectory of a flight, from the hover point above the vehicle, and the reasons to refuse one."""

from __future__ import annotations

import numpy as np

from control_stack.cli.flight import FlyConfig
from control_stack.errors import InvalidInput
from control_stack.protocols import Trajectory
from control_stack.quadrotor.parameters import QuadrotorParameters
from control_stack.safety.barrier.filter import build_filter
from control_stack.safety.fence import MARGIN, parse_fence
from control_stack.trajectories import parse_trajectory, sample, with_approach
from control_stack.types import QuadrotorState, Reference

_LONGEST_FLIGHT = 3600.0  # s of the vehicle's time; every sample of it is held in memory


def plan(config: FlyConfig, parameters: QuadrotorParameters, state: QuadrotorState | None) -> Trajectory:
    """The trajectory from the hover point above the state (None: the origin), with a way to its start."""
    ground = state.position_w if state is not None else None
    x, y, z = ground.tolist() if ground is not None else (0.0, 0.0, 0.5 * float(parameters.body_size[2]))
    hover = (x, y, z + config.takeoff_height)
    trajectory = parse_trajectory(config.trajectory, hover)
    name, limits = f"trajectory '{config.trajectory}'", parameters.limits
    _check_duration(trajectory, name)
    _check_path(trajectory, name, z, parameters)
    speed, acceleration = min(limits.speed, 1.0), min(limits.acceleration, 2.0)
    whole = with_approach(trajectory, Reference(np.array(hover)), speed, acceleration)
    _check_duration(whole, f"{name}, with the way to its start,")
    if state is not None or config.uri is None:  # where a real vehicle stands is known once it is connected
        _check_fence(whole, name, config.fence, z)
        guard = build_filter(config.filter, parameters, config.control_rate)
        if guard is not None:
            guard.check_start(np.array(hover), "the place at the end of the take-off")
    return whole


def _check_duration(trajectory: Trajectory, name: str) -> None:
    if trajectory.duration > _LONGEST_FLIGHT:
        raise InvalidInput(f"{name} takes {trajectory.duration:.0f} s; a flight lasts at most {_LONGEST_FLIGHT:.0f} s")


def _check_path(trajectory: Trajectory, name: str, ground: float, parameters: QuadrotorParameters) -> None:
    """Refuses what goes below the ground (z, m) or faster than the vehicle flies."""
    path = sample(trajectory)
    lowest = float(path.positions[:, 2].min())
    if lowest < ground:
        raise InvalidInput(f"{name} goes down to z = {lowest:g} m, below the ground at {ground:g} m")
    speeds = np.linalg.norm(path.velocities, axis=1)
    # A jump between two samples shows in no velocity; the mean speed across it never exceeds the true peak.
    means = np.linalg.norm(np.diff(path.positions, axis=0), axis=1) / np.diff(path.times)
    speeds[1:] = np.maximum(speeds[1:], means)
    fastest, limit = int(np.argmax(speeds)), parameters.limits.speed
    if speeds[fastest] > 1.01 * limit:
        raise InvalidInput(
            f"{name} reaches {speeds[fastest]:.4g} m/s {path.times[fastest]:.3g} s after its start; "
            f"{parameters.name} flies at most {limit:g} m/s (max_speed of its vehicle file)"
        )


def _check_fence(trajectory: Trajectory, name: str, text: str, ground: float) -> None:
    """Refuses what would be stopped at the fence."""
    fence = parse_fence(text)
    if fence is None:
        return
    path = sample(trajectory)
    for t, place in zip(path.times, path.positions, strict=True):
        if not fence.contains(place, ground, MARGIN):
            x, y, z = place.tolist()
            raise InvalidInput(
                f"{name} leaves the fence {text}: it comes to {x:.3g}, {y:.3g}, {z:.3g} m {t:.3g} s after take-off, "
                f"and vehicles stay {MARGIN:g} m inside"
            )
